"""Positions of jumps of the specimen between frames.

Groups of frames give the position of the specimen in each group, and the path between their middles
is interpolated.  A jump becomes a ramp over as many frames as a group has, and the frames on it
match neither those before nor those after.  All positions of the jump among these frames, and the
ramp, are compared by their likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flexalign.estimate import refine
from flexalign.estimate.patch_spectra import PatchSpectra, sweep, sweep_batch
from flexalign.estimate.spectral_powers import RingPowers, independent_share, ring_powers
from flexalign.estimate.starts import Start
from flexalign.model import FloatArray

# A step between groups is a jump if it exceeds this multiple of the median step, and this minimum.
_MIN_MEDIAN_RATIO = 4.0
_MIN_STEP_A = 6.0
# Number of frames on either side of a jump among which its position is uncertain at most.
_MAX_REACH = 8


@dataclass(frozen=True, slots=True, eq=False)
class JumpPositions:
    """Paths that differ in the position of one jump.

    Attributes
    ----------
    window : indices of the frames among which the jump occurs
    before_px, after_px : (window, 2) positions of these frames before and after the jump
    """

    window: npt.NDArray[np.int64]
    before_px: FloatArray
    after_px: FloatArray

    @classmethod
    def between(
        cls, path_px: FloatArray, window: npt.NDArray[np.int64], before: int, after: int
    ) -> JumpPositions:
        """A jump between the frames `before` and `after`, up to and from which a path is known."""
        return cls(window, path_px[np.minimum(window, before)], path_px[np.maximum(window, after)])

    def paths(self, path_px: FloatArray) -> FloatArray:
        """The path (times, 2) with the jump before each frame, and after the last (n, times, 2)."""
        count = len(self.window)
        is_after = np.arange(count) >= np.arange(count + 1)[:, None]
        paths = np.repeat(path_px[None], count + 1, axis=0)
        paths[:, self.window] = np.where(is_after[..., None], self.after_px, self.before_px)
        return paths


def with_jumps_placed(start: Start, patches: PatchSpectra, threads: int = 1) -> Start:
    """The start with each jump between groups of frames at its most probable position.

    Only rings in which the pairs were correlated are used, so that the others remain held out.

    Parameters
    ----------
    patches : spectra along the path and field of `start`
    """
    min_step_px = _MIN_STEP_A / patches.pixel_size_A
    jumps = _jumps_between_groups(start.path_px, int(start.pairs.second.max()) + 1, min_step_px)
    if start.halves_px is not None or not jumps:
        return start
    at_px = refine.displacement_at(start.path_px, start.field, patches.grid.center_px, start.frame)
    powers = ring_powers(patches, sweep(patches, at_px, None, threads))
    is_used = patches.ring_frequency_per_A < 1 / start.pairwise_limit_A
    powers = replace(powers, weight=np.where(is_used, powers.weight, 0.0))
    if not powers.weight.any():
        return start
    path_px = start.path_px
    for jump in jumps:
        # A fast drift is a ramp, and no jump.
        paths = np.concatenate([path_px[None], jump.paths(path_px)])
        change_px = paths - start.path_px
        path_px = paths[np.argmax(_log_likelihoods(patches, at_px, change_px, powers, threads))]
    return replace(start, path_px=path_px - path_px.mean(axis=0))


def position_error_px(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    jump_frames: tuple[float, ...],
    powers: RingPowers,
    threads: int = 1,
) -> FloatArray:
    """Standard error (times,) of the displacement along each axis by unknown positions of jumps.

    Parameters
    ----------
    displacement_px : (patches, times, 2) with the jumps at `jump_frames`
    """
    path_px = displacement_px.mean(axis=0)
    variance = np.zeros(len(path_px))
    for at in np.searchsorted(patches.frame, jump_frames):
        window = np.arange(max(at - _MAX_REACH, 0), min(at + _MAX_REACH, len(path_px)))
        jump = JumpPositions.between(path_px, window, at - 1, at)
        change_px = jump.paths(path_px) - path_px
        score = _log_likelihoods(patches, displacement_px, change_px, powers, threads)
        share = np.exp(score - score.max())
        share /= share.sum()
        mean_px = np.einsum("p,ptc->tc", share, change_px)
        variance += np.einsum("p,ptc->t", share, (change_px - mean_px) ** 2) / 2
    return np.asarray(np.sqrt(variance))


def _jumps_between_groups(
    path_px: FloatArray, groups: int, min_step_px: float
) -> list[JumpPositions]:
    """The jumps of a path (times, 2) that is interpolated between groups, the largest first.

    The position of no group is used for two jumps.
    """
    if groups < 3 or len(path_px) == groups:
        return []
    times = np.array_split(np.arange(len(path_px)), groups)
    middle = np.array([(group[0] + group[-1]) / 2 for group in times])
    place_px = np.stack([np.interp(middle, np.arange(len(path_px)), p) for p in path_px.T], axis=1)
    steps = np.hypot(*np.diff(place_px, axis=0).T)
    limit = max(_MIN_MEDIAN_RATIO * float(np.median(steps)), min_step_px)
    jumps, used = [], np.zeros(groups, np.bool_)
    for k in np.argsort(-steps):
        if steps[k] > limit and not used[k : k + 2].any():
            window = np.concatenate([times[k], times[k + 1]])
            before, after = int(middle[k]), int(np.ceil(middle[k + 1]))
            jumps.append(JumpPositions.between(path_px, window, before, after))
            used[k : k + 2] = True
    return jumps


def _log_likelihoods(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    changes_px: FloatArray,
    powers: RingPowers,
    threads: int,
) -> FloatArray:
    """Log-likelihood (n,) of displacements (patches, times, 2) with changes (n, times, 2)."""
    places = [displacement_px + change for change in changes_px]
    swept = sweep_batch(patches, places, [None] * len(places), threads)
    cross = np.array([(one.cross * powers.weight).sum() for one in swept])
    return cross * independent_share(patches.grid)
