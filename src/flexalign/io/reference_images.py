"""Read single images: the references of a detector, as files or arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.io import digital_micrograph
from flexalign.io.movies import mrc, tiff
from flexalign.io.movies.reader import TIFF_MAGIC, read_head
from flexalign.model import MovieInfo, PixelArray

# Non-finite pixels are handled by the callers; numpy need not warn.
IGNORE_NON_FINITE = np.errstate(over="ignore", invalid="ignore", divide="ignore")


@IGNORE_NON_FINITE
def read_image(path: str | Path, *, tiff_rows: str = "imod") -> PixelArray:
    """The single image (h, w) in an MRC, TIFF, .gain, .dm3 or .dm4 file, rows in MRC order.

    Of a ``.gain`` with several pages it is the first.  The array is the caller's, to write to.

    Raises
    ------
    InputError
        If the file is none of these, is broken, or holds several images.
    """
    path = Path(path)
    head = read_head(path)
    if head.startswith(TIFF_MAGIC):
        return _read_tiff(path, tiff_rows)
    if digital_micrograph.is_digital_micrograph(head):
        image = digital_micrograph.read_dm_image(path)
        return np.flipud(image) if tiff_rows == "imod" else image
    if not mrc.is_mrc(path, head):
        raise InputError(f"{path}: expected an image in MRC, TIFF or DM4, found an unknown format")
    return mrc.read_image(path).astype(np.float32, copy=False)


def image_size_px(path: str | Path) -> tuple[int, int] | None:
    """(height, width) of a reference image as stored; None if it cannot be read.

    Reading the image reports the error.
    """
    path = Path(path)
    try:
        head = read_head(path)
        if head.startswith(TIFF_MAGIC):
            return next(iter(tiff.whole_pages(path)), None)
        if digital_micrograph.is_digital_micrograph(head):
            return digital_micrograph.dm_size_px(path)
        header = mrc.read_header(path)
    except InputError:
        return None
    return header.height_px, header.width_px


def _read_tiff(path: Path, tiff_rows: str) -> PixelArray:
    """The single image of a TIFF file."""
    file, pages = tiff.open_tiff(path)
    with file, tiff.broken_tiff(path):
        images = tiff.image_pages(path, pages[:1] if path.suffix.lower() == ".gain" else pages)
        if (count := tiff.image_count(path, images)) != 1:
            raise InputError(f"{path}: expected a single image, found {count}")
        try:
            return tiff.read_page(images[0], tiff_rows).astype(np.float32, copy=False)
        except Exception as error:  # each codec has exceptions of its own
            raise InputError(
                f"{path}: the image cannot be decoded ({error}); transfer it again"
            ) from error


def read_for(movie: MovieInfo, path: Path, tiff_rows: str) -> PixelArray:
    """A reference image, its rows in the order of the movie's."""
    is_as_stored = movie.file_format == "eer" and path.suffix.lower() == ".gain"
    return read_image(path, tiff_rows="file" if is_as_stored else tiff_rows)


def reference_image(image: npt.ArrayLike, name: str) -> PixelArray:
    """A copy of a reference (h, w) that was given as an array.

    Parameters
    ----------
    name : of the parameter, for messages

    Raises
    ------
    InputError
        If it is not an image of real numbers.
    """
    found = np.asarray(image)
    if found.ndim != 2 or found.dtype.kind not in "biuf":
        raise InputError(
            f"{name}: expected an array (y, x) of real numbers, found {found.dtype} of shape "
            f"{found.shape}"
        )
    return np.array(found, dtype=np.float32)
