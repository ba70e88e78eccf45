"""What the estimation of a motion gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flexalign.estimate.fixed_pattern import FixedPattern
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.refine import Refinement
from flexalign.estimate.search import empty_field
from flexalign.estimate.series_prior import TiltStatistics
from flexalign.estimate.starts import Start
from flexalign.model import FloatArray, PatchTracks, SignalBand
from flexalign.motion import Motion
from flexalign.plan import Plan
from flexalign.quality_limits import LIMITS


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """The motion that was kept and how it was found.

    Attributes
    ----------
    motion : over all frames of the file
    tracks : of the patches, None without local alignment
    scores : held-out log-likelihood of each candidate over that of no motion
    has_signal : whether the frames have anything in common beyond chance
    has_fixed_pattern : whether one was found that pulls on the motion, and taken out
    chosen : name of the candidate that was kept
    trajectory_error_px : standard error of a frame's displacement per axis, NaN when not refined;
        where the motion is known in one `direction` only, in that
    rejected_pairs : part of the frame pairs that do not fit the trajectory
    refinement : None when not refined
    pattern : what stays with the detector, before it was taken out
    signal : by resolution, without motion and along the one that was kept
    direction : the only one (y, x) in which the motion is known, of length one; None = in both
    drift_part : how far the motion found goes, over the length of the field along the same axis;
        frames that have less than half in common are not believed, and the motion is not kept
    start : the motion that was kept, to go on from; None = it was given
    lost_frames : of the file, that do not agree with the others along the motion
    halves_apart : how far motions by either half of the detail are apart, over what their errors
        allow; NaN where the motion kept is not a refined one
    is_from_wider_search : whether the motion was found by coarser detail than usual, or from none
    """

    motion: Motion
    tracks: PatchTracks | None
    scores: dict[str, float]
    has_signal: bool
    has_fixed_pattern: bool
    chosen: str
    trajectory_error_px: float
    rejected_pairs: float
    refinement: Refinement | None
    pattern: FixedPattern
    signal: tuple[SignalBand, ...] = ()
    is_from_wider_search: bool = False
    lost_frames: tuple[int, ...] = ()
    halves_apart: float = float("nan")
    drift_part: float = float("nan")
    start: Start | None = None
    direction: FloatArray | None = None

    @property
    def other_error_px(self) -> float:
        """Standard error where the motion is not known; NaN where it is known in both directions.

        Nothing but that specimens move alike in all directions is known of it.
        """
        if self.direction is None:
            return math.nan
        path_px = self.motion.trajectory.displacement_px @ self.direction
        return float(path_px[self.motion.trajectory.is_measured].std())

    @property
    def motion_bound_px(self) -> float:
        """How far places may have gone, along y or x, where no motion was kept; NaN = unknown.

        Two standard errors more than the refined motion, which is the likeliest one.
        """
        if not self.is_still or self.refinement is None:
            return math.nan
        fit = self.refinement.fit
        if fit.trajectory_px is None or fit.trajectory_error_px is None:
            return math.nan
        farthest = float(np.ptp(fit.trajectory_px, axis=0).max())
        return farthest + 2 * math.sqrt(2) * float(fit.trajectory_error_px.max())

    def path_px(self, frames: SmallFrames) -> FloatArray:
        """The trajectory (n, 2) at the times of `frames`."""
        path = self.motion.trajectory.displacement_px.T
        every = np.arange(self.motion.frame_count)
        return np.stack([np.interp(frames.frame, every, axis) for axis in path], axis=1)

    @property
    def is_still(self) -> bool:
        """Whether no motion is the answer."""
        return self.chosen == "none" and not self.drift_part > LIMITS.drift_part


def statistics_of(estimate: Estimate, plan: Plan) -> TiltStatistics | None:
    """What a movie says to other tilts of its series; None when it was not refined."""
    found = estimate.refinement
    if found is None:
        return None
    shape = None if plan.control_points is None else empty_field(plan)
    return TiltStatistics(plan.movie.frame_count, found.data, found.seen, shape)


def given_motion(motion: Motion) -> Estimate:
    """A motion that was found elsewhere, as if it had been estimated."""
    none = FixedPattern(np.zeros(0), np.zeros(0), 0.0, 0.0)
    return Estimate(
        motion=motion,
        tracks=None,
        scores={},
        has_signal=True,
        has_fixed_pattern=False,
        chosen="given",
        trajectory_error_px=float("nan"),
        rejected_pairs=0.0,
        refinement=None,
        pattern=none,
    )
