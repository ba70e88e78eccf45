"""The loops that make small frames of raw ones; see `cpu` for what all loops have in common."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from flexalign.arrays.cpu import correct_tile
from flexalign.arrays.halves import store_row

# Rows that are filtered together.
_ROWS_TOGETHER = 4
# Numbers of terms of a filter for which the loops are fast.
TAPS_TOGETHER = 8
# So many columns of a strip are corrected and filtered together.
_STRIP_COLUMNS = 512


@njit(nogil=True, cache=True, fastmath=True)
def shrink_rows(  # type: ignore[no-untyped-def]
    raws, gain, dark, bad_start, bad_x, mended,
    start_y, weight_y, start_x, weight_x, first, last, places, is_more, level, small, moments,
):  # fmt: skip
    """Fill rows `first` to `last` of some of `small` (times, h, w) from raw frames.

    Parameters
    ----------
    raws, gain, dark, bad_start, bad_x, mended : as for `add_tiles`
    small : as `halves.stored` gives it
    start_y, weight_y, start_x, weight_x : how the axes are shrunk, see `shrink.Shrinking`
    places, is_more : (n,) which of `small` is meant, and whether to add to what it holds
    level : float32 to take off before pixels are put into `small`
    moments : (n, h, 2) set to the sum of each row, and of its squares
    """
    top, bottom = start_y[first], start_y[last - 1] + weight_y.shape[1]
    left, right = start_x[0], start_x[-1] + weight_x.shape[1]
    # Rows to fill up the last few that are filtered together hold anything.
    padding = -(last - first) % _ROWS_TOGETHER
    rows = np.empty((last - first + padding, right - left), np.float32)
    along = np.empty((_ROWS_TOGETHER, len(start_x)), np.float32)
    for k in range(len(places)):
        for begin in range(left, right, _STRIP_COLUMNS):
            end = min(begin + _STRIP_COLUMNS, right)
            pixels = np.empty((bottom - top, end - begin), np.float32)
            correct_tile(raws[k], gain, dark, bad_start, bad_x, mended[k], top, begin, pixels)
            for i in range(first, last):
                _filter_down(
                    pixels,
                    start_y[i] - top,
                    weight_y[i],
                    rows[i - first, begin - left : end - left],
                )
        for i in range(first, last, _ROWS_TOGETHER):
            _filter_along(rows[i - first : i - first + _ROWS_TOGETHER], start_x, weight_x, along)
            for j in range(i, min(i + _ROWS_TOGETHER, last)):
                row, out = along[j - i], small[places[k], j]
                added, squared = np.float32(0), np.float32(0)
                for x in range(out.size):
                    added += row[x]
                    squared += row[x] * row[x]
                moments[k, j, 0], moments[k, j, 1] = added, squared
                store_row(row, level, is_more[k], out)


@njit(nogil=True, fastmath=True, inline="always")
def _filter_along(rows, start, weight, out):  # type: ignore[no-untyped-def]
    """Fill `out` (4, n) with weighted sums of the pixels from `start` (n,) on of rows (4, w).

    Together the rows take little longer than one, for each weight comes from memory once.
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


@njit(nogil=True, fastmath=True, inline="always")
def _filter_down(pixels, top, weight, out):  # type: ignore[no-untyped-def]
    """Fill `out` (w,) with the weighted sum of rows `top` and on of `pixels` (n, w)."""
    for x in range(out.size):
        out[x] = 0
    for tap in range(0, weight.size, 4):
        w0, w1, w2, w3 = weight[tap], weight[tap + 1], weight[tap + 2], weight[tap + 3]
        row = top + tap
        r0, r1, r2, r3 = pixels[row], pixels[row + 1], pixels[row + 2], pixels[row + 3]
        for x in range(out.size):
            out[x] += w0 * r0[x] + w1 * r1[x] + w2 * r2[x] + w3 * r3[x]


@njit(nogil=True, cache=True, fastmath=True)
def spread_pixels(  # type: ignore[no-untyped-def]
    y, x, value, row_start, row, row_weight, column_start, column, column_weight, small
):
    """Add some pixels (y, x) of `value` (n,), alone on an empty frame, to a `small` one (h, w).

    Parameters
    ----------
    row_start, row, row_weight : of each row of the frame, where in `row` begin those of the small
        one that it goes into, and with which weights
    column_start, column, column_weight : likewise
    """
    for k in range(len(value)):
        for j in range(row_start[y[k]], row_start[y[k] + 1]):
            part, out = value[k] * row_weight[j], small[row[j]]
            for i in range(column_start[x[k]], column_start[x[k] + 1]):
                out[column[i]] += part * column_weight[i]


@njit(nogil=True, cache=True, fastmath=True)
def add_rows(raw, total, start, stop):  # type: ignore[no-untyped-def]
    """Add the rows of a raw frame from `start` to `stop` to those of `total`, both (h, w)."""
    for y in range(start, stop):
        row, sums = raw[y], total[y]
        for x in range(sums.size):
            sums[x] += row[x]


@njit(nogil=True, cache=True, fastmath=True)
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
