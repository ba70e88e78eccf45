"""The raw frames of an EER file: location, bit format and events.

Each raw frame is a stream of bits, lowest first: a run of pixels without an event, then the event's
place within its pixel, first x then y, each a signed number in units of 1/2**bits pixel. The
longest run that fits means "no event yet, go on".  After it most programs write the next run; some
that use codec 65000 write a place there too, which means nothing.

References
----------
Guo et al., IUCrJ 7 (2020) 860 (Electron-event representation data).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile

from flexalign.errors import InputError
from flexalign.io.movies.tiff_layout import EVENT_CODECS
from flexalign.packed_frame import PADDING

RUN_BITS_TAG, X_BITS_TAG, Y_BITS_TAG = 65007, 65008, 65009
RUN_BITS = dict(zip(EVENT_CODECS, (8, 7, 7), strict=True))
SUB_PIXEL_BITS = 2
# Programs pad a raw frame to a multiple of 64 bits.
WORD_BYTES = 8
# More unused bytes than this at the end of every raw frame are neither padding nor a marker.
MAX_SPARE_BYTES = 64
# Number of raw frames read to determine the style of a file.
PROBED_FRAMES = 16


@dataclass(frozen=True, slots=True)
class EventStream:
    """Location of one raw frame in the file, and its bit format.

    Attributes
    ----------
    pieces : offset and size in bytes of each strip, in order
    may_keep_places : whether there may be a place after the longest run too
    """

    pieces: tuple[tuple[int, int], ...]
    run_bits: int
    x_bits: int
    y_bits: int
    may_keep_places: bool = False

    @property
    def size_bytes(self) -> int:
        """Size of all strips."""
        return sum(size for _, size in self.pieces)

    @property
    def max_pixels(self) -> int:
        """Upper bound of the number of pixels that the bits can encode."""
        return 8 * self.size_bytes // self.run_bits * ((1 << self.run_bits) - 1)


def event_streams(path: Path, pages: Sequence[tifffile.TiffPage]) -> list[EventStream]:
    """The streams of all raw frames, checked for consistent sizes.

    Raises
    ------
    InputError
        If sizes differ, numbers of bits are invalid, or no raw frame is long enough for its size.
    """
    size = (int(pages[0].imagelength), int(pages[0].imagewidth))
    if min(size) <= 0:
        raise InputError(f"{path}: expected raw frames with pixels, found {size[1]} x {size[0]}")
    streams = []
    for number, page in enumerate(pages, start=1):
        if (page.imagelength, page.imagewidth) != size:
            raise InputError(
                f"{path}: expected raw frames of {size[1]} x {size[0]}, found "
                f"{page.imagewidth} x {page.imagelength} in raw frame {number}"
            )
        streams.append(_stream(path, number, page))
    if all(stream.max_pixels < size[0] * size[1] for stream in streams):
        raise InputError(
            f"{path}: expected raw frames of {size[1]} x {size[0]}, found none with events enough "
            "to fill that; the file is damaged, transfer it again"
        )
    return streams


def _stream(path: Path, number: int, page: tifffile.TiffPage) -> EventStream:
    """The stream of one page."""
    codec = int(page.compression)
    bits = (RUN_BITS[codec], SUB_PIXEL_BITS, SUB_PIXEL_BITS)
    if codec == 65002:
        tags = (RUN_BITS_TAG, X_BITS_TAG, Y_BITS_TAG)
        values = [
            page.tags.valueof(tag, standard) for tag, standard in zip(tags, bits, strict=True)
        ]
        bits = (int(values[0]), int(values[1]), int(values[2]))
    if not (2 <= bits[0] <= 15 and 0 <= bits[1] <= 4 and 0 <= bits[2] <= 4):
        raise InputError(
            f"{path}: expected runs of 2 to 15 bits and positions of 0 to 4, found "
            f"{bits[0]}, {bits[1]} and {bits[2]} in raw frame {number}"
        )
    offsets, sizes_bytes = map(int, page.dataoffsets), map(int, page.databytecounts)
    return EventStream(tuple(zip(offsets, sizes_bytes, strict=False)), *bits, codec == 65000)


class Style(NamedTuple):
    """Encoding style of the program that wrote a file.

    Attributes
    ----------
    keeps_places : whether sub-pixel bits follow the longest run too
    spare_bytes : maximum of unused bytes after the last pixel of a complete raw frame
    """

    keeps_places: bool = False
    spare_bytes: int = WORD_BYTES


class Decoded(NamedTuple):
    """The events of one raw frame whose runs add up to the number of pixels.

    Attributes
    ----------
    events : pixel << bits of the place | place
    spare_bytes : unused bytes after the last pixel, padding excluded
    """

    events: npt.NDArray[np.int64]
    spare_bytes: int


def events_of(
    content: bytes | npt.NDArray[np.uint8], stream: EventStream, pixel_count: int, style: Style
) -> npt.NDArray[np.int64] | None:
    """The events of a raw frame, pixel << sub-pixel bits | sub-pixel position; None if broken.

    It is complete if its runs add up to the number of pixels and use up its bytes.

    Parameters
    ----------
    content : from `read_stream`
    """
    found = _decoded(content, stream, pixel_count, keeps_places=style.keeps_places)
    return None if found is None or found.spare_bytes > style.spare_bytes else found.events


def _decoded(
    content: bytes | npt.NDArray[np.uint8],
    stream: EventStream,
    pixel_count: int,
    *,
    keeps_places: bool,
) -> Decoded | None:
    """The events of a raw frame; None when its runs do not add up to the number of pixels."""
    # Imported here: loading numba takes longer than reading all headers.
    from flexalign.io.movies import eer_events

    if stream.max_pixels < pixel_count:
        return None
    data = np.frombuffer(content, np.uint8)
    size_bytes, sub_bits = data.size - len(PADDING), stream.x_bits + stream.y_bits
    events = np.empty(8 * data.size // (stream.run_bits + sub_bits) + 1, np.int64)
    count, used_bits = eer_events.decode(
        data, size_bytes, stream.run_bits, sub_bits, keeps_places, pixel_count, events
    )
    spare = data[-(-used_bits // 8) : size_bytes]
    is_filling = spare.size == 0 or (spare[0] in (0, 255) and bool((spare == spare[0]).all()))
    return None if count < 0 else Decoded(events[:count], 0 if is_filling else spare.size)


def read_stream(file: IO[bytes], stream: EventStream) -> bytes:
    """The bytes of a raw frame, its strips joined and `PADDING` added."""
    parts = []
    for offset_bytes, size_bytes in stream.pieces:
        file.seek(offset_bytes)
        parts.append(file.read(size_bytes))
    return b"".join((*parts, PADDING))


def find_style(path: Path, streams: Sequence[EventStream], pixel_count: int) -> Style:
    """The style of a file, by majority vote of its first raw frames.

    Broken raw frames, and those without a longest run, do not vote.
    """
    votes, standard_spare, other_spare = 0, [], []
    with path.open("rb") as file:
        for stream in streams[:PROBED_FRAMES]:
            content = read_stream(file, stream)
            standard = _decoded(content, stream, pixel_count, keeps_places=False)
            other = None
            if stream.may_keep_places:
                other = _decoded(content, stream, pixel_count, keeps_places=True)
            spare = [MAX_SPARE_BYTES if d is None else d.spare_bytes for d in (standard, other)]
            votes += (spare[1] < spare[0]) - (spare[0] < spare[1])
            standard_spare.append(spare[0])
            other_spare.append(spare[1])
    spare_bytes = sorted(other_spare if votes > 0 else standard_spare)
    typical = spare_bytes[(len(spare_bytes) - 1) // 2]
    # If most are broken, the normal number of spare bytes is unknown.
    return Style(votes > 0, WORD_BYTES + (typical if typical < MAX_SPARE_BYTES else 0))


def count_into(
    image: npt.NDArray[Any], events: npt.NDArray[np.int64], stream: EventStream, upsampling: int
) -> None:
    """Add one to the pixel of each event of (h, w) `image`."""
    from flexalign.io.movies import eer_events

    width_px = image.shape[1] // upsampling
    eer_events.add_up(events, stream.x_bits, stream.y_bits, width_px, upsampling, image)
