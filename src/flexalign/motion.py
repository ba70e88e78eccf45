"""Motion of the specimen: a trajectory of the whole frame plus a smooth field of local motion.

Sign: a displacement is where the specimen went, positive toward larger index, relative to the
reference frame: ``corrected(p) = frame(p + displacement)``.  Unit: pixels of the unbinned movie.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from flexalign.array_value import EqualByValue, ShortRepr
from flexalign.bspline import bspline_basis, spline_centers
from flexalign.errors import InputError
from flexalign.files import read_json
from flexalign.model import FloatArray, FrameRange, JsonValue, MaskArray, from_plain, read_only
from flexalign.plain import write_json

# Far above any real displacement, and small enough that sums and products do not overflow.
MAX_PX = 1e9
# Relative to the largest coefficient of a field.
_ROUNDING = 1e-14


def _check_finite(values_px: FloatArray, what: str) -> None:
    """Raise `ValueError` unless all values are finite and within `MAX_PX`."""
    if not (np.abs(values_px) <= MAX_PX).all():
        raise ValueError(f"expected finite {what} up to {MAX_PX:g} pixels")


def _keep_errors(value: Trajectory | MotionField, shape: tuple[int, ...]) -> None:
    """Convert the standard errors of `value`, if given, to an array of the `shape`."""
    if value.standard_error_px is None:
        return
    errors = read_only(value.standard_error_px)
    if errors.shape != shape:
        raise ValueError(f"expected standard errors {shape}, found {errors.shape}")
    object.__setattr__(value, "standard_error_px", errors)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trajectory(EqualByValue, ShortRepr, JsonValue):
    """Displacement of the whole frame over time.

    Attributes
    ----------
    displacement_px : (frames of the file, 2) (y, x), zero at the reference frame.  A frame that
        was not measured has the value of its neighbours
    is_measured : (frames of the file,) False outside the align range and for bad frames
    reference_frame : zero-based in the file
    standard_error_px : (frames of the file, 2) or None when unknown
    """

    displacement_px: FloatArray
    is_measured: MaskArray
    reference_frame: int
    standard_error_px: FloatArray | None = None

    def __post_init__(self) -> None:
        displacement = read_only(self.displacement_px)
        if displacement.ndim != 2 or displacement.shape[1] != 2 or len(displacement) == 0:
            raise ValueError(f"expected displacements (frames, 2), found {displacement.shape}")
        _check_finite(displacement, "displacements")
        if not 0 <= operator.index(self.reference_frame) < len(displacement):
            raise ValueError(f"reference frame {self.reference_frame} of {len(displacement)}")
        measured = read_only(self.is_measured, np.bool_)
        if measured.shape != displacement.shape[:1]:
            raise ValueError(f"expected {len(displacement)} marks, found {measured.shape}")
        origin = displacement[self.reference_frame]
        object.__setattr__(self, "displacement_px", read_only(displacement - origin))
        object.__setattr__(self, "is_measured", measured)
        _keep_errors(self, displacement.shape)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MotionField(EqualByValue, ShortRepr, JsonValue):
    """Local motion: a tensor-product B-spline in (t, y, x), added to the trajectory.

    Attributes
    ----------
    coefficients_px : (2, points t, points y, points x), components (y, x)
    height_px, width_px : of the unbinned movie
    frames : over which time runs
    standard_error_px : like `coefficients_px`, of the displacement at the places of the control
        points, relative to its mean over places and over time; None when unknown
    """

    coefficients_px: FloatArray
    height_px: int
    width_px: int
    frames: FrameRange
    standard_error_px: FloatArray | None = None

    def __post_init__(self) -> None:
        coefficients = read_only(self.coefficients_px)
        if coefficients.ndim != 4 or coefficients.shape[0] != 2 or coefficients.size == 0:
            raise ValueError(f"expected coefficients (2, t, y, x), found {coefficients.shape}")
        _check_finite(coefficients, "coefficients")
        whole = (self.height_px, self.width_px, self.frames.first, self.frames.stop)
        if min(map(operator.index, whole)) < 0 or min(whole[:2]) < 1:
            raise ValueError(f"expected a size in pixels, found {whole[:2]}")
        object.__setattr__(self, "coefficients_px", coefficients)
        _keep_errors(self, coefficients.shape)

    @property
    def control_points(self) -> tuple[int, int, int]:
        """Number of control points in (t, y, x)."""
        _, t, y, x = self.coefficients_px.shape
        return t, y, x

    @property
    def control_point_places(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Frame (points t,), row (points y,) and column (points x,) at which each has its maximum.

        The outermost control points lie outside the movie; their places are its edges.
        """
        in_t, in_y, in_x = (spline_centers(count) for count in self.control_points)
        return (
            self.frames.first + in_t * max(self.frames.count - 1, 1),
            in_y * self.height_px - 0.5,
            in_x * self.width_px - 0.5,
        )

    def basis_t(self, frame: npt.ArrayLike) -> FloatArray:
        """Weights (n, points t) of the control points in time at each frame index."""
        span = max(self.frames.count - 1, 1)
        return bspline_basis((np.asarray(frame) - self.frames.first) / span, self.control_points[0])

    def basis_y(self, y: npt.ArrayLike) -> FloatArray:
        """Weights (n, points y) of the control points in y at each row coordinate."""
        return bspline_basis((np.asarray(y) + 0.5) / self.height_px, self.control_points[1])

    def basis_x(self, x: npt.ArrayLike) -> FloatArray:
        """Weights (n, points x) of the control points in x at each column coordinate."""
        return bspline_basis((np.asarray(x) + 0.5) / self.width_px, self.control_points[2])

    def displacement_px(
        self, frame: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """The field (dy, dx) at each frame and place; the arguments broadcast."""
        t_all, y_all, x_all = np.broadcast_arrays(frame, y, x)
        out = np.einsum(
            "cijk,ni,nj,nk->cn",
            self.coefficients_px,
            self.basis_t(t_all.ravel()),
            self.basis_y(y_all.ravel()),
            self.basis_x(x_all.ravel()),
            optimize=True,
        )
        return out[0].reshape(t_all.shape), out[1].reshape(t_all.shape)

    def on_lattice(self, frame: float, y: npt.ArrayLike, x: npt.ArrayLike) -> FloatArray:
        """The field (2, len(y), len(x)) of one frame on the lattice of rows `y`, columns `x`."""
        plane = np.einsum("cijk,i->cjk", self.coefficients_px, self.basis_t([frame])[0])
        return np.asarray(self.basis_y(y) @ plane @ self.basis_x(x).T)

    def anchored(self, frame: int) -> MotionField:
        """The field minus its value at `frame`, so that it is zero there.

        A field that is zero there up to rounding stays as it is, so that a motion does not change
        when it is written and read.
        """
        plane = np.einsum("cijk,i->cjk", self.coefficients_px, self.basis_t([frame])[0])
        if np.abs(plane).max() <= _ROUNDING * np.abs(self.coefficients_px).max():
            return self
        return replace(self, coefficients_px=self.coefficients_px - plane[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class Motion(EqualByValue, JsonValue):
    """Displacement of the specimen: `trajectory` plus, with local alignment, `field`.

    The field is zero at the reference frame (it is anchored there when a motion is made).

    Examples
    --------
    >>> motion = Motion(Trajectory([[0.0, 0.0], [1.0, 2.0]], [True, True], 0))
    >>> dy, dx = motion.displacement_px(1, y=10.0, x=[0.0, 20.0])
    >>> dy, dx
    (array([1., 1.]), array([2., 2.]))
    >>> motion
    <Motion: 2 frames, global, up to 2.24 px from frame 0>
    """

    trajectory: Trajectory
    field: MotionField | None = None

    def __repr__(self) -> str:
        """Frames, size of the movie, global or local, largest displacement."""
        facts, field = [f"{self.frame_count} frames"], self.field
        if field is not None:
            t, y, x = field.control_points
            facts += [f"{field.height_px} x {field.width_px} px (h, w)"]
            facts += [f"local with {t} x {y} x {x} control points (t, y, x)"]
        else:
            facts += ["global"]
        largest_px = f"up to {self._largest_px():.3g} px from frame {self.reference_frame}"
        return f"<Motion: {', '.join([*facts, largest_px])}>"

    def _largest_px(self) -> float:
        """Largest distance from the reference frame, of a field at its control points' places."""
        if self.field is None:
            return float(np.hypot(*self.trajectory.displacement_px.T).max())
        _, y, x = self.field.control_point_places
        lattices = (self.on_lattice(frame, y, x) for frame in range(self.frame_count))
        return max(float(np.hypot(*lattice).max()) for lattice in lattices)

    def __post_init__(self) -> None:
        if self.field is not None:
            if operator.index(self.field.frames.stop) > self.frame_count:
                raise ValueError(
                    f"expected a field within {self.frame_count} frames, found one over frames "
                    f"{self.field.frames}"
                )
            object.__setattr__(self, "field", self.field.anchored(self.reference_frame))

    @property
    def reference_frame(self) -> int:
        """The frame whose displacement is zero everywhere, zero-based in the file."""
        return self.trajectory.reference_frame

    @property
    def frame_count(self) -> int:
        """Number of frames in the file."""
        return len(self.trajectory.displacement_px)

    def displacement_px(
        self, frame: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Where the specimen at (y, x) of the reference frame is in `frame`, minus (y, x).

        Parameters
        ----------
        frame : zero-based index in the file
        y, x : pixels of the unbinned movie, rows as MRC stores them

        Returns
        -------
        dy and dx in pixels of the unbinned movie, in the shape that the arguments broadcast to

        Raises
        ------
        IndexError
            If a frame is not in the file.
        """
        t_all, y_all, x_all = np.broadcast_arrays(frame, y, x)
        dy, dx = np.moveaxis(self.trajectory.displacement_px[t_all.astype(np.int64)], -1, 0)
        if self.field is not None:
            field_dy, field_dx = self.field.displacement_px(t_all, y_all, x_all)
            dy, dx = dy + field_dy, dx + field_dx
        return np.asarray(dy), np.asarray(dx)

    def on_lattice(self, frame: int, y: npt.ArrayLike, x: npt.ArrayLike) -> FloatArray:
        """The displacement (2, len(y), len(x)) of one frame on a lattice."""
        total = np.zeros((2, np.size(y), np.size(x)))
        if self.field is not None:
            total += self.field.on_lattice(frame, y, x)
        return np.asarray(total + self.trajectory.displacement_px[frame][:, None, None])

    @classmethod
    def still(cls, frame_count: int, reference_frame: int = 0) -> Self:
        """No motion at all."""
        trajectory = Trajectory(
            np.zeros((frame_count, 2)), np.ones(frame_count, np.bool_), reference_frame
        )
        return cls(trajectory)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The motion in what `to_dict` gave, or in a movie's record.

        Raises
        ------
        InputError
            If there is none, or it is broken.
        """
        if "trajectory" not in plain and isinstance(plain.get("motion"), dict):
            plain = plain["motion"]
        if "trajectory" not in plain:
            raise InputError("expected a motion or a record with one, found neither in the file")
        # super() would refer to the class that dataclass(slots=True) has replaced
        return cast(Self, from_plain(cls, plain))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The motion in a ``_motion.json`` or ``_record.json`` file.

        Raises
        ------
        InputError
            If the file is missing, is not JSON, or holds no motion.
        """
        return cls.from_dict(read_json(path))

    def save(self, path: str | Path) -> None:
        """Write the motion as JSON, as in a ``_motion.json`` file; `load` reads it.

        Raises
        ------
        OutputError
            If the file cannot be written; an existing file is not changed.

        Examples
        --------
        >>> path = getfixture("tmp_path") / "still_motion.json"
        >>> Motion.still(5).save(path)
        >>> Motion.load(path)
        <Motion: 5 frames, global, up to 0 px from frame 0>
        """
        write_json(path, self)
