"""Compare two motions of one movie.

Only relative motion can be known: a constant moves the specimen in the micrograph and blurs
nothing.  So at each place the mean over the frames that are compared is taken away first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.model import FloatArray, JsonValue, read_only
from flexalign.motion import Motion

PLACES = 9
# Another convention is suggested only if it explains most of a relevant difference.
_MIN_DIFFERENCE_PX = 0.5
_MAX_RESIDUAL_RATIO = 0.25


class MotionLike(Protocol):
    """Anything that evaluates a displacement: `Motion`, `flexalign.simulate.TrueMotion`."""

    def displacement_px(
        self, frame: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Displacement (dy, dx) of the specimen in `frame` at (y, x)."""
        ...


def relative_px(displacement_px: FloatArray) -> FloatArray:
    """Displacements (frames, ...) minus their mean over frames: the part that blurs.

    Examples
    --------
    >>> relative_px(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    return np.asarray(displacement_px - displacement_px.mean(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class MotionComparison(JsonValue):
    """Two motions of one movie, A and B, and how they differ; the mean over frames is zero.

    A difference is a length, over y and x together.

    Attributes
    ----------
    frame : (frames,) indices of the frames compared, zero-based in the file
    y_px, x_px : (9,) rows and columns of the places, in the unbinned movie: middles of equal parts
    a_px, b_px : (frames, 2) (y, x) mean over the places of each motion
    per_frame_px : (frames,) root mean square over places of B minus A
    per_place_px : (9, 9) (y, x) root mean square over frames of B minus A
    rms_px : root mean square over both
    whole_frame_rms_px, local_rms_px : of the mean over places and of the residual; their squares
        add up to that of `rms_px`
    largest_px : maximum over frames and places
    motion_rms_px : of A itself, for comparison
    """

    frame: npt.NDArray[np.int64]
    y_px: FloatArray
    x_px: FloatArray
    a_px: FloatArray
    b_px: FloatArray
    per_frame_px: FloatArray
    per_place_px: FloatArray
    rms_px: float
    whole_frame_rms_px: float
    local_rms_px: float
    largest_px: float
    motion_rms_px: float

    def __post_init__(self) -> None:
        for name in ("y_px", "x_px", "a_px", "b_px", "per_frame_px", "per_place_px"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        object.__setattr__(self, "frame", read_only(self.frame, np.int64))

    @property
    def worst_frame(self) -> int:
        """The frame with the largest difference, zero-based in the file."""
        return int(self.frame[np.argmax(self.per_frame_px)])

    @property
    def worst_place_px(self) -> tuple[float, float]:
        """(y, x) of the place with the largest difference."""
        row, column = np.unravel_index(np.argmax(self.per_place_px), self.per_place_px.shape)
        return float(self.y_px[row]), float(self.x_px[column])


def places_px(shape_px: tuple[int, int], count: int = PLACES) -> tuple[FloatArray, FloatArray]:
    """Rows and columns (count,) of the middles of equal parts of the frame (height, width).

    Examples
    --------
    >>> places_px((6, 12), 3)
    (array([0.5, 2.5, 4.5]), array([1.5, 5.5, 9.5]))
    """
    rows, columns = ((np.arange(count) + 0.5) * size / count - 0.5 for size in shape_px)
    return rows, columns


def shared_frames(a: Motion, b: Motion) -> list[int]:
    """The frames that were measured in both motions, zero-based in the file.

    Raises
    ------
    InputError
        If the motions have different numbers of frames, or fewer than two in common.
    """
    if a.frame_count != b.frame_count:
        raise InputError(
            f"expected motions of the same frames, found {a.frame_count} and {b.frame_count} frames"
        )
    both = np.flatnonzero(a.trajectory.is_measured & b.trajectory.is_measured)
    if len(both) < 2:
        raise InputError(
            f"expected at least two frames that were measured in both, found {len(both)}"
        )
    return [int(frame) for frame in both]


def compare_motions(
    a: MotionLike, b: MotionLike, frames: Iterable[int], shape_px: tuple[int, int]
) -> MotionComparison:
    """Compare `b` with `a` in `frames` at 9 x 9 places.

    Parameters
    ----------
    frames : zero-based in the file, see `shared_frames`
    shape_px : (height, width) of the unbinned movie

    Examples
    --------
    >>> from flexalign.motion import Trajectory
    >>> still = Motion.still(2)
    >>> moving = Motion(Trajectory([[0.0, 0.0], [0.0, 2.0]], [True, True], 0))
    >>> compare_motions(still, moving, [0, 1], (100, 100)).rms_px
    1.0
    """
    frame = np.fromiter(frames, np.int64)
    y, x = places_px(shape_px)
    one, other = (
        relative_px(np.stack(motion.displacement_px(frame[:, None, None], y[:, None], x), axis=-1))
        for motion in (a, b)
    )  # (t, y, x, 2)
    difference = other - one
    whole = difference.mean(axis=(1, 2))
    squares = np.sum(difference**2, axis=-1)
    rms, whole_rms = np.sqrt(squares.mean()), np.sqrt(np.sum(whole**2, axis=-1).mean())
    local = difference - whole[:, None, None]
    return MotionComparison(
        frame=frame,
        y_px=y,
        x_px=x,
        a_px=one.mean(axis=(1, 2)),
        b_px=other.mean(axis=(1, 2)),
        per_frame_px=np.sqrt(squares.mean(axis=(1, 2))),
        per_place_px=np.sqrt(squares.mean(axis=0)),
        rms_px=float(rms),
        whole_frame_rms_px=float(whole_rms),
        local_rms_px=float(np.sqrt(np.sum(local**2, axis=-1).mean())),
        largest_px=float(np.sqrt(squares.max())),
        motion_rms_px=float(np.sqrt(np.sum(one**2, axis=-1).mean())),
    )


def other_convention(
    a: MotionLike, b: MotionLike, frames: Iterable[int], shape_px: tuple[int, int]
) -> str:
    """The convention in which `b` would be close to `a`; "" when none explains the difference.

    Two programs that take the rows of a TIFF file in opposite order find motions that are mirrored;
    a sign or the order of the axes gets lost in conversions.
    """
    chosen = list(frames)
    found = compare_motions(a, b, chosen, shape_px).rms_px
    if found < _MIN_DIFFERENCE_PX:
        return ""
    residual = {
        words: compare_motions(a, changed, chosen, shape_px).rms_px
        for words, changed in (
            ("the rows of B are in reverse order", rows_reversed(b, shape_px)),
            ("B has the opposite sign", _Changed(b, shape_px, sign=-1)),
            ("x and y of B are swapped", _Changed(b, shape_px, swap=True)),
        )
    }
    words = min(residual, key=lambda name: residual[name])
    return words if residual[words] < _MAX_RESIDUAL_RATIO * found else ""


def rows_reversed(motion: MotionLike, shape_px: tuple[int, int]) -> MotionLike:
    """The motion of the movie with its rows in the opposite order."""
    return _Changed(motion, shape_px, rows=-1)


@dataclass(frozen=True, slots=True)
class _Changed:
    """A motion converted to another convention."""

    motion: MotionLike
    shape_px: tuple[int, int]
    rows: int = 1
    sign: int = 1
    swap: bool = False

    def displacement_px(
        self, frame: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Displacement (dy, dx) in the other convention."""
        y, x = np.asarray(y), np.asarray(x)
        if self.rows < 0:
            y = self.shape_px[0] - 1 - y
        if self.swap:
            y, x = x, y
        dy, dx = self.motion.displacement_px(frame, y, x)
        if self.swap:
            dy, dx = dx, dy
        return self.sign * self.rows * dy, self.sign * dx
