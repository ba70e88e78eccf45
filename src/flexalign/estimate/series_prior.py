"""Prior of the motion of a tilt, given the other tilts of its series.

A tilt has a low dose and few frames, but many neighbours with the same specimen, stage and dose.
`series` estimates the priors that are defined here.
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
# Candidate factors of the prior width of a tilt, with a heavy-tailed prior as under Student's t.
_WIDTHS = (1.0, 2.0, 4.0, 8.0)
_WIDTH_PENALTY = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class SeriesPath:
    """Gaussian prior of the trajectory of a tilt, given its neighbours.

    Attributes
    ----------
    frame_count : of the tilt's movie
    time : (n,) shares of the exposure, from 0 to 1, increasing
    expected_px : (n, 2) prior mean (y, x), up to a constant
    scatter_px2 : (n, n) covariance, the same for y and x
    jitter_px : standard deviation of an additional independent term in each frame
    width : factor of all standard deviations
    """

    frame_count: int
    time: FloatArray
    expected_px: FloatArray
    scatter_px2: FloatArray
    jitter_px: float
    width: float = 1.0

    def covariance_px2(self, frame: FloatArray) -> FloatArray:
        """Covariance (times, times) at frames of the movie, including a free constant."""
        between = self._between(frame)
        covariance = between @ self.scatter_px2 @ between.T + self.jitter_px**2 * np.eye(len(frame))
        covariance = self.width**2 * covariance + FREE_PX**2
        return np.asarray(covariance + _ROUNDING_PX2 * np.eye(len(frame)))

    def mean_px(self, frame: FloatArray) -> FloatArray:
        """Prior mean (times, 2) at frames of the movie, with zero mean over time."""
        mean = self._between(frame) @ self.expected_px
        return np.asarray(mean - mean.mean(axis=0))

    def with_best_width(self, data: PatchLikelihood) -> SeriesPath:
        """The same prior with the width of greatest evidence, for a tilt that may be an outlier."""

        def penalized_evidence(path: SeriesPath) -> float:
            evidence = fit_motion(data, path, None, None, with_errors=False).log_evidence
            return evidence - _WIDTH_PENALTY * math.log(path.width)

        return max((replace(self, width=width) for width in _WIDTHS), key=penalized_evidence)

    def log_density(self, path_px: FloatArray, frame: FloatArray) -> float:
        """Log prior density of a path (times, 2), up to a constant that is independent of width."""
        off = path_px - self.mean_px(frame)
        off = off - off.mean(axis=0)
        factor = linalg.cholesky(self.covariance_px2(frame), lower=True)
        white = linalg.solve_triangular(factor, off, lower=True)
        return -0.5 * float((white**2).sum()) - 2 * float(np.log(np.diag(factor)).sum())

    def _between(self, frame: FloatArray) -> FloatArray:
        """Weights (times, n) that interpolate to frames of the movie."""
        return interpolation(exposed_ratio(frame, self.frame_count), self.time)


def exposed_ratio(frame: FloatArray, frame_count: int) -> FloatArray:
    """Share of the exposure of a movie elapsed at the middle of a frame."""
    return np.asarray((frame + 0.5) / frame_count)


def interpolation(wanted: FloatArray, time: FloatArray) -> FloatArray:
    """Weights (wanted, times) of linear interpolation, constant beyond the ends."""
    return np.stack([np.interp(wanted, time, unit) for unit in np.eye(len(time))], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredSignal:
    """Observed signal power of a tilt by ring, which varies little between neighbouring tilts.

    It is divided by the squared noise power, which makes it independent of the counts, and includes
    the mean squared damage envelope.

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
    """Prior of the signal power by ring, from neighbouring tilts.

    Attributes
    ----------
    signal : mean over neighbours, with its standard error
    scatter : standard deviation among tilts, relative to the power
    """

    signal: MeasuredSignal
    scatter: float

    @property
    def is_known(self) -> bool:
        """Whether any ring has been measured."""
        return bool(np.isfinite(self.signal.error).any())


@dataclass(frozen=True, slots=True, eq=False)
class TiltStatistics:
    """Statistics of one tilt from which the priors of its neighbours are estimated.

    Attributes
    ----------
    frame_count : of its movie
    likelihood : quadratic log-likelihood of the displacements of its patches
    signal : its signal
    shape : of its field, None without one
    """

    frame_count: int
    likelihood: PatchLikelihood
    signal: MeasuredSignal
    shape: MotionField | None


@dataclass(frozen=True, slots=True, eq=False)
class SeriesPrior:
    """Prior of a tilt, estimated from the other tilts of its series.

    Attributes
    ----------
    path : of the trajectory
    signal : by ring
    field : of the local motion, common to all tilts
    """

    path: SeriesPath
    signal: ExpectedSignal
    field: FieldPrior = field(default_factory=FieldPrior)
