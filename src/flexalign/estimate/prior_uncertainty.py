"""Standard errors that include the uncertainty of the hyperparameters.

With few frames or little signal, the evidence for the chosen size and smoothness of the motion is
hardly greater than for other values, which give different motions with larger errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flexalign.estimate.evidence import Fit, PatchLikelihood, fit_motion
from flexalign.estimate.priors import SLOWING_RATIOS, FieldPrior, TrajectoryPrior
from flexalign.model import FloatArray
from flexalign.motion import MotionField

# Hyperparameters are varied in steps of this factor, until the relative weight is below this.
_STEP = 4.0
_MIN_WEIGHT = 0.02
_MAX_STEPS = 4
# Smaller motion counts as none; then the hyperparameters are varied from this size on.
_MIN_SIZE_PX = 0.05

Priors = tuple[TrajectoryPrior, FieldPrior | None]


@dataclass(frozen=True, slots=True, eq=False)
class _MotionVector:
    """The motion under one prior as a vector: path, and field at the control point positions.

    Attributes
    ----------
    value : (numbers, 2) y and x
    variance : (numbers,) of each axis
    log_evidence : of the prior
    """

    value: FloatArray
    variance: FloatArray
    log_evidence: float


def with_unknown_prior(
    fit: Fit, data: PatchLikelihood, priors: Priors, shape: MotionField | None
) -> Fit:
    """`fit` under `priors`, with standard errors that include the uncertainty of the priors.

    Each hyperparameter is varied alone, and weighted by its evidence.  By the law of total
    variance, the variance is the mean of the variances plus the variance of the motions.

    Notes
    -----
    The hyperpriors are flat in the size of the path and in the logarithm of each length; jitter and
    size of the field have the `log_density` of their priors (Gelman, Bayesian Anal. 1 (2006) 515).
    """
    if fit.trajectory_px is None or fit.trajectory_error_px is None:
        return fit
    best = _as_vector(fit, data)
    added = np.zeros_like(best.variance)
    for line in _lines(priors, data, shape):
        added += _variance_along(line, best, data, shape)
    error = np.sqrt(best.variance + added.clip(0))
    times, field = len(fit.trajectory_px), fit.field
    if field is not None:
        in_field = error[times:].reshape(field.control_points)
        field = replace(field, standard_error_px=np.stack([in_field, in_field]))
    return replace(fit, trajectory_error_px=error[:times], field=field)


def _variance_along(
    line: list[Iterator[tuple[Priors, float]]],
    best: _MotionVector,
    data: PatchLikelihood,
    shape: MotionField | None,
) -> FloatArray:
    """Variance (numbers,) added by the uncertainty of one hyperparameter."""
    found, weights = [best], [1.0]
    for direction in line:
        for (trajectory, field), before in direction:
            one = _as_vector(fit_motion(data, trajectory, field, shape), data)
            weight = before * math.exp(min(one.log_evidence - best.log_evidence, 50.0))
            if weight < _MIN_WEIGHT:
                break
            found.append(one)
            weights.append(weight)
    part = np.array(weights) / sum(weights)
    values = np.array([one.value for one in found])
    spread = np.einsum("p,pnc->n", part, (values - np.einsum("p,pnc->nc", part, values)) ** 2)
    spread /= len(data.axes)
    return np.asarray(part @ np.array([one.variance - best.variance for one in found]) + spread)


def _lines(
    priors: Priors, data: PatchLikelihood, shape: MotionField | None
) -> list[list[Iterator[tuple[Priors, float]]]]:
    """For each hyperparameter the values above and below, with their relative prior density."""
    path, field = priors
    steps = (_STEP, 1 / _STEP)

    def of_path(name: str, step: float) -> Iterator[tuple[Priors, float]]:
        is_size = name != "smooth_frames"
        for value, weight in _steps_from(getattr(path, name), step, is_size):
            changed: dict[str, Any] = {name: value}
            other = replace(path, **changed)
            yield (other, field), weight * math.exp(other.log_density - path.log_density)

    def of_field(near: FieldPrior, name: str, step: float) -> Iterator[tuple[Priors, float]]:
        for value, weight in _steps_from(getattr(near, name), step, name == "size_px"):
            changed: dict[str, Any] = {name: value}
            other = replace(near, **changed)
            yield (path, other), weight * math.exp(other.log_density - near.log_density)

    def of_slowing() -> Iterator[tuple[Priors, float]]:
        span = float(np.ptp(data.frame)) + 1
        for part in SLOWING_RATIOS:
            if not math.isclose(part * span, path.slowing_frames):
                other = replace(path, slowing_frames=part * span)
                yield (other, field and replace(field, slowing_frames=part * span)), 1.0

    lines = [[of_path(n, s) for s in steps] for n in ("smooth_px", "smooth_frames", "jitter_px")]
    if field is not None and shape is not None:
        if field.size_px < _MIN_SIZE_PX:
            # Without a field the data do not determine its smoothness.
            default = FieldPrior(smooth_px=shape.width_px / 2, slowing_frames=path.slowing_frames)
            field = replace(default, size_px=field.size_px)
        names = ("size_px", "smooth_frames", "smooth_px")
        lines += [[of_field(field, n, s) for s in steps] for n in names]
    return [*lines, [of_slowing()]]


def _steps_from(value: float, step: float, is_size: bool) -> Iterator[tuple[float, float]]:
    """Values from `value` on, each with its prior density relative to the first."""
    first = max(value, _MIN_SIZE_PX) if is_size and step > 1 else value
    for k in range(1, _MAX_STEPS + 1):
        other = first * step**k
        if is_size and other < _MIN_SIZE_PX:
            return
        yield other, other / max(value, _MIN_SIZE_PX) if is_size else 1.0


def _as_vector(fit: Fit, data: PatchLikelihood) -> _MotionVector:
    """A fit as a vector of path and field, with variances."""
    assert fit.trajectory_px is not None
    assert fit.trajectory_error_px is not None
    value, variance = fit.trajectory_px, fit.trajectory_error_px**2
    field = fit.field
    if field is not None and field.standard_error_px is not None:
        frame, y, x = field.control_point_places
        at = y[:, None], x[None, :]
        field_px = np.stack(field.displacement_px(frame[:, None, None], *at), axis=-1)
        mean = np.stack(field.displacement_px(data.frame[:, None, None], *at), axis=-1).mean(axis=0)
        value = np.concatenate([value, (field_px - mean).reshape(-1, 2)])
        variance = np.concatenate([variance, field.standard_error_px[0].ravel() ** 2])
    return _MotionVector(value, variance, fit.log_evidence)
