"""EER movies: lists of electron events in a TIFF container, summed to frames.

Rows are as stored, in MRC order.  `eer_streams` describes the events.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import tifffile

from flexalign.errors import InputError, ParameterError
from flexalign.io.movies.eer_streams import (
    EventStream,
    Style,
    count_into,
    event_streams,
    events_of,
    find_style,
    read_stream,
)
from flexalign.io.movies.packed_movie import rendered_frame
from flexalign.io.movies.reader import RawFrame, SeekableMovie, trusted_pixel_size_A
from flexalign.io.movies.tiff import broken_tiff, collected_messages, open_tiff
from flexalign.io.movies.tiff_layout import is_of_events
from flexalign.model import EerInfo, MovieInfo
from flexalign.packed_frame import PADDING, PackedFrame

METADATA_TAG = 65001
# The patterns stop at the next "<", so that their time is linear; entities are not expanded.
ITEM = re.compile(rb"<item\s([^<>]*)>([^<]*)</item>")
ATTRIBUTE = re.compile(rb'\b(name|unit)="([^"]*)"')


def is_eer(path: Path) -> bool:
    """Whether a TIFF file holds electron events on its first or second page."""
    try:
        with collected_messages(), tifffile.TiffFile(path) as file:
            return any(is_of_events(page.aspage()) for page in file.pages[:2])
    except Exception:  # a broken TIFF; the TIFF reader reports the error
        return False


class EerMovie(SeekableMovie):
    """An EER movie: raw frames are summed into frames.

    Parameters
    ----------
    path : the file
    fractions : number of frames; each has floor(raw frames / fractions) raw frames
    raw_frames_per_frame : raw frames summed into each frame, instead of `fractions`
    groups : number of raw frames in each frame, instead of both
    doses_e_A2 : dose of each of these frames
    upsampling : 1, or 2 for a grid twice as fine, events placed by their sub-pixel bits

    Raises
    ------
    InputError
        If the file is broken or truncated.
    ParameterError
        If there are fewer raw frames than requested.
    """

    def __init__(
        self,
        path: Path,
        *,
        fractions: int = 40,
        raw_frames_per_frame: int | None = None,
        groups: tuple[int, ...] | None = None,
        doses_e_A2: tuple[float, ...] = (),
        upsampling: int = 1,
    ) -> None:
        if upsampling not in (1, 2):
            raise ParameterError(f"EER upsampling: expected 1 or 2, found {upsampling}")
        file, pages = open_tiff(path)
        with file, broken_tiff(path):
            pages = [page for page in pages if is_of_events(page)]
            self._streams = event_streams(path, pages)
            height_px, width_px = int(pages[0].imagelength), int(pages[0].imagewidth)
            pixel_size_A = _pixel_size_A(metadata_of(file.pages[0].aspage()))
        if upsampling == 2 and min(min(s.x_bits, s.y_bits) for s in self._streams) < 1:
            raise ParameterError(f"{path}: has no sub-pixel positions; use `eer_upsampling` 1")
        self._path, self._upsampling = path, upsampling
        if groups is None:
            groups = _equal_groups(path, len(pages), fractions, raw_frames_per_frame)
        self._groups = groups
        self._starts = _starts(path, groups, len(pages))
        # A raw frame has at most one event per pixel, so the sum cannot overflow.
        self._dtype = np.min_scalar_type(max(groups))
        eer = EerInfo(
            raw_frame_count=len(pages),
            raw_frames_per_frame=max(groups),
            leftover_raw_frames=len(pages) - sum(groups),
            upsampling=upsampling,
            groups=() if min(groups) == max(groups) else groups,
            doses_e_A2=doses_e_A2,
        )
        super().__init__(
            MovieInfo(
                path=os.fspath(path),
                file_format="eer",
                frame_count=len(groups),
                height_px=height_px * upsampling,
                width_px=width_px * upsampling,
                pixel_dtype=np.dtype(self._dtype).name,
                pixel_size_A=None if pixel_size_A is None else pixel_size_A / upsampling,
                size_bytes=path.stat().st_size,
                eer=eer,
                notes=_notes(eer, len(groups)),
            )
        )

    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`: events counted in pixels.

        A raw frame whose runs do not add up to the number of pixels, or that has too many unused
        bits, is left out, and `problem` gives their number; without a good raw frame there are no
        pixels.
        """
        streams = self._streams_of(index)
        with self._opened() as file:
            return self._rendered(index, (read_stream(file, stream) for stream in streams))

    def packed_frame(self, index: int) -> PackedFrame:
        """The frame `index`, not decoded; see `PackedMovie`."""
        streams, info = self._streams_of(index), self.info
        with self._opened() as file:
            contents = [read_stream(file, stream) for stream in streams]
        starts = accumulate(map(len, contents), initial=0)
        rows = [
            (start, len(content) - len(PADDING), stream.run_bits, stream.x_bits, stream.y_bits)
            for start, content, stream in zip(starts, contents, streams, strict=False)
        ]
        return PackedFrame(
            index,
            np.frombuffer(b"".join(contents), np.uint8),
            np.array(rows, np.int64),
            *self._style,
            (info.height_px // self._upsampling, info.width_px // self._upsampling),
            self._upsampling,
            self._dtype,
        )

    @property
    def max_packed_bytes(self) -> int:
        """Size of the data of the largest `packed_frame`."""
        return max(
            sum(stream.size_bytes + len(PADDING) for stream in self._streams_of(index))
            for index in range(self.info.frame_count)
        )

    def decoded(self, packed: PackedFrame) -> RawFrame:
        """A `packed_frame`, decoded; see `read_frame`."""
        places = packed.streams[:, :2].tolist()
        return self._rendered(
            packed.index,
            (packed.data[start : start + size + len(PADDING)] for start, size in places),
        )

    def _rendered(self, index: int, contents: Iterable[bytes | npt.NDArray[np.uint8]]) -> RawFrame:
        """The frame of these raw frames.

        The image is allocated only once a raw frame has proved the number of pixels.
        """
        info, image, broken = self.info, None, 0
        pixel_count = info.height_px * info.width_px // self._upsampling**2
        streams = self._streams_of(index)
        for content, stream in zip(contents, streams, strict=True):
            events = events_of(content, stream, pixel_count, self._style)
            if events is None:
                broken += 1
                continue
            if image is None:
                image = np.zeros((info.height_px, info.width_px), self._dtype)
            count_into(image, events, stream, self._upsampling)
        return rendered_frame(index, image, broken, len(streams))

    def _streams_of(self, index: int) -> list[EventStream]:
        """The raw frames of a frame."""
        first = self._starts[index]
        return self._streams[first : first + self._groups[index]]

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        """The file, open; an error of the system is one of the input."""
        try:
            with self._path.open("rb") as file:
                yield file
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read: {error.strerror}") from error

    @cached_property
    def _style(self) -> Style:
        """The encoding style of the file; the same for every thread."""
        info = self.info
        pixel_count = info.height_px * info.width_px // self._upsampling**2
        return find_style(self._path, self._streams, pixel_count)


def _equal_groups(
    path: Path, raw_count: int, fractions: int, raw_per_frame: int | None
) -> tuple[int, ...]:
    """The number of raw frames per frame, if it is the same for all."""
    wanted = fractions if raw_per_frame is None else raw_per_frame
    if not 1 <= wanted <= raw_count:
        what = "fractions" if raw_per_frame is None else "raw frames per frame"
        raise ParameterError(
            f"{path}: expected 1 to {raw_count} {what}, as there are {raw_count} raw frames; "
            f"found {wanted}"
        )
    per_frame = raw_count // fractions if raw_per_frame is None else raw_per_frame
    frame_count = fractions if raw_per_frame is None else raw_count // per_frame
    if frame_count < 2:
        raise ParameterError(
            f"{path}: expected at least 2 frames, found {frame_count} of {per_frame} of the "
            f"{raw_count} raw frames; make more of them with `eer_fractions`"
        )
    return (per_frame,) * frame_count


def _starts(path: Path, groups: tuple[int, ...], raw_count: int) -> tuple[int, ...]:
    """The first raw frame of each group; raises if the groups do not fit."""
    if len(groups) < 2 or min(groups) < 1 or sum(groups) > raw_count:
        raise ParameterError(
            f"{path}: expected at least 2 groups of at least 1 raw frame, {raw_count} in all, "
            f"found {len(groups)} with {sum(groups)} in all"
        )
    return tuple(accumulate(groups[:-1], initial=0))


def _notes(eer: EerInfo, frame_count: int) -> tuple[str, ...]:
    """Notes on the fractionation for the user."""
    if not eer.leftover_raw_frames:
        return ()
    size = f"of {eer.raw_frames_per_frame} raw frames " if not eer.groups else ""
    return (
        f"{frame_count} frames {size}leave the last {eer.leftover_raw_frames} of "
        f"{eer.raw_frame_count} raw frames unused",
    )


def metadata_of(page: tifffile.TiffPage) -> dict[str, tuple[str, str]]:
    """Value and unit ("" without one) of each item of the exposure's metadata, by its name.

    Parameters
    ----------
    page : the first one
    """
    metadata = page.tags.valueof(METADATA_TAG, b"")
    if not isinstance(metadata, bytes):
        return {}
    found = {}
    for attributes, value in ITEM.findall(metadata):
        named = dict(ATTRIBUTE.findall(attributes))
        if named.get(b"name"):
            found[_text(named[b"name"])] = (_text(value), _text(named.get(b"unit", b"")))
    return found


def _text(words: bytes) -> str:
    """The metadata as text."""
    return words.decode("utf-8", errors="replace").strip()


def read_metadata(path: str | Path) -> dict[str, tuple[str, str]]:
    """The metadata in an EER file, see `metadata_of`; works on a truncated one.

    Raises
    ------
    InputError
        If the file has no first page.
    """
    try:
        with collected_messages(), tifffile.TiffFile(path) as file:
            return metadata_of(file.pages[0].aspage())
    except Exception as error:  # the parser raises errors of any type on a broken TIFF
        raise InputError(f"{path}: expected an EER file: {error}") from error


def _pixel_size_A(metadata: dict[str, tuple[str, str]]) -> float | None:
    """Pixel size at the specimen, of the detector's grid, if in the metadata."""
    try:
        sides = [metadata[f"sensorPixelSize.{side}"] for side in ("width", "height")]
        if any(unit != "m" for _, unit in sides):
            return None
        width_A, height_A = (float(value) * 1e10 for value, _ in sides)
        return trusted_pixel_size_A(width_A, height_A)
    except (KeyError, ValueError):
        return None
