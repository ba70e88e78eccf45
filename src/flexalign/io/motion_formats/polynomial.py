"""RELION's model of local motion: a polynomial, third order in time and second in place.

Each component of the correction is a sum of ``z^i`` times 1, x, x2, y, y2 or xy, i = 1 to 3, with
z the frame counted from the first one used, x = column / width - 0.5, y = row / height - 0.5.
It is zero in that frame, everywhere.  The minus signs between it and our displacements are here.

References
----------
Zivanov, Nakane & Scheres, IUCrJ 6:5 (2019), section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.io.motion_formats.field_fit import fit_field
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion, MotionField, Trajectory

ORDERS, PLACES = 3, 6
COEFFICIENTS = ORDERS * PLACES
# B-splines with this many control points represent every such polynomial exactly.
CONTROL_POINTS = (4, 3, 3)

_NODES = 9


@dataclass(frozen=True, slots=True, eq=False)
class PolynomialMotion:
    """A motion in RELION's model and sign: the correction to apply.

    Attributes
    ----------
    global_px : (frames of the file, 2) (y, x), pixels of the unbinned movie
    coefficients_px : (2, 18), components (y, x), place by place and in each the orders of z;
        None = no local motion
    first : the frame with z = 0, zero-based in the file
    rms_error_px, largest_error_px : length of the residual of the fit
    rms_local_px : of the local motion it was fitted to
    """

    global_px: FloatArray
    coefficients_px: FloatArray | None
    first: int
    rms_error_px: float = 0.0
    largest_error_px: float = 0.0
    rms_local_px: float = 0.0

    def without_local(self) -> PolynomialMotion:
        """The same with the whole-frame motion only."""
        return PolynomialMotion(
            self.global_px, None, self.first, self.rms_local_px, float("nan"), self.rms_local_px
        )


def fit_polynomial(motion: Motion, frames: FrameRange) -> PolynomialMotion:
    """Least-squares fit of RELION's model to `motion` over `frames`.

    The whole-frame correction is that of the mean over the field, free in every frame, so that
    the polynomial has to fit only the differences between places.

    Parameters
    ----------
    frames : over which it is fitted; z is zero in the first of them
    """
    whole = whole_frame_px(motion, frames)
    if motion.field is None:
        return PolynomialMotion(whole, None, frames.first)
    y, x = _nodes(motion.field.height_px), _nodes(motion.field.width_px)
    field = _correction_at_nodes(motion.field, frames)
    local = (field - field.mean(axis=(2, 3), keepdims=True)).transpose(1, 0, 2, 3).reshape(2, -1)
    places = _place_terms(y / motion.field.height_px - 0.5, x / motion.field.width_px - 0.5)
    mean = places.mean(axis=(0, 1))
    time = _time_terms(np.arange(frames.count))
    scale = time[-1] if frames.count > 1 else np.ones(ORDERS)
    design = np.einsum("ti,yxk->tyxki", time / scale, (places - mean)[..., 1:])
    flat = design.reshape(local.shape[1], -1)
    solution = np.linalg.lstsq(flat, local.T, rcond=None)[0]
    left = np.linalg.norm(local - (flat @ solution).T, axis=0)
    varying = solution.T.reshape(2, PLACES - 1, ORDERS) / scale
    # The mean over the field belongs to the whole-frame shift.
    constant = -np.einsum("cki,k->ci", varying, mean[1:])
    coefficients = np.concatenate([constant[:, None], varying], axis=1)
    return PolynomialMotion(
        whole,
        coefficients.reshape(2, COEFFICIENTS),
        frames.first,
        rms_error_px=float(np.sqrt(np.mean(left**2))),
        largest_error_px=float(left.max()),
        rms_local_px=float(np.sqrt(np.mean(np.sum(local**2, axis=0)))),
    )


def whole_frame_px(motion: Motion, frames: FrameRange) -> FloatArray:
    """The correction (frames of the file, 2) of the whole frame: the mean over the field.

    Before and after `frames` the field is constant.
    """
    whole = -motion.trajectory.displacement_px
    if motion.field is None:
        return whole
    field = motion.field
    nearest = np.clip(np.arange(len(whole)), frames.first, frames.stop - 1)
    # The field is linear in its weights: the mean over the lattice is that of mean weights.
    mean_y = field.basis_y(_nodes(field.height_px)).mean(axis=0)
    mean_x = field.basis_x(_nodes(field.width_px)).mean(axis=0)
    mean = field.basis_t(nearest) @ (field.coefficients_px @ mean_x @ mean_y).T
    return np.asarray(whole - mean)


def correction_px(
    model: PolynomialMotion, frame: int, y: npt.ArrayLike, x: npt.ArrayLike
) -> FloatArray:
    """The local correction (2, len(y), len(x)) of one frame.

    Parameters
    ----------
    frame : zero-based in the file
    y, x : in units of the frame, -0.5 to 0.5
    """
    places = _place_terms(np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64))
    if model.coefficients_px is None:
        return np.zeros((2, *places.shape[:2]))
    time = _time_terms(np.array([frame - model.first]))[0]
    coefficients = model.coefficients_px.reshape(2, PLACES, ORDERS)
    return np.asarray(np.einsum("yxk,cki,i->cyx", places, coefficients, time))


def as_motion(model: PolynomialMotion, frames: FrameRange, shape_px: tuple[int, int]) -> Motion:
    """The motion of RELION's model, exactly, relative to the frame with z = 0.

    Parameters
    ----------
    frames : the frames that RELION used; others move like the nearest of them
    shape_px : (height, width) of the unbinned movie
    """
    count = len(model.global_px)
    nearest = np.clip(np.arange(count), frames.first, frames.stop - 1)
    measured = np.isin(np.arange(count), np.arange(frames.first, frames.stop))
    reference = min(max(model.first, frames.first), frames.stop - 1)
    trajectory = Trajectory(-model.global_px[nearest], measured, reference)
    if model.coefficients_px is None:
        return Motion(trajectory)
    height, width = shape_px
    y, x = _nodes(height), _nodes(width)
    planes = [
        -correction_px(model, frame, y / height - 0.5, x / width - 0.5)
        for frame in range(frames.first, frames.stop)
    ]
    tracks = np.stack(planes, axis=1).reshape(2, frames.count, -1).transpose(2, 1, 0)
    rows, columns = np.meshgrid(y, x, indexing="ij")
    points = (min(CONTROL_POINTS[0], frames.count), *CONTROL_POINTS[1:])
    field: MotionField = fit_field(tracks, rows.ravel(), columns.ravel(), frames, points, shape_px)
    return Motion(trajectory, field)


def _correction_at_nodes(field: MotionField, frames: FrameRange) -> FloatArray:
    """Minus the field (t, 2, y, x) in each frame on a lattice over the whole image."""
    y, x = _nodes(field.height_px), _nodes(field.width_px)
    return -np.stack([field.on_lattice(frame, y, x) for frame in frames])


def _nodes(size_px: int) -> FloatArray:
    """Coordinates at which an axis is sampled, its ends included."""
    return np.linspace(0, size_px - 1, _NODES)


def _time_terms(z: npt.NDArray[np.int64]) -> FloatArray:
    """z, z2 and z3: (n, 3)."""
    return np.asarray(z[:, None].astype(np.float64) ** np.arange(1, ORDERS + 1))


def _place_terms(y: FloatArray, x: FloatArray) -> FloatArray:
    """1, x, x2, y, y2 and xy on a lattice: (len(y), len(x), 6)."""
    v, u = np.meshgrid(y, x, indexing="ij")
    return np.stack([np.ones_like(u), u, u**2, v, v**2, u * v], axis=-1)
