"""Kernels over the packed spectra of patches; see `kernels` on all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from flexalign.arrays.gpu import kernels
from flexalign.arrays.kernels import elementwise

_from_16_bits = cuda.jit(device=True)(elementwise.from_16_bits.py_func)
_to_16_bits = cuda.jit(device=True)(elementwise.rounded_to_16_bits.py_func)


def pack(
    spectra: Any, first: int, row: Any, start: Any, ring: Any, envelope: Any, packed: Any
) -> None:
    """Pack the spectra of some tiles, times their envelope; see `likelihood.pack`.

    Parameters
    ----------
    spectra : (n, h, w // 2 + 1) complex64, of tiles number `first` and on; tile p * times + t is
        patch p at time t
    row : (2, coefficients) the row of each in the packing, and in the spectra
    start : (rows + 1,) number of coefficients before each row of the packing
    ring : (coefficients,) of each, -1 = left out
    envelope : (times, rings) float32
    packed : (patches, 2, times * coefficients) uint16
    """
    arguments = spectra, first, row, start, ring, envelope, packed
    kernels.launch(_pack, len(ring), len(spectra), *arguments)


@cuda.jit(cache=True)
def _pack(spectra, first, row, start, ring, envelope, packed):  # type: ignore[no-untyped-def]
    c, n = cuda.grid(2)
    if c >= ring.shape[0] or n >= spectra.shape[0]:
        return
    times, g, r = envelope.shape[0], ring[c], row[0, c]
    p, t = (first + n) // times, (first + n) % times
    column, columns = c - start[r], start[r + 1] - start[r]
    at = times * start[r] + t * columns + column
    real, imag = np.float32(0), np.float32(0)
    if g >= 0:
        value = spectra[n, row[1, c], column + 1]
        real, imag = value.real * envelope[t, g], value.imag * envelope[t, g]
    packed[p, 0, at] = _to_16_bits(real)
    packed[p, 1, at] = _to_16_bits(imag)


def time_power(packed: Any, row: Any, start: Any, out: Any) -> None:
    """Fill `out` (patches, coefficients) float32 with the power of packed spectra over all times.

    `row` (coefficients,) and `start` are as for `sum_moved`.
    """
    kernels.launch(_time_power, out.shape[1], out.shape[0], packed, row, start, out)


@cuda.jit(fastmath=True, cache=True)
def _time_power(packed, row, start, out):  # type: ignore[no-untyped-def]
    c, p = cuda.grid(2)
    if c >= out.shape[1] or p >= out.shape[0]:
        return
    r, times = row[c], packed.shape[2] // out.shape[1]
    columns, total = start[r + 1] - start[r], np.float32(0)
    for t in range(times):
        at = times * start[r] + t * columns + c - start[r]
        real, imag = _from_16_bits(packed[p, 0, at]), _from_16_bits(packed[p, 1, at])
        total += real * real + imag * imag
    out[p, c] = total


def sum_moved(packed: Any, phases: Any, row: Any, start: Any, is_wanted: Any, sums: Any) -> None:
    """Fill `sums` with the spectra of patches, each moved by its phases, summed over time.

    Parameters
    ----------
    packed : (patches, 2, times * coefficients) uint16; see `likelihood.Packing`
    phases : along y (patches, times, rows) and along x (patches, times, columns), complex64
    row : (coefficients,) of each
    start : (rows + 1,) number of coefficients before each row
    is_wanted : (coefficients,) bool; the others become zero
    sums : (patches, 2, coefficients) float32
    """
    arguments = (packed, *phases, row, start, is_wanted, sums)
    kernels.launch(_sum_moved, len(row), len(packed), *arguments)


@cuda.jit(fastmath=True, cache=True)
def _sum_moved(packed, y_phase, x_phase, row, start, is_wanted, sums):  # type: ignore[no-untyped-def]
    c, p = cuda.grid(2)
    if c >= row.shape[0] or p >= packed.shape[0]:
        return
    r, times = row[c], y_phase.shape[1]
    column, columns = c - start[r], start[r + 1] - start[r]
    real, imag = np.float32(0), np.float32(0)
    if is_wanted[c]:
        for t in range(times):
            at = times * start[r] + t * columns + column
            phase = y_phase[p, t, r] * x_phase[p, t, column]
            a, b = _from_16_bits(packed[p, 0, at]), _from_16_bits(packed[p, 1, at])
            real += a * phase.real - b * phase.imag
            imag += a * phase.imag + b * phase.real
    sums[p, 0, c], sums[p, 1, c] = real, imag


def sum_rings(values: Any, order: Any, ring_start: Any, out: Any) -> None:
    """Fill `out` (patches, rings) float64 with the sums of `values` (patches, n), ring by ring.

    `order` (n,) sorts the values by ring; those of a ring are `ring_start[g]` to
    `ring_start[g + 1]`.
    """
    kernels.launch(_sum_rings, out.shape[1], out.shape[0], values, order, ring_start, out)


@cuda.jit(cache=True)
def _sum_rings(values, order, ring_start, out):  # type: ignore[no-untyped-def]
    g, p = cuda.grid(2)
    if g < out.shape[1] and p < out.shape[0]:
        total = 0.0
        for k in range(ring_start[g], ring_start[g + 1]):
            total += values[p, order[k]]
        out[p, g] = total


def gradient(packed: Any, phases: Any, start: Any, columns: Any, weighted: Any, out: Any) -> None:
    """Fill `out` (patches, times, rows, 2) float32 with each row's sum of k Im(conj(S) X).

    Parameters
    ----------
    packed, phases, start : as for `sum_moved`
    columns : (rows,) number of coefficients to use in each row
    weighted : (patches, 2, coefficients) float32, the sums S times the likelihood's weight
    out : the factor k_x is in it, the factor k_y, which a row has in common, is not
    """
    rows, times = len(columns), out.shape[1]
    arguments = (packed, *phases, start, columns, weighted, out)
    kernels.launch(_gradient, times * rows, len(packed), *arguments)


@cuda.jit(fastmath=True, cache=True)
def _gradient(packed, y_phase, x_phase, start, columns, weighted, out):  # type: ignore[no-untyped-def]
    n, p = cuda.grid(2)
    times, rows = out.shape[1], out.shape[2]
    if n >= times * rows or p >= packed.shape[0]:
        return
    # Neighbouring threads have neighbouring times, whose coefficients lie side by side.
    t, r = n % times, n // times
    at = times * start[r] + t * (start[r + 1] - start[r])
    gradient_y, gradient_x = np.float32(0), np.float32(0)
    for i in range(columns[r]):
        phase = y_phase[p, t, r] * x_phase[p, t, i]
        a, b = _from_16_bits(packed[p, 0, at + i]), _from_16_bits(packed[p, 1, at + i])
        real = a * phase.real - b * phase.imag
        imag = a * phase.imag + b * phase.real
        part = weighted[p, 0, start[r] + i] * imag - weighted[p, 1, start[r] + i] * real
        gradient_y += part
        gradient_x += part * np.float32(i + 1)
    out[p, t, r, 0], out[p, t, r, 1] = gradient_y, gradient_x
