"""Fit a trajectory and a field to what the patches say, as smooth as the data want it.

What each patch says about its displacement over time is a quadratic log-likelihood.  The motion has
a Gaussian prior whose few numbers (how large, how smooth) are chosen by the evidence: the
probability of the data when the motion itself is integrated out (empirical Bayes).

References
----------
MacKay, Neural Comput. 4 (1992) 415.  Rasmussen & Williams, Gaussian Processes for Machine
Learning (2006), chapters 2 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from scipy import linalg

from flexalign.model import FloatArray
from flexalign.motion import MotionField

# Steps of the search for the prior's numbers: factors, coarse to fine.
_SEARCH_FACTORS = (4.0, 2.0, 1.41)
_SEARCH_ROUNDS = 3
# Standard deviation of what is free: a constant, which the data cannot see, and a steady drift.
FREE_PX = 300.0
_NUGGET = 1e-6
# A jump is one more thing that might be anywhere: its logarithm of odds must make up for that.
_JUMP_EVIDENCE = 8.0
_MAX_JUMPS = 3
# Motion may slow down in these parts of the movie, from no slowing on.
SLOWING_RATIOS = (0.0, 1 / 4, 1 / 12, 1 / 36)


@dataclass(frozen=True, slots=True, eq=False)
class PatchLikelihood:
    """Log-likelihood of the displacements d of each patch: linear . d - d . precision . d / 2.

    The same precision holds for y and x.  It is singular along a constant displacement.

    Attributes
    ----------
    center_px : (patches, 2) (y, x), unbinned pixels
    frame : (times,) frame index, may be fractional
    precision : (patches, times, times), per square unbinned pixel
    linear : (patches, times, axes)
    axes : (axes, 2) directions (y, x) along which there is motion; by default y and x
    """

    center_px: FloatArray
    frame: FloatArray
    precision: FloatArray
    linear: FloatArray
    axes: FloatArray = field(default_factory=lambda: np.eye(2))


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


@dataclass(frozen=True, slots=True)
class FieldPrior:
    """How the field is expected to be: its size, and over what it changes.

    `slowing_frames` as for the trajectory.
    """

    size_px: float = 1.0
    smooth_frames: float = 12.0
    smooth_px: float = 2000.0
    slowing_frames: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The most probable motion and how sure it is.

    Attributes
    ----------
    trajectory_px : (times, 2), mean over time zero; None when the trajectory was not fitted
    trajectory_error_px : (times,) standard error per axis, mean over time taken out; None also when
        no errors were requested
    field : None when no field was fitted; its standard errors are per control point
    log_evidence : of the prior, up to a constant that all fits to the same data share
    """

    trajectory_px: FloatArray | None
    trajectory_error_px: FloatArray | None
    field: MotionField | None
    log_evidence: float


@dataclass(frozen=True, slots=True, eq=False)
class _PriorRoot:
    """Square root of the prior covariance of the motion's numbers: root root' = covariance.

    Attributes
    ----------
    path : (times, times), of the trajectory; (0, 0) without one
    in_time, in_space : (points t, points t) and (points yx, points yx), whose Kronecker product is
        that of the field; (0, 0) without one
    """

    path: FloatArray
    in_time: FloatArray
    in_space: FloatArray

    def after(self, matrix: FloatArray) -> FloatArray:
        """`matrix` (m, n) times this root (n, n), which is never written out."""
        times, t, yx = len(self.path), len(self.in_time), len(self.in_space)
        of_path = matrix[:, :times] @ self.path
        of_field = matrix[:, times:].reshape(len(matrix) * t, yx) @ self.in_space
        of_field = self.in_time.T @ of_field.reshape(len(matrix), t, yx)
        return np.concatenate([of_path, of_field.reshape(len(matrix), t * yx)], axis=1)


def fit_motion(
    data: PatchLikelihood,
    trajectory: PathPrior | None,
    field: FieldPrior | None,
    shape: MotionField | None,
    with_errors: bool = True,
) -> Fit:
    """The most probable trajectory and field under the given priors; None leaves one out.

    Parameters
    ----------
    shape : a field of the wanted size, when `field` is given; its coefficients do not matter
    with_errors : whether to compute standard errors, which take longer than the fit
    """
    shape = shape if field is not None else None
    mean_px = None if trajectory is None else trajectory.mean_px(data.frame)
    if mean_px is not None:
        data = replace(data, linear=data.linear - data.precision @ mean_px)
    prior_root = _prior_root(data.frame, trajectory, field, shape)
    normal = _normal_equations(data, trajectory is not None, shape)
    factor, white, evidence = _solve(normal, prior_root)
    root = prior_root.after(np.eye(len(white)))
    covariance = None
    if with_errors:
        covariance_root = linalg.solve_triangular(factor, root.T, lower=True)
        covariance = covariance_root.T @ covariance_root
    fit = _unpacked(root @ white, covariance, data, trajectory, shape, evidence)
    if mean_px is not None and fit.trajectory_px is not None:
        return replace(fit, trajectory_px=fit.trajectory_px + mean_px - mean_px.mean(axis=0))
    return fit


def choose_trajectory_prior(data: PatchLikelihood, start: TrajectoryPrior) -> TrajectoryPrior:
    """The trajectory prior of greatest evidence, without a field.

    The largest steps are let go as jumps, one by one, while that makes the data clearly more
    probable: else the smooth and the jittery part would have to grow for their sake.  How motion
    slows down is searched in steps from `start` on, before that.
    """
    normal = _normal_equations(data, True, None)
    span = float(np.ptp(data.frame)) + 1
    limits = ((0.01, 200.0), (1.0, 4 * span), (1e-3, 50.0))

    def climbed(near: TrajectoryPrior) -> tuple[TrajectoryPrior, float]:
        def prior(smooth_px: float, smooth_frames: float, jitter_px: float) -> TrajectoryPrior:
            return replace(
                near, smooth_px=smooth_px, smooth_frames=smooth_frames, jitter_px=jitter_px
            )

        def score(*numbers: float) -> float:
            return _solve(normal, _prior_root(data.frame, prior(*numbers), None, None))[2]

        found = prior(*climb(score, (near.smooth_px, near.smooth_frames, near.jitter_px), limits))
        return found, score(found.smooth_px, found.smooth_frames, found.jitter_px)

    best, best_score = climbed(replace(start, jump_frames=()))
    slowings = [part * span for part in SLOWING_RATIOS]
    at = int(np.argmin(np.abs(np.array(slowings) - start.slowing_frames)))
    for nearby in (range(at + 1, len(slowings)), range(at - 1, -1, -1)):
        before = best_score
        for k in nearby:
            trial, trial_score = climbed(replace(best, slowing_frames=slowings[k]))
            if trial_score <= best_score:
                break
            best, best_score = trial, trial_score
        if best_score > before:
            break
    while len(best.jump_frames) < _MAX_JUMPS:
        jumps = (*best.jump_frames, _largest_step(data, best))
        trial, trial_score = climbed(replace(best, jump_frames=jumps))
        if trial_score < best_score + _JUMP_EVIDENCE:
            break
        best, best_score = trial, trial_score
    return best


def _largest_step(data: PatchLikelihood, prior: TrajectoryPrior) -> float:
    """Where, between two frames, the most probable path makes its largest step not yet let go."""
    path = fit_motion(data, prior, None, None, with_errors=False).trajectory_px
    assert path is not None
    steps = np.hypot(*np.diff(path, axis=0).T)
    middle = (data.frame[1:] + data.frame[:-1]) / 2
    steps[np.isin(middle, prior.jump_frames)] = 0
    return float(middle[np.argmax(steps)])


def choose_field_prior(
    data: PatchLikelihood,
    trajectory: TrajectoryPrior | None,
    shape: MotionField,
    start: FieldPrior,
) -> FieldPrior:
    """The field prior of greatest evidence beside the given trajectory prior; both slow alike."""
    normal = _normal_equations(data, trajectory is not None, shape)
    slowing = 0.0 if trajectory is None else trajectory.slowing_frames

    def score(*numbers: float) -> float:
        prior = replace(FieldPrior(*numbers), slowing_frames=slowing)
        return _solve(normal, _prior_root(data.frame, trajectory, prior, shape))[2]

    limits = _field_limits(data.frame, shape)
    numbers = climb(score, (start.size_px, start.smooth_frames, start.smooth_px), limits)
    return replace(FieldPrior(*numbers), slowing_frames=slowing)


def _field_limits(frame: FloatArray, shape: MotionField) -> tuple[tuple[float, float], ...]:
    """Limits of size, time and length of a field's prior."""
    side = max(shape.height_px, shape.width_px)
    span = float(np.ptp(frame)) + 1
    return (1e-3, 100.0), (span / 10, 10 * span), (side / 10, 10 * side)


def choose_common_field_prior(
    data: Sequence[PatchLikelihood],
    paths: Sequence[PathPrior],
    shapes: Sequence[MotionField],
    start: FieldPrior,
) -> FieldPrior:
    """The field prior of greatest evidence for several movies, each with a prior of its path."""
    normals = []
    for one, path, shape in zip(data, paths, shapes, strict=True):
        mean_px = path.mean_px(one.frame)
        if mean_px is not None:
            one = replace(one, linear=one.linear - one.precision @ mean_px)
        normals.append(_normal_equations(one, True, shape))

    def score(*numbers: float) -> float:
        prior = FieldPrior(*numbers)
        return sum(
            _solve(normal, _prior_root(one.frame, path, prior, shape))[2]
            for normal, one, path, shape in zip(normals, data, paths, shapes, strict=True)
        )

    limits = _field_limits(data[0].frame, shapes[0])
    return FieldPrior(*climb(score, (start.size_px, start.smooth_frames, start.smooth_px), limits))


def _solve(
    normal: tuple[FloatArray, FloatArray], root: _PriorRoot
) -> tuple[FloatArray, FloatArray, float]:
    """Solve in terms of numbers z whose prior is white: motion = root z.

    Returns
    -------
    factor : lower Cholesky factor of the posterior precision of z, which is never near singular
    white : (n, axes) the most probable z
    log_evidence : of the prior; each of the axes has half the logarithm of the determinant
    """
    # Eq. (7).
    precision, linear = normal
    right = root.after(linear.T).T
    inner = root.after(root.after(precision).T)
    inner[np.diag_indices_from(inner)] += 1
    factor = _factor(inner)
    white = linalg.cho_solve((factor, True), right)
    log_det = 2 * float(np.log(np.diag(factor)).sum())
    return factor, white, 0.5 * (float((right * white).sum()) - right.shape[1] * log_det)


def _factor(matrix: FloatArray) -> FloatArray:
    """Lower Cholesky factor of a matrix that is positive definite but for rounding.

    Frames without noise are so sure of their motion that a prior of order one is lost beside them.
    """
    try:
        return np.asarray(linalg.cholesky(matrix, lower=True), np.float64)
    except linalg.LinAlgError:
        rounding = len(matrix) * np.finfo(np.float64).eps * float(matrix.diagonal().max())
    while True:
        try:
            return np.asarray(
                linalg.cholesky(matrix + rounding * np.eye(len(matrix)), lower=True), np.float64
            )
        except linalg.LinAlgError:
            rounding *= 10


def _prior_root(
    frame: FloatArray,
    trajectory: PathPrior | None,
    field: FieldPrior | None,
    shape: MotionField | None,
) -> _PriorRoot:
    """Square root of the prior covariance of the motion's numbers."""
    nothing: FloatArray = np.zeros((0, 0))
    path = in_time = in_space = nothing
    if trajectory is not None:
        path = _root(trajectory.covariance_px2(frame))
    if field is not None and shape is not None:
        in_time, in_y, in_x = (_root(c) for c in _field_covariances(shape, field))
        in_space = np.asarray(field.size_px * np.kron(in_y, in_x), np.float64)
    return _PriorRoot(path, in_time, in_space)


def _root(covariance: FloatArray) -> FloatArray:
    """The lower triangular square root."""
    return np.asarray(linalg.cholesky(covariance, lower=True), np.float64)


def climb(
    score: Callable[..., float],
    start: tuple[float, ...],
    limits: tuple[tuple[float, float], ...],
) -> tuple[float, ...]:
    """Arguments near `start` with the greatest score, found one at a time in log steps."""
    best = tuple(float(np.clip(v, *limit)) for v, limit in zip(start, limits, strict=True))
    best_score = score(*best)
    for factor in _SEARCH_FACTORS:
        for _ in range(_SEARCH_ROUNDS):
            before = best_score
            for position, limit in enumerate(limits):
                for step in (factor, 1 / factor):
                    start = best
                    while True:
                        value = float(np.clip(best[position] * step, *limit))
                        trial = (*best[:position], value, *best[position + 1 :])
                        found = score(*trial) if value != best[position] else -np.inf
                        if found <= best_score:
                            break
                        best, best_score = trial, found
                    # The way back leads over what has just been left.
                    if best != start:
                        break
            if best_score - before < 0.1:
                break
    return best


def matern(distance: FloatArray, length: float) -> FloatArray:
    """Correlation at `distance` of a function that is once differentiable (Matern, nu = 3/2)."""
    r = np.sqrt(3.0) * distance / length
    return np.asarray((1 + r) * np.exp(-r))


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


def _field_covariances(shape: MotionField, prior: FieldPrior) -> list[FloatArray]:
    """Prior correlations of the control points in t, in y and in x; their product is the whole."""
    t, y, x = shape.control_points
    frames = max(shape.frames.count - 1, 1)
    calm = slowed(_positions(t) * frames, frames, prior.slowing_frames)
    # Eq. (6), a product of three factors.
    in_time = matern(_distances(calm), prior.smooth_frames)
    in_y = np.exp(-0.5 * (_distances(_positions(y)) * shape.height_px / prior.smooth_px) ** 2)
    in_x = np.exp(-0.5 * (_distances(_positions(x)) * shape.width_px / prior.smooth_px) ** 2)
    return [np.asarray(c + _NUGGET * np.eye(len(c))) for c in (in_time, in_y, in_x)]


def slowed(frame: FloatArray, span: float, slowing_frames: float) -> FloatArray:
    """Times `frame` from the start on a clock that ticks ever slower, as long as `span` in all."""
    if slowing_frames == 0 or span == 0:
        return frame
    # Control points lie before the start, too.
    ticks = np.sign(frame) * np.log1p(np.abs(frame) / slowing_frames)
    return np.asarray(span * ticks / np.log1p(span / slowing_frames))


def _positions(count: int) -> FloatArray:
    """Where control points are (count,), as fractions of the range they span."""
    degree = min(3, count - 1)
    return np.asarray((np.arange(count) - (degree - 1) / 2) / max(count - degree, 1))


def _distances(position: FloatArray) -> FloatArray:
    """Distances (n, n) between positions."""
    return np.abs(position[:, None] - position[None, :])


def space_basis(shape: MotionField, center_px: FloatArray) -> FloatArray:
    """Weights (patches, points y * points x) of the control points at each patch."""
    in_y, in_x = shape.basis_y(center_px[:, 0]), shape.basis_x(center_px[:, 1])
    return np.asarray((in_y[:, :, None] * in_x[:, None, :]).reshape(len(center_px), -1))


def _normal_equations(
    data: PatchLikelihood, with_trajectory: bool, shape: MotionField | None
) -> tuple[FloatArray, FloatArray]:
    """The likelihood's precision (n, n) and linear term (n, axes) in the motion's own numbers."""
    blocks: list[list[FloatArray]] = []
    rights: list[FloatArray] = []
    if with_trajectory:
        blocks.append([data.precision.sum(axis=0)])
        rights.append(data.linear.sum(axis=0))
    if shape is not None:
        in_time, space = shape.basis_t(data.frame), space_basis(shape, data.center_px)
        half = np.einsum("pts,si->pti", data.precision, in_time)  # (patches, times, points t)
        inner = np.einsum("ti,ptj->pij", in_time, half)
        size = inner.shape[1] * space.shape[1]
        square = np.einsum("pij,pa,pb->iajb", inner, space, space, optimize=True)
        right = np.einsum("ti,pa,ptc->iac", in_time, space, data.linear, optimize=True)
        rights.append(right.reshape(size, -1))
        if with_trajectory:
            mixed = np.einsum("pti,pa->tia", half, space).reshape(len(data.frame), size)
            blocks[0].append(mixed)
            blocks.append([mixed.T, square.reshape(size, size)])
        else:
            blocks.append([square.reshape(size, size)])
    return np.block(blocks), np.concatenate(rights)


def give_mean_to_path(
    path_px: FloatArray, field: MotionField, center_px: FloatArray, frame: FloatArray
) -> tuple[FloatArray, MotionField]:
    """The same motion with a field that is zero in the mean over places `center_px` (n, 2)."""
    size = field.coefficients_px.shape
    space = space_basis(field, center_px).mean(axis=0)
    common = field.coefficients_px.reshape(2, size[1], -1) @ space  # (2, points t)
    residual = replace(field, coefficients_px=field.coefficients_px - common[:, :, None, None])
    return path_px + field.basis_t(frame) @ common.T, residual


def _unpacked(
    solution: FloatArray,
    covariance: FloatArray | None,
    data: PatchLikelihood,
    trajectory: PathPrior | None,
    shape: MotionField | None,
    evidence: float,
) -> Fit:
    """The solution vector as trajectory and field with their standard errors.

    The part of the field that is the same everywhere is given to the trajectory, which then is the
    mean over the patches.
    """
    times = len(data.frame) if trajectory is not None else 0
    solution = solution @ data.axes
    path = path_error = field = None
    if shape is not None:
        size = shape.coefficients_px.shape
        field = replace(
            shape,
            coefficients_px=solution[times:].T.reshape(size),
            standard_error_px=_field_errors(shape, data, covariance),
        )
    if trajectory is not None:
        path = solution[:times]
        if field is not None:
            path, field = give_mean_to_path(path, field, data.center_px, data.frame)
        path = path - path.mean(axis=0)
        path_error = _path_errors(shape, data, covariance)
    return Fit(path, path_error, field, evidence)


def _field_errors(
    shape: MotionField, data: PatchLikelihood, covariance: FloatArray | None
) -> FloatArray | None:
    """Standard errors (2, points t, y, x) of the displacement at the places of the control points.

    Relative to the mean over patches, which goes to the path, and over time, which is free.
    """
    if covariance is None:
        return None
    frame, y, x = shape.control_point_places
    in_time = shape.basis_t(frame) - shape.basis_t(data.frame).mean(axis=0)
    in_space = np.kron(shape.basis_y(y), shape.basis_x(x))
    design = np.kron(in_time, in_space - space_basis(shape, data.center_px).mean(axis=0))
    size = design.shape[1]
    variance = ((design @ covariance[-size:, -size:]) * design).sum(axis=1)
    error = np.sqrt(variance.clip(0)).reshape(shape.control_points)
    return np.stack([error, error])


def _path_errors(
    shape: MotionField | None, data: PatchLikelihood, covariance: FloatArray | None
) -> FloatArray | None:
    """Standard errors (times,) of the mean over places, relative to the mean over time."""
    if covariance is None:
        return None
    design = np.eye(len(data.frame))
    if shape is not None:
        space = space_basis(shape, data.center_px).mean(axis=0)
        design = np.concatenate([design, np.kron(shape.basis_t(data.frame), space)], axis=1)
    design -= design.mean(axis=0)
    return np.asarray(np.sqrt(((design @ covariance) * design).sum(axis=1).clip(0)))
