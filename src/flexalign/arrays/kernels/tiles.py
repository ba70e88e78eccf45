"""Loops that cut, taper and standardise tiles, and sum their spectra; see `warp` on all loops."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from flexalign.arrays.kernels.elementwise import reflected
from flexalign.arrays.kernels.float16 import number
from flexalign.compiling import cached_njit


@cached_njit(nogil=True, fastmath=True)
def taper_tile(image, top, left, window, out):  # type: ignore[no-untyped-def]
    """Fill `out` (n, m) with an image from (top, left) on, less its mean there, times `window`.

    The image is from `float16.stored` and is reflected at its edges.
    """
    _cut_less_mean(image, top, left, out)
    for j in range(out.shape[0]):
        to, factor = out[j], window[j]
        for i in range(to.size):
            to[i] *= factor[i]


@cached_njit(nogil=True, fastmath=True)
def standard_tile(image, top, left, window, out):  # type: ignore[no-untyped-def]
    """As `taper_tile` of the tile over its standard deviation; a constant tile becomes zero."""
    _cut_less_mean(image, top, left, out)
    squared = 0.0
    for j in range(out.shape[0]):
        row, part = out[j], np.float32(0)
        for i in range(row.size):
            part += row[i] * row[i]
        squared += float(part)
    scale = np.float32(math.sqrt(out.size / squared) if squared > 0 else 0.0)
    for j in range(out.shape[0]):
        to, factor = out[j], window[j]
        for i in range(to.size):
            to[i] *= factor[i] * scale


@njit(nogil=True, fastmath=True, inline="always")
def _cut_less_mean(image, top, left, out):  # type: ignore[no-untyped-def]
    """Fill `out` (n, m) with an image from (top, left) on, less its mean; see `taper_tile`."""
    (height, width), (rows, columns) = image.shape, out.shape
    is_inside = left >= 0 and left + columns <= width
    # Relative to one of its own values, so that a constant tile has no rounding errors.
    level, total = number(image[reflected(top, height), reflected(left, width)]), 0.0
    for j in range(rows):
        row, to, part = image[reflected(top + j, height)], out[j], np.float32(0)
        if is_inside:
            inside = row[left : left + columns]
            for i in range(columns):
                to[i] = number(inside[i]) - level
                part += to[i]
        else:
            for i in range(columns):
                to[i] = number(row[reflected(left + i, width)]) - level
                part += to[i]
        total += float(part)
    mean = np.float32(total / out.size)
    for j in range(rows):
        to = out[j]
        for i in range(columns):
            to[i] -= mean


@cached_njit(nogil=True, fastmath=True)
def add_powers(spectra, total):  # type: ignore[no-untyped-def]
    """Add the squared magnitudes of `spectra` (n, h, w) to `total` (h, w) float64."""
    for k in range(len(spectra)):
        for j in range(total.shape[0]):
            values, sums = spectra[k, j], total[j]
            for i in range(sums.size):
                sums[i] += values[i].real * values[i].real + values[i].imag * values[i].imag


@cached_njit(nogil=True, fastmath=True)
def add_amplitudes(spectra, total):  # type: ignore[no-untyped-def]
    """Add the magnitudes of `spectra` (n, h, w) to `total` (h, w) float64."""
    for k in range(len(spectra)):
        for j in range(total.shape[0]):
            values, sums = spectra[k, j], total[j]
            for i in range(sums.size):
                sums[i] += math.sqrt(values[i].real ** 2 + values[i].imag ** 2)
