"""Fit a trajectory and a field to quadratic log-likelihoods of patches, under Gaussian priors.

The evidence (marginal likelihood) of a prior is the probability of the data with the motion
integrated out; by it, `prior_choice` selects the hyperparameters of the prior (empirical Bayes).

References
----------
MacKay, Neural Comput. 4 (1992) 415.  Rasmussen & Williams, Gaussian Processes for Machine
Learning (2006), chapters 2 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import linalg

from flexalign.estimate.priors import FieldPrior, PathPrior, field_covariances
from flexalign.model import FloatArray
from flexalign.motion import MotionField


@dataclass(frozen=True, slots=True, eq=False)
class PatchLikelihood:
    """Quadratic log-likelihood of the displacements d of each patch: linear.d - d.precision.d / 2.

    The precision matrix is the same for y and x, and singular for a constant displacement.

    Attributes
    ----------
    center_px : (patches, 2) (y, x), unbinned pixels
    frame : (times,) frame index, may be fractional
    precision : (patches, times, times), per square unbinned pixel
    linear : (patches, times, axes)
    axes : (axes, 2) unit vectors (y, x) along which motion is estimated; default: y and x
    """

    center_px: FloatArray
    frame: FloatArray
    precision: FloatArray
    linear: FloatArray
    axes: FloatArray = field(default_factory=lambda: np.eye(2))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The most probable motion and its standard errors.

    Attributes
    ----------
    trajectory_px : (times, 2), mean over time zero; None when the trajectory was not fitted
    trajectory_error_px : (times,) standard error per axis, relative to the mean over time; None
        also when no errors were requested
    field : None when no field was fitted; its standard errors are per control point
    log_evidence : of the prior, up to a constant that all fits to the same data share
    fitted_parameters : number of parameters that are determined by the data, and thus fitted to
        their noise as well, rather than by the prior; NaN when no errors were requested
    """

    trajectory_px: FloatArray | None
    trajectory_error_px: FloatArray | None
    field: MotionField | None
    log_evidence: float
    fitted_parameters: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class _PriorRoot:
    """Square root of the prior covariance of the motion parameters: root root' = covariance.

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
        """`matrix` (m, n) times this root (n, n), which is never formed explicitly."""
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
    shape : a field of the requested size, when `field` is given; its coefficients are ignored
    with_errors : whether to compute standard errors, which take longer than the fit
    """
    shape = shape if field is not None else None
    mean_px = None if trajectory is None else trajectory.mean_px(data.frame)
    if mean_px is not None:
        data = replace(data, linear=data.linear - data.precision @ mean_px)
    prior_root = _prior_root(data.frame, trajectory, field, shape)
    normal = normal_equations(data, trajectory is not None, shape)
    factor, white, evidence = _solve(normal, prior_root)
    root = prior_root.after(np.eye(len(white)))
    covariance, fitted = None, math.nan
    if with_errors:
        covariance_root = linalg.solve_triangular(factor, root.T, lower=True)
        covariance = covariance_root.T @ covariance_root
        # MacKay, Neural Comput. 4 (1992) 415, eq. 4.9: those that the prior alone determines have
        # a posterior variance of one.
        inverse = linalg.solve_triangular(factor, np.eye(len(white)), lower=True)
        fitted = white.shape[1] * (len(white) - float((inverse**2).sum()))
    fit = _unpacked(root @ white, covariance, data, trajectory, shape, evidence)
    fit = replace(fit, fitted_parameters=fitted)
    if mean_px is not None and fit.trajectory_px is not None:
        return replace(fit, trajectory_px=fit.trajectory_px + mean_px - mean_px.mean(axis=0))
    return fit


def posterior_deviations(
    data: PatchLikelihood,
    trajectory: PathPrior,
    field: FieldPrior | None,
    shape: MotionField | None,
    normal: FloatArray,
) -> list[tuple[FloatArray, MotionField | None]]:
    """Deviations from the most probable motion that are distributed as the posterior.

    Parameters
    ----------
    shape : a field of the requested size, when `field` is given; its coefficients are ignored
    normal : (samples, n, axes) of the standard normal distribution, n parameters or more

    Returns
    -------
    For each sample the path (times, 2) and the field
    """
    shape = shape if field is not None else None
    root = _prior_root(data.frame, trajectory, field, shape)
    factor = _solve(normal_equations(data, True, shape), root)[0]
    full, times = root.after(np.eye(len(factor))), len(data.frame)
    found: list[tuple[FloatArray, MotionField | None]] = []
    for one in normal:
        motion = full @ linalg.solve_triangular(factor.T, one[: len(factor)]) @ data.axes
        if shape is not None:
            of_field = motion[times:].T.reshape(shape.coefficients_px.shape)
            found.append((motion[:times], replace(shape, coefficients_px=of_field)))
        else:
            found.append((motion[:times], None))
    return found


def log_evidence(
    normal: tuple[FloatArray, FloatArray],
    frame: FloatArray,
    trajectory: PathPrior | None,
    field: FieldPrior | None,
    shape: MotionField | None,
) -> float:
    """Log evidence of priors for data with these `normal_equations`, up to a common constant."""
    return _solve(normal, _prior_root(frame, trajectory, field, shape))[2]


def _solve(
    normal: tuple[FloatArray, FloatArray], root: _PriorRoot
) -> tuple[FloatArray, FloatArray, float]:
    """Solve in whitened parameters z, with motion = root z.

    Returns
    -------
    factor : lower Cholesky factor of the posterior precision of z, which is well conditioned
    white : (n, axes) the most probable z
    log_evidence : of the prior; the log determinant counts half for each axis
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
    """Lower Cholesky factor of a matrix that is positive definite up to rounding errors.

    Frames without noise give a precision so large that the unit prior is lost to rounding.
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
    """Square root of the prior covariance of the motion parameters."""
    nothing: FloatArray = np.zeros((0, 0))
    path = in_time = in_space = nothing
    if trajectory is not None:
        path = _root(trajectory.covariance_px2(frame))
    if field is not None and shape is not None:
        in_time, in_y, in_x = (_root(c) for c in field_covariances(shape, field))
        in_space = np.asarray(field.size_px * np.kron(in_y, in_x), np.float64)
    return _PriorRoot(path, in_time, in_space)


def _root(covariance: FloatArray) -> FloatArray:
    """Lower Cholesky factor."""
    return np.asarray(linalg.cholesky(covariance, lower=True), np.float64)


def space_basis(shape: MotionField, center_px: FloatArray) -> FloatArray:
    """Weights (patches, points y * points x) of the control points at each patch."""
    in_y, in_x = shape.basis_y(center_px[:, 0]), shape.basis_x(center_px[:, 1])
    return np.asarray((in_y[:, :, None] * in_x[:, None, :]).reshape(len(center_px), -1))


def normal_equations(
    data: PatchLikelihood, with_trajectory: bool, shape: MotionField | None
) -> tuple[FloatArray, FloatArray]:
    """Precision (n, n) and linear term (n, axes) of the likelihood in the motion parameters."""
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


def move_mean_to_path(
    path_px: FloatArray, field: MotionField, center_px: FloatArray, frame: FloatArray
) -> tuple[FloatArray, MotionField]:
    """The same motion with a field of zero mean over the positions `center_px` (n, 2)."""
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

    The mean of the field over the patches is moved to the trajectory.
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
            path, field = move_mean_to_path(path, field, data.center_px, data.frame)
        path = path - path.mean(axis=0)
        path_error = _path_errors(shape, data, covariance)
    return Fit(path, path_error, field, evidence)


def _field_errors(
    shape: MotionField, data: PatchLikelihood, covariance: FloatArray | None
) -> FloatArray | None:
    """Standard errors (2, points t, y, x) of the displacement at the positions of control points.

    They are relative to the mean over patches, which belongs to the path, and over time, which is
    arbitrary.
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
    """Standard errors (times,) of the mean over patches, relative to the mean over time."""
    if covariance is None:
        return None
    design = np.eye(len(data.frame))
    if shape is not None:
        space = space_basis(shape, data.center_px).mean(axis=0)
        design = np.concatenate([design, np.kron(shape.basis_t(data.frame), space)], axis=1)
    design -= design.mean(axis=0)
    return np.asarray(np.sqrt(((design @ covariance) * design).sum(axis=1).clip(0)))
