"""Move images along a displacement field with one cubic B-spline interpolation.

Sign: ``moved(p) = image(p + displacement(p))``, so that sampling a frame along the specimen's
displacement puts the specimen back where it was in the reference frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flexalign.arrays.kernels import raw_frames, warp
from flexalign.arrays.threads import ThreadPool
from flexalign.model import PixelArray

_TILE_PX = (128, 512)


def lattice_nodes(size_px: int, step_px: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Coordinates 0, step, 2 step, ... of the lattice nodes that enclose `size_px` pixels.

    Examples
    --------
    >>> lattice_nodes(33, 16)
    array([ 0, 16, 32, 48])
    """
    return np.arange(0, (size_px - 1) // step_px + 2) * step_px


def lattice_for_loops(displacement_px: PixelArray, shape_px: tuple[int, int]) -> PixelArray:
    """A displacement (2, ny, nx) clipped for the compiled loops, which turn it into indices.

    Displacements larger than the image (h, w) are clipped to its size.

    Raises
    ------
    ValueError
        If the displacement is not finite somewhere.
    """
    if not np.isfinite(displacement_px).all():
        raise ValueError("expected a finite displacement everywhere")
    maximum = np.reshape(np.array(shape_px, np.float32), (2, 1, 1))
    return np.ascontiguousarray(np.clip(displacement_px, -maximum, maximum), dtype=np.float32)


def spline_coefficients(image: PixelArray, threads: int = 1) -> PixelArray:
    """Coefficients (h, w) of the cubic B-spline through the pixels of `image` (h, w).

    The image is mirrored about its outermost pixels.
    `image` is not changed.

    References
    ----------
    Unser, IEEE Signal Process. Mag. 16 (1999) 22, box 2.
    """
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    coefficients = np.empty_like(pixels)

    def fill(top: int, bottom: int, left: int, right: int) -> None:
        around = _cut(
            pixels, top - warp.WARM_UP_PX, bottom + warp.WARM_UP_PX,
            left - warp.REACH_PX, right + warp.REACH_PX,
        )  # fmt: skip
        found = np.empty((len(around), right - left), np.float32)
        warp.filter_tile(around, found)
        coefficients[top:bottom, left:right] = found[warp.WARM_UP_PX : -warp.WARM_UP_PX]

    _for_tiles(fill, pixels.shape, threads)
    return coefficients


def sample(
    coefficients: PixelArray,
    displacement_px: PixelArray,
    step_px: int,
    threads: int = 1,
    out: PixelArray | None = None,
) -> PixelArray:
    """The spline image with `coefficients` (h, w), at p + displacement(p) for every pixel p.

    Parameters
    ----------
    coefficients : (h, w), from `spline_coefficients`
    displacement_px : (2, ny, nx) (y, x), at the nodes of `lattice_nodes`, linear in between
    step_px : distance between nodes
    out : (h, w) float32 to write to

    Raises
    ------
    ValueError
        If the lattice does not enclose the image, or is not finite.
    """
    height, width = coefficients.shape
    expected = (2, lattice_nodes(height, step_px).size, lattice_nodes(width, step_px).size)
    if displacement_px.shape != expected:
        raise ValueError(f"expected a lattice {expected}, found {displacement_px.shape}")
    moved = np.empty((height, width), np.float32) if out is None else out
    lattice = lattice_for_loops(displacement_px, (height, width))

    def fill(top: int, bottom: int, left: int, right: int) -> None:
        span = np.array([top, bottom, left, right])
        warp.span_of_tile(lattice, step_px, top, left, span)
        found = np.empty((bottom - top, right - left), np.float32)
        around = _cut(coefficients, *span)
        warp.sample_tile(around, span[0], span[2], lattice, step_px, top, left, found)
        moved[top:bottom, left:right] = found

    _for_tiles(fill, (height, width), threads)
    return moved


def _cut(image: PixelArray, top: int, bottom: int, left: int, right: int) -> PixelArray:
    """Section of an image, mirrored where it extends beyond the edges."""
    nothing, no_pixels = np.empty((0, 0), np.float32), np.empty(0, np.int64)
    part = np.empty((bottom - top, right - left), np.float32)
    no_starts = np.zeros(len(image) + 1, np.int64)
    raw_frames.correct_tile(
        image, nothing, nothing, no_starts, no_pixels, nothing.ravel(), top, left, part
    )
    return part


def _for_tiles(
    work: Callable[[int, int, int, int], None], shape_px: tuple[int, ...], threads: int
) -> None:
    """Call ``work(top, bottom, left, right)`` on tiles that cover an image."""
    height, width = shape_px

    def in_rows(top: int, bottom: int) -> None:
        for left in range(0, width, _TILE_PX[1]):
            work(top, bottom, left, min(left + _TILE_PX[1], width))

    with ThreadPool(threads) as workers:
        workers.share(height, _TILE_PX[0], in_rows)
