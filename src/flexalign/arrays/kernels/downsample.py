"""Loops that correct and down-sample raw frames; see `warp` on all loops."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from flexalign.arrays.kernels.float16 import store_row
from flexalign.arrays.kernels.raw_frames import correct_tile
from flexalign.compiling import cached_njit

# Rows filtered in one pass.
_ROWS_PER_BATCH = 4
# The number of filter taps is a multiple of this, so that the loops vectorise.
TAPS_PER_STEP = 8
# Columns of a strip corrected and filtered in one pass.
_STRIP_COLUMNS = 512


@cached_njit(nogil=True, fastmath=True)
def downsample_rows(  # type: ignore[no-untyped-def]
    raws, gain, dark, bad_start, bad_x, replacements,
    start_y, weight_y, start_x, weight_x, first, last, places, is_more,
    level, factor, small, moments,
):  # fmt: skip
    """Fill rows `first` to `last` of some of `small` (times, h, w) from raw frames.

    Parameters
    ----------
    raws, gain, dark, bad_start, bad_x, replacements : as for `add_tiles`
    start_y, weight_y, start_x, weight_x : filters of the axes, see `AxisFilter`
    places, is_more : (n,) index into `small`, and whether to add to its content
    level, factor : float32, of the `float16.Coding` of the small frames
    small : from `float16.stored`
    moments : (n, h, 2) set to the sum of each row, and of its squares
    """
    joint, reach = _joined(start_y, weight_y, first, last)
    top, bottom = start_y[first], start_y[last - 1] + weight_y.shape[1] + _ROWS_PER_BATCH - 1
    left, right = start_x[0], start_x[-1] + weight_x.shape[1]
    # The last group may have fewer rows.
    rows = np.empty((len(joint) * _ROWS_PER_BATCH, right - left), np.float32)
    along = np.empty((_ROWS_PER_BATCH, len(start_x)), np.float32)
    for k in range(len(places)):
        for begin in range(left, right, _STRIP_COLUMNS):
            end = min(begin + _STRIP_COLUMNS, right)
            pixels = np.empty((bottom - top, end - begin), np.float32)
            correct_tile(raws[k], gain, dark, bad_start, bad_x, replacements[k], top, begin, pixels)
            for g in range(len(joint)):
                i = g * _ROWS_PER_BATCH
                used = start_y[first + i] - top
                _filter_down(
                    pixels[used : used + reach[g]],
                    joint[g],
                    rows[i : i + _ROWS_PER_BATCH, begin - left : end - left],
                )
        for i in range(first, last, _ROWS_PER_BATCH):
            _filter_along(rows[i - first : i - first + _ROWS_PER_BATCH], start_x, weight_x, along)
            for j in range(i, min(i + _ROWS_PER_BATCH, last)):
                row, out = along[j - i], small[places[k], j]
                added, squared = np.float32(0), np.float32(0)
                for x in range(out.size):
                    added += row[x]
                    squared += row[x] * row[x]
                moments[k, j, 0], moments[k, j, 1] = added, squared
                store_row(row, level, factor, is_more[k], out)


@njit(nogil=True, fastmath=True, inline="always")
def _filter_along(rows, start, weight, out):  # type: ignore[no-untyped-def]
    """Fill `out` (4, n) with weighted sums of the pixels from `start` (n,) on of rows (4, w).

    Each weight is read from memory once for all four rows.
    """
    left, taps = start[0], weight.shape[1]
    row0, row1, row2, row3 = rows[0], rows[1], rows[2], rows[3]
    for x in range(len(start)):
        at, factor = start[x] - left, weight[x]
        r0, r1, r2, r3 = (
            row0[at : at + taps], row1[at : at + taps], row2[at : at + taps], row3[at : at + taps],
        )  # fmt: skip
        t0 = t1 = t2 = t3 = np.float32(0)
        for tap in range(taps):
            t0 += factor[tap] * r0[tap]
            t1 += factor[tap] * r1[tap]
            t2 += factor[tap] * r2[tap]
            t3 += factor[tap] * r3[tap]
        out[0, x], out[1, x], out[2, x], out[3, x] = t0, t1, t2, t3


# Not inlined: numba would not vectorise the neighbouring loop of the caller.
@cached_njit(nogil=True)
def _joined(start, weight, first, last):  # type: ignore[no-untyped-def]
    """Weights of new rows `first` to `last`, in groups of four with a common support.

    Returns
    -------
    joint : (groups, 4, n) float32, from the first old row of the group on; zero where not used
    reach : (groups,) number of old rows of the group, a multiple of four
    """
    taps, fours = weight.shape[1], (last - first + _ROWS_PER_BATCH - 1) // _ROWS_PER_BATCH
    reach = np.empty(fours, np.int64)
    for g in range(fours):
        i = first + g * _ROWS_PER_BATCH
        rows = start[min(i + _ROWS_PER_BATCH, last) - 1] - start[i] + taps
        reach[g] = (rows + _ROWS_PER_BATCH - 1) // _ROWS_PER_BATCH * _ROWS_PER_BATCH
    joint = np.zeros((fours, _ROWS_PER_BATCH, reach.max()), np.float32)
    for i in range(first, last):
        g, j = (i - first) // _ROWS_PER_BATCH, (i - first) % _ROWS_PER_BATCH
        begin = start[i] - start[i - j]
        joint[g, j, begin : begin + taps] = weight[i]
    return joint, reach


@njit(nogil=True, fastmath=True, inline="always")
def _filter_down(pixels, weight, out):  # type: ignore[no-untyped-def]
    """Fill `out` (4, w) with sums over the rows of `pixels` (n, w), each with its `weight` (4, n).

    Register blocking: four rows of pixels times four of the result, so that each number read from
    memory is used four times.
    """
    out0, out1, out2, out3 = out[0], out[1], out[2], out[3]
    for x in range(out0.size):
        out0[x] = out1[x] = out2[x] = out3[x] = 0
    for k in range(0, len(pixels), 4):
        a0, a1, a2, a3 = weight[0, k], weight[0, k + 1], weight[0, k + 2], weight[0, k + 3]
        b0, b1, b2, b3 = weight[1, k], weight[1, k + 1], weight[1, k + 2], weight[1, k + 3]
        c0, c1, c2, c3 = weight[2, k], weight[2, k + 1], weight[2, k + 2], weight[2, k + 3]
        d0, d1, d2, d3 = weight[3, k], weight[3, k + 1], weight[3, k + 2], weight[3, k + 3]
        row0, row1, row2, row3 = pixels[k], pixels[k + 1], pixels[k + 2], pixels[k + 3]
        for x in range(out0.size):
            p0, p1, p2, p3 = row0[x], row1[x], row2[x], row3[x]
            out0[x] += a0 * p0 + a1 * p1 + a2 * p2 + a3 * p3
            out1[x] += b0 * p0 + b1 * p1 + b2 * p2 + b3 * p3
            out2[x] += c0 * p0 + c1 * p1 + c2 * p2 + c3 * p3
            out3[x] += d0 * p0 + d1 * p1 + d2 * p2 + d3 * p3


@cached_njit(nogil=True, fastmath=True)
def spread_pixels(  # type: ignore[no-untyped-def]
    y, x, value, row_start, row, row_weight, column_start, column, column_weight, small
):
    """Add the down-sampled image of single pixels (y, x) of `value` (n,) to a `small` frame (h, w).

    Parameters
    ----------
    row_start, row, row_weight : rows of the small frame to which each row of the frame contributes,
        in `row` from `row_start` on, and their weights
    column_start, column, column_weight : likewise
    """
    for k in range(len(value)):
        for j in range(row_start[y[k]], row_start[y[k] + 1]):
            part, out = value[k] * row_weight[j], small[row[j]]
            for i in range(column_start[x[k]], column_start[x[k] + 1]):
                out[column[i]] += part * column_weight[i]


@cached_njit(nogil=True, fastmath=True)
def add_rows(raw, total, start, stop):  # type: ignore[no-untyped-def]
    """Add the rows of a raw frame from `start` to `stop` to those of `total`, both (h, w)."""
    for y in range(start, stop):
        row, sums = raw[y], total[y]
        for x in range(sums.size):
            sums[x] += row[x]


@cached_njit(nogil=True, fastmath=True)
def moments(image):  # type: ignore[no-untyped-def]
    """Mean and standard deviation of an image (h, w)."""
    total = squared = 0.0
    for y in range(image.shape[0]):
        row, part, part_squared = image[y], np.float32(0), np.float32(0)
        for x in range(row.size):
            part += row[x]
            part_squared += row[x] * row[x]
        total += float(part)
        squared += float(part_squared)
    mean = total / image.size
    return mean, math.sqrt(max(squared / image.size - mean * mean, 0.0))
