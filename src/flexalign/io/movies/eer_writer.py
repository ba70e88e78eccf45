"""Write EER movies: encoded events in pages of a BigTIFF; `eer_streams` describes the format."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from flexalign.atomic import replacing
from flexalign.compiling import cached_njit
from flexalign.io.movies.eer import METADATA_TAG
from flexalign.io.movies.eer_streams import (
    RUN_BITS,
    RUN_BITS_TAG,
    SUB_PIXEL_BITS,
    X_BITS_TAG,
    Y_BITS_TAG,
)
from flexalign.packed_frame import PADDING


@cached_njit(nogil=True)
def _encode(events: Any, run_bits: int, sub_bits: int, pixel_count: int, stream: Any) -> int:
    """Write sorted `events`, as `eer_events` decodes them, to zeroed `stream`; the bits used."""
    max_run, sub_mask = (1 << run_bits) - 1, (1 << sub_bits) - 1
    bit, pixel = 0, 0
    for index in range(len(events) + 1):
        is_event = index < len(events)
        run = (events[index] >> sub_bits if is_event else pixel_count) - pixel
        pixel += run + 1
        while run >= 0:
            step = min(run, max_run)
            word, size = step, run_bits
            if step < max_run and is_event:
                word |= (events[index] & sub_mask) << run_bits
                size += sub_bits
            word <<= bit & 7
            for byte in range(bit >> 3, (bit + size + 7) >> 3):
                stream[byte] |= word & 255
                word >>= 8
            bit += size
            run = run - max_run if step == max_run else -1
    return bit


def write_eer(
    path: str | Path,
    frames: Iterable[npt.ArrayLike],
    *,
    height_px: int,
    width_px: int,
    codec: int = 65001,
    pixel_size_A: float | None = None,
    metadata: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Write an EER file of raw frames, given as lists of events.

    Parameters
    ----------
    path : file to write; it appears under this name only when complete
    frames : per raw frame the events (n, 2), (y, x) on a grid four times finer than the detector's,
        from 0 to 4 * size - 1.  A detector sees at most one event per pixel and raw frame: later
        ones in the same pixel are dropped
    height_px, width_px : of the detector
    codec : 65000 (8 bits per run), 65001 (7) or 65002 (7, the numbers of bits in tags)
    pixel_size_A : written into the metadata when given
    metadata : further items of it, value and unit ("" for none) by name

    Raises
    ------
    ValueError
        If the codec is none of these, there is no frame, or an event is off the detector.
    """
    if codec not in RUN_BITS:
        raise ValueError(f"expected a codec of {sorted(RUN_BITS)}, found {codec}")
    with replacing(path) as temporary, temporary.open("wb") as file:
        items = {**_pixel_size_items(pixel_size_A), **(metadata or {})}
        container = _Container(file, height_px, width_px, codec, _xml(items))
        for events in frames:
            container.append(_encoded(np.asarray(events), height_px, width_px, codec))
        if container.page_count == 0:
            raise ValueError("expected at least one raw frame, found none")


def _encoded(place: npt.NDArray[Any], height_px: int, width_px: int, codec: int) -> bytes:
    """The bits of one raw frame with events at `place` (n, 2) on the grid four times finer."""
    place = place.reshape(-1, 2).astype(np.int64)
    if place.size and (place.min() < 0 or (place >= 4 * np.array([height_px, width_px])).any()):
        raise ValueError(f"expected events within {4 * height_px} x {4 * width_px}")
    pixel, first = np.unique(place[:, 0] // 4 * width_px + place[:, 1] // 4, return_index=True)
    # The sub-pixel position is signed: -2, -1, 0, 1 are the quarters from the lower edge on.
    y_sub, x_sub = (place[first] % 4 ^ 2).T
    run_bits, sub_bits = RUN_BITS[codec], 2 * SUB_PIXEL_BITS
    events = pixel << sub_bits | y_sub << SUB_PIXEL_BITS | x_sub
    pixel_count = height_px * width_px
    max_runs = pixel_count // (2**run_bits - 1) + 1
    max_bits = len(events) * (run_bits + sub_bits) + max_runs * run_bits
    stream = np.zeros(max_bits // 8 + len(PADDING), np.uint8)
    used_bits = _encode(events, run_bits, sub_bits, pixel_count, stream)
    # Readers fetch whole 16-bit words, even for a shorter last code.
    used_bytes = (used_bits + run_bits + sub_bits) // 16 * 2 + 2
    return stream[:used_bytes].tobytes().ljust(used_bytes, b"\0")


class _Container:
    """A BigTIFF that grows page by page: data first, then the directory that points to it."""

    def __init__(
        self,
        file: IO[bytes],
        height_px: int,
        width_px: int,
        codec: int,
        metadata: bytes,
    ) -> None:
        self._file, self._height_px, self._width_px = file, height_px, width_px
        self._codec, self._metadata = codec, metadata
        self.page_count = 0
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        self._link_offset = 8

    def append(self, data: bytes) -> None:
        """Add a page of these bytes."""
        data_offset = self._file.tell()
        self._file.write(data)
        # tag, type (3 = 16 bits, 4 = 32 bits, 7 = bytes, 16 = 64 bits), count, value
        entries = [
            (256, 4, 1, self._width_px),
            (257, 4, 1, self._height_px),
            (259, 3, 1, self._codec),
            (262, 3, 1, 1),
            (273, 16, 1, data_offset),
            (278, 4, 1, self._height_px),
            (279, 16, 1, len(data)),
        ]
        if self.page_count == 0:
            entries.append((METADATA_TAG, 7, len(self._metadata), self._file.tell()))
            self._file.write(self._metadata)
        if self._codec == 65002:
            entries.append((RUN_BITS_TAG, 3, 1, RUN_BITS[self._codec]))
            entries.append((X_BITS_TAG, 3, 1, SUB_PIXEL_BITS))
            entries.append((Y_BITS_TAG, 3, 1, SUB_PIXEL_BITS))
        self._file.write(bytes(-self._file.tell() % 8))
        directory_offset = self._file.tell()
        packed = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
        self._file.write(struct.pack("<Q", len(entries)) + packed + struct.pack("<Q", 0))
        end = self._file.tell()
        self._file.seek(self._link_offset)
        self._file.write(struct.pack("<Q", directory_offset))
        self._file.seek(end)
        self._link_offset = end - 8
        self.page_count += 1


def _pixel_size_items(pixel_size_A: float | None) -> dict[str, tuple[str, str]]:
    """The metadata items of the pixel size."""
    if pixel_size_A is None:
        return {}
    size_m = f"{pixel_size_A * 1e-10:.9g}"
    return {f"sensorPixelSize.{side}": (size_m, "m") for side in ("height", "width")}


def _xml(items: Mapping[str, tuple[str, str]]) -> bytes:
    """The XML metadata of an EER file."""
    lines = [
        f'<item name="{name}"' + (f' unit="{unit}"' if unit else "") + f">{value}</item>"
        for name, (value, unit) in items.items()
    ]
    return f"<metadata>{''.join(lines)}</metadata>".encode()
