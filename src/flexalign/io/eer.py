"""EER movies: lists of electron events in a TIFF container.

Each raw frame is a stream of bits, lowest first: a run of pixels without an event, then the event's
place within its pixel, first x then y, each a signed number in units of 1/2**bits pixel. The
longest run that fits means "no event yet, go on". Rows are as stored, in MRC order.

References
----------
Guo et al., IUCrJ 7 (2020) 860 (Electron-event representation data).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import tifffile

from flexalign.errors import InputError, ParameterError
from flexalign.io.reader import RawFrame, SeekableMovie, trusted_pixel_size_A
from flexalign.io.tiff import collected_messages, open_tiff
from flexalign.model import EerInfo, MovieInfo

RUN_BITS_TAG, X_BITS_TAG, Y_BITS_TAG, METADATA_TAG = 65007, 65008, 65009, 65001
RUN_BITS = {65000: 8, 65001: 7, 65002: 7}
SUB_PIXEL_BITS = 2
# So that 32 bits can be fetched at any bit of the stream.
PADDING = bytes(8)
ITEM = re.compile(
    rb'<item\s+name="(?P<name>[^"]+)"(?:[^>]*?\sunit="(?P<unit>[^"]*)")?[^>]*>(?P<value>[^<]*)</item>'
)


@dataclass(frozen=True, slots=True)
class EventStream:
    """Where one raw frame lies in the file, and how its bits are to be read."""

    offset_bytes: int
    size_bytes: int
    run_bits: int
    x_bits: int
    y_bits: int


def is_eer(path: Path) -> bool:
    """Whether a TIFF file holds electron events on its first or second page."""
    try:
        with collected_messages(), tifffile.TiffFile(path) as file:
            return any(int(page.compression) in RUN_BITS for page in file.pages[:2])
    except Exception:  # a broken TIFF; the TIFF reader explains what is wrong with it
        return False


class EerMovie(SeekableMovie):
    """An EER file, its raw frames summed to frames of equal exposure.

    Parameters
    ----------
    path : the file
    fractions : number of frames to make; each has floor(raw frames / fractions) raw frames
    raw_frames_per_frame : raw frames summed to each frame, instead of `fractions`
    upsampling : 1, or 2 for a grid twice as fine, events placed by their sub-pixel bits

    Raises
    ------
    InputError
        If the file is broken or truncated.
    ParameterError
        If there are fewer raw frames than asked for.
    """

    def __init__(
        self,
        path: Path,
        *,
        fractions: int = 40,
        raw_frames_per_frame: int | None = None,
        upsampling: int = 1,
    ) -> None:
        if upsampling not in (1, 2):
            raise ParameterError(f"EER upsampling: expected 1 or 2, found {upsampling}")
        file, pages = open_tiff(path)
        with file:
            pages = [page for page in pages if int(page.compression) in RUN_BITS]
            self._streams = _event_streams(path, pages)
            height_px, width_px = int(pages[0].imagelength), int(pages[0].imagewidth)
            pixel_size_A = _pixel_size_A(metadata_of(file.pages[0].aspage()))
        if upsampling == 2 and min(min(s.x_bits, s.y_bits) for s in self._streams) < 1:
            raise ParameterError(f"{path}: has no sub-pixel positions; use --eer-upsampling 1")
        self._path, self._upsampling = path, upsampling
        eer, frame_count = _fractionate(path, len(pages), fractions, raw_frames_per_frame)
        self._raw_per_frame = eer.raw_frames_per_frame
        # A raw frame has at most one event in a pixel, so that the sum cannot overflow.
        self._dtype = np.uint8 if self._raw_per_frame <= 255 else np.uint16
        notes = []
        if eer.leftover_raw_frames:
            notes.append(
                f"{frame_count} frames of {eer.raw_frames_per_frame} raw frames leave the last "
                f"{eer.leftover_raw_frames} of {eer.raw_frame_count} raw frames unused"
            )
        super().__init__(
            MovieInfo(
                path=os.fspath(path),
                file_format="eer",
                frame_count=frame_count,
                height_px=height_px * upsampling,
                width_px=width_px * upsampling,
                pixel_dtype=np.dtype(self._dtype).name,
                pixel_size_A=None if pixel_size_A is None else pixel_size_A / upsampling,
                size_bytes=path.stat().st_size,
                eer=EerInfo(
                    eer.raw_frame_count,
                    eer.raw_frames_per_frame,
                    eer.leftover_raw_frames,
                    upsampling,
                ),
                notes=tuple(notes),
            )
        )

    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`: events counted in pixels.

        A raw frame whose runs do not add up to the number of pixels is left out, and the problem
        says how many were; without a single good raw frame there are no pixels.
        """
        info = self.info
        image = np.zeros((info.height_px, info.width_px), self._dtype)
        first = index * self._raw_per_frame
        streams = self._streams[first : first + self._raw_per_frame]
        try:
            with self._path.open("rb") as file:
                broken = sum(not self._add_events(file, stream, image) for stream in streams)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read: {error.strerror}") from error
        if broken == len(streams):
            return RawFrame(index, None, f"none of its {broken} raw frames can be decoded")
        left_out = f"{broken} of {len(streams)} raw frames cannot be decoded and were left out"
        return RawFrame(index, image, left_out if broken else "")

    def _add_events(self, file: IO[bytes], stream: EventStream, image: npt.NDArray[Any]) -> bool:
        """Count the events of one raw frame into `image`; False if its bits make no sense."""
        width_px = self.info.width_px // self._upsampling
        pixel_count = image.size // self._upsampling**2
        file.seek(stream.offset_bytes)
        data = np.frombuffer(file.read(stream.size_bytes) + PADDING, np.uint8)
        sub_bits = stream.x_bits + stream.y_bits
        events = np.empty(8 * data.size // (stream.run_bits + sub_bits) + 1, np.int64)
        size_bytes = data.size - len(PADDING)
        # Loading numba takes longer than all that is asked of a header.
        from flexalign.io import eer_events

        count = eer_events.decode(data, size_bytes, stream.run_bits, sub_bits, pixel_count, events)
        if count < 0:
            return False
        eer_events.add_up(
            events[:count], stream.x_bits, stream.y_bits, width_px, self._upsampling, image
        )
        return True


def _fractionate(
    path: Path, raw_count: int, fractions: int, raw_per_frame: int | None
) -> tuple[EerInfo, int]:
    """How the raw frames are shared out, and the number of frames that they make."""
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
            f"{raw_count} raw frames; make more of them with --eer-fractions"
        )
    return EerInfo(raw_count, per_frame, raw_count - frame_count * per_frame, 1), frame_count


def _event_streams(path: Path, pages: list[tifffile.TiffPage]) -> list[EventStream]:
    """Where the raw frames are, once their sizes are known to agree."""
    size = (pages[0].imagelength, pages[0].imagewidth)
    streams = []
    for number, page in enumerate(pages, start=1):
        if (page.imagelength, page.imagewidth) != size or len(page.dataoffsets) != 1:
            raise InputError(
                f"{path}: expected raw frames of {size[1]} x {size[0]} in one piece, found "
                f"{page.imagewidth} x {page.imagelength} in {len(page.dataoffsets)} in raw frame "
                f"{number}"
            )
        codec = int(page.compression)
        run_bits, x_bits, y_bits = RUN_BITS[codec], SUB_PIXEL_BITS, SUB_PIXEL_BITS
        if codec == 65002:
            run_bits = int(page.tags.valueof(RUN_BITS_TAG, run_bits))
            x_bits = int(page.tags.valueof(X_BITS_TAG, x_bits))
            y_bits = int(page.tags.valueof(Y_BITS_TAG, y_bits))
        if not (2 <= run_bits <= 15 and 0 <= x_bits <= 4 and 0 <= y_bits <= 4):
            raise InputError(
                f"{path}: expected runs of 2 to 15 bits and positions of 0 to 4, found "
                f"{run_bits}, {x_bits} and {y_bits} in raw frame {number}"
            )
        streams.append(
            EventStream(page.dataoffsets[0], page.databytecounts[0], run_bits, x_bits, y_bits)
        )
    return streams


def metadata_of(page: tifffile.TiffPage) -> dict[str, tuple[str, str]]:
    """Value and unit ("" without one) of each item of the exposure's metadata, by its name.

    Parameters
    ----------
    page : the first one
    """
    metadata = page.tags.valueof(METADATA_TAG, b"")
    if not isinstance(metadata, bytes):
        return {}
    found = [
        [(group or b"").decode("utf-8", errors="replace").strip() for group in groups]
        for groups in ITEM.findall(metadata)
    ]
    return {name: (value, unit) for name, unit, value in found}


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
    except Exception as error:  # a broken TIFF is answered with whatever the parser stumbled over
        raise InputError(f"{path}: expected an EER file: {error}") from error


def _pixel_size_A(metadata: dict[str, tuple[str, str]]) -> float | None:
    """The pixel size at the specimen, of the detector's grid, where the metadata say it."""
    try:
        sides = [metadata[f"sensorPixelSize.{side}"] for side in ("width", "height")]
        if any(unit != "m" for _, unit in sides):
            return None
        width_A, height_A = (float(value) * 1e10 for value, _ in sides)
        return trusted_pixel_size_A(width_A, height_A)
    except (KeyError, ValueError):
        return None
