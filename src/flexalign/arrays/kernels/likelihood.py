"""Compiled loops over the spectra of patches, the inner loops of the estimation.

As those of `warp` they release the global interpreter lock, work on items `start` to `stop` and are
cached on disk by numba.  Real and imaginary parts are stored separately and rows are short, so that
a row of all frames stays in the cache and its loops vectorise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays.kernels.elementwise import from_16_bits, rounded_to_16_bits
from flexalign.compiling import cached_njit


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """Selection and order of the coefficients of a half plane (h, w // 2 + 1).

    Row by row, in each row the columns from 1 to the last one selected; within a row, frame by
    frame.

    Attributes
    ----------
    ring : (h, w // 2 + 1) int32, -1 = left out; not decreasing along a row
    wave : (rows,) k_y of the selected rows, in cycles per side
    start : (rows + 1,) number of coefficients before each row
    ring_packed : (coefficients,) ring of each; those not selected have ring 0 and are zero
    """

    ring: npt.NDArray[np.int32]
    wave: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    ring_packed: npt.NDArray[np.int32]

    def columns_within(self, rings: int) -> npt.NDArray[np.int64]:
        """Number (rows,) of coefficients of each row in the first `rings` rings."""
        inside = self.ring_packed < rings
        return np.asarray(np.add.reduceat(inside, self.start[:-1], dtype=np.int64))


def packing_of(ring: npt.NDArray[np.int32]) -> Packing:
    """The packing of the coefficients whose `ring` (h, w // 2 + 1) is not negative."""
    height, columns = ring.shape
    last = np.where(ring >= 0, np.arange(columns), 0).max(axis=1)
    rows = np.flatnonzero(last)
    start = np.concatenate([[0], np.cumsum(last[rows])])
    packed = np.concatenate([ring[j, 1 : last[j] + 1] for j in rows]).clip(0)
    wave = np.where(rows <= height // 2, rows, rows - height)
    return Packing(ring, wave.astype(np.int64), start.astype(np.int64), packed.astype(np.int32))


@cached_njit(nogil=True, fastmath=True)
def pack(spectra, first, ring, wave, start, envelope, packed, power):  # type: ignore[no-untyped-def]
    """Pack the spectra of frames `first` and on of one patch, times their envelope.

    Numbers are rounded to the upper 16 bits of a float32, since sweeps are limited by memory
    bandwidth; the rounding noise is a thousandth of that of the data.

    Parameters
    ----------
    spectra : (frames, h, w // 2 + 1) complex64
    ring, wave, start : of the `Packing`
    envelope : (times, rings) float32
    packed : (2, times * coefficients) uint16, real and imaginary parts
    power : (rings,) to which the power is added
    """
    times, height = len(envelope), spectra.shape[1]
    squared = np.empty(spectra.shape[2], np.float32)
    for r in range(len(wave)):
        j, begin, columns = wave[r] % height, times * start[r], start[r + 1] - start[r]
        squared[:] = 0
        for k in range(len(spectra)):
            t = first + k
            at = begin + t * columns
            for i in range(columns):
                g = ring[j, i + 1]
                value = spectra[k, j, i + 1] * envelope[t, max(g, 0)]
                if g < 0:
                    value = np.complex64(0)
                real, imag = rounded_to_16_bits(value.real), rounded_to_16_bits(value.imag)
                packed[0, at + i] = real
                packed[1, at + i] = imag
                squared[i] += from_16_bits(real) ** 2 + from_16_bits(imag) ** 2
        for i in range(columns):
            power[max(ring[j, i + 1], 0)] += squared[i]


def as_float32(packed: Any) -> Any:
    """Packed numbers as float32; the result is on the device of the argument."""
    return (packed.astype(np.uint32) << 16).view(np.float32)


def unpacked(packing: Packing, packed: npt.NDArray[np.uint16]) -> npt.NDArray[np.complex64]:
    """The spectra (..., times, h, w // 2 + 1) of packed ones (..., 2, times * coefficients)."""
    times, packed = packed.shape[-1] // packing.start[-1], as_float32(packed)
    out = np.zeros((*packed.shape[:-2], times, *packing.ring.shape), np.complex64)
    for wave, a, b in zip(packing.wave, packing.start[:-1], packing.start[1:], strict=True):
        row = packed[..., times * a : times * b].reshape(*packed.shape[:-1], times, b - a)
        out[..., wave, 1 : 1 + b - a] = row[..., 0, :, :] + 1j * row[..., 1, :, :]
    return out


@cached_njit(nogil=True, fastmath=True)
def likelihood_sweep(  # type: ignore[no-untyped-def]
    packed, residual, sides, wave, row_start, ring, columns, weighted, weight, gradient, summed,
    start, stop,
):  # fmt: skip
    """Gradient of the alignment likelihood and ring powers of the sum, patches `start` to `stop`.

    Several motions share one sweep, since reading the spectra takes longer than shifting them.

    Parameters
    ----------
    packed : (patches, 2, times * coefficients) uint16, see `pack`
    residual : (motions, patches, times, 2) displacement to undo, pixels
    sides : (h, w) of a patch, pixels
    wave, row_start, ring : of the `Packing`, ring packed
    columns : (rows,) number of coefficients to use in each row
    weighted : (rows,) number of them that may have a weight
    weight : (motions, patches, rings) float32 weight W
    gradient : (motions, patches, times, 2) set to sum of W k Im(conj(S) X), k in cycles per patch
        side
    summed : (motions, patches, rings) set to the sums of |S|^2
    """
    motions, times, rows, widest = len(residual), residual.shape[2], len(wave), columns.max()
    along_y = np.empty((motions, 2, rows, times), np.float32)
    along_x = np.empty((motions, 2, times, widest), np.float32)
    moved, sums = np.empty((2, times * widest), np.float32), np.empty((2, widest), np.float32)
    sum_real, sum_imag = sums[0], sums[1]
    waves_x = np.arange(1, widest + 1).astype(np.float32)
    for p in range(start, stop):
        gradient[:, p] = 0
        summed[:, p] = 0
        for m in range(motions):
            _phases(residual[m, p], sides, wave, along_y[m], along_x[m])
        for r in range(rows):
            n, all_columns = columns[r], row_start[r + 1] - row_start[r]
            if n == 0:
                continue
            a, b = times * row_start[r], times * row_start[r + 1]
            real = packed[p, 0, a:b].reshape(times, all_columns)
            imag = packed[p, 1, a:b].reshape(times, all_columns)
            to_real = moved[0, : times * n].reshape(times, n)
            to_imag = moved[1, : times * n].reshape(times, n)
            for m in range(motions):
                # Whole arrays: the layout of a slice [:, :n] is not known to be dense.
                _apply_phases(real, imag, along_y[m], r, along_x[m], to_real, to_imag)
                _sum_over_time(to_real, sum_real)
                _sum_over_time(to_imag, sum_imag)
                for i in range(n):
                    g = ring[row_start[r] + i]
                    summed[m, p, g] += sum_real[i] ** 2 + sum_imag[i] ** 2
                    sum_real[i] *= weight[m, p, g]
                    sum_imag[i] *= weight[m, p, g]
                if weighted[r] > 0:
                    pull = gradient[m, p]
                    _add_gradient(
                        sum_real, sum_imag, to_real, to_imag, weighted[r], wave[r], waves_x, pull
                    )


@cached_njit(nogil=True, fastmath=True)
def _phases(residual, sides, wave, along_y, along_x):  # type: ignore[no-untyped-def]
    """Phases exp(2 pi i k.residual), real and imaginary parts: of rows `wave`, and of columns.

    `along_y` is (2, rows, times), `along_x` (2, times, columns).
    Computed as powers of one phase in double precision, faster than as many exponentials.
    """
    for t in range(len(residual)):
        angle = 2 * np.pi * residual[t, 0] / sides[0]
        turn, phase, k = np.exp(1j * angle), 1 + 0j, 0
        for r in range(len(wave)):
            # Waves rise by one, except for one step from the highest to the lowest.
            phase = phase * turn if wave[r] == k + 1 else np.exp(1j * angle * wave[r])
            k = wave[r]
            along_y[0, r, t], along_y[1, r, t] = phase.real, phase.imag
        turn, phase = np.exp(2j * np.pi * residual[t, 1] / sides[1]), 1 + 0j
        for i in range(along_x.shape[2]):
            phase *= turn
            along_x[0, t, i], along_x[1, t, i] = phase.real, phase.imag


@cached_njit(nogil=True, fastmath=True)
def _apply_phases(real, imag, along_y, r, along_x, to_real, to_imag):  # type: ignore[no-untyped-def]
    """Multiply the first n of row `r` (times, columns) by its phases, giving (times, n)."""
    times, columns = to_real.shape
    x_real, x_imag = along_x[0], along_x[1]
    for t in range(times):
        c, s = along_y[0, r, t], along_y[1, r, t]
        for i in range(columns):
            phase_real = c * x_real[t, i] - s * x_imag[t, i]
            phase_imag = c * x_imag[t, i] + s * x_real[t, i]
            a, b = from_16_bits(real[t, i]), from_16_bits(imag[t, i])
            to_real[t, i] = a * phase_real - b * phase_imag
            to_imag[t, i] = a * phase_imag + b * phase_real


@cached_njit(nogil=True, fastmath=True)
def _sum_over_time(row, total):  # type: ignore[no-untyped-def]
    """Sum (n,) of a row (times, n) over time."""
    times, columns = row.shape
    for i in range(columns):
        total[i] = 0
    for t in range(times):
        for i in range(columns):
            total[i] += row[t, i]


@cached_njit(nogil=True, fastmath=True)
def _add_gradient(  # type: ignore[no-untyped-def]
    sum_real, sum_imag, real, imag, columns, wave, along_x, gradient
):
    """Add what the first `columns` of one row (times, n) contribute to `gradient` (times, 2)."""
    for t in range(len(real)):
        pull_y, pull_x = np.float32(0), np.float32(0)
        for i in range(columns):
            part = sum_real[i] * imag[t, i] - sum_imag[i] * real[t, i]
            pull_y += part
            pull_x += part * along_x[i]
        gradient[t, 0] += wave * pull_y
        gradient[t, 1] += pull_x
