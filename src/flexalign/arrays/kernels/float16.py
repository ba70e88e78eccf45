"""Images stored as 16-bit floats, at half the memory, in compiled loops.

16-bit floats have a small range and are finest near zero, so images are stored after subtraction of
a level and in a unit of their own (`Coding`), on which no measurement depends.

numba has no 16-bit floats on a CPU, so loops work on their bits; one loop serves images of either
kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

from flexalign.arrays.kernels.elementwise import from_half, rounded_to_half
from flexalign.compiling import cached_njit


@dataclass(frozen=True, slots=True)
class Coding:
    """Pixels are stored as ``(value - level) * factor``."""

    level: np.float32
    factor: np.float32


UNSCALED = Coding(np.float32(0), np.float32(1))


def coding_for(images: npt.NDArray[Any], mean: float, deviation: float) -> Coding:
    """The coding for `images` whose pixels have about this mean and standard deviation.

    Images of 32 bits are stored unchanged. The factor is a power of two, which is exact.

    Examples
    --------
    >>> coding_for(np.empty(0, np.float16), 100.0, 30.0).factor
    np.float32(0.03125)
    """
    if images.dtype != np.float16:
        return UNSCALED
    exponent = -round(math.log2(deviation)) if deviation > 0 else 0
    return Coding(np.float32(mean), np.float32(2.0 ** min(max(exponent, -120), 120)))


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


@cached_njit(nogil=True, fastmath=True)
def widen(image, out):  # type: ignore[no-untyped-def]
    """Fill `out` (h, w) float32 with a stored image."""
    for y in range(out.shape[0]):
        row, to = image[y], out[y]
        for x in range(to.size):
            to[x] = number(row[x])


@cached_njit(nogil=True, fastmath=True)
def store(image, level, factor, is_more, out):  # type: ignore[no-untyped-def]
    """Set a stored image `out` (h, w) to ``(image - level) * factor``, or add that to it."""
    for y in range(out.shape[0]):
        store_row(image[y], level, factor, is_more, out[y])


@njit(nogil=True, fastmath=True, inline="always")
def store_row(row, level, factor, is_more, out):  # type: ignore[no-untyped-def]
    """As `store` of a row (w,)."""
    if is_more:
        for x in range(out.size):
            out[x] = as_pixel(number(out[x]) + (row[x] - level) * factor, out)
    else:
        for x in range(out.size):
            out[x] = as_pixel((row[x] - level) * factor, out)


@cached_njit(nogil=True, fastmath=True)
def add_scaled(image, part, out):  # type: ignore[no-untyped-def]
    """Add `part` of `image` (h, w) to a stored image `out`."""
    for y in range(out.shape[0]):
        row, to = image[y], out[y]
        for x in range(to.size):
            to[x] = as_pixel(number(to[x]) + part * row[x], to)
