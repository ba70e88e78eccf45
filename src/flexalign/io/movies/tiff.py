"""TIFF and BigTIFF files, one page per image, or all images behind one page.

Rows run from the bottom up, as IMOD, RELION and MotionCor have it: the last row of the file
becomes row 0, unless the order of the file is requested.
"""

from __future__ import annotations

import contextlib
import logging
import operator
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile

from flexalign.errors import FlexAlignError, InputError
from flexalign.io.movies.reader import trusted_pixel_size_A
from flexalign.io.movies.tiff_layout import are_contiguous, missing_data, planes_after_page

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32")
REDUCED_PAGE = 1
ANGSTROM_PER_UNIT = {2: 2.54e8, 3: 1e8}  # resolution unit: inch, centimetre
ANGSTROM_PER_IMAGEJ_UNIT = {"nm": 10.0, "nanometer": 10.0, "angstrom": 1.0, "A": 1.0, "Å": 1.0}


@contextlib.contextmanager
def collected_messages() -> Iterator[list[str]]:
    """Collect tifffile's log messages of this thread; the user does not see them."""
    messages: list[str] = []
    thread_id = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != thread_id:
            return True
        messages.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield messages
    finally:
        logger.removeFilter(collect)


@contextlib.contextmanager
def broken_tiff(path: Path) -> Iterator[None]:
    """Turn any error of the parser on a broken file into an `InputError`."""
    try:
        yield
    except FlexAlignError:
        raise
    except Exception as error:  # tags of wrong type or size raise errors of any type
        raise InputError(
            f"{path}: expected a TIFF, found a broken header ({error}); the file is truncated or "
            "damaged, transfer it again"
        ) from error


def open_tiff(path: Path) -> tuple[tifffile.TiffFile, list[tifffile.TiffPage]]:
    """Open a file with all its pages; the caller closes it.

    Raises
    ------
    InputError
        If the header or the chain of pages is broken, or data of a page lie past the end.
    """
    file = None
    try:
        with broken_tiff(path), collected_messages() as messages:
            file = tifffile.TiffFile(path)
            # Several threads may read frames through this handle.
            file.filehandle.set_lock(True)
            page_count = len(file.pages)
            # Log messages on the chain of pages begin with the name of the class.
            if any("TiffPages" in message for message in messages):
                raise InputError(
                    f"{path}: expected a whole TIFF, found a broken chain of pages after page "
                    f"{page_count}; the file is truncated or damaged, transfer it again"
                )
            pages = [file.pages[index].aspage() for index in range(page_count)]
            _check_extent(path, pages, _directory_end(file, pages[-1]))
    except BaseException:
        if file is not None:
            file.close()
        raise
    return file, pages


def whole_pages(path: Path) -> list[tuple[int, int]]:
    """(height, width) of each complete image, from the first on.

    In a truncated file these are the images whose tags and data are complete; none if the tags are
    at the end of the file.
    """
    sizes: list[tuple[int, int]] = []
    found_bytes = path.stat().st_size
    with contextlib.suppress(Exception), collected_messages(), tifffile.TiffFile(path) as file:
        for number in range(len(file.pages)):
            page = file.pages[number].aspage()
            ends = map(operator.add, page.dataoffsets, page.databytecounts)
            if missing_data(page) or max(ends) > found_bytes:
                break
            sizes.append((int(page.imagelength), int(page.imagewidth)))
        if len(sizes) == 1 and len(file.pages) == 1 and are_contiguous(page):
            image_count_in_file = (found_bytes - int(page.dataoffsets[0])) // int(page.nbytes)
            sizes *= min(planes_after_page(page), image_count_in_file)
    return sizes


class PageFacts(NamedTuple):
    """Facts from the first page of a file.

    Attributes
    ----------
    compression : "none" without
    page_count : of the file, including frames stored after its only page
    pixel_size_A : where it can be trusted, else None
    """

    compression: str
    pixel_dtype: str
    page_count: int
    pixel_size_A: float | None


def first_page(path: Path) -> PageFacts:
    """Facts from the first page of a file.

    Raises
    ------
    InputError
        If the file is broken.
    """
    file, pages = open_tiff(path)
    with file, broken_tiff(path):
        page = pages[0]
        name = str(getattr(page.compression, "name", page.compression)).lower()
        kind = "unknown" if page.dtype is None else np.dtype(page.dtype).name
        return PageFacts(name, kind, image_count(path, pages), pixel_size_A(page))


def _directory_end(file: tifffile.TiffFile, page: tifffile.TiffPage) -> int:
    """The offset in bytes at which the directory of tags of `page` ends."""
    form = file.tiff
    file.filehandle.seek(page.offset)
    (tag_count,) = struct.unpack(form.tagnoformat, file.filehandle.read(form.tagnosize))
    return int(page.offset + form.tagnosize + tag_count * form.tagsize + form.offsetsize)


def _check_extent(path: Path, pages: list[tifffile.TiffPage], end_bytes: int) -> None:
    """Raise `InputError` if data of a page lie beyond the end of the file or overlap.

    `end_bytes` is the end of the last directory, which tifffile does not check.
    """
    found_bytes = path.stat().st_size
    for number, page in enumerate(pages, start=1):
        ends = map(operator.add, page.dataoffsets, page.databytecounts)
        end_bytes = max(end_bytes, *ends, 0)
        if sum(page.databytecounts) > found_bytes >= end_bytes:
            raise InputError(
                f"{path}: expected the data of page {number} in pieces side by side, found "
                f"{sum(page.databytecounts)} bytes in a file of {found_bytes}; it is damaged, "
                "transfer it again"
            )
    if end_bytes > found_bytes:
        raise InputError(
            f"{path}: expected at least {end_bytes} bytes for {len(pages)} pages, found "
            f"{found_bytes}; the file is truncated, transfer it again"
        )


def image_count(path: Path, pages: list[tifffile.TiffPage]) -> int:
    """The number of images: one per page, or those stored after the only page.

    Raises
    ------
    InputError
        If the only page declares more images than there are.
    """
    count = planes_after_page(pages[0]) if len(pages) == 1 else len(pages)
    if count == len(pages):
        return count
    page = pages[0]
    if not are_contiguous(page):
        raise InputError(
            f"{path}: expected {count} images one after the other, as its description says, found "
            "one page that is compressed or in pieces; save the stack again with one page per image"
        )
    needed_bytes = int(page.dataoffsets[0]) + count * int(page.nbytes)
    found_bytes = path.stat().st_size
    if needed_bytes > found_bytes:
        raise InputError(
            f"{path}: expected {needed_bytes} bytes for the {count} images that its description "
            f"declares, found {found_bytes}; the file is truncated, transfer it again"
        )
    return count


def image_pages(path: Path, pages: list[tifffile.TiffPage]) -> list[tifffile.TiffPage]:
    """The pages that are frames, without thumbnails; all of one size and type.

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


def read_page(page: tifffile.TiffPage, rows: str, plane: int = 0) -> npt.NDArray[Any]:
    """The pixels (h, w) of a page, or of an image stored after the only page; rows in MRC order.

    Raises
    ------
    Exception
        Any error of the decoder on broken data, and ValueError if data are missing.
    """
    with collected_messages():
        if missing := missing_data(page):
            raise ValueError(missing)
        pixels = (
            np.asarray(page.asarray(maxworkers=1)) if plane == 0 else _plane_after_page(page, plane)
        )
    pixels = pixels.reshape(page.imagelength, page.imagewidth)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    # Contiguous rows, for both passes.
    return np.ascontiguousarray(pixels[::-1]) if rows == "imod" else pixels


def _plane_after_page(page: tifffile.TiffPage, plane: int) -> npt.NDArray[Any]:
    """The pixels of image number `plane` after the only page."""
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    offset_bytes = int(page.dataoffsets[0]) + plane * int(page.nbytes)
    count = int(page.imagelength) * int(page.imagewidth)
    return np.fromfile(page.parent.filehandle.path, dtype, count, offset=offset_bytes)


def pixel_size_A(page: tifffile.TiffPage) -> float | None:
    """The pixel size, if the resolution tag is that of a microscope image and not of a print."""
    with collected_messages():
        x, y = (page.tags.valueof(code) for code in (282, 283))
        unit = page.tags.valueof(296, 2)
        description = str(page.tags.valueof(270, ""))
    try:
        x_per_unit, y_per_unit = float(x[0] / x[1]), float(y[0] / y[1])
        unit = int(unit)
    except (TypeError, ValueError, ZeroDivisionError, IndexError, OverflowError):
        return None
    if min(x_per_unit, y_per_unit) <= 0:
        return None
    unit_A = ANGSTROM_PER_UNIT.get(unit)
    if description.startswith("ImageJ="):
        named = re.search(r"^unit=(\S+)", description, re.MULTILINE)
        unit_A = ANGSTROM_PER_IMAGEJ_UNIT.get(named.group(1)) if named else None
    if unit_A is None:
        return None
    return trusted_pixel_size_A(unit_A / x_per_unit, unit_A / y_per_unit)
