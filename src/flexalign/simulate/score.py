"""The error of an estimated motion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from flexalign.comparison import MotionLike, relative_px
from flexalign.simulate.movie import SimulatedMovie


class MotionError(NamedTuple):
    """Distances between the estimated and the true displacement.

    Attributes
    ----------
    rms_px : root mean square length over frames and places
    worst_px : largest length
    """

    rms_px: float
    worst_px: float


def motion_error_px(
    motion: MotionLike,
    truth: SimulatedMovie | Mapping[str, Any],
    frames: Iterable[int] | None = None,
) -> MotionError:
    """Distance of `motion` from the truth over frames and the 17 x 17 lattice.

    At each place the mean over frames is removed first: a constant blurs nothing.  The distance
    is the length of the (y, x) difference, so an error of 1 px on both axes is one of 1.41 px.

    Parameters
    ----------
    motion : the estimate
    truth : the movie, or what `numpy.load` reads from its ``_truth.npz``
    frames : zero-based; default: all
    """
    if isinstance(truth, SimulatedMovie):
        true, y, x = truth.displacement_px, truth.lattice_y_px, truth.lattice_x_px
    else:
        true, y, x = (truth[key] for key in ("displacement_px", "lattice_y_px", "lattice_x_px"))
    chosen = np.arange(len(true)) if frames is None else np.fromiter(frames, np.int64)
    dy_dx = motion.displacement_px(chosen[:, None, None], y[:, None], x[None, :])
    difference = np.stack(dy_dx, axis=-1) - true[chosen]
    lengths = np.linalg.norm(relative_px(difference), axis=-1)
    return MotionError(float(np.sqrt((lengths**2).mean())), float(lengths.max()))
