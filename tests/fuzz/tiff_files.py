"""What tests of damaged TIFF and EER files share."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import tifffile

from flexalign.io.movies.open_movie import open_for
from flexalign.params import AlignParams

# What Python and NumPy need for any small file, beside what its size justifies.
SPARE_BYTES = 8_000_000


def places(content: bytes) -> list[int]:
    """Where the tags have their codes, types, counts and values, also those that lie elsewhere."""
    found = []
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for page in file.pages:
            for tag in page.tags:
                value = tag.offset + (12 if file.is_bigtiff else 8)
                found += [tag.offset, tag.offset + 2, tag.offset + 4, value, tag.valueoffset]
    return found


def with_other_types(content: bytes, page: int, types: range | tuple[int, ...]) -> Iterator[bytes]:
    """The file with each tag of a page in turn declared to be of each of the types."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        offsets = [tag.offset + 2 for tag in file.pages[page].tags]
    for offset in offsets:
        for number in types:
            yield content[:offset] + struct.pack("<H", number) + content[offset + 2 :]


def read_whole(path: Path, params: AlignParams) -> None:
    """Every frame of a movie, which has the size that was said, or a problem."""
    with open_for(path, params) as movie:
        shape = (movie.info.height_px, movie.info.width_px)
        for frame in movie.frames():
            assert frame.problem or (frame.pixels is not None and frame.pixels.shape == shape)
