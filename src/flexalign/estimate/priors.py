"""Gaussian priors of the trajectory and of the field.

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

# Prior standard deviation of a constant, which the data do not determine, and of a uniform drift.
FREE_PX = 300.0
_NUGGET = 1e-6
# Scales of the half-Cauchy hyperpriors of the jitter and of the size of the field.
_JITTER_SCALE_PX = 0.3
_FIELD_SCALE_PX = 1.0
# Time constants of the slowing, as shares of the movie; 0 = no slowing.
SLOWING_RATIOS = (0.0, 1 / 4, 1 / 12, 1 / 36)


class PathPrior(Protocol):
    """A Gaussian prior of the trajectory.

    A new class of priors also needs support in `refine` (start values, choice of hyperparameters),
    `prior_uncertainty` (hyperparameters to vary) and `bayes_factor` (size of the drift).
    """

    def covariance_px2(self, frame: FloatArray) -> FloatArray:
        """Covariance (times, times), the same for y and x, including a free constant."""

    def mean_px(self, frame: FloatArray) -> FloatArray | None:
        """Mean (times, 2), up to a constant; None = zero."""


@dataclass(frozen=True, slots=True)
class TrajectoryPrior:
    """Prior of the trajectory: smooth motion, independent jitter per frame, and a uniform drift.

    Parameters
    ----------
    smooth_px, smooth_frames : standard deviation and correlation length of the smooth part
    jitter_px : standard deviation of the jitter
    jump_frames : times at which a step of any size is allowed
    slowing_frames : t0, with which the path is smooth in log(1 + t / t0) instead of t: motion that
        slows down within about t0 frames; 0 = no slowing
    drift_px : standard deviation of the drift from end to end
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
        """None: the prior mean of the path is zero."""
        return

    @property
    def log_density(self) -> float:
        """Logarithm of the probability density of these numbers beforehand, up to a constant.

        The jitter has a half-Cauchy hyperprior: three frames can hardly distinguish curvature from
        jitter; with many frames the data dominate.
        """
        return _log_half_cauchy(self.jitter_px, _JITTER_SCALE_PX)


@dataclass(frozen=True, slots=True)
class FieldPrior:
    """Prior of the field: standard deviation, correlation lengths in time and in space, slowing.

    `slowing_frames` as for the trajectory.
    """

    size_px: float = 1.0
    smooth_frames: float = 12.0
    smooth_px: float = 2000.0
    slowing_frames: float = 0.0

    @property
    def log_density(self) -> float:
        """Logarithm of the probability density of these numbers beforehand, up to a constant.

        The size has a half-Cauchy hyperprior: it determines the freedom of the field, and the noise
        of patches with little signal may favour a spurious field.
        """
        return _log_half_cauchy(self.size_px, _FIELD_SCALE_PX)


def _log_half_cauchy(value: float, scale: float) -> float:
    """Logarithm of the density of a half-Cauchy distribution, up to a constant."""
    return -math.log1p((value / scale) ** 2)


def matern(distance: FloatArray, length: float) -> FloatArray:
    """Correlation at `distance` of a function that is once differentiable (Matern, nu = 3/2)."""
    r = np.sqrt(3.0) * distance / length
    return np.asarray((1 + r) * np.exp(-r))


def slowed(frame: FloatArray, span: float, slowing_frames: float) -> FloatArray:
    """Times `frame` on a logarithmic time axis that slows down, scaled to the same `span`."""
    if slowing_frames == 0 or span == 0:
        return frame
    # Some control points lie before the start.
    ticks = np.sign(frame) * np.log1p(np.abs(frame) / slowing_frames)
    return np.asarray(span * ticks / np.log1p(span / slowing_frames))


def _trajectory_covariance(frame: FloatArray, prior: TrajectoryPrior) -> FloatArray:
    """Prior covariance (times, times) of a trajectory."""
    slowed_frame = slowed(frame - frame.min(), float(np.ptp(frame)), prior.slowing_frames)
    distance = np.abs(slowed_frame[:, None] - slowed_frame[None, :])
    slope = (frame - frame.mean()) / max(float(np.ptp(frame)), 1.0)
    # Eq. (5), with a free step for each jump.
    covariance = prior.smooth_px**2 * matern(distance, prior.smooth_frames)
    covariance += FREE_PX**2 + prior.drift_px**2 * np.outer(slope, slope)
    for jump in prior.jump_frames:
        after = (frame > jump) - 0.5
        covariance += FREE_PX**2 * np.outer(after, after)
    covariance[np.diag_indices_from(covariance)] += prior.jitter_px**2 + 1e-6
    return np.asarray(covariance)


def field_covariances(shape: MotionField, prior: FieldPrior) -> list[FloatArray]:
    """Prior correlations of the control points in t, y and x, whose Kronecker product is used."""
    t, y, x = shape.control_points
    frames = max(shape.frames.count - 1, 1)
    slowed_frame = slowed(_positions(t) * frames, frames, prior.slowing_frames)
    # Eq. (6), a product of three factors.
    in_time = matern(_distances(slowed_frame), prior.smooth_frames)
    in_y = np.exp(-0.5 * (_distances(_positions(y)) * shape.height_px / prior.smooth_px) ** 2)
    in_x = np.exp(-0.5 * (_distances(_positions(x)) * shape.width_px / prior.smooth_px) ** 2)
    return [np.asarray(c + _NUGGET * np.eye(len(c))) for c in (in_time, in_y, in_x)]


def _positions(count: int) -> FloatArray:
    """Positions (count,) of control points, as fractions of the range they span."""
    degree = min(3, count - 1)
    return np.asarray((np.arange(count) - (degree - 1) / 2) / max(count - degree, 1))


def _distances(position: FloatArray) -> FloatArray:
    """Distances (n, n) between positions."""
    return np.abs(position[:, None] - position[None, :])
