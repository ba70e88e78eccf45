"""Result of motion estimation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flexalign.estimate.fixed_pattern import FixedPattern
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.refine import Refinement
from flexalign.estimate.series_prior import TiltStatistics
from flexalign.estimate.starts import Start, empty_field
from flexalign.model import FloatArray, PatchTracks, SignalBand
from flexalign.motion import Motion
from flexalign.plan import Plan
from flexalign.quality_limits import LIMITS


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """The motion that was kept, and how it was estimated.

    Attributes
    ----------
    motion : over all frames of the file
    tracks : of the patches, None without local alignment
    scores : held-out log-likelihood of each candidate over that of no motion
    has_signal : whether the frames have significant common signal
    has_fixed_pattern : whether a harmful fixed pattern was found and removed
    chosen : name of the candidate that was kept
    trajectory_error_px : median standard error of a frame's displacement per axis, or along the
        only `direction`; NaN when not refined
    rejected_pairs : share of the frame pairs that do not fit the trajectory
    refinement : None when not refined
    pattern : fixed pattern of the detector, before its removal
    signal : by resolution, without motion and along the motion that was kept
    direction : unit vector (y, x) of the only direction in which motion is determined; None = both
    drift_part : extent of the estimated motion relative to the field, along the same axis; if
        frames overlap by less than half, the motion is rejected
    start : the motion that was kept, as a start for a further estimation; None = motion was given
    lost_frames : of the file, that are inconsistent with the others
    halves_apart : RMS distance of the motions from the two half-sets of rings, in units of its
        standard error; NaN where the motion kept is not a refined one
    is_from_wider_search : whether the motion was found only after the default starts gave none, or
        by all data instead of held-out ones
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
        """Standard error in the undetermined direction; NaN if both directions are determined.

        It is the standard deviation over frames of the path in the other one.
        """
        if self.direction is None:
            return math.nan
        path_px = self.motion.trajectory.displacement_px @ self.direction
        return float(path_px[self.motion.trajectory.is_measured].std())

    @property
    def motion_bound_px(self) -> float:
        """Upper bound of the motion along y or x, where no motion was kept; NaN = unknown.

        It is the extent of the refined motion, which is the most likely one, plus two standard
        errors.
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
        """Whether the specimen was found to be at rest."""
        return self.chosen == "none" and not self.is_drift_rejected

    @property
    def is_drift_rejected(self) -> bool:
        """Whether a motion was found that is too large to be true."""
        return self.drift_part > LIMITS.drift_part


def statistics_of(estimate: Estimate, plan: Plan) -> TiltStatistics | None:
    """Contribution of a tilt to the priors of other tilts; None when it was not refined."""
    found = estimate.refinement
    if found is None:
        return None
    return TiltStatistics(plan.movie.frame_count, found.data, found.signal, empty_field(plan))


def given_motion(motion: Motion) -> Estimate:
    """An `Estimate` that holds a motion from elsewhere."""
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
