"""Single frames that a start puts far from where they belong.

The likelihood has an optimum at every peak of a correlation, so that refinement leaves a frame at
the wrong one.  Where its neighbours say that it lies is another place to look.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexalign.estimate import refine
from flexalign.estimate.patch_spectra import PatchSpectra, Sweep, sweep, sweep_together
from flexalign.model import FloatArray

# A frame is looked at again that is so many times as far from the middle of its neighbours as
# frames usually are, and so many Angstrom at least.
_TIMES_USUAL = 4.0
_LEAST_A = 6.0
_MOST_STRAYS = 6


def brought_back(
    patches: PatchSpectra, displacement_px: FloatArray, first: Sweep, threads: int = 1
) -> tuple[FloatArray, Sweep]:
    """Displacements (patches, times, 2) whose strays are where the data are likelier, and a sweep.

    Parameters
    ----------
    first : a sweep at `displacement_px`
    """
    expected = _between_neighbours(displacement_px)
    strays = _far_ones(displacement_px - expected, _LEAST_A / patches.pixel_size_A)
    if strays.size == 0:
        return displacement_px, first
    weight = refine.ring_powers(patches, first).weight
    moved = []
    for stray in strays:
        other = displacement_px.copy()
        other[:, stray] = expected[:, stray]
        moved.append(other)
    found = sweep_together(patches, moved, [None] * len(moved), threads)
    before = (first.cross * weight).sum()
    better = strays[[(one.cross * weight).sum() > before for one in found]]
    if better.size == 0:
        return displacement_px, first
    kept = displacement_px.copy()
    kept[:, better] = expected[:, better]
    return kept, sweep(patches, kept, None, threads)


def _between_neighbours(displacement_px: FloatArray) -> FloatArray:
    """The middle between the frames before and after each; of the outermost, their neighbour."""
    if displacement_px.shape[1] < 3:
        return displacement_px
    inner = (displacement_px[:, 2:] + displacement_px[:, :-2]) / 2
    return np.concatenate([displacement_px[:, 1:2], inner, displacement_px[:, -2:-1]], axis=1)


def _far_ones(apart_px: FloatArray, least_px: float) -> npt.NDArray[np.int64]:
    """Frames far from where their neighbours say, in the mean over patches, farthest first."""
    distance = np.hypot(*apart_px.mean(axis=0).T)
    limit = max(_TIMES_USUAL * float(np.median(distance)), least_px)
    far = np.argsort(-distance)[:_MOST_STRAYS]
    return np.asarray(far[distance[far] > limit])
