"""The per-pixel formulas, each written once; `warp` loops over them.

Plain functions of numbers and arrays, compiled by numba and inlined where they are called.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

# Pole of the cubic B-spline prefilter: root of z^2 + 4 z + 1 inside the unit circle.
SPLINE_POLE = math.sqrt(3.0) - 2.0
# The filter's gain (1 - z)(1 - 1/z) on each axis.
SPLINE_GAIN = 6.0
# The same filter as a sum over the neighbours on either side, down to float32 resolution.
SPLINE_FILTER = tuple(
    np.float32(-SPLINE_GAIN * SPLINE_POLE / (1 - SPLINE_POLE**2) * SPLINE_POLE**k)
    for k in range(11)
)


@njit(inline="always")
def filtered(row, x):  # type: ignore[no-untyped-def]
    """Spline coefficient at `x` of a `row` with sufficient margins."""
    total = SPLINE_FILTER[0] * row[x]
    for k in range(1, 11):
        total += SPLINE_FILTER[k] * (row[x - k] + row[x + k])
    return total


@njit(inline="always")
def rounded_to_16_bits(value):  # type: ignore[no-untyped-def]
    """The upper 16 bits of a float32, rounded to the nearest even: 8 bits of mantissa are left."""
    bits = np.float32(value).view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16(np.uint32(bits + half) >> np.uint32(16))


@njit(inline="always")
def from_16_bits(half):  # type: ignore[no-untyped-def]
    """The float32 whose upper 16 bits are `half`."""
    return np.uint32(np.uint32(half) << np.uint32(16)).view(np.float32)


@njit(inline="always")
def rounded_to_half(value):  # type: ignore[no-untyped-def]
    """The bits of the nearest 16-bit float, which has 11 bits of mantissa; the largest is 65504.

    Times 2^-112 the exponents of both kinds are the same, and numbers that are subnormal
    in one are so in the other.
    """
    within = min(max(value, np.float32(-65504)), np.float32(65504))
    bits = np.float32(within * np.float32(2.0**-112)).view(np.uint32)
    size, sign = bits & np.uint32(0x7FFFFFFF), (bits >> np.uint32(16)) & np.uint32(0x8000)
    rounded = (size + np.uint32(0xFFF) + ((size >> np.uint32(13)) & np.uint32(1))) >> np.uint32(13)
    return np.uint16(sign | rounded)


@njit(inline="always")
def from_half(half):  # type: ignore[no-untyped-def]
    """The float32 that the bits of a 16-bit float stand for."""
    bits = np.uint32(half)
    shifted = ((bits & np.uint32(0x8000)) << np.uint32(16)) | (
        (bits & np.uint32(0x7FFF)) << np.uint32(13)
    )
    return np.uint32(shifted).view(np.float32) * np.float32(2.0**112)


def reflected_index(index: Any, size: int) -> Any:
    """`index` reflected at the first and last sample into [0, size), as often as needed.

    Examples
    --------
    >>> reflected_index(np.arange(-2, 5), 3)
    array([2, 1, 0, 1, 2, 1, 0])
    """
    last = size - 1
    return last - abs(last - abs(index) % max(2 * last, 1))


reflected = njit(inline="always")(reflected_index)


def pixel_hash(index: Any, seed: np.uint64) -> Any:
    """Pseudo-random numbers, uint64, of pixels with the flat `index`, uint64.

    References
    ----------
    Steele, Lea & Flood, OOPSLA 2014, 453 (the mixing function of SplitMix64).
    """
    mixed = index * np.uint64(0xD1342543DE82EF95) + seed
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@njit(inline="always")
def cubic_weights(u):  # type: ignore[no-untyped-def]
    """Weights of the four cubic B-spline coefficients around a point at fraction `u` in [0, 1).

    References
    ----------
    Unser, Aldroubi & Eden, IEEE Trans. Signal Process. 41 (1993) 821.
    """
    # numba turns float32 with a whole number into float64, at half the speed.
    sixth, half, one = np.float32(1 / 6), np.float32(0.5), np.float32(1)
    v = one - u
    w0 = v * v * v * sixth
    w3 = u * u * u * sixth
    w1 = np.float32(2 / 3) - u * u * (one + v) * half
    return w0, w1, one - w0 - w1 - w3, w3


@njit
def paraboloid_top(near):  # type: ignore[no-untyped-def]
    """Top (y, x) of the least-squares paraboloid through 3 x 3 values, from their centre.

    Within one pixel; (0, 0) when the values do not form a top.
    """
    slope_y = slope_x = bend_y = bend_x = mixed = 0.0
    for v in range(3):
        for u in range(3):
            y, x, value = v - 1, u - 1, near[v, u]
            slope_y += y * value / 6
            slope_x += x * value / 6
            bend_y += (y * y - 2 / 3) * value / 2
            bend_x += (x * x - 2 / 3) * value / 2
            mixed += y * x * value / 4
    determinant = 4 * bend_y * bend_x - mixed * mixed
    if bend_y >= 0 or bend_x >= 0 or determinant <= 0:
        return 0.0, 0.0
    y_top = (mixed * slope_x - 2 * bend_x * slope_y) / determinant
    x_top = (mixed * slope_y - 2 * bend_y * slope_x) / determinant
    return min(max(y_top, -1.0), 1.0), min(max(x_top, -1.0), 1.0)
