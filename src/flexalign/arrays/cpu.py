"""Launch the per-pixel kernels on the CPU: compiled loops over blocks of rows, one per thread.

The loops release the interpreter's lock, so ordinary threads run them side by side and the number
of threads is exactly the one asked for.  Compiled code is cached on disk by numba.  A loop has
the functions that it calls written into it (``inline="always"``): where numba links a callee from
the cache instead, the same loop rounds differently the first time it runs than ever after.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from flexalign.arrays.kernels import (
    SPLINE_FILTER,
    SPLINE_GAIN,
    SPLINE_HORIZON_PX,
    SPLINE_POLE,
    cubic_weights,
    filtered,
    folded,
    mirror,
)

# Long rows are filtered in columns of this width, so that a block stays in the cache.
_COLUMN_BLOCK_PX = 128


def in_blocks(work: Callable[..., Any], size: int, threads: int, *arguments: Any) -> list[Any]:
    """Results of ``work(*arguments, start, stop)`` over equal parts of ``range(size)``."""
    edges = np.linspace(0, size, min(threads, size) + 1).astype(int)
    if threads == 1:
        return [work(*arguments, 0, size)]
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(work, *arguments, a, b) for a, b in pairwise(edges)]
        return [job.result() for job in jobs]


def kernels_are_compiled() -> bool:
    """Whether an earlier run has left its compiled loops on disk for this one."""
    folder = sample_rows.stats.cache_path
    return folder is not None and any(Path(folder).glob("cpu.sample_rows-*.nbi"))


@njit(nogil=True, cache=True, fastmath=True)
def prefilter_rows(rows, out):  # type: ignore[no-untyped-def]
    """Fill `out` with the spline coefficients along x of float32 `rows`, both (n, w).

    The filter is short, so it is taken as a sum over neighbours: that makes plain vectors of what
    is a chain of steps when done recursively.
    """
    width = rows.shape[1]
    reach = len(SPLINE_FILTER) - 1
    row = np.empty(width + 2 * reach, np.float32)
    for y in range(rows.shape[0]):
        row[reach : reach + width] = rows[y]
        for k in range(1, reach + 1):
            row[reach - k] = rows[y, folded(-k, width)]
            row[reach + width - 1 + k] = rows[y, folded(width - 1 + k, width)]
        for x in range(width):
            out[y, x] = filtered(row, x + reach)


@njit(nogil=True, cache=True, fastmath=True)
def prefilter_columns(image, start, stop):  # type: ignore[no-untyped-def]
    """Turn columns `start` to `stop` of float32 `image` into coefficients along y, in place."""
    pole, height = np.float32(SPLINE_POLE), image.shape[0]
    gain = np.float32(SPLINE_GAIN)
    horizon = min(SPLINE_HORIZON_PX, height)
    for left in range(start, stop, _COLUMN_BLOCK_PX):
        right = min(left + _COLUMN_BLOCK_PX, stop)
        power = pole
        for y in range(1, horizon):
            for x in range(left, right):
                image[0, x] += power * image[y, x]
            power *= pole
        for x in range(left, right):
            image[0, x] *= gain
        for y in range(1, height):
            for x in range(left, right):
                image[y, x] = gain * image[y, x] + pole * image[y - 1, x]
        for x in range(left, right):
            image[height - 1, x] = (
                pole / (pole * pole - 1) * (image[height - 1, x] + pole * image[height - 2, x])
            )
        for y in range(height - 2, -1, -1):
            for x in range(left, right):
                image[y, x] = pole * (image[y + 1, x] - image[y, x])


@njit(nogil=True, cache=True, fastmath=True)
def sample_rows(coefficients, lattice, step_px, out, start, stop):  # type: ignore[no-untyped-def]
    """Fill `out` (stop - start, w) with the spline's value at p + displacement(p) of those rows.

    `lattice` is (2, ny, nx), the displacement (y, x) at nodes `step_px` apart, linear in between.
    """
    height, width = coefficients.shape
    nodes_x, step = lattice.shape[2], np.float32(step_px)
    for y in range(start, stop):
        j = min(y // step_px, lattice.shape[1] - 2)
        v = np.float32(y - j * step_px) / step
        w = np.float32(1) - v
        for i in range(nodes_x - 1):
            first, last = i * step_px, min((i + 1) * step_px, out.shape[1])
            if first >= last:
                break
            dy = lattice[0, j, i] * w + lattice[0, j + 1, i] * v
            dx = lattice[1, j, i] * w + lattice[1, j + 1, i] * v
            slope_y = (lattice[0, j, i + 1] * w + lattice[0, j + 1, i + 1] * v - dy) / step
            slope_x = (lattice[1, j, i + 1] * w + lattice[1, j + 1, i + 1] * v - dx) / step
            end = np.float32(last - 1 - first)
            whole_y, whole_x = np.floor(dy), np.floor(dx)
            y0, x0 = y + np.int64(whole_y) - 1, first + np.int64(whole_x) - 1
            if (
                np.floor(dy + slope_y * end) == whole_y
                and np.floor(dx + slope_x * end) == whole_x
                and y0 >= 0
                and y0 + 3 < height
                and x0 >= 0
                and x0 + last - first + 2 < width
            ):
                # Nearly always: the same whole shift for the whole segment, so plain vectors.
                end_x = x0 + last - first + 3
                _sample_segment(
                    coefficients[y0, x0:end_x], coefficients[y0 + 1, x0:end_x],
                    coefficients[y0 + 2, x0:end_x], coefficients[y0 + 3, x0:end_x],
                    dy - whole_y, slope_y, dx - whole_x, slope_x, out[y - start, first:last],
                )  # fmt: skip
            else:
                for x in range(first, last):
                    k = np.float32(x - first)
                    out[y - start, x] = _sample_pixel(
                        coefficients, y, dy + slope_y * k, x, dx + slope_x * k
                    )


@njit(nogil=True, fastmath=True, inline="always")
def _sample_segment(  # type: ignore[no-untyped-def]
    c0, c1, c2, c3, u, slope_u, v, slope_v, out
):
    """Fill `out` (n,) from four rows (n + 3,) of coefficients; fractions u in y, v in x."""
    for k in range(out.size):
        a0, a1, a2, a3 = cubic_weights(u + slope_u * np.float32(k))
        b0, b1, b2, b3 = cubic_weights(v + slope_v * np.float32(k))
        out[k] = (
            b0 * (a0 * c0[k] + a1 * c1[k] + a2 * c2[k] + a3 * c3[k])
            + b1 * (a0 * c0[k + 1] + a1 * c1[k + 1] + a2 * c2[k + 1] + a3 * c3[k + 1])
            + b2 * (a0 * c0[k + 2] + a1 * c1[k + 2] + a2 * c2[k + 2] + a3 * c3[k + 2])
            + b3 * (a0 * c0[k + 3] + a1 * c1[k + 3] + a2 * c2[k + 3] + a3 * c3[k + 3])
        )


@njit(nogil=True, fastmath=True, inline="always")
def _sample_pixel(coefficients, y, dy, x, dx):  # type: ignore[no-untyped-def]
    """Value of the spline at (y + dy, x + dx), mirrored beyond the edges."""
    height, width = coefficients.shape
    # The whole and the fractional part are kept apart: float32 cannot hold both.
    whole_y, whole_x = np.floor(dy), np.floor(dx)
    y0, x0 = y + np.int64(whole_y) - 1, x + np.int64(whole_x) - 1
    along_y, along_x = cubic_weights(dy - whole_y), cubic_weights(dx - whole_x)
    value = np.float32(0)
    for j in range(4):
        row = coefficients[mirror(y0 + j, height)]
        for i in range(4):
            value += along_y[j] * along_x[i] * row[mirror(x0 + i, width)]
    return value


@njit(nogil=True, cache=True, fastmath=True)
def weigh_columns(block, total, weight, ratio, steps, start):  # type: ignore[no-untyped-def]
    """Multiply `weight` by `ratio` `steps` times, and add `weight` times `block` to `total`.

    `block` (h, n) belongs to columns `start` to `start` + n of the others (h, w // 2 + 1).
    """
    stop = start + block.shape[1]
    for y in range(block.shape[0]):
        w, r, t, values = (
            weight[y, start:stop],
            ratio[y, start:stop],
            total[y, start:stop],
            block[y],
        )
        for _ in range(steps):
            for i in range(w.size):
                w[i] *= r[i]
        for i in range(w.size):
            t[i] += w[i] * values[i]


@njit(nogil=True, cache=True, fastmath=True)
def weight_power_rows(ratio, exponents, out, start, stop):  # type: ignore[no-untyped-def]
    """Fill rows `start` to `stop` of `out` with the sum of ratio^(2 n) over rising `exponents`."""
    for y in range(start, stop):
        for x in range(ratio.shape[1]):
            w, n, power = np.float32(1), 0, np.float32(0)
            for exponent in exponents:
                for _ in range(exponent - n):
                    w *= ratio[y, x]
                n = exponent
                power += w * w
            out[y, x] = power
