"""What the tilts of one series share, as a prior of the motion of each.

A tilt of a series has few electrons and few frames, but many neighbours: the same specimen, the
same stage and the same dose.  `series` estimates the priors; here is what they hold and say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import linalg

from flexalign.estimate.evidence import PatchLikelihood, fit_motion
from flexalign.estimate.priors import FREE_PX, FieldPrior
from flexalign.model import FloatArray
from flexalign.motion import MotionField

_ROUNDING_PX2 = 1e-6
# So many times as far off may a tilt be; wide tails are rare, as under Student's t.
_WIDTHS = (1.0, 2.0, 4.0, 8.0)
_PRICE_OF_WIDTH = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class SeriesPath:
    """How the trajectory of a tilt is expected to be, given its neighbours.

    Attributes
    ----------
    frame_count : of the tilt's movie
    time : (n,) parts of the exposure, from 0 to 1, rising
    expected_px : (n, 2) the most probable path (y, x), up to a constant
    scatter_px2 : (n, n) covariance about it, alike for y and x
    jitter_px : standard deviation of what is independent in each frame beside that
    width : factor of all standard deviations
    """

    frame_count: int
    time: FloatArray
    expected_px: FloatArray
    scatter_px2: FloatArray
    jitter_px: float
    width: float = 1.0

    def covariance_px2(self, frame: FloatArray) -> FloatArray:
        """Covariance (times, times) at frames of the movie; that of a common constant is free."""
        between = self._between(frame)
        covariance = between @ self.scatter_px2 @ between.T + self.jitter_px**2 * np.eye(len(frame))
        covariance = self.width**2 * covariance + FREE_PX**2
        return np.asarray(covariance + _ROUNDING_PX2 * np.eye(len(frame)))

    def mean_px(self, frame: FloatArray) -> FloatArray:
        """Mean (times, 2) at frames of the movie, zero over time."""
        mean = self._between(frame) @ self.expected_px
        return np.asarray(mean - mean.mean(axis=0))

    def as_wide_as(self, data: PatchLikelihood) -> SeriesPath:
        """The same for a tilt that may be off, as far as the evidence of its data asks for."""

        def worth(path: SeriesPath) -> float:
            evidence = fit_motion(data, path, None, None, with_errors=False).log_evidence
            return evidence - _PRICE_OF_WIDTH * math.log(path.width)

        return max((replace(self, width=width) for width in _WIDTHS), key=worth)

    def log_density(self, path_px: FloatArray, frame: FloatArray) -> float:
        """Logarithm of the prior at a path (times, 2), up to a constant that has no width in it."""
        off = path_px - self.mean_px(frame)
        off = off - off.mean(axis=0)
        factor = linalg.cholesky(self.covariance_px2(frame), lower=True)
        white = linalg.solve_triangular(factor, off, lower=True)
        return -0.5 * float((white**2).sum()) - 2 * float(np.log(np.diag(factor)).sum())

    def _between(self, frame: FloatArray) -> FloatArray:
        """Weights (times, n) that interpolate to frames of the movie."""
        return interpolation(exposed_ratio(frame, self.frame_count), self.time)


def exposed_ratio(frame: FloatArray, frame_count: int) -> FloatArray:
    """Part of the exposure of a movie that is over in the middle of a frame."""
    return np.asarray((frame + 0.5) / frame_count)


def interpolation(wanted: FloatArray, time: FloatArray) -> FloatArray:
    """Weights (wanted, times) of linear interpolation, constant beyond the ends."""
    return np.stack([np.interp(wanted, time, unit) for unit in np.eye(len(time))], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class SeenSignal:
    """Signal power by ring as a tilt shows it, which varies little from one tilt to the next.

    It is in units of the squared noise power, which makes it the same for any number of counts,
    and times the mean squared envelope: what radiation has left is in it.

    Attributes
    ----------
    frequency_per_A : (rings,)
    power : (rings,)
    error : (rings,) its standard error
    """

    frequency_per_A: FloatArray
    power: FloatArray
    error: FloatArray

    def at(self, frequency_per_A: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Power and error (rings,) at other frequencies."""
        power, error = (
            np.interp(frequency_per_A, self.frequency_per_A, values)
            for values in (self.power, self.error)
        )
        return power, error


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedSignal:
    """Signal power by ring as neighbours have it.

    Attributes
    ----------
    seen : mean over neighbours, with the standard error of that
    scatter : standard deviation among tilts, as part of the power
    """

    seen: SeenSignal
    scatter: float

    @property
    def is_known(self) -> bool:
        """Whether any tilt has told of any ring."""
        return bool(np.isfinite(self.seen.error).any())


@dataclass(frozen=True, slots=True, eq=False)
class TiltStatistics:
    """What one tilt says about the priors of its neighbours.

    Attributes
    ----------
    frame_count : of its movie
    likelihood : quadratic log-likelihood of the displacements of its patches
    seen : its signal
    shape : of its field, None without one
    """

    frame_count: int
    likelihood: PatchLikelihood
    seen: SeenSignal
    shape: MotionField | None


@dataclass(frozen=True, slots=True, eq=False)
class SeriesPrior:
    """What the other tilts of a series say about one.

    Attributes
    ----------
    path : of the trajectory
    field : how local motion is in all tilts; None where none has been fitted
    signal : by ring
    """

    path: SeriesPath
    signal: ExpectedSignal
    field: FieldPrior = field(default_factory=FieldPrior)
