"""Sums whose weights fall off exponentially with time, from few sums in real space.

Where each frequency has a weight of its own in each frame, each frame would have to be transformed.
But exponentials that fall off slowly over a movie are nearly sums of a few functions of time, the
same for all frequencies.  Frames are added up with these in real space, and only the few sums are
transformed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flexalign.arrays import fourier
from flexalign.model import FloatArray, PixelArray

# Largest part of a frequency's weights, as vectors over time, that the functions may leave out.
TOLERANCE = 1e-4
# Rates at which functions are chosen, and at which their coefficients are tabulated.
_CHOICE_NODES, _TABLE_NODES = 257, 4097


@dataclass(frozen=True, slots=True, eq=False)
class ExponentialWeights:
    """Weights ``exp(rate * time)`` of frames, with a rate for each frequency.

    Attributes
    ----------
    rate_at : function of frequencies along y (n, 1) and x (1, m), in cycles per pixel, whose result
        (n, m) is the rate per frame: not positive, lowest in the corners, the same at -y as at y
    shape_px : (h, w) of the images
    frame_count : times are 0, 1, ... up to but not including this
    """

    rate_at: Callable[[FloatArray, FloatArray], FloatArray]
    shape_px: tuple[int, int]
    frame_count: int

    @property
    def lowest_rate(self) -> float:
        """The rate in the corners."""
        ky, kx = fourier.frequencies(self.shape_px)
        return float(self.rate_at(ky.min(keepdims=True), kx.max(keepdims=True))[0, 0])

    def rate(self, start: int = 0, stop: int | None = None) -> PixelArray:
        """Rates (h, n) float32 of the columns from `start` to `stop` of the half plane."""
        ky, kx = fourier.frequencies(self.shape_px)
        # The lower half of the plane mirrors the upper one.
        upper = self.rate_at(ky[: len(ky) // 2 + 1], kx[:, start:stop]).astype(np.float32)
        return np.concatenate([upper, upper[1 : (len(ky) + 1) // 2][::-1]])


@dataclass(frozen=True, slots=True, eq=False)
class TimeFunctions:
    """Few functions of time whose sums are all of ``exp(rate * time)``.

    Attributes
    ----------
    value : (n, times), orthogonal; the first is one throughout
    lowest_rate : the rates go from here to zero
    coefficient : (n, nodes) at evenly spaced rates from zero to the lowest
    """

    value: FloatArray
    lowest_rate: float
    coefficient: FloatArray

    def mean_coefficient(self, times: FloatArray) -> FloatArray:
        """Coefficients (n, nodes) of the weighted mean of the frames at `times` (integers).

        The mean has the noise of an unweighted one: a sum of n frames alike, divided by n.

        References
        ----------
        Grant & Grigorieff, eLife 4:e06980 (2015), equation 9.
        """
        rate = np.linspace(0, self.lowest_rate, self.coefficient.shape[1])
        power = np.exp(2 * np.outer(times, rate)).sum(axis=0)
        return np.asarray(self.coefficient / np.sqrt(np.maximum(power, 1e-12) * max(len(times), 1)))


def time_functions(lowest_rate: float, count: int) -> TimeFunctions:
    """The functions for rates from `lowest_rate` to zero and times 0, 1, ..., `count` - 1.

    Those of the largest singular values, in which sense none fewer are better.

    Examples
    --------
    >>> functions = time_functions(-0.16, 40)
    >>> len(functions.value)
    6
    >>> found = functions.coefficient[:, -1] @ functions.value
    >>> float(np.abs(found - np.exp(-0.16 * np.arange(40))).max().round(4))
    0.0
    """
    time = np.arange(count)
    rate = np.linspace(0, lowest_rate, _CHOICE_NODES)
    weights = np.exp(np.outer(rate, time))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    rest = weights - weights.mean(axis=1, keepdims=True)
    directions = np.linalg.svd(rest, full_matrices=False)[2]
    value = np.ones((1, count))
    for direction in directions[: count - 1]:
        if np.linalg.norm(rest, axis=1).max() < TOLERANCE:
            break
        rest = rest - np.outer(rest @ direction, direction)
        value = np.concatenate([value, direction[None]])
    table = np.exp(np.outer(np.linspace(0, lowest_rate, _TABLE_NODES), time))
    coefficient = (value @ table.T) / (value**2).sum(axis=1, keepdims=True)
    return TimeFunctions(value, lowest_rate, coefficient)
