"""Images kept as 16-bit floats, which take half the memory, in compiled loops.

numba knows no 16-bit floats on a CPU, so that loops are given their bits; one loop serves images of
either kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

from flexalign.arrays.kernels import from_half, rounded_to_half


def stored(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images as the loops take them: 16-bit floats as their bits, others as they are.

    Examples
    --------
    >>> stored(np.array([1, -2], np.float16))
    array([15360, 49152], dtype=uint16)
    """
    return images.view(np.uint16) if images.dtype == np.float16 else images


def number(pixel: Any) -> Any:
    """The float32 that a pixel of a stored image stands for."""
    return from_half(pixel) if isinstance(pixel, np.uint16) else pixel


@overload(number, inline="always")
def _number(pixel):  # type: ignore[no-untyped-def]
    """`number` in compiled loops, where the kind of a pixel is known beforehand."""
    if pixel == types.uint16:
        return lambda pixel: from_half(pixel)
    return lambda pixel: pixel


def as_pixel(value: Any, row: Any) -> Any:
    """A float32 as a pixel of a `row` of a stored image."""
    return rounded_to_half(value) if row.dtype == np.uint16 else value


@overload(as_pixel, inline="always")
def _as_pixel(value, row):  # type: ignore[no-untyped-def]
    """`as_pixel` in compiled loops."""
    if row.dtype == types.uint16:
        return lambda value, row: rounded_to_half(value)
    return lambda value, row: value


@njit(nogil=True, cache=True, fastmath=True)
def widen(image, out):  # type: ignore[no-untyped-def]
    """Fill `out` (h, w) float32 with a stored image."""
    for y in range(out.shape[0]):
        row, to = image[y], out[y]
        for x in range(to.size):
            to[x] = number(row[x])


@njit(nogil=True, cache=True, fastmath=True)
def store(image, level, is_more, out):  # type: ignore[no-untyped-def]
    """Set a stored image `out` (h, w) to ``image - level``, or add that to what it holds."""
    for y in range(out.shape[0]):
        store_row(image[y], level, is_more, out[y])


@njit(nogil=True, fastmath=True, inline="always")
def store_row(row, level, is_more, out):  # type: ignore[no-untyped-def]
    """Set a row `out` (w,) of a stored image to ``row - level``, or add that to what it holds."""
    if is_more:
        for x in range(out.size):
            out[x] = as_pixel(number(out[x]) + (row[x] - level), out)
    else:
        for x in range(out.size):
            out[x] = as_pixel(row[x] - level, out)


@njit(nogil=True, cache=True, fastmath=True)
def add_part(image, part, out):  # type: ignore[no-untyped-def]
    """Add `part` of `image` (h, w) to a stored image `out`."""
    for y in range(out.shape[0]):
        row, to = image[y], out[y]
        for x in range(to.size):
            to[x] = as_pixel(number(to[x]) + part * row[x], to)
