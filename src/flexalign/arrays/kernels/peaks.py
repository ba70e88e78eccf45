"""Loops over pairs of spectra and over correlation surfaces; see `warp` on all loops."""

from __future__ import annotations

import numpy as np
from numba import njit

from flexalign.arrays.kernels.elementwise import paraboloid_top
from flexalign.arrays.kernels.surface import (
    MIN_CANDIDATE_RATIO,
    PEAK_TAPS,
    surface_functions,
)
from flexalign.compiling import cached_njit

# Margin in pixels around the search area: a maximum may lie slightly outside.
PEAK_MARGIN_PX = PEAK_TAPS + 1
_spans, _is_top, _top_near, _signed = surface_functions(njit(fastmath=True), paraboloid_top)


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
    near = np.empty((3, 3))
    along_y, along_x = np.empty((3, 2 * PEAK_TAPS)), np.empty((3, 2 * PEAK_TAPS))
    for k in range(len(rows)):
        surface = rows[k]
        tops = _highest_by_row(surface, radius_px[k])
        best = highest = tops.max()
        lowest = np.float32(MIN_CANDIDATE_RATIO * highest)
        top_px[k], height[k] = 0.0, 0.0
        for j in range(len(surface)):
            if tops[j] <= lowest:
                continue
            for begin, end in _spans(surface.shape, j, radius_px[k]):
                for i in range(begin, end):
                    if surface[j, i] == highest and height[k] == 0:
                        _set_place(j, i, surface.shape, top_px[k])
                    if surface[j, i] > lowest and _is_top(surface, j, i):
                        value, y, x = _top_near(surface, j, i, near, along_y, along_x)
                        if value >= best:
                            best = height[k] = value
                            _set_place(y, x, surface.shape, top_px[k])


@njit
def _set_place(y, x, shape, place_px):  # type: ignore[no-untyped-def]
    """Set `place_px` to (`y`, `x`) from the origin."""
    place_px[0], place_px[1] = _signed(y, shape[0]), _signed(x, shape[1])


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
