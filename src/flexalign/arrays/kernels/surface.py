"""Places on correlation surfaces; each function is written once, and compiled for CPU and GPU.

A GPU allocates no arrays in a function: the caller passes those for intermediate results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

# Half-width of the interpolation kernel in pixels.
PEAK_TAPS = 6
# Spacings of the 3 x 3 values to which a paraboloid is fitted, in successive refinements of a
# maximum.
_PEAK_STEPS_PX = (0.5, 0.25, 0.125, 0.0625)
# The highest pixel has at least this fraction of a maximum half a pixel off on both axes.
MIN_CANDIDATE_RATIO = 0.75


class SurfaceFunctions(NamedTuple):
    """The compiled functions; see `surface_functions`."""

    spans: Any
    is_top: Any
    top_near: Any
    signed: Any


def surface_functions(
    compiled: Callable[..., Any], paraboloid_top: Callable[..., Any]
) -> SurfaceFunctions:
    """The functions of places on periodic surfaces (rows, w), compiled by a decorator.

    Parameters
    ----------
    compiled : of numba, for the CPU or for a GPU
    paraboloid_top : `elementwise.paraboloid_top`, compiled for the same device
    """

    @compiled
    def spans(shape, j, radius_px):  # type: ignore[no-untyped-def]
        """The two parts (begin, end) of row `j` within a radius of the origin."""
        count, width = shape
        y = j if j <= (count - 1) // 2 else j - count
        squared = radius_px**2 - y * y
        if squared < 0:
            return (0, 0), (0, 0)
        reach, middle = int(math.sqrt(squared)), (width - 1) // 2
        return (0, min(reach, middle) + 1), (max(width - reach, middle + 1), width)

    @compiled
    def signed(index, size):  # type: ignore[no-untyped-def]
        """A coordinate from the origin: those in the second half are negative."""
        return index if index < (size + 1) // 2 - 0.5 else index - size

    @compiled
    def is_top(surface, j, i):  # type: ignore[no-untyped-def]
        """Whether no neighbour of a pixel is higher."""
        count, width = surface.shape
        for v in (j - 1, j, j + 1):
            for u in (i - 1, i, i + 1):
                if surface[v % count, u % width] > surface[j, i]:
                    return False
        return True

    @compiled
    def sinc_weights(center, step, weight):  # type: ignore[no-untyped-def]
        """Set weights (3, taps) of pixels for the values at `center` and a `step` to either side.

        Lanczos' kernel: a sinc, windowed by the middle of a wider one.

        Returns
        -------
        first : the pixel of the first weight
        """
        taps = weight.shape[1]
        # On a GPU, the result of `floor` is not an integer.
        first = int(math.floor(center)) - taps // 2 + 1  # noqa: RUF046
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
            for t in range(taps):
                weight[k, t] /= total
        return first

    @compiled
    def interpolate(surface, first_y, first_x, along_y, along_x, near):  # type: ignore[no-untyped-def]
        """Set 3 x 3 values from the weights of the pixels from (`first_y`, `first_x`) on."""
        count, width = surface.shape
        for r in range(3):
            for c in range(3):
                near[r, c] = 0.0
        for v in range(along_y.shape[1]):
            row = surface[(first_y + v) % count]
            for c in range(3):
                value = 0.0
                for u in range(along_x.shape[1]):
                    value += along_x[c, u] * row[(first_x + u) % width]
                for r in range(3):
                    near[r, c] += along_y[r, v] * value

    @compiled
    def top_near(surface, j, i, near, along_y, along_x):  # type: ignore[no-untyped-def]
        """Height and place (y, x) of the interpolated top near the pixel `j`, `i`.

        `near` (3, 3), `along_y` and `along_x` (3, 2 * PEAK_TAPS) are work arrays.
        """
        y, x, value = float(j), float(i), float(surface[j, i])
        for step in _PEAK_STEPS_PX:
            first_y, first_x = sinc_weights(y, step, along_y), sinc_weights(x, step, along_x)
            interpolate(surface, first_y, first_x, along_y, along_x, near)
            value = max(value, near[1, 1])
            dy, dx = paraboloid_top(near)
            y, x = y + dy * step, x + dx * step
        return value, y, x

    return SurfaceFunctions(spans, is_top, top_near, signed)
