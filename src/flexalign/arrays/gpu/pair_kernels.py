"""Kernels that cut tiles and correlate pairs of spectra; see `kernels` on all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda, float64

from flexalign.arrays.gpu import kernels
from flexalign.arrays.kernels import elementwise
from flexalign.arrays.kernels.surface import MIN_CANDIDATE_RATIO, PEAK_TAPS, surface_functions

_from_half = cuda.jit(device=True)(elementwise.from_half.py_func)
_reflected = cuda.jit(device=True)(elementwise.reflected_index)
_paraboloid_top = cuda.jit(device=True)(elementwise.paraboloid_top.py_func)
_spans, _is_top, _top_near, _signed = surface_functions(cuda.jit(device=True), _paraboloid_top)

_TAPS = 2 * PEAK_TAPS
_MIN_FLOAT32 = np.float32(-np.finfo(np.float32).max)
# What a row of a surface has: neither, its highest pixel, or an interpolated top.
_NOTHING, _PIXEL, _TOP = 0.0, 1.0, 2.0


def cut(frames: Any, time: Any, corner_px: Any, out: Any) -> None:
    """Fill `out` (n, h, w) float32 with tiles of frames, each less its first pixel.

    Parameters
    ----------
    frames : (times, height, width) from `float16.stored`, reflected at the edges
    time, corner_px : (n,) and (n, 2) int64, frame, and first row and column of each tile
    """
    count, height, width = out.shape
    is_half = int(kernels.is_half(frames))
    kernels.launch(_cut, height * width, count, frames, is_half, time, corner_px, out)


@cuda.jit(cache=True)
def _cut(frames, is_half, time, corner_px, out):  # type: ignore[no-untyped-def]
    at, n = cuda.grid(2)
    width = out.shape[2]
    if n >= out.shape[0] or at >= out.shape[1] * width:
        return
    j, i = at // width, at % width
    top, left = corner_px[n, 0], corner_px[n, 1]
    height_px, width_px = frames.shape[1], frames.shape[2]
    pixel = frames[time[n], _reflected(top + j, height_px), _reflected(left + i, width_px)]
    first = frames[time[n], _reflected(top, height_px), _reflected(left, width_px)]
    # A constant tile has no rounding errors.
    if is_half:
        out[n, j, i] = _from_half(pixel) - _from_half(first)
    else:
        out[n, j, i] = pixel - first


def sum_groups(frames: Any, start: Any, out: Any) -> None:
    """Fill `out` (groups, h, w) float32 with sums of frames.

    Parameters
    ----------
    frames : (times, h, w) from `float16.stored`
    start : (groups + 1,) int64, first frame of each group and end of the last one
    """
    count, height, width = out.shape
    is_half = int(kernels.is_half(frames))
    kernels.launch(_sum_groups, height * width, count, frames, is_half, start, out)


@cuda.jit(cache=True)
def _sum_groups(frames, is_half, start, out):  # type: ignore[no-untyped-def]
    at, g = cuda.grid(2)
    width = out.shape[2]
    if g >= out.shape[0] or at >= out.shape[1] * width:
        return
    y, x, total = at // width, at % width, np.float32(0)
    for t in range(start[g], start[g + 1]):
        if is_half:
            total += _from_half(frames[t, y, x])
        else:
            total += np.float32(frames[t, y, x])
    out[g, y, x] = total


def sum_turned(spectra: Any, phases: Any, start: Any, out: Any) -> None:
    """Fill `out` (patches, groups, h, columns) with sums of spectra, each times its phases.

    Parameters
    ----------
    spectra : (patches, times, h, columns) complex64
    phases : along y (times, h) and along x (times, columns), complex64
    start : as for `sum_groups`
    """
    patches, groups, height, columns = out.shape
    size = height * columns
    kernels.launch(_sum_turned, size, patches * groups, spectra, *phases, start, out)


@cuda.jit(fastmath=True, cache=True)
def _sum_turned(spectra, y_phase, x_phase, start, out):  # type: ignore[no-untyped-def]
    at, n = cuda.grid(2)
    groups, height, columns = out.shape[1], out.shape[2], out.shape[3]
    if n >= out.shape[0] * groups or at >= height * columns:
        return
    p, g, j, i = n // groups, n % groups, at // columns, at % columns
    total = np.complex64(0)
    for t in range(start[g], start[g + 1]):
        total += spectra[p, t, j, i] * (y_phase[t, j] * x_phase[t, i])
    out[p, g, j, i] = total


def sum_power(spectra: Any, out: Any) -> None:
    """Fill `out` (patches, coefficients) float32 with the power of `spectra` (patches, n, same)."""
    kernels.launch(_sum_power, out.shape[1], out.shape[0], spectra, out)


@cuda.jit(fastmath=True, cache=True)
def _sum_power(spectra, out):  # type: ignore[no-untyped-def]
    c, p = cuda.grid(2)
    if c < out.shape[1] and p < out.shape[0]:
        total = np.float32(0)
        for n in range(spectra.shape[1]):
            value = spectra[p, n, c]
            total += value.real * value.real + value.imag * value.imag
        out[p, c] = total


def pair_products(
    spectra: Any, first: Any, second: Any, width: int, product: Any, power: Any
) -> None:
    """Fill `product` and `power` (pairs, h, columns) of pairs; see `peaks.pair_products`.

    The sum of a pair's `power`, float32, is that over the whole plane.

    Parameters
    ----------
    spectra : (n, h, columns) complex64, of images of this `width`
    first, second : (pairs,) int64
    """
    count, height, columns = product.shape
    last = width // 2 if width % 2 == 0 else -1
    arguments = spectra, first, second, last, product, power
    kernels.launch(_pair_products, height * columns, count, *arguments)


@cuda.jit(fastmath=True, cache=True)
def _pair_products(spectra, first, second, last, product, power):  # type: ignore[no-untyped-def]
    at, k = cuda.grid(2)
    columns = product.shape[2]
    if k >= product.shape[0] or at >= product.shape[1] * columns:
        return
    j, i = at // columns, at % columns
    a, b = spectra[first[k], j, i], spectra[second[k], j, i]
    real = b.real * a.real + b.imag * a.imag
    imag = b.imag * a.real - b.real * a.imag
    squared = real * real + imag * imag
    if i > 0 and i != last:  # the others are their own mirror images
        squared *= np.float32(2)
    if at == 0:
        real, imag, squared = np.float32(0), np.float32(0), np.float32(0)
    product[k, j, i] = complex(real, imag)
    power[k, j, i] = squared


def row_tops(rows: Any, radius_px: Any, tops: Any) -> None:
    """Fill `tops` (n, rows) float32 with the highest value of each row within a radius.

    Parameters
    ----------
    rows : (n, rows, w) float32, surfaces as for `peaks.highest_near`
    radius_px : (n,)
    """
    kernels.launch(_row_tops, tops.shape[1], tops.shape[0], rows, radius_px, tops)


@cuda.jit(cache=True)
def _row_tops(rows, radius_px, tops):  # type: ignore[no-untyped-def]
    j, k = cuda.grid(2)
    if j < tops.shape[1] and k < tops.shape[0]:
        top = _MIN_FLOAT32
        for begin, end in _spans((rows.shape[1], rows.shape[2]), j, radius_px[k]):
            for i in range(begin, end):
                top = max(top, rows[k, j, i])
        tops[k, j] = top


def row_peaks(rows: Any, radius_px: Any, tops: Any, highest: Any, found: Any) -> None:
    """Fill `found` (n, rows, 4) float64 with the highest interpolated top of each row.

    A row has (kind, height, y, x); see `highest_of_rows`.

    Parameters
    ----------
    rows, radius_px, tops : as for `row_tops`
    highest : (n,) of each surface
    """
    arguments = rows, radius_px, tops, highest, found
    kernels.launch(_row_peaks, tops.shape[1], tops.shape[0], *arguments)


@cuda.jit(cache=True)
def _row_peaks(rows, radius_px, tops, highest, found):  # type: ignore[no-untyped-def]
    j, k = cuda.grid(2)
    if j >= tops.shape[1] or k >= tops.shape[0]:
        return
    near = cuda.local.array((3, 3), float64)
    along_y, along_x = cuda.local.array((3, _TAPS), float64), cuda.local.array((3, _TAPS), float64)
    surface, lowest = rows[k], np.float32(MIN_CANDIDATE_RATIO * highest[k])
    kind, height, y, x = _NOTHING, float(highest[k]), 0.0, 0.0
    if tops[k, j] > lowest:
        for begin, end in _spans((rows.shape[1], rows.shape[2]), j, radius_px[k]):
            for i in range(begin, end):
                if surface[j, i] == highest[k] and kind != _TOP:
                    kind, y, x = _PIXEL, float(j), float(i)
                if surface[j, i] > lowest and _is_top(surface, j, i):
                    value, top_y, top_x = _top_near(surface, j, i, near, along_y, along_x)
                    if value >= height:
                        kind, height, y, x = _TOP, value, top_y, top_x
    found[k, j, 0], found[k, j, 1], found[k, j, 2], found[k, j, 3] = kind, height, y, x


def highest_of_rows(found: Any, width: int, peaks: Any) -> None:
    """Fill `peaks` (n, 3) float64 (y, x, height) from `row_peaks`; see `peaks.highest_near`."""
    kernels.launch(_highest_of_rows, len(peaks), 1, found, width, peaks)


@cuda.jit(cache=True)
def _highest_of_rows(found, width, peaks):  # type: ignore[no-untyped-def]
    k, _ = cuda.grid(2)
    if k >= peaks.shape[0]:
        return
    count, kind, height, y, x = found.shape[1], _NOTHING, 0.0, 0.0, 0.0
    for j in range(count):
        is_higher = found[k, j, 0] == _TOP and (kind != _TOP or found[k, j, 1] >= height)
        if is_higher or (found[k, j, 0] == _PIXEL and kind != _TOP):
            kind, y, x = found[k, j, 0], found[k, j, 2], found[k, j, 3]
            height = found[k, j, 1] if kind == _TOP else 0.0
    peaks[k, 0], peaks[k, 1], peaks[k, 2] = _signed(y, count), _signed(x, width), height
