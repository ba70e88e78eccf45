"""Move images along a displacement field with one cubic B-spline interpolation.

Sign: ``moved(p) = image(p + displacement(p))``, so that sampling a frame along the specimen's
displacement puts the specimen back where it was in the reference frame.
"""

from __future__ import annotations

import numpy as np

from flexalign.arrays import cpu
from flexalign.model import PixelArray


def lattice_nodes(size_px: int, step_px: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Coordinates 0, step, 2 step, ... of the lattice nodes that enclose `size_px` pixels.

    Examples
    --------
    >>> lattice_nodes(33, 16)
    array([ 0, 16, 32, 48])
    """
    return np.arange(0, (size_px - 1) // step_px + 2) * step_px


def spline_coefficients(image: PixelArray, threads: int = 1) -> PixelArray:
    """Coefficients (h, w) of the cubic B-spline through the pixels of `image` (h, w).

    The image goes on beyond its edges as its mirror image about the outermost pixels.
    `image` is left as it is.

    References
    ----------
    Unser, IEEE Signal Process. Mag. 16 (1999) 22, box 2.
    """
    rows = np.ascontiguousarray(image, dtype=np.float32)
    coefficients = np.empty_like(rows)
    height, width = rows.shape

    def along_x(start: int, stop: int) -> None:
        cpu.prefilter_rows(rows[start:stop], coefficients[start:stop])

    cpu.in_blocks(along_x, height, threads)
    cpu.in_blocks(cpu.prefilter_columns, width, threads, coefficients)
    return coefficients


def sample(
    coefficients: PixelArray,
    displacement_px: PixelArray,
    step_px: int,
    threads: int = 1,
    out: PixelArray | None = None,
) -> PixelArray:
    """The image behind spline `coefficients` (h, w) at p + displacement(p), for every pixel p.

    Parameters
    ----------
    coefficients : (h, w), from `spline_coefficients`
    displacement_px : (2, ny, nx) (y, x), at the nodes of `lattice_nodes`, linear in between
    step_px : distance between nodes
    out : (h, w) float32 to write to

    Raises
    ------
    ValueError
        If the lattice does not enclose the image.
    """
    height, width = coefficients.shape
    expected = (2, lattice_nodes(height, step_px).size, lattice_nodes(width, step_px).size)
    if displacement_px.shape != expected:
        raise ValueError(f"expected a lattice {expected}, found {displacement_px.shape}")
    moved = np.empty((height, width), np.float32) if out is None else out
    lattice = np.ascontiguousarray(displacement_px, dtype=np.float32)

    def sample_rows(start: int, stop: int) -> None:
        cpu.sample_rows(coefficients, lattice, step_px, moved[start:stop], start, stop)

    cpu.in_blocks(sample_rows, height, threads)
    return moved
