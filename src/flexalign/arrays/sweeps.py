"""Compiled loops over spectra that the estimation runs again and again.

As those of `cpu` they release the interpreter's lock, work on items `start` to `stop` and are
cached on disk by numba.  Real and imaginary parts lie apart and rows are short, so that a row of
all frames stays in the cache and its loops become vector instructions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from flexalign.arrays.kernels import from_16_bits, paraboloid_top, rounded_to_16_bits

# Pixels to either side of a place that say what a surface is there.
PEAK_TAPS = 6
# Distances of the 3 x 3 values whose paraboloid says where a top is: from its highest pixel on ever
# closer to it.
_PEAK_STEPS_PX = (0.5, 0.25, 0.125, 0.0625)
# So many pixels more than the search are needed to either side: a top may lie a little outside.
PEAK_MARGIN_PX = PEAK_TAPS + 1
# Pixels around a top are at least this part as high: it may lie half a pixel off on either axis.
_NEARLY_HIGHEST = 0.75


@njit(nogil=True, cache=True, fastmath=True)
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


@njit(nogil=True, cache=True, fastmath=True)
def highest_near(rows, radius_px, top_px, height):  # type: ignore[no-untyped-def]
    """Sub-pixel maxima of surfaces within a radius of the origin.

    Surfaces are interpolated between their pixels, so that it does not matter where these lie:
    neither to which of several maxima is the highest nor to its place.

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
        lowest = np.float32(_NEARLY_HIGHEST * highest)
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
    """Set `place_px` to (`y`, `x`), of which those in the second half lie before the origin."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """Which coefficients of a half plane (h, w // 2 + 1) are kept, and where they lie.

    Row after row, of each the columns from 1 on up to the last that is kept; in each row, frame
    after frame.

    Attributes
    ----------
    ring : (h, w // 2 + 1) int32, -1 = left out; not decreasing along a row
    wave : (rows,) k_y of the rows that are kept, in cycles per side
    start : (rows + 1,) number of coefficients before each row
    ring_packed : (coefficients,) ring of each; those left out have 0 and are zero
    """

    ring: npt.NDArray[np.int32]
    wave: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    ring_packed: npt.NDArray[np.int32]

    def columns_within(self, rings: int) -> npt.NDArray[np.int64]:
        """How many coefficients (rows,) of each row lie in the first `rings` rings."""
        inside = self.ring_packed < rings
        return np.asarray(np.add.reduceat(inside, self.start[:-1], dtype=np.int64))


def packing_of(ring: npt.NDArray[np.int32]) -> Packing:
    """How to pack the coefficients whose `ring` (h, w // 2 + 1) is not negative."""
    height, columns = ring.shape
    last = np.where(ring >= 0, np.arange(columns), 0).max(axis=1)
    rows = np.flatnonzero(last)
    start = np.concatenate([[0], np.cumsum(last[rows])])
    packed = np.concatenate([ring[j, 1 : last[j] + 1] for j in rows]).clip(0)
    wave = np.where(rows <= height // 2, rows, rows - height)
    return Packing(ring, wave.astype(np.int64), start.astype(np.int64), packed.astype(np.int32))


@njit(nogil=True, cache=True, fastmath=True)
def pack(spectra, first, ring, wave, start, envelope, packed, power):  # type: ignore[no-untyped-def]
    """Pack the spectra of frames `first` and on of one patch, times their envelope.

    Numbers are rounded to the upper 16 bits of a float32: sweeps wait for memory, and noise of a
    thousandth of the noise that is there anyway makes no difference.

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
    """Packed numbers as what they stand for; an array on a GPU has its result there."""
    return (packed.astype(np.uint32) << 16).view(np.float32)


def unpacked(packing: Packing, packed: npt.NDArray[np.uint16]) -> npt.NDArray[np.complex64]:
    """The spectra (..., times, h, w // 2 + 1) of packed ones (..., 2, times * coefficients)."""
    times, packed = packed.shape[-1] // packing.start[-1], as_float32(packed)
    out = np.zeros((*packed.shape[:-2], times, *packing.ring.shape), np.complex64)
    for wave, a, b in zip(packing.wave, packing.start[:-1], packing.start[1:], strict=True):
        row = packed[..., times * a : times * b].reshape(*packed.shape[:-1], times, b - a)
        out[..., wave, 1 : 1 + b - a] = row[..., 0, :, :] + 1j * row[..., 1, :, :]
    return out


@njit(nogil=True, cache=True, fastmath=True)
def likelihood_sweep(  # type: ignore[no-untyped-def]
    packed, rest, sides, wave, row_start, ring, columns, weighted, weight, gradient, summed,
    start, stop,
):  # fmt: skip
    """Gradient of the alignment likelihood and ring powers of the sum, patches `start` to `stop`.

    For several motions at once: to read the spectra takes longer than to move them.

    Parameters
    ----------
    packed : (patches, 2, times * coefficients) uint16, see `pack`
    rest : (motions, patches, times, 2) displacement to undo, pixels
    sides : (h, w) of a patch, pixels
    wave, row_start, ring : of the `Packing`, ring packed
    columns : (rows,) number of coefficients to look at in each row
    weighted : (rows,) number of them that may have a weight
    weight : (motions, rings) float32 weight W
    gradient : (motions, patches, times, 2) set to sum of W k Im(conj(S) X), k in cycles per patch
        side
    summed : (motions, patches, rings) set to the sums of |S|^2
    """
    motions, times, rows, widest = len(rest), rest.shape[2], len(wave), columns.max()
    along_y = np.empty((motions, 2, rows, times), np.float32)
    along_x = np.empty((motions, 2, times, widest), np.float32)
    moved, sums = np.empty((2, times * widest), np.float32), np.empty((2, widest), np.float32)
    sum_real, sum_imag = sums[0], sums[1]
    waves_x = np.arange(1, widest + 1).astype(np.float32)
    for p in range(start, stop):
        gradient[:, p] = 0
        summed[:, p] = 0
        for m in range(motions):
            _phases(rest[m, p], sides, wave, along_y[m], along_x[m])
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
                _move(real, imag, along_y[m], r, along_x[m], to_real, to_imag)
                _add_up(to_real, sum_real)
                _add_up(to_imag, sum_imag)
                for i in range(n):
                    g = ring[row_start[r] + i]
                    summed[m, p, g] += sum_real[i] ** 2 + sum_imag[i] ** 2
                    sum_real[i] *= weight[m, g]
                    sum_imag[i] *= weight[m, g]
                if weighted[r] > 0:
                    pull = gradient[m, p]
                    _pull(sum_real, sum_imag, to_real, to_imag, weighted[r], wave[r], waves_x, pull)


@njit(nogil=True, cache=True, fastmath=True)
def _phases(rest, sides, wave, along_y, along_x):  # type: ignore[no-untyped-def]
    """Phases exp(2 pi i k.rest), real and imaginary parts: of rows `wave`, and of columns.

    `along_y` is (2, rows, times), `along_x` (2, times, columns).
    Powers of one phase, in double precision, which take far less time than as many exponentials.
    """
    for t in range(len(rest)):
        angle = 2 * np.pi * rest[t, 0] / sides[0]
        turn, phase, k = np.exp(1j * angle), 1 + 0j, 0
        for r in range(len(wave)):
            # Waves rise by one but for one step, from the highest to the lowest.
            phase = phase * turn if wave[r] == k + 1 else np.exp(1j * angle * wave[r])
            k = wave[r]
            along_y[0, r, t], along_y[1, r, t] = phase.real, phase.imag
        turn, phase = np.exp(2j * np.pi * rest[t, 1] / sides[1]), 1 + 0j
        for i in range(along_x.shape[2]):
            phase *= turn
            along_x[0, t, i], along_x[1, t, i] = phase.real, phase.imag


@njit(nogil=True, cache=True, fastmath=True)
def _move(real, imag, along_y, r, along_x, to_real, to_imag):  # type: ignore[no-untyped-def]
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


@njit(nogil=True, cache=True, fastmath=True)
def _add_up(row, total):  # type: ignore[no-untyped-def]
    """Sum (n,) of a row (times, n) over time."""
    times, columns = row.shape
    for i in range(columns):
        total[i] = 0
    for t in range(times):
        for i in range(columns):
            total[i] += row[t, i]


@njit(nogil=True, cache=True, fastmath=True)
def _pull(  # type: ignore[no-untyped-def]
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
