"""Single frames that start at a wrong correlation peak.

The likelihood has a local optimum at every correlation peak, so refinement leaves a frame at a
wrong one.  The positions of its neighbours are tried instead.  A crystal is ambiguous by its
lattice vectors: among equally good positions, the one with the shorter path is taken.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexalign.estimate.patch_spectra import PatchSpectra, Sweep, sweep_batch
from flexalign.estimate.spectral_powers import ring_powers
from flexalign.model import FloatArray

# A frame is an outlier if its distance from the midpoint of its neighbours exceeds this multiple of
# the median distance, and this minimum.
_MAX_MEDIAN_RATIO = 4.0
_MIN_DISTANCE_A = 6.0
_MAX_OUTLIERS = 6
# A position with a shorter path is accepted if it retains this share of the frame's cross-power
# with the others; some is lost because the patches were cut at another position.
_MIN_RETAINED_RATIO = 0.4


def has_outliers(patches: PatchSpectra, displacement_px: FloatArray) -> bool:
    """Whether a frame is far from its neighbours, for displacements (patches, times, 2)."""
    return _find_outliers(displacement_px, _MIN_DISTANCE_A / patches.pixel_size_A).size > 0


def relocate_outliers(
    patches: PatchSpectra, displacement_px: FloatArray, first: Sweep, threads: int = 1
) -> tuple[FloatArray, Sweep]:
    """Displacements (patches, times, 2) with outliers moved to more likely positions, and a sweep.

    Parameters
    ----------
    first : a sweep at `displacement_px`
    """
    min_px = _MIN_DISTANCE_A / patches.pixel_size_A
    outliers = _find_outliers(displacement_px, min_px)
    if outliers.size == 0:
        return displacement_px, first
    weight, kept, swept = ring_powers(patches, first).weight, displacement_px, first
    tried: set[int] = set()
    while len(tried) < _MAX_OUTLIERS:
        outliers = np.array([t for t in _find_outliers(kept, min_px) if t not in tried], np.int64)
        if outliers.size == 0:
            break
        outlier = int(outliers[0])
        tried.add(outlier)
        moved = _at_neighbours(kept, outlier)
        found = sweep_batch(patches, moved, [None] * len(moved), threads)
        before = float((swept.cross * weight).sum())
        # One of n frames takes part in 2 / n of the pairs.
        minimum = before * (1 - (1 - _MIN_RETAINED_RATIO) * 2 / kept.shape[1])
        steps_px = _adjacent_steps_px(kept, outlier) - min_px
        likelihood = np.array([float((one.cross * weight).sum()) for one in found])
        is_shorter = np.array([_adjacent_steps_px(one, outlier) for one in moved]) < steps_px
        is_better = (likelihood > before) | (is_shorter & (likelihood > max(minimum, 0.0)))
        if is_better.any():
            best = int(np.argmax(np.where(is_better, likelihood, -np.inf)))
            kept, swept = moved[best], found[best]
    return kept, swept


def _at_neighbours(displacement_px: FloatArray, outlier: int) -> list[FloatArray]:
    """The displacements with one frame moved to the midpoint of its neighbours, and to each."""
    last = displacement_px.shape[1] - 1
    before, after = (displacement_px[:, t] for t in (max(outlier - 1, 0), min(outlier + 1, last)))
    places = {0: [after], last: [before]}.get(outlier, [(before + after) / 2, before, after])
    moved = []
    for place in places:
        other = displacement_px.copy()
        other[:, outlier] = place
        moved.append(other)
    return moved


def _adjacent_steps_px(displacement_px: FloatArray, outlier: int) -> float:
    """Length of the steps to and from a frame, for the mean over patches."""
    path = displacement_px.mean(axis=0)[max(outlier - 1, 0) : outlier + 2]
    return float(np.hypot(*np.diff(path, axis=0).T).sum())


def _between_neighbours(displacement_px: FloatArray) -> FloatArray:
    """Midpoint between the frames before and after each; for the first and last, the neighbour."""
    if displacement_px.shape[1] < 3:
        return displacement_px
    inner = (displacement_px[:, 2:] + displacement_px[:, :-2]) / 2
    return np.concatenate([displacement_px[:, 1:2], inner, displacement_px[:, -2:-1]], axis=1)


def _find_outliers(displacement_px: FloatArray, min_px: float) -> npt.NDArray[np.int64]:
    """Frames far from the midpoint of their neighbours (mean over patches), farthest first."""
    apart_px = displacement_px - _between_neighbours(displacement_px)
    distance = np.hypot(*apart_px.mean(axis=0).T)
    limit = max(_MAX_MEDIAN_RATIO * float(np.median(distance)), min_px)
    far = np.argsort(-distance)[:_MAX_OUTLIERS]
    return np.asarray(far[distance[far] > limit])
