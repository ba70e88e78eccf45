"""Gaussian priors of the trajectory and of the field: how motion usually is.

References
----------
Gelman, Bayesian Anal. 1 (2006) 515: half-Cauchy priors of standard deviations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from flexalign.model import FloatArray
from flexalign.motion import MotionField

# Standard deviation of what is free: a constant, which the data cannot see, and a steady drift.
FREE_PX = 300.0
_NUGGET = 1e-6
# Frames seldom jump about by themselves by much more than this, and few fields are much larger.
_USUAL_JITTER_PX = 0.3
_USUAL_FIELD_PX = 1.0
# Motion may slow down in these parts of the movie, from no slowing on.
SLOWING_RATIOS = (0.0, 1 / 4, 1 / 12, 1 / 36)


class PathPrior(Protocol):
    """A Gaussian prior of the trajectory.

    A further class of priors needs a place in `refine` (its start values and their choice),
    `prior_uncertainty` (the numbers that are varied) and `bayes_factor` (the size of the drift).
    """

    def covariance_px2(self, frame: FloatArray) -> FloatArray:
        """Covariance (times, times), alike for y and x; that of a common constant is free."""

    def mean_px(self, frame: FloatArray) -> FloatArray | None:
        """Mean (times, 2), up to a constant; None = zero."""


@dataclass(frozen=True, slots=True)
class TrajectoryPrior:
    """How the trajectory is expected to be: smooth motion plus independent jitter per frame.

    Between the frames before and after each of `jump_frames` it may be any distance.  With
    `slowing_frames` t0 it is as smooth in log(1 + t / t0) as it otherwise is in time t: motion that
    calms down, in about t0 frames.  0 = no slowing.  The steady drift from end to end has the
    standard deviation `drift_px` beside it.
    """

    smooth_px: float = 4.0
    smooth_frames: float = 8.0
    jitter_px: float = 0.1
    jump_frames: tuple[float, ...] = ()
    slowing_frames: float = 0.0
    drift_px: float = FREE_PX

    def covariance_px2(self, frame: FloatArray) -> FloatArray:
        """Prior covariance (times, times), with a free constant and a free steady drift."""
        return _trajectory_covariance(frame, self)

    def mean_px(self, frame: FloatArray) -> None:
        """Nothing is known of where a path goes."""
        return

    @property
    def log_density(self) -> float:
        """Logarithm of the probability density of these numbers beforehand, up to a constant.

        The jitter has a half-Cauchy distribution: three frames can hardly tell a bent path from a
        jittery one, and many frames decide for themselves.
        """
        return _log_half_cauchy(self.jitter_px, _USUAL_JITTER_PX)


@dataclass(frozen=True, slots=True)
class FieldPrior:
    """How the field is expected to be: its size, and over what it changes.

    `slowing_frames` as for the trajectory.
    """

    size_px: float = 1.0
    smooth_frames: float = 12.0
    smooth_px: float = 2000.0
    slowing_frames: float = 0.0

    @property
    def log_density(self) -> float:
        """Logarithm of the probability density of these numbers beforehand, up to a constant.

        The size has a half-Cauchy distribution: a field is the freer, the larger it may be, and
        faint patches seem to ask for one by their noise.
        """
        return _log_half_cauchy(self.size_px, _USUAL_FIELD_PX)


def _log_half_cauchy(value: float, scale: float) -> float:
    """Logarithm of the density of a half-Cauchy distribution, up to a constant."""
    return -math.log1p((value / scale) ** 2)


def matern(distance: FloatArray, length: float) -> FloatArray:
    """Correlation at `distance` of a function that is once differentiable (Matern, nu = 3/2)."""
    r = np.sqrt(3.0) * distance / length
    return np.asarray((1 + r) * np.exp(-r))


def slowed(frame: FloatArray, span: float, slowing_frames: float) -> FloatArray:
    """Times `frame` from the start on a clock that ticks ever slower, as long as `span` in all."""
    if slowing_frames == 0 or span == 0:
        return frame
    # Control points lie before the start, too.
    ticks = np.sign(frame) * np.log1p(np.abs(frame) / slowing_frames)
    return np.asarray(span * ticks / np.log1p(span / slowing_frames))


def _trajectory_covariance(frame: FloatArray, prior: TrajectoryPrior) -> FloatArray:
    """Prior covariance (times, times), with a free constant and a free steady drift."""
    calm = slowed(frame - frame.min(), float(np.ptp(frame)), prior.slowing_frames)
    distance = np.abs(calm[:, None] - calm[None, :])
    slope = (frame - frame.mean()) / max(float(np.ptp(frame)), 1.0)
    # Eq. (5), with a jump as one more step that is free.
    covariance = prior.smooth_px**2 * matern(distance, prior.smooth_frames)
    covariance += FREE_PX**2 + prior.drift_px**2 * np.outer(slope, slope)
    for jump in prior.jump_frames:
        after = (frame > jump) - 0.5
        covariance += FREE_PX**2 * np.outer(after, after)
    covariance[np.diag_indices_from(covariance)] += prior.jitter_px**2 + 1e-6
    return np.asarray(covariance)


def field_covariances(shape: MotionField, prior: FieldPrior) -> list[FloatArray]:
    """Prior correlations of the control points in t, in y and in x; their product is the whole."""
    t, y, x = shape.control_points
    frames = max(shape.frames.count - 1, 1)
    calm = slowed(_positions(t) * frames, frames, prior.slowing_frames)
    # Eq. (6), a product of three factors.
    in_time = matern(_distances(calm), prior.smooth_frames)
    in_y = np.exp(-0.5 * (_distances(_positions(y)) * shape.height_px / prior.smooth_px) ** 2)
    in_x = np.exp(-0.5 * (_distances(_positions(x)) * shape.width_px / prior.smooth_px) ** 2)
    return [np.asarray(c + _NUGGET * np.eye(len(c))) for c in (in_time, in_y, in_x)]


def _positions(count: int) -> FloatArray:
    """Where control points are (count,), as fractions of the range they span."""
    degree = min(3, count - 1)
    return np.asarray((np.arange(count) - (degree - 1) / 2) / max(count - degree, 1))


def _distances(position: FloatArray) -> FloatArray:
    """Distances (n, n) between positions."""
    return np.abs(position[:, None] - position[None, :])
