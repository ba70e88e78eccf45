"""Loops over pairs of spectra and over correlation surfaces; see `warp` on all loops."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from flexalign.arrays.kernels.elementwise import paraboloid_top
from flexalign.compiling import cached_njit

# Half-width of the interpolation kernel in pixels.
PEAK_TAPS = 6
# Spacings of the 3 x 3 values to which a paraboloid is fitted, in successive refinements of a
# maximum.
_PEAK_STEPS_PX = (0.5, 0.25, 0.125, 0.0625)
# Margin in pixels around the search area: a maximum may lie slightly outside.
PEAK_MARGIN_PX = PEAK_TAPS + 1
# The highest pixel has at least this fraction of a maximum half a pixel off on both axes.
_MIN_CANDIDATE_RATIO = 0.75


@cached_njit(nogil=True, fastmath=True)
def pair_products(spectra, first, second, width, product, power):  # type: ignore[no-untyped-def]
    """Fill `product` with the cross spectra of pairs, without their mean, and `power` with theirs.

    Parameters
    ----------
    spectra : (n, h, columns) complex64; columns of the half plane that are left out are zero
    first, second : (pairs,) indices
    product : (pairs, h, columns) complex64
    power : (pairs,) set to the sum of squares over the whole plane
    """
    last = width // 2 if width % 2 == 0 and product.shape[2] > width // 2 else 0
    for k in range(len(first)):
        total = 0.0
        for j in range(product.shape[1]):
            a, b, row = spectra[first[k], j], spectra[second[k], j], product[k, j]
            part = np.float32(0)
            for i in range(row.size):
                real = b[i].real * a[i].real + b[i].imag * a[i].imag
                imag = b[i].imag * a[i].real - b[i].real * a[i].imag
                row[i] = complex(real, imag)
                part += real * real + imag * imag
            if j == 0:
                part -= row[0].real ** 2 + row[0].imag ** 2
                row[0] = 0
            # The first column, and the last of an even width, are their own mirror images.
            total += 2 * part - row[0].real ** 2 - row[0].imag ** 2
            if last > 0:
                total -= row[last].real ** 2 + row[last].imag ** 2
        power[k] = total


@cached_njit(nogil=True, fastmath=True)
def highest_near(rows, radius_px, top_px, height):  # type: ignore[no-untyped-def]
    """Sub-pixel maxima of surfaces within a radius of the origin.

    Surfaces are interpolated, so that neither the choice among several maxima nor the position
    depends on the pixel grid.

    Parameters
    ----------
    rows : (n, rows, w) float32, the rows 0, 1, ..., -2, -1 of periodic surfaces around the origin:
        all, or `PEAK_MARGIN_PX` more than the largest radius to either side
    radius_px : (n,)
    top_px : (n, 2) set to (y, x)
    height : (n,) set to the maximum; 0 where a neighbour is higher, so that there is no peak
    """
    for k in range(len(rows)):
        surface = rows[k]
        tops = _highest_by_row(surface, radius_px[k])
        best = highest = tops.max()
        lowest = np.float32(_MIN_CANDIDATE_RATIO * highest)
        top_px[k], height[k] = 0.0, 0.0
        for j in range(len(surface)):
            if tops[j] <= lowest:
                continue
            for begin, end in _spans(surface.shape, j, radius_px[k]):
                for i in range(begin, end):
                    if surface[j, i] == highest and height[k] == 0:
                        _set_place(j, i, surface.shape, top_px[k])
                    if surface[j, i] > lowest and _is_top(surface, j, i):
                        value, y, x = _top_near(surface, j, i)
                        if value >= best:
                            best = height[k] = value
                            _set_place(y, x, surface.shape, top_px[k])


@njit
def _set_place(y, x, shape, place_px):  # type: ignore[no-untyped-def]
    """Set `place_px` to (`y`, `x`); coordinates in the second half are negative."""
    place_px[0] = y if y < (shape[0] + 1) // 2 - 0.5 else y - shape[0]
    place_px[1] = x if x < (shape[1] + 1) // 2 - 0.5 else x - shape[1]


@njit
def _spans(shape, j, radius_px):  # type: ignore[no-untyped-def]
    """The two parts (begin, end) of row `j` within a radius of the origin."""
    count, width = shape
    y = j if j <= (count - 1) // 2 else j - count
    squared = radius_px**2 - y * y
    if squared < 0:
        return (0, 0), (0, 0)
    reach, middle = int(math.sqrt(squared)), (width - 1) // 2
    return (0, min(reach, middle) + 1), (max(width - reach, middle + 1), width)


@njit(fastmath=True)
def _highest_by_row(surface, radius_px):  # type: ignore[no-untyped-def]
    """The highest value (rows,) of each row within a radius of the origin."""
    tops = np.full(len(surface), -np.finfo(np.float32).max, np.float32)
    for j in range(len(surface)):
        row, value = surface[j], tops[j]
        for begin, end in _spans(surface.shape, j, radius_px):
            for i in range(begin, end):
                value = max(value, row[i])
        tops[j] = value
    return tops


@njit
def _is_top(surface, j, i):  # type: ignore[no-untyped-def]
    """Whether no neighbour of a pixel of a periodic surface is higher."""
    count, width = surface.shape
    for v in (j - 1, j, j + 1):
        for u in (i - 1, i, i + 1):
            if surface[v % count, u % width] > surface[j, i]:
                return False
    return True


@njit
def _top_near(surface, j, i):  # type: ignore[no-untyped-def]
    """Height and place (y, x) of the top of a periodic surface near the pixel `j`, `i`."""
    y, x, value = float(j), float(i), float(surface[j, i])
    near = np.empty((3, 3))
    along_y, along_x = np.empty((3, 2 * PEAK_TAPS)), np.empty((3, 2 * PEAK_TAPS))
    for step in _PEAK_STEPS_PX:
        first_y, first_x = _sinc_weights(y, step, along_y), _sinc_weights(x, step, along_x)
        _interpolate(surface, first_y, first_x, along_y, along_x, near)
        value = max(value, near[1, 1])
        dy, dx = paraboloid_top(near)
        y, x = y + dy * step, x + dx * step
    return value, y, x


@njit
def _sinc_weights(center, step, weight):  # type: ignore[no-untyped-def]
    """Set weights (3, taps) of pixels for the values at `center` and a `step` to either side.

    Lanczos' kernel: a sinc, windowed by the middle of a wider one.

    Returns
    -------
    first : the pixel of the first weight
    """
    taps = weight.shape[1]
    first = math.floor(center) - taps // 2 + 1
    for k in range(3):
        total = 0.0
        for t in range(taps):
            away = math.pi * (first + t - center - (k - 1) * step)
            wide = away / (taps // 2)
            if abs(wide) >= math.pi:
                weight[k, t] = 0.0
            elif abs(away) < 1e-9:
                weight[k, t] = 1.0
            else:
                weight[k, t] = math.sin(away) * math.sin(wide) / (away * wide)
            total += weight[k, t]
        weight[k] /= total
    return first


@njit(fastmath=True)
def _interpolate(surface, first_y, first_x, along_y, along_x, near):  # type: ignore[no-untyped-def]
    """Set 3 x 3 values from the weights of the pixels from (`first_y`, `first_x`) on."""
    count, width = surface.shape
    near[:] = 0
    for v in range(along_y.shape[1]):
        row = surface[(first_y + v) % count]
        for c in range(3):
            value = 0.0
            for u in range(along_x.shape[1]):
                value += along_x[c, u] * row[(first_x + u) % width]
            for r in range(3):
                near[r, c] += along_y[r, v] * value
