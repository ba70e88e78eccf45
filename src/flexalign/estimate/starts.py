"""Where an estimation starts from: what the pairwise stage has found, or another path."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace

import numpy as np

from flexalign.estimate import pairwise
from flexalign.estimate.patch_spectra import COARSEST_RESOLUTION_A
from flexalign.model import FloatArray, PairwiseShifts, PatchTracks
from flexalign.motion import MotionField

# Cosine of the angle between two directions that are as good as one.
_SAME_DIRECTION = 0.9995


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What the pairwise stage found: path (n, 2), pairs, and of the patches tracks and field.

    Attributes
    ----------
    frame : (n,) times of the path
    seen_to_A : resolution limit of the data it was fitted to; infinite = none
    coarsest_A : resolution of the coarsest rings that are to take part
    halves_px : paths (n, 2) by either half of the rings alone, see `half_of_ring`, where the
        path comes from all rings; None where it has seen those coarser than `seen_to_A` alone
    axes : (axes, 2) unit vectors (y, x) along which motion is estimated
    """

    frame: FloatArray
    path_px: FloatArray
    pairs: PairwiseShifts
    tracks: PatchTracks | None
    field: MotionField | None
    seen_to_A: float
    coarsest_A: float = COARSEST_RESOLUTION_A
    halves_px: tuple[FloatArray, FloatArray] | None = None
    axes: FloatArray = dataclasses.field(default_factory=lambda: np.eye(2))

    def along(self, direction: FloatArray) -> Start:
        """What is left of the motion along a `direction` (y, x) of length one."""
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
        """Whether motion is estimated along a `direction` (y, x) of length one only."""
        only = self.direction
        return only is not None and abs(float(only @ direction)) > _SAME_DIRECTION
