"""Launch the per-pixel kernels of the passes on a GPU: one thread per pixel.

The formulas are those of `elementwise`, compiled here as device functions.  Arrays are CuPy's,
which numba takes as they are, or NumPy's in numba's CUDA simulator.  Nothing here waits for the
GPU, and no two threads write to one number: the same input gives the same bits.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import cuda

from flexalign.arrays.kernels import elementwise
from flexalign.arrays.kernels.elementwise import SPLINE_FILTER
from flexalign.arrays.kernels.float16 import Coding

# Small movies do not occupy a GPU fully, which need not be reported to users.
_config: Any = getattr(cuda, "config", numba.config)
_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

_BLOCK_PX = (32, 4)  # x, y
# Rows of a column that one thread filters, sharing most of the pixels read.
_FILTERED_ROWS = 8
# Outputs per thread in down-sampling, which share their weights.
_PER_BATCH, _WARP = 4, 32
_REACH_PX = len(SPLINE_FILTER) - 1

_filtered = cuda.jit(device=True)(elementwise.filtered.py_func)
_from_half = cuda.jit(device=True)(elementwise.from_half.py_func)
_to_half = cuda.jit(device=True)(elementwise.rounded_to_half.py_func)
_pixel_hash = cuda.jit(device=True)(elementwise.pixel_hash)
_reflected = cuda.jit(device=True)(elementwise.reflected_index)
_cubic_weights = cuda.jit(device=True)(elementwise.cubic_weights.py_func)


def launch(kernel: Any, width: int, height: int, *arguments: Any) -> None:
    """Run `kernel` with a thread for each of `width` x `height` places."""
    block = (min(_BLOCK_PX[0], width), min(_BLOCK_PX[1], height))
    grid = (math.ceil(width / block[0]), math.ceil(height / block[1]))
    on_gpu = [hasattr(argument, "__cuda_array_interface__") for argument in arguments]
    device_arguments = [
        # numba accepts the array itself too, but then it would wait for the GPU.
        cuda.as_cuda_array(argument, sync=False) if is_on_gpu else argument
        for argument, is_on_gpu in zip(arguments, on_gpu, strict=True)
    ]
    kernel[grid, block, _current_stream() if any(on_gpu) else 0](*device_arguments)


def _current_stream() -> Any:
    """The stream on which CuPy computes at the moment, for numba."""
    import cupy

    pointer = cupy.cuda.get_current_stream().ptr
    return cuda.external_stream(pointer) if pointer else 0


def correct(raw: Any, dark: Any, gain: Any, out: Any) -> None:
    """Fill `out` (h, w) float32 with (raw - dark) * gain; dark and gain may be None."""
    # A kernel takes no None: an array of the same kind is passed in place of a missing one.
    dark_or_any, gain_or_any = (out if array is None else array for array in (dark, gain))
    has = (int(dark is not None), int(gain is not None))
    launch(_correct, raw.shape[1], raw.shape[0], raw, dark_or_any, gain_or_any, *has, out)


@cuda.jit(cache=True)
def _correct(raw, dark, gain, has_dark, has_gain, out):  # type: ignore[no-untyped-def]
    x, y = cuda.grid(2)
    if y < out.shape[0] and x < out.shape[1]:
        value = np.float32(raw[y, x])
        if has_dark:
            value -= dark[y, x]
        if has_gain:
            value *= gain[y, x]
        out[y, x] = value


def replace_bad(image: Any, bad: Any, neighbours: Any, seed: np.uint64) -> None:
    """Replace the bad pixels of `image` (h, w) by one of their neighbours; see `detector.correct`.

    Parameters
    ----------
    bad : (n,) int64, flat indices
    neighbours : (n, count) int64, flat indices of good pixels
    seed : of the frame
    """
    launch(_replace_bad, len(bad), 1, image.reshape(-1), bad, neighbours, seed)


@cuda.jit(cache=True)
def _replace_bad(image, bad, neighbours, seed):  # type: ignore[no-untyped-def]
    n, _ = cuda.grid(2)
    if n < bad.shape[0]:
        number = _pixel_hash(np.uint64(bad[n]), seed)
        chosen = np.int64(number % np.uint64(neighbours.shape[1]))
        image[bad[n]] = image[neighbours[n, chosen]]


def downsample(
    frame: Any, along_y: tuple[Any, Any], along_x: tuple[Any, Any], buffer: Any, out: Any
) -> None:
    """Fill `out` (h, w) with `frame` at a smaller size.

    Parameters
    ----------
    along_y : start and weight (h of out, taps) of `downsample.AxisFilter`, on the device
    along_x : the same, but weight as (taps, w of out), so that neighbours lie side by side
    buffer : (h of out, w of frame) float32 work array
    """
    height, groups = len(buffer), math.ceil(buffer.shape[1] / (_PER_BATCH * _WARP))
    launch(_downsample_down, groups * _WARP, height, frame, *along_y, buffer)
    launch(_downsample_across, out.shape[1], math.ceil(height / _PER_BATCH), buffer, *along_x, out)


@cuda.jit(fastmath=True, cache=True)
def _downsample_down(frame, start, weight, out):  # type: ignore[no-untyped-def]
    # Four columns, a warp apart, share each weight.
    group, y = cuda.grid(2)
    x, (height, width) = group // _WARP * (_PER_BATCH * _WARP) + group % _WARP, frame.shape
    if y >= out.shape[0] or x >= width:
        return
    first, taps = start[y], weight.shape[1]
    if first >= 0 and first + taps <= height and x + 3 * _WARP < width:
        a = b = c = d = np.float32(0)
        for tap in range(taps):
            row, part = np.uint64(first + tap), weight[y, tap]
            a += part * frame[row, x]
            b += part * frame[row, x + _WARP]
            c += part * frame[row, x + 2 * _WARP]
            d += part * frame[row, x + 3 * _WARP]
        out[y, x], out[y, x + _WARP] = a, b
        out[y, x + 2 * _WARP], out[y, x + 3 * _WARP] = c, d
        return
    for column in range(x, min(x + _PER_BATCH * _WARP, width), _WARP):
        total = np.float32(0)
        for tap in range(taps):
            total += weight[y, tap] * frame[_reflected(first + tap, height), column]
        out[y, column] = total


@cuda.jit(fastmath=True, cache=True)
def _downsample_across(frame, start, weight, out):  # type: ignore[no-untyped-def]
    # Four rows share each weight.
    x, group = cuda.grid(2)
    y, (height, width) = group * _PER_BATCH, frame.shape
    if y >= height or x >= out.shape[1]:
        return
    first, taps = start[x], weight.shape[0]
    if first >= 0 and first + taps <= width and y + 3 < height:
        a = b = c = d = np.float32(0)
        for tap in range(taps):
            column, part = np.uint64(first + tap), weight[tap, x]
            a += part * frame[y, column]
            b += part * frame[y + 1, column]
            c += part * frame[y + 2, column]
            d += part * frame[y + 3, column]
        out[y, x], out[y + 1, x], out[y + 2, x], out[y + 3, x] = a, b, c, d
        return
    for row in range(y, min(y + _PER_BATCH, height)):
        total = np.float32(0)
        for tap in range(taps):
            total += weight[tap, x] * frame[row, _reflected(first + tap, width)]
        out[row, x] = total


def prefilter(image: Any, buffer: Any) -> None:
    """Turn float32 `image` (h, w) into its cubic spline coefficients; `buffer` is as large."""
    height, width = image.shape
    launch(_prefilter_x, width, height, image, buffer)
    launch(_prefilter_y, width, math.ceil(height / _FILTERED_ROWS), buffer, image)


@cuda.jit(fastmath=True, cache=True)
def _prefilter_x(image, out):  # type: ignore[no-untyped-def]
    x, y = cuda.grid(2)
    if y < out.shape[0] and x < out.shape[1]:
        out[y, x] = _coefficient(image[y], x)


@cuda.jit(fastmath=True, cache=True)
def _prefilter_y(image, out):  # type: ignore[no-untyped-def]
    x, group = cuda.grid(2)
    height, y = image.shape[0], group * _FILTERED_ROWS
    if y >= height or x >= image.shape[1]:
        return
    column = image[:, x]
    if y < _REACH_PX or y + _FILTERED_ROWS + _REACH_PX > height:
        for row in range(y, min(y + _FILTERED_ROWS, height)):
            out[row, x] = _coefficient(column, row)
        return
    # All are computed before one is written, so that the compiler reads each value once.
    a, b = _filtered(column, y), _filtered(column, y + 1)
    c, d = _filtered(column, y + 2), _filtered(column, y + 3)
    e, f = _filtered(column, y + 4), _filtered(column, y + 5)
    g, h = _filtered(column, y + 6), _filtered(column, y + 7)
    out[y, x], out[y + 1, x], out[y + 2, x], out[y + 3, x] = a, b, c, d
    out[y + 4, x], out[y + 5, x], out[y + 6, x], out[y + 7, x] = e, f, g, h


@cuda.jit(device=True, fastmath=True)
def _coefficient(line, x):  # type: ignore[no-untyped-def]
    """Spline coefficient at `x` of a line that is reflected at its ends."""
    size = line.shape[0]
    if _REACH_PX <= x < size - _REACH_PX:
        return _filtered(line, x)
    total = SPLINE_FILTER[0] * line[x]
    for k in range(1, _REACH_PX + 1):
        total += SPLINE_FILTER[k] * (line[_reflected(x - k, size)] + line[_reflected(x + k, size)])
    return total


def sample(coefficients: Any, lattice: Any, step_px: int, out: Any) -> None:
    """Fill `out` (h, w) with the spline's value at p + displacement(p); see `warp.sample_tile`."""
    height, width = coefficients.shape
    launch(_sampler(step_px), width, height, coefficients, lattice, out)


@cache
def _sampler(step_px: int) -> Any:
    """The kernel for a lattice of this step, a compile-time constant for fast division."""

    @cuda.jit(fastmath=True, cache=True)
    def sample(coefficients, lattice, out):  # type: ignore[no-untyped-def]
        x, y = cuda.grid(2)
        height, width = coefficients.shape
        if y >= height or x >= width:
            return
        j, i = min(y // step_px, lattice.shape[1] - 2), min(x // step_px, lattice.shape[2] - 2)
        v = np.float32(y - j * step_px) / np.float32(step_px)
        u = np.float32(x - i * step_px) / np.float32(step_px)
        dy = _between(lattice[0], j, i, v, u)
        dx = _between(lattice[1], j, i, v, u)
        # Integer and fractional part are kept apart: float32 cannot hold their sum.
        whole_y, whole_x = math.floor(dy), math.floor(dx)
        along_y = _cubic_weights(dy - np.float32(whole_y))
        along_x = _cubic_weights(dx - np.float32(whole_x))
        top, left = y + int(whole_y) - 1, x + int(whole_x) - 1
        value = np.float32(0)
        if top >= 0 and left >= 0 and top + 4 <= height and left + 4 <= width:
            for a in range(4):
                for b in range(4):
                    # No sign, no search for a negative index.
                    row, column = np.uint64(top + a), np.uint64(left + b)
                    value += along_y[a] * along_x[b] * coefficients[row, column]
        else:
            for a in range(4):
                row = np.uint64(_reflected(top + a, height))
                for b in range(4):
                    column = np.uint64(_reflected(left + b, width))
                    value += along_y[a] * along_x[b] * coefficients[row, column]
        out[y, x] = value

    return sample


@cuda.jit(device=True, fastmath=True)
def _between(nodes, j, i, v, u):  # type: ignore[no-untyped-def]
    """Bilinear mean of the four nodes from (j, i) on, at fractions `v` in y and `u` in x."""
    upper = nodes[j, i] + (nodes[j, i + 1] - nodes[j, i]) * u
    lower = nodes[j + 1, i] + (nodes[j + 1, i + 1] - nodes[j + 1, i]) * u
    return upper + (lower - upper) * v


def add_weighted(spectrum: Any, total: Any, rate: Any, time: float) -> None:
    """Add `spectrum` times the exponential of `rate` times `time` to `total`."""
    launch(_add_weighted, total.shape[1], total.shape[0], spectrum, total, rate, np.float32(time))


@cuda.jit(cache=True)
def _add_weighted(spectrum, total, rate, time):  # type: ignore[no-untyped-def]
    x, y = cuda.grid(2)
    if y < total.shape[0] and x < total.shape[1]:
        total[y, x] += np.float32(math.exp(rate[y, x] * time)) * spectrum[y, x]


def store(image: Any, coding: Coding, is_more: bool, out: Any) -> None:
    """Set a stored image `out` (h, w) to `image` in its coding, or add that to it.

    Parameters
    ----------
    out : from `float16.stored`
    """
    height, width = image.shape
    how = coding.level, coding.factor, int(is_more), int(is_half(out))
    launch(_store, width, height, image, *how, out)


@cuda.jit(cache=True)
def _store(image, level, factor, is_more, is_half, out):  # type: ignore[no-untyped-def]
    x, y = cuda.grid(2)
    if y >= out.shape[0] or x >= out.shape[1]:
        return
    value = (image[y, x] - level) * factor
    if is_half:
        if is_more:
            value += _from_half(out[y, x])
        out[y, x] = _to_half(value)
    else:
        if is_more:
            value += np.float32(out[y, x])
        out[y, x] = value


def add_scaled(image: Any, part: Any, out: Any) -> None:
    """Add to each stored image of `out` (n, h, w) its `part` (n,) of `image` (h, w)."""
    count, height, width = out.shape
    launch(_add_scaled, height * width, count, image, part, int(is_half(out)), out)


@cuda.jit(cache=True)
def _add_scaled(image, part, is_half, out):  # type: ignore[no-untyped-def]
    at, n = cuda.grid(2)
    height, width = image.shape
    if n >= out.shape[0] or at >= height * width:
        return
    y, x = at // width, at % width
    value = part[n] * image[y, x]
    if is_half:
        out[n, y, x] = _to_half(_from_half(out[n, y, x]) + value)
    else:
        out[n, y, x] = np.float32(out[n, y, x]) + value


def is_half(stored: Any) -> bool:
    """Whether an image from `float16.stored` has 16-bit floats."""
    return bool(stored.dtype == np.uint16)
