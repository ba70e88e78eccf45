"""Start of an estimation: the result of the pairwise stage, or another path."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace

import numpy as np

from flexalign.estimate import pairwise
from flexalign.estimate.patch_spectra import COARSEST_RESOLUTION_A
from flexalign.model import FloatArray, PairwiseShifts, PatchTracks
from flexalign.motion import MotionField
from flexalign.plan import Plan

# Cosine of the angle below which two directions count as the same.
_SAME_DIRECTION = 0.9995


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Path, pairs, patch tracks and field from which an estimation starts.

    Attributes
    ----------
    frame : (n,) times of the path
    path_px : (n, 2)
    pairwise_limit_A : resolution limit of the data it was fitted to; infinite = no data
    coarsest_A : resolution of the coarsest rings to use
    halves_px : paths (n, 2) from each half-set of rings, see `half_of_ring`, if `path_px` was
        fitted to all rings; None if it was fitted only to those coarser than `pairwise_limit_A`
    axes : (axes, 2) unit vectors (y, x) along which motion is estimated
    """

    frame: FloatArray
    path_px: FloatArray
    pairs: PairwiseShifts
    tracks: PatchTracks | None
    field: MotionField | None
    pairwise_limit_A: float
    coarsest_A: float = COARSEST_RESOLUTION_A
    halves_px: tuple[FloatArray, FloatArray] | None = None
    axes: FloatArray = dataclasses.field(default_factory=lambda: np.eye(2))

    def along(self, direction: FloatArray) -> Start:
        """The same start restricted to motion along the unit vector `direction` (y, x)."""
        axes = direction[None]
        path, halves = (self.path_px @ axes.T) @ axes, None
        if self.halves_px is not None:
            one, other = ((half @ axes.T) @ axes for half in self.halves_px)
            halves = one, other
        elif path.any():
            path = pairwise.path_through(self.pairs, self.frame, axes)[0]
        return replace(self, path_px=path, field=None, halves_px=halves, axes=axes)

    @property
    def direction(self) -> FloatArray | None:
        """The only direction (y, x) in which motion is estimated; None = in both."""
        return self.axes[0] if len(self.axes) == 1 else None

    def is_along(self, direction: FloatArray) -> bool:
        """Whether motion is estimated only along the unit vector `direction` (y, x)."""
        only = self.direction
        return only is not None and abs(float(only @ direction)) > _SAME_DIRECTION


def empty_field(plan: Plan) -> MotionField | None:
    """A field of the planned size, zero everywhere; None without local alignment."""
    if plan.control_points is None:
        return None
    movie = plan.movie
    coefficients = np.zeros((2, *plan.control_points))
    return MotionField(coefficients, movie.height_px, movie.width_px, plan.align)
