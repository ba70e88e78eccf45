"""Write images: MRC for micrographs and aligned movies, SPIDER for Xmipp's power spectra."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mrcfile.dtypes import HEADER_DTYPE

from flexalign import __version__
from flexalign.atomic import replacing
from flexalign.errors import ParameterError

MRC_LABEL_CHARACTERS = 80
MRC_LABELS = 10
MRC_MODES = {4: 2, 2: 12}  # of floats, by their size in bytes
SPIDER_HEADER_WORDS = 256
# Rows per block for the statistics.
_ROWS_PER_BATCH = 64


def write_mrc(
    path: str | Path,
    image: npt.ArrayLike,
    pixel_size_A: float | tuple[float, float],
    *,
    float16: bool = False,
    is_stack: bool = False,
    labels: Iterable[str] = (),
) -> None:
    """Write an image (h, w), or a stack or volume (t, h, w), as an MRC2014 file.

    The cell is the size times `pixel_size_A` along each axis, the origin zero, the statistics are
    filled in, and the first label names this program.

    Parameters
    ----------
    image : (h, w) or (t, h, w), real; becomes float32 (mode 2)
    pixel_size_A : of both axes, or (y, x); that along t is x's
    float16 : write 16-bit floats (mode 12) instead
    is_stack : (t, h, w) are images, not the sections of a volume
    labels : further lines for the header, cut to 80 ASCII characters each

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    ParameterError
        If a value is too large for a 16-bit float.
    """
    pixels = _as_float16(image) if float16 else np.asarray(image, dtype=np.float32)
    if pixels.ndim not in (2, 3):
        raise ValueError(f"expected an image (h, w) or a stack (t, h, w), found {pixels.shape}")
    header = new_header(pixels.shape, pixels.dtype.itemsize, pixel_size_A, is_stack, labels)
    header.dmin, header.dmax = pixels.min(), pixels.max()
    header.dmean, header.rms = _mean_and_deviation(pixels.reshape(-1, pixels.shape[-1]))
    # mrcfile's own writer leaves its file open when the disk is full.
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header.tobytes())
        file.write(np.ascontiguousarray(pixels).data)


def write_spider(path: str | Path, image: npt.ArrayLike) -> None:
    """Write an image (h, w) as a little-endian SPIDER file, as Xmipp reads and writes ``.psd``.

    The header is as many rows as hold 256 words, all words are float32, and the rows follow.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.

    References
    ----------
    SPIDER's description of its image files,
    https://spider-em.github.io/SPIDER/docs/image_doc.html
    """
    pixels = np.asarray(image, dtype="<f4")
    if pixels.ndim != 2:
        raise ValueError(f"expected an image (h, w), found {pixels.shape}")
    height, width = pixels.shape
    header_rows = -(-SPIDER_HEADER_WORDS // width)
    header = np.zeros(header_rows * width, dtype="<f4")
    words = {
        1: 1,  # slices
        2: height,
        3: header_rows + height,  # records
        5: 1,  # a two-dimensional image
        6: 1,  # the statistics below are valid
        7: pixels.max(),
        8: pixels.min(),
        9: pixels.mean(dtype=np.float64),
        10: pixels.std(dtype=np.float64),
        12: width,
        13: header_rows,
        21: 1,  # scale
        22: 4 * header.size,  # bytes of header
        23: 4 * width,  # bytes of one record
    }
    for location, value in words.items():  # counted from one in the format's description
        header[location - 1] = value
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header.tobytes())
        file.write(pixels.tobytes())


def axis_pixel_sizes_A(
    pixel_size_A: float, shape_px: tuple[int, int], binned_shape_px: tuple[int, ...]
) -> tuple[float, float]:
    """True pixel sizes (y, x) of an image of the whole field after rounding of its size.

    A side that is not divisible by the binning is rounded, so both may differ slightly.
    `flexalign.plan.Plan.output_pixel_size_A` is their geometric mean, for programs with one pixel
    size.

    Parameters
    ----------
    pixel_size_A, shape_px : of the unbinned field, (h, w)
    binned_shape_px : of the image, (..., h, w)

    Examples
    --------
    >>> axis_pixel_sizes_A(1.0, (101, 100), (50, 50))
    (2.02, 2.0)
    """
    (height, width), (binned_height, binned_width) = shape_px, binned_shape_px[-2:]
    return pixel_size_A * height / binned_height, pixel_size_A * width / binned_width


def new_header(
    shape: tuple[int, ...],
    item_bytes: int,
    pixel_size_A: float | tuple[float, float],
    is_stack: bool,
    labels: Iterable[str] = (),
) -> Any:
    """The header of an MRC2014 file of floats, little-endian, without statistics.

    Parameters
    ----------
    shape : (h, w) or (t, h, w)
    item_bytes : of one pixel
    pixel_size_A, is_stack, labels : as for `write_mrc`
    """
    header = np.zeros((), dtype=HEADER_DTYPE.newbyteorder("<")).view(np.recarray)
    sections = shape[0] if len(shape) == 3 else 1
    is_volume = len(shape) == 3 and not is_stack
    header.nz, header.ny, header.nx = sections, *shape[-2:]
    header.mz, header.my, header.mx = (sections if is_volume else 1), *shape[-2:]
    header.mode = MRC_MODES[item_bytes]
    header.ispg = 1 if is_volume else 0
    y_A, x_A = pixel_size_A if isinstance(pixel_size_A, tuple) else (pixel_size_A, pixel_size_A)
    for axis, size_A in zip("xyz", (x_A, y_A, x_A), strict=True):
        header.cella[axis] = header[f"m{axis}"] * size_A
    for angle in ("alpha", "beta", "gamma"):
        header.cellb[angle] = 90.0
    header.mapc, header.mapr, header.maps = 1, 2, 3
    header.nversion = 20141
    header.map = b"MAP "
    header.machst = (0x44, 0x44, 0, 0)
    lines = [f"flexalign {__version__}", *labels][:MRC_LABELS]
    header.nlabl = len(lines)
    for i, line in enumerate(lines):
        header.label[i] = line.encode("ascii", "replace")[:MRC_LABEL_CHARACTERS]
    return header


def _mean_and_deviation(rows: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation, some rows at a time to save memory."""
    moments = np.zeros(2)
    for first in range(0, len(rows), _ROWS_PER_BATCH):
        values = rows[first : first + _ROWS_PER_BATCH].astype(np.float64).ravel()
        moments += values.sum(), values @ values
    mean, square = moments / rows.size
    return float(mean), float(np.sqrt(max(square - mean**2, 0.0)))


def _as_float16(image: npt.ArrayLike) -> npt.NDArray[np.float16]:
    """`image` in 16-bit floats, refused when a value does not fit."""
    values = np.asarray(image)
    maximum = max(float(values.max()), -float(values.min()))
    limit = float(np.finfo(np.float16).max)
    if maximum > limit:
        raise ParameterError(
            f"expected values up to {limit:g} to write 16-bit floats, found {maximum:g}: "
            "write 32-bit floats instead (leave out `float16`)"
        )
    return values.astype(np.float16)
