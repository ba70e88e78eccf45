"""TIFF and BigTIFF movies and images, one page per frame.

Rows run from the bottom up, as IMOD, RELION and MotionCor have it: the last row of the file
becomes row 0, unless the rows are asked for in the order of the file.
"""

from __future__ import annotations

import contextlib
import logging
import operator
import os
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile

from flexalign.errors import InputError
from flexalign.io.reader import (
    RawFrame,
    SeekableMovie,
    check_frame_count,
    trusted_pixel_size_A,
)
from flexalign.model import MovieInfo

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32")
REDUCED_PAGE = 1
ANGSTROM_PER_UNIT = {2: 2.54e8, 3: 1e8}  # resolution unit: inch, centimetre
ANGSTROM_PER_IMAGEJ_UNIT = {"nm": 10.0, "nanometer": 10.0, "angstrom": 1.0, "A": 1.0, "Å": 1.0}


@contextlib.contextmanager
def collected_messages() -> Iterator[list[str]]:
    """What tifffile logs in this thread meanwhile; none of it reaches the user."""
    messages: list[str] = []
    here = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != here:
            return True
        messages.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield messages
    finally:
        logger.removeFilter(collect)


def open_tiff(path: Path) -> tuple[tifffile.TiffFile, list[tifffile.TiffPage]]:
    """The file and all its pages; the caller closes the file.

    Raises
    ------
    InputError
        If the header or the chain of pages is broken, or data of a page lie past the end.
    """
    file = None
    try:
        with collected_messages() as messages:
            file = tifffile.TiffFile(path)
            # Frames may be read by several threads through this one handle.
            file.filehandle.set_lock(True)
            page_count = len(file.pages)
            # The class that follows the chain names itself in what it logs.
            if any("TiffPages" in message for message in messages):
                raise InputError(
                    f"{path}: expected a whole TIFF, found a broken chain of pages after page "
                    f"{page_count}; the file is truncated or damaged, transfer it again"
                )
            pages = [file.pages[index].aspage() for index in range(page_count)]
        _check_extent(path, pages, _directory_end(file, pages[-1]))
    except BaseException as error:
        if file is not None:
            file.close()
        if isinstance(error, InputError) or not isinstance(error, Exception):
            raise
        # tifffile answers broken headers with whatever its parser stumbled over.
        raise InputError(
            f"{path}: expected a TIFF, found a broken header ({error}); the file is truncated or "
            "damaged, transfer it again"
        ) from error
    return file, pages


def whole_pages(path: Path) -> list[tuple[int, int]]:
    """(height, width) of each page, from the first on, that is there as a whole.

    Of a file cut short those are counted whose tags and data lie before the cut; none, where the
    program that wrote it puts the tags at the end.
    """
    sizes: list[tuple[int, int]] = []
    found_bytes = path.stat().st_size
    with contextlib.suppress(Exception), collected_messages(), tifffile.TiffFile(path) as file:
        for number in range(len(file.pages)):
            page = file.pages[number].aspage()
            ends = map(operator.add, page.dataoffsets, page.databytecounts)
            if not page.dataoffsets or max(ends) > found_bytes:
                break
            sizes.append((int(page.imagelength), int(page.imagewidth)))
    return sizes


class PageFacts(NamedTuple):
    """What the first page of a file says.

    Attributes
    ----------
    compression : "none" without
    page_count : of the file
    pixel_size_A : where it can be trusted, else None
    """

    compression: str
    pixel_dtype: str
    page_count: int
    pixel_size_A: float | None


def first_page(path: Path) -> PageFacts:
    """What the first page of a file says.

    Raises
    ------
    InputError
        If the file is broken.
    """
    file, pages = open_tiff(path)
    with file:
        page = pages[0]
        name = str(getattr(page.compression, "name", page.compression)).lower()
        kind = "unknown" if page.dtype is None else np.dtype(page.dtype).name
        return PageFacts(name, kind, len(pages), pixel_size_A(page))


def _directory_end(file: tifffile.TiffFile, page: tifffile.TiffPage) -> int:
    """The offset in bytes at which the directory of tags of `page` ends."""
    form = file.tiff
    file.filehandle.seek(page.offset)
    (tag_count,) = struct.unpack(form.tagnoformat, file.filehandle.read(form.tagnosize))
    return int(page.offset + form.tagnosize + tag_count * form.tagsize + form.offsetsize)


def _check_extent(path: Path, pages: list[tifffile.TiffPage], end_bytes: int) -> None:
    """Raise `InputError` if a page has no data, or any lie beyond the end of the file.

    `end_bytes` is where the last directory ends, which tifffile does not look at.
    """
    for number, page in enumerate(pages, start=1):
        if not page.dataoffsets or min(page.databytecounts, default=0) <= 0:
            raise InputError(f"{path}: expected image data in page {number}, found none")
        ends = map(operator.add, page.dataoffsets, page.databytecounts)
        end_bytes = max(end_bytes, *ends)
    found_bytes = path.stat().st_size
    if end_bytes > found_bytes:
        raise InputError(
            f"{path}: expected at least {end_bytes} bytes for {len(pages)} pages, found "
            f"{found_bytes}; the file is truncated, transfer it again"
        )


def image_pages(path: Path, pages: list[tifffile.TiffPage]) -> list[tifffile.TiffPage]:
    """The pages that are frames: thumbnails left out, the rest of one size and kind.

    Raises
    ------
    InputError
        If sizes or kinds of pixels differ, or a page is in colour or of an unknown kind.
    """
    whole = [page for page in pages if not page.subfiletype & REDUCED_PAGE] or pages
    size = (whole[0].imagelength, whole[0].imagewidth)
    frames = [
        page
        for page in pages
        if not page.subfiletype & REDUCED_PAGE or (page.imagelength, page.imagewidth) == size
    ]
    for number, page in enumerate(frames, start=1):
        if page.samplesperpixel != 1 or page.photometric not in (0, 1):
            raise InputError(
                f"{path}: expected grey pages of one sample per pixel, found "
                f"{page.samplesperpixel} samples and photometric kind {page.photometric} in "
                f"page {number}; this is a picture, not a movie"
            )
        if page.dtype is None or page.dtype.name not in DTYPES:
            raise InputError(
                f"{path}: expected pixels of one of {', '.join(DTYPES)}, found {page.dtype} of "
                f"{page.bitspersample} bits in page {number}"
            )
        found = (page.imagelength, page.imagewidth)
        if found != size or page.dtype != frames[0].dtype:
            raise InputError(
                f"{path}: expected pages of one size and kind, found {size[1]} x {size[0]} "
                f"{frames[0].dtype} in page 1 and {found[1]} x {found[0]} {page.dtype} in page "
                f"{number}"
            )
    if min(size) <= 0:
        raise InputError(f"{path}: expected pages with pixels, found {size[1]} x {size[0]}")
    return frames


def read_page(page: tifffile.TiffPage, rows: str) -> npt.NDArray[Any]:
    """The pixels (h, w) of a page, rows in MRC order.

    Raises
    ------
    Exception
        Whatever the decoder says of broken data.
    """
    with collected_messages():
        pixels = np.asarray(page.asarray(maxworkers=1))
    pixels = pixels.reshape(page.imagelength, page.imagewidth)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    # Whoever works on the rows has them one after the other, in both passes.
    return np.ascontiguousarray(pixels[::-1]) if rows == "imod" else pixels


def pixel_size_A(page: tifffile.TiffPage) -> float | None:
    """The pixel size, if the resolution is that of a microscope image and not of a print."""
    with collected_messages():
        x, y = (page.tags.valueof(code) for code in (282, 283))
        unit = page.tags.valueof(296, 2)
        description = str(page.tags.valueof(270, ""))
    try:
        x_per_unit, y_per_unit = x[0] / x[1], y[0] / y[1]
    except (TypeError, ZeroDivisionError, IndexError):
        return None
    if min(x_per_unit, y_per_unit) <= 0:
        return None
    unit_A = ANGSTROM_PER_UNIT.get(int(unit))
    if description.startswith("ImageJ="):
        named = re.search(r"^unit=(\S+)", description, re.MULTILINE)
        unit_A = ANGSTROM_PER_IMAGEJ_UNIT.get(named.group(1)) if named else None
    if unit_A is None:
        return None
    return trusted_pixel_size_A(unit_A / x_per_unit, unit_A / y_per_unit)


class TiffMovie(SeekableMovie):
    """A TIFF stack, one page per frame."""

    def __init__(self, path: Path, *, rows: str = "imod") -> None:
        self._rows = rows
        self._file, pages = open_tiff(path)
        try:
            self._pages = image_pages(path, pages)
            check_frame_count(path, len(self._pages))
        except InputError:
            self._file.close()
            raise
        first, notes = self._pages[0], []
        if len(self._pages) < len(pages):
            notes.append(f"{len(pages) - len(self._pages)} thumbnail pages were left out")
        super().__init__(
            MovieInfo(
                path=os.fspath(path),
                file_format="tiff",
                frame_count=len(self._pages),
                height_px=first.imagelength,
                width_px=first.imagewidth,
                pixel_dtype=np.dtype(first.dtype).name,
                pixel_size_A=pixel_size_A(first),
                size_bytes=path.stat().st_size,
                notes=tuple(notes),
            )
        )

    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`."""
        try:
            return RawFrame(index, read_page(self._pages[index], self._rows))
        except Exception as error:  # each codec has exceptions of its own
            if self._file.filehandle.closed:
                raise ValueError(f"{self.info.path}: the movie is closed") from error
            return RawFrame(index, None, f"the frame cannot be decoded: {error}")

    def close(self) -> None:
        """Release the file."""
        self._file.close()
