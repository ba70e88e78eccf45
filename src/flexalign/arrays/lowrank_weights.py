"""Low-rank approximation of exponential weights, so that a few real-space sums replace the frames.

With a separate weight for each frequency and frame, each frame would have to be transformed.  But
exponentials that decay slowly over a movie are nearly linear combinations of a few functions of
time (from a singular value decomposition), the same for all frequencies.  Frames are summed with
these as weights in real space, and only the few sums are transformed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.arrays import fourier
from flexalign.model import FloatArray, PixelArray

# Maximum residual norm of a frequency's weights, as vectors over time.
TOLERANCE = 1e-4
# Number of rates from which the functions are computed, and at which coefficients are tabulated.
_CHOICE_NODES, _TABLE_NODES = 257, 4097


@dataclass(frozen=True, slots=True, eq=False)
class ExponentialWeights:
    """Weights ``exp(rate * time)`` of frames, with a rate for each frequency.

    Time may be any increasing quantity, such as the dose.

    Attributes
    ----------
    rate_at : function of frequencies along y (n, 1) and x (1, m), in cycles per pixel, whose result
        (n, m) is the rate: not positive, lowest in the corners, the same at -y as at y
    shape_px : (h, w) of the images
    time : (frames,) time of each frame, from zero on
    noise : (frames,) noise power of each frame, mean 1
    """

    rate_at: Callable[[FloatArray, FloatArray], FloatArray]
    shape_px: tuple[int, int]
    time: FloatArray
    noise: FloatArray

    @property
    def lowest_rate(self) -> float:
        """The rate in the corners of the spectrum."""
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
    """A few functions of time whose linear combinations approximate every ``exp(rate * time)``.

    Attributes
    ----------
    time : (times,)
    value : (n, times), orthogonal; the first is constant, one
    lowest_rate : the most negative rate
    coefficient : (n, nodes), tabulated at evenly spaced rates from zero to the lowest
    """

    time: FloatArray
    value: FloatArray
    lowest_rate: float
    coefficient: FloatArray

    def mean_coefficient(
        self, times: npt.NDArray[np.int64], noise: FloatArray | None = None
    ) -> FloatArray:
        """Coefficients (n, nodes) of the weighted mean of the frames with time indices `times`.

        The mean has the noise of an unweighted one: of the sum of n equal frames, divided by n.

        Parameters
        ----------
        noise : (times,) noise power of each frame; None = the same for all

        References
        ----------
        Grant & Grigorieff, eLife 4:e06980 (2015), equation 9.
        """
        rate = np.linspace(0, self.lowest_rate, self.coefficient.shape[1])
        noise_share = np.ones(len(times)) if noise is None else noise[times]
        noise_share = noise_share * (len(times) / max(float(noise_share.sum()), 1e-12))
        power = noise_share @ np.exp(2 * np.outer(self.time[times], rate))
        return np.asarray(self.coefficient / np.sqrt(np.maximum(power, 1e-12) * max(len(times), 1)))


def time_functions(lowest_rate: float, time: FloatArray) -> TimeFunctions:
    """The functions for rates from `lowest_rate` to zero at each `time` (times,).

    They belong to the largest singular values, so no smaller set approximates better.

    Examples
    --------
    >>> functions = time_functions(-0.16, np.arange(40))
    >>> len(functions.value)
    6
    >>> found = functions.coefficient[:, -1] @ functions.value
    >>> float(np.abs(found - np.exp(-0.16 * np.arange(40))).max().round(4))
    0.0
    """
    count = len(time)
    rate = np.linspace(0, lowest_rate, _CHOICE_NODES)
    weights = np.exp(np.outer(rate, time))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    residual = weights - weights.mean(axis=1, keepdims=True)
    directions = np.linalg.svd(residual, full_matrices=False)[2]
    value = np.ones((1, count))
    for direction in directions[: count - 1]:
        if np.linalg.norm(residual, axis=1).max() < TOLERANCE:
            break
        residual = residual - np.outer(residual @ direction, direction)
        value = np.concatenate([value, direction[None]])
    table = np.exp(np.outer(np.linspace(0, lowest_rate, _TABLE_NODES), time))
    coefficient = (value @ table.T) / (value**2).sum(axis=1, keepdims=True)
    return TimeFunctions(time, value, lowest_rate, coefficient)
