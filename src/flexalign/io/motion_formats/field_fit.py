"""Fit a motion field to tracks, as other programs' files give them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from flexalign.model import FrameRange
from flexalign.motion import MotionField


def fit_field(
    displacement_px: npt.ArrayLike,
    y_px: npt.ArrayLike,
    x_px: npt.ArrayLike,
    frames: FrameRange,
    control_points: tuple[int, int, int],
    shape_px: tuple[int, int],
) -> MotionField:
    """Least-squares fit of a field to tracks at some places.

    Parameters
    ----------
    displacement_px : (places, frames, 2) (y, x), one for each of `frames`
    y_px, x_px : (places,) where
    control_points : of the field, (t, y, x)
    shape_px : (height, width) of the unbinned movie

    Notes
    -----
    Undetermined coefficients take the solution of minimum norm.

    Examples
    --------
    >>> tracks = np.zeros((4, 3, 2)) + np.arange(3)[:, None]
    >>> y, x = [0, 0, 9, 9], [0, 9, 0, 9]
    >>> field = fit_field(tracks, y, x, FrameRange(0, 3), (3, 2, 2), (10, 10))
    >>> dy, dx = field.displacement_px(2, 5, 5)
    >>> round(float(dy), 6)
    2.0
    """
    empty = MotionField(np.zeros((2, *control_points)), *shape_px, frames)
    in_time = np.linalg.pinv(empty.basis_t(np.arange(frames.first, frames.stop)))
    place = np.einsum("ny,nx->nyx", empty.basis_y(y_px), empty.basis_x(x_px))
    in_place = np.linalg.pinv(place.reshape(len(place), -1))
    coefficients = np.einsum(
        "pnc,tn,kp->ctk", np.asarray(displacement_px), in_time, in_place, optimize=True
    )
    return replace(empty, coefficients_px=coefficients.reshape(2, *control_points))
