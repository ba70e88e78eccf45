"""Warp frames along a motion and sum them: compiled loops over tiles, shared among threads.

A tile of the output depends on the displaced tile of the frame, with a margin for the spline
filter.  Both fit into the cache while the frame is corrected, filtered, interpolated and summed.

The loops release the global interpreter lock, so that the number of threads is exactly the
requested one.  Compiled code is cached on disk by numba.  Callees have ``inline="always"``: one
that numba links from its cache rounds differently from one that is compiled in the same process.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from flexalign.arrays.kernels.elementwise import (
    SPLINE_FILTER,
    SPLINE_GAIN,
    SPLINE_POLE,
    cubic_weights,
    filtered,
)
from flexalign.arrays.kernels.raw_frames import correct_tile
from flexalign.compiling import cached_njit, is_cacheable, is_cached

# Half-width of the filter along x, and rows after which the recursive filter along y has
# forgotten its initial value.
REACH_PX = len(SPLINE_FILTER) - 1
WARM_UP_PX = 12
# Frames added to the sums in one pass over a tile.
_PER_BATCH = 4


def compiling_note() -> str:
    """A note that the loops are being compiled; "" if their code is in the on-disk cache."""
    if is_cached(sample_tile) or sample_tile.signatures:  # in the cache, or compiled before
        return ""
    if is_cacheable(sample_tile):
        return "compiling, which takes some seconds and happens once"
    return (
        "compiling, which takes some seconds and happens at every start: there is no folder where "
        "compiled code may be kept; NUMBA_CACHE_DIR can name one"
    )


@cached_njit(nogil=True, fastmath=True, inline="always")
def filter_tile(pixels, out):  # type: ignore[no-untyped-def]
    """Fill `out` (n, m) with the spline coefficients of `pixels` (n, m + 2 `REACH_PX`).

    The first and the last `WARM_UP_PX` rows are not valid.

    Along y the filter is recursive, vectorised over x.  Along x it is a finite sum over
    neighbours, since a recursion would not vectorise.
    """
    height, width = out.shape
    pole, gain = np.float32(SPLINE_POLE), np.float32(SPLINE_GAIN)
    one = np.float32(1)
    # Initial values for constant continuation beyond the first and the last row.
    row, to = pixels[0], out[0]
    for x in range(width):
        to[x] = gain / (one - pole) * filtered(row, x + REACH_PX)
    for y in range(1, height):
        row, to, before = pixels[y], out[y], out[y - 1]
        for x in range(width):
            to[x] = gain * filtered(row, x + REACH_PX) + pole * before[x]
    row = out[height - 1]
    for x in range(width):
        row[x] *= pole / (pole - one)
    for y in range(height - 2, -1, -1):
        row, after = out[y], out[y + 1]
        for x in range(width):
            row[x] = pole * (after[x] - row[x])


@cached_njit(nogil=True, fastmath=True, inline="always")
def span_of_tile(lattice, step_px, top, left, out):  # type: ignore[no-untyped-def]
    """Fill `out` (4,) with top, bottom, left and right of the pixels that a tile depends on.

    `lattice` is (2, ny, nx); on entry `out` has the tile's bottom and right edge at [1] and [3].
    """
    bottom, right = out[1], out[3]
    j0, j1 = top // step_px, (bottom - 1) // step_px + 1
    i0, i1 = left // step_px, (right - 1) // step_px + 1
    for axis in range(2):
        lowest = highest = lattice[axis, j0, i0]
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                lowest = min(lowest, lattice[axis, j, i])
                highest = max(highest, lattice[axis, j, i])
        # One pixel more, for rounding between the nodes.
        out[2 * axis] = (top if axis == 0 else left) + np.int64(np.floor(lowest)) - 2
        out[2 * axis + 1] = (bottom if axis == 0 else right) + np.int64(np.floor(highest)) + 4


@cached_njit(nogil=True, fastmath=True, inline="always")
def sample_tile(coefficients, from_y, from_x, lattice, step_px, top, left, out):  # type: ignore[no-untyped-def]
    """Fill `out` (n, m) with the spline at p + displacement(p), for p from (top, left) on.

    Parameters
    ----------
    coefficients : those from (from_y, from_x) on, covering all displaced pixels
    lattice : (2, ny, nx) displacement (y, x) at nodes `step_px` apart, linear in between
    """
    step, (rows, columns) = np.float32(step_px), out.shape
    first = left // step_px
    segments = (left + columns - 1) // step_px + 1 - first
    at_nodes = np.empty((2, segments + 1), np.float32)
    is_even = np.empty(segments, np.bool_)  # the same integer shift at both nodes
    along = np.empty((2, segments * step_px), np.float32)
    ramp = (np.arange(step_px) / step_px).astype(np.float32)
    begin = left - first * step_px  # of the tile in `along`
    end = begin + columns
    dy, dx = along[0], along[1]
    for y in range(top, top + rows):
        j = min(y // step_px, lattice.shape[1] - 2)
        v = np.float32(y - j * step_px) / step
        for axis in range(2):
            upper, lower, nodes = lattice[axis, j], lattice[axis, j + 1], at_nodes[axis]
            for i in range(segments + 1):
                nodes[i] = upper[first + i] + v * (lower[first + i] - upper[first + i])
            _interpolate(nodes, ramp, along[axis])
        _compare_whole(at_nodes[0], at_nodes[1], is_even)
        row, to, start = y - from_y - 1, out[y - top], begin
        while start < end:
            stop = _end_of_run(dy, dx, start, end, is_even, step_px)
            # Pixels with the same integer shift, so that the loop vectorises.
            whole_y, whole_x = np.floor(dy[start]), np.floor(dx[start])
            y0 = row + np.int64(whole_y)
            x0 = first * step_px + start + np.int64(whole_x) - 1 - from_x
            x1 = x0 + stop - start + 3
            _sample_segment(
                coefficients[y0, x0:x1], coefficients[y0 + 1, x0:x1],
                coefficients[y0 + 2, x0:x1], coefficients[y0 + 3, x0:x1],
                dy[start:stop], whole_y, dx[start:stop], whole_x, to[start - begin : stop - begin],
            )  # fmt: skip
            start = stop


@njit(nogil=True, fastmath=True, inline="always")
def _compare_whole(one, other, is_even):  # type: ignore[no-untyped-def]
    """Set `is_even` (n - 1,) where both values (n,) have the same floor as at the next node."""
    for i in range(is_even.size):
        is_even[i] = (np.floor(one[i]) == np.floor(one[i + 1])) & (
            np.floor(other[i]) == np.floor(other[i + 1])
        )


@njit(nogil=True, fastmath=True, inline="always")
def _end_of_run(dy, dx, start, end, is_even, step_px):  # type: ignore[no-untyped-def]
    """End of the run of pixels from `start` on whose displacements have the same integer part."""
    i, stop = start // step_px, start + 1
    if is_even[i]:
        while i < is_even.size and is_even[i]:
            i += 1
        return min(i * step_px, end)
    last = min((i + 1) * step_px, end)
    while (
        stop < last
        and np.floor(dy[stop]) == np.floor(dy[start])
        and np.floor(dx[stop]) == np.floor(dx[start])
    ):
        stop += 1
    return stop


@njit(nogil=True, fastmath=True, inline="always")
def _interpolate(nodes, ramp, out):  # type: ignore[no-untyped-def]
    """Fill `out` with values at pixels, linear between `nodes`; `ramp` rises from 0 to 1."""
    step_px = ramp.size
    for i in range(nodes.size - 1):
        value, rise, part = nodes[i], nodes[i + 1] - nodes[i], out[i * step_px : (i + 1) * step_px]
        for k in range(step_px):
            part[k] = value + rise * ramp[k]


@njit(nogil=True, fastmath=True, inline="always")
def _sample_segment(  # type: ignore[no-untyped-def]
    c0, c1, c2, c3, dy, whole_y, dx, whole_x, out
):
    """Fill `out` (n,) from four rows (n + 3,) of coefficients, at fractional displacements.

    The integer part is subtracted from each displacement, since float32 cannot hold the sum of a
    coordinate and a fraction.
    """
    for k in range(out.size):
        a0, a1, a2, a3 = cubic_weights(dy[k] - whole_y)
        b0, b1, b2, b3 = cubic_weights(dx[k] - whole_x)
        out[k] = (
            b0 * (a0 * c0[k] + a1 * c1[k] + a2 * c2[k] + a3 * c3[k])
            + b1 * (a0 * c0[k + 1] + a1 * c1[k + 1] + a2 * c2[k + 1] + a3 * c3[k + 1])
            + b2 * (a0 * c0[k + 2] + a1 * c1[k + 2] + a2 * c2[k + 2] + a3 * c3[k + 2])
            + b3 * (a0 * c0[k + 3] + a1 * c1[k + 3] + a2 * c2[k + 3] + a3 * c3[k + 3])
        )


@cached_njit(nogil=True, fastmath=True)
def add_tiles(  # type: ignore[no-untyped-def]
    raws, gain, dark, bad_start, bad_x, replacements, lattices, step_px, weights, tile, totals,
    moved,
):  # fmt: skip
    """Warp one tile of some frames and add it to sums.

    Parameters
    ----------
    raws : frames (h, w), of which the first n are used
    gain, dark, bad_start, bad_x : as for `correct_tile`
    replacements : (n, bad pixels)
    lattices : (n, 2, ny, nx), as for `sample_tile`
    weights : (sums, n) float32, of each frame in each sum
    tile : (4,) top, bottom, left, right
    totals : (sums, h, w or more) float32, added to
    moved : (n, h, w) float32 for the warped frames, or empty
    """
    top, bottom, left, right = tile
    rows, columns = bottom - top, right - left
    values = np.empty((_PER_BATCH, rows, columns), np.float32)
    span = np.empty(4, np.int64)
    for first in range(0, len(lattices), _PER_BATCH):
        last = min(first + _PER_BATCH, len(lattices))
        for k in range(first, last):
            span[:] = tile
            span_of_tile(lattices[k], step_px, top, left, span)
            y0, y1 = span[0] - WARM_UP_PX, span[1] + WARM_UP_PX
            pixels = np.empty((y1 - y0, span[3] - span[2] + 2 * REACH_PX), np.float32)
            coefficients = np.empty((y1 - y0, span[3] - span[2]), np.float32)
            correct_tile(
                raws[k],
                gain,
                dark,
                bad_start,
                bad_x,
                replacements[k],
                y0,
                span[2] - REACH_PX,
                pixels,
            )
            filter_tile(pixels, coefficients)
            sample_tile(
                coefficients, y0, span[2], lattices[k], step_px, top, left, values[k - first]
            )
            if len(moved) > 0:
                moved[k, top:bottom, left:right] = values[k - first]
        _accumulate(values, weights[:, first:last], totals, top, left)


@njit(nogil=True, fastmath=True, inline="always")
def _accumulate(values, weights, totals, top, left):  # type: ignore[no-untyped-def]
    """Add `values` (n, rows, columns) to `totals` (sums, h, w), each sum with its `weights`."""
    sums, count = weights.shape
    _, rows, columns = values.shape
    for y in range(rows):
        for s in range(sums):
            total = totals[s, top + y, left : left + columns]
            if count == 4:
                w0, w1, w2, w3 = weights[s, 0], weights[s, 1], weights[s, 2], weights[s, 3]
                v0, v1, v2, v3 = values[0, y], values[1, y], values[2, y], values[3, y]
                for x in range(columns):
                    total[x] += w0 * v0[x] + w1 * v1[x] + w2 * v2[x] + w3 * v3[x]
            else:
                for k in range(count):
                    w, v = weights[s, k], values[k, y]
                    for x in range(columns):
                        total[x] += w * v[x]


@cached_njit(nogil=True, fastmath=True)
def add_weighted_columns(block, total, rate, nodes_per_rate, table):  # type: ignore[no-untyped-def]
    """Add `block` (h, n), times weights from a table, to `total` (h, n) complex64.

    Parameters
    ----------
    rate : (h, n) float32, the argument of each weight
    table : (nodes,) float32, the weight at rates 1 / `nodes_per_rate` apart, linear in between
    """
    for y in range(block.shape[0]):
        values, sums, rates = block[y], total[y], rate[y]
        for i in range(values.size):
            place = rates[i] * nodes_per_rate
            node = max(min(np.int32(place), np.int32(table.size - 2)), np.int32(0))
            part = place - np.float32(node)
            weight = table[node] + part * (table[node + 1] - table[node])
            sums[i] += weight * values[i]
