"""Check the tags of a TIFF page against the file.

References
----------
TIFF 6.0 (Aldus, 1992) for strips and tiles; IMOD's library for the packed files of SerialEM and the
stacks of ImageJ, https://bio3d.colorado.edu/imod.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile

# Compression codes of EER raw frames, which are lists of events in any number of strips.
EVENT_CODECS = (65000, 65001, 65002)
NO_COMPRESSION = 1
# Maximum compression ratio of a frame with counts by LZW, Deflate or the like.
MAX_RATIO = 4000
# SerialEM's mark of two 4-bit counts per byte.  IMOD writes "4-bits" once they are unpacked.
PACKED_WORDS = "4 bits packed"
# Tolerance between the means of both 4-bit halves, if each is a count.
_ALIKE_SHARE = 0.15
# Minimum counts for a decision, and maximum mean for 4 bits.
_MIN_COUNTED = 100
_MAX_MEAN_COUNTS = 4.0
_SAMPLED_ROWS = 64


def is_of_events(page: tifffile.TiffPage) -> bool:
    """Whether a page is a raw frame of an EER movie."""
    return int(page.compression) in EVENT_CODECS


def missing_data(page: tifffile.TiffPage) -> str:
    """Description of missing data of a page, "" if complete."""
    found, sizes_bytes = len(page.dataoffsets), page.databytecounts
    if is_of_events(page):
        return "" if found and sum(sizes_bytes) > 0 else "it has no events"
    pieces = _pieces(page)
    found = min(found, len(sizes_bytes))
    if found < pieces.needed:
        return f"its size needs {pieces.needed} {pieces.what}, but there are {found}"
    offsets, sizes_bytes = page.dataoffsets[: pieces.needed], sizes_bytes[: pieces.needed]
    empty = sum(min(place) <= 0 for place in zip(offsets, sizes_bytes, strict=True))
    if empty:
        return f"{empty} of its {pieces.needed} {pieces.what} have no data"
    if int(page.compression) != NO_COMPRESSION:
        is_short = pieces.needed * pieces.bytes > MAX_RATIO * sum(sizes_bytes)
        size = f"{page.imagewidth} x {page.imagelength} pixels"
        return f"its {sum(sizes_bytes)} compressed bytes cannot hold {size}" if is_short else ""
    short = sum(size < pieces.bytes for size in sizes_bytes[:-1])
    short += sizes_bytes[-1] < pieces.last_bytes
    return f"{short} of its {pieces.needed} {pieces.what} are shorter than their rows" * bool(short)


class _Pieces(NamedTuple):
    """The expected strips or tiles of a page, and their uncompressed sizes."""

    what: str
    needed: int
    bytes: int
    last_bytes: int


def _pieces(page: tifffile.TiffPage) -> _Pieces:
    """The expected pieces of a page."""
    height, width = int(page.imagelength), int(page.imagewidth)

    def size_bytes(rows: int, columns: int) -> int:
        return rows * -(-columns * int(page.samplesperpixel) * int(page.bitspersample) // 8)

    if page.is_tiled:
        rows, columns = int(page.tilelength), int(page.tilewidth)
        tile_bytes = size_bytes(rows, columns)
        return _Pieces("tiles", -(-height // rows) * -(-width // columns), tile_bytes, tile_bytes)
    rows = min(int(page.rowsperstrip) or height, height)
    count = -(-height // rows)
    last_bytes = size_bytes(height - (count - 1) * rows, width)
    return _Pieces("strips", count, size_bytes(rows, width), last_bytes)


def planes_after_page(page: tifffile.TiffPage) -> int:
    """Number of consecutive images declared by the only page of a file; 1 for itself.

    ImageJ writes stacks of more than 4 GB like this; tifffile can too.
    """
    description = str(page.description)
    if description.startswith("ImageJ="):
        declared = re.search(r"^images=(\d{1,9})\s*$", description, re.MULTILINE)
        return max(1, int(declared.group(1))) if declared else 1
    if description.startswith('{"shape":'):
        return _planes_of_shape(description)
    return 1


def _planes_of_shape(description: str) -> int:
    """The number of planes in tifffile's JSON description."""
    try:
        declared = json.loads(description)
        shape = [int(length) for length in declared["shape"]]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return 1
    return max(1, math.prod(shape[:-2])) if declared.get("truncated") and len(shape) > 2 else 1


def are_contiguous(page: tifffile.TiffPage) -> bool:
    """Whether the pixels of a page are stored uncompressed and contiguously."""
    return bool(page.is_contiguous and page.predictor == 1 and page.fillorder == 1)


def is_declared_packed(page: tifffile.TiffPage) -> bool:
    """Whether SerialEM stored two 4-bit counts in each byte of a page.

    If another program has added a title, it has unpacked them.
    """
    lines = str(page.description).splitlines()
    if not holds_bytes(page) or PACKED_WORDS not in str(page.description):
        return False
    return not any(re.match(r"[^\s:]+:", line) for line in lines[1:])


def holds_bytes(page: tifffile.TiffPage) -> bool:
    """Whether the pixels are unsigned bytes, which may hold two counts each."""
    return page.dtype == np.uint8 and int(page.bitspersample) == 8


def unpacked(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The 4-bit counts (h, 2 w) in bytes (h, w), low half first."""
    both = np.empty((pixels.shape[0], 2 * pixels.shape[1]), np.uint8)
    both[:, 0::2] = pixels & 15
    both[:, 1::2] = pixels >> 4
    return both


def seem_packed(pixels: npt.NDArray[Any]) -> bool:
    """Whether both halves of the bytes (h, w) have the statistics of 4-bit counts.

    In an 8-bit count the upper half is nearly always zero at low counts, and varies less than the
    lower one at high counts.

    Examples
    --------
    >>> counts = np.random.default_rng(1).poisson(0.5, (64, 128)).astype(np.uint8)
    >>> seem_packed(counts), seem_packed(counts[:, 0::2] | counts[:, 1::2] << 4)
    (False, True)
    """
    some = pixels[:: max(1, len(pixels) // _SAMPLED_ROWS)]
    values = np.bincount(some.ravel(), minlength=256).reshape(16, 16)
    low, high = values.sum(axis=0), values.sum(axis=1)
    counted = int(low[1:].sum())
    if counted < _MIN_COUNTED or low @ np.arange(16) > _MAX_MEAN_COUNTS * some.size:
        return False
    return bool(np.abs(low[1:] - high[1:]).sum() < _ALIKE_SHARE * 2 * counted)
