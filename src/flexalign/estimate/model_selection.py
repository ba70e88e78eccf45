"""Estimate the motion in each way that was asked for, and keep what explains unseen data best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from threadpoolctl import threadpool_limits

from flexalign.estimate import pairwise, patches
from flexalign.estimate.candidates import Candidate, Start, Trial, better, try_from
from flexalign.estimate.fixed_pattern import SIGNIFICANT_PULL, FixedPattern, taken_out
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import COARSEST_RESOLUTION_A
from flexalign.estimate.path_search import straight_path, straight_path_by_halves
from flexalign.estimate.refine import Refinement
from flexalign.model import FloatArray, PatchTracks, SignalBand
from flexalign.motion import Motion, MotionField
from flexalign.params import AlignParams
from flexalign.plan import Plan
from flexalign.quality_limits import LIMITS

# A fixed pattern that pulls less than this, relative to the specimen, may stay.
_HARMFUL_PULL = 0.02
# Groups of frames to pair when single frames are too faint for it.
_FEW_GROUPS = 8
# Limits of the pairwise stage to try when nothing is found, each with the coarsest rings to use.
_COARSER_A = ((60.0, COARSEST_RESOLUTION_A), (100.0, math.inf))


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
    trajectory_error_px : standard error of a frame's displacement per axis, NaN when not refined
    rejected_pairs : part of the frame pairs that do not fit the trajectory
    refinement : None when not refined
    pattern : what stays with the detector, before it was taken out
    signal : by resolution, without motion and along the one that was kept
    drift_part : how far the motion found goes, over the length of the field along the same axis;
        frames that have less than half in common are not believed, and the motion is not kept
    lost_frames : of the file, that do not agree with the others along the motion
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
    drift_part: float = float("nan")

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

    @property
    def is_still(self) -> bool:
        """Whether no motion is the answer."""
        return self.chosen == "none" and not self.drift_part > LIMITS.drift_part


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


def estimate_motion(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
    clock: Callable[[str], AbstractContextManager[None]],
) -> Estimate:
    """The motion of the specimen in `frames`."""
    # The solves are small: one thread each is fastest, and leaves other movies their cores.
    with threadpool_limits(limits=1, user_api="blas"):
        estimate = _estimate_once(frames, plan, params, threads, clock)
        if not params.refine:
            return estimate
        pattern = _suspected(estimate)
        if pattern is None:
            return estimate
        with clock("fixed pattern"):
            cleaned = taken_out(frames, pattern, threads)
        again = _estimate_once(cleaned, plan, params, threads, clock)
        if again.is_still:
            return estimate
        return replace(again, has_fixed_pattern=True, pattern=estimate.pattern)


def _suspected(estimate: Estimate) -> FixedPattern | None:
    """The fixed pattern without which the motion may be another one; None = there is none."""
    pattern = estimate.pattern
    if pattern.significance > SIGNIFICANT_PULL and pattern.pull > _HARMFUL_PULL:
        return pattern
    if estimate.has_signal and estimate.is_still:
        # Where nothing moves the specimen counts as the pattern's, and would go with it.  What a
        # gain leaves is the same in all rings, and in the finest ones the specimen has least.
        white = pattern.as_white()
        return white if white.power_over_noise.any() else None
    return None


class _Search:
    """Where to start from, in one set of frames; what is made of each is a `Trial`."""

    def __init__(
        self,
        frames: SmallFrames,
        plan: Plan,
        params: AlignParams,
        threads: int,
        clock: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self.frames, self.plan, self.params = frames, plan, params
        self.threads, self.clock = threads, clock
        self.shape = None if plan.control_points is None else _empty_field(plan)
        self.straight_px: tuple[FloatArray, tuple[FloatArray, FloatArray]] | None = None

    def from_pairs(self, most_images: int, resolution_A: float | None = None) -> Start:
        """The pairwise motion of at most `most_images` frames or groups of them."""
        limit_A = resolution_A or self.params.max_resolution_A
        with self.clock("pairwise"):
            # Made anew where it is needed twice: it would stand in the way of the refinement.
            small = self.frames.shrunk(self.plan.pairwise_shape_px, self.threads)
            path, pairs = pairwise.global_trajectory(
                small, limit_A, self.params.max_shift_A, self.threads, most_images
            )
        if self.shape is None:
            return Start(path, pairs, None, None, limit_A)
        with self.clock("patches"):
            tracks, likelihood = patches.track_patches(
                small, path, self.plan.patches, self.plan.group_frames, limit_A, self.threads
            )
            field = patches.fit_local_field(likelihood, self.shape)
        return Start(path, pairs, tracks, field, limit_A)

    def made_of(self, start: Start, shape: MotionField | None) -> Trial:
        """What a start leads to, with a field of the given shape or without one."""
        with self.clock("refinement"):
            return try_from(start, shape, self.frames, self.plan, self.params, self.threads)

    def usual(self) -> Trial:
        """From the pairs; and from groups and from no motion, where the pairs lead astray."""
        start = self.from_pairs(pairwise.MOST_IMAGES)
        trial = self.made_of(start, self.shape)
        if trial.pairs_led_astray and len(self.frames.frame) > _FEW_GROUPS:
            # Single frames are too faint to be paired; groups of them may not be.
            start = self.from_pairs(_FEW_GROUPS)
            trial = better(trial, self.made_of(start, self.shape))
        if trial.pairs_led_astray and self.params.refine:
            # Weak signal may be found from rest, or by all frames together.
            trial = better(trial, self.made_of(self.still(start), self.shape))
            straight = None if trial.judged.is_surely("none") else self.straight(start)
            if straight is not None:
                trial = better(trial, self.made_of(straight, self.shape))
        return trial

    def still(self, start: Start) -> Start:
        """No motion, in place of that of `start`."""
        return replace(start, path_px=np.zeros_like(start.path_px), field=None)

    def straight(self, start: Start) -> Start | None:
        """The simple path along which all frames agree best, if that is any, likewise."""
        if self.straight_px is None:
            with self.clock("straight path"):
                side_A = patches.side_A(
                    self.frames, patches.make_grid(self.frames, self.plan.patches)
                )
                self.straight_px = (
                    straight_path(self.frames, self.threads),
                    straight_path_by_halves(self.frames, side_A, self.threads),
                )
        path, halves = self.straight_px
        return replace(start, path_px=path, field=None, halves_px=halves) if path.any() else None

    def wider(self, start: Start, has_signal: bool) -> Iterator[Trial]:
        """The best of where to look when usual ways find no motion, one after the other.

        Where pairs are not believed, all rings can judge what halves of them have found, and pairs
        of coarse detail leave more rings unseen.  A trajectory alone asks less of the data.  Where
        there `has_signal` in fine detail, coarser detail need not be asked.
        """
        shapes = [self.shape] if self.shape is None else [self.shape, None]
        if has_signal and self.straight_px is None:
            return
        starts = [one for one in (self.straight(start), self.still(start)) if one is not None]
        for shape in shapes:
            trials = [self.made_of(replace(one, seen_to_A=math.inf), shape) for one in starts]
            yield reduce(better, trials)
        if has_signal:
            return
        for resolution_A, coarsest_A in _COARSER_A:
            if resolution_A > self.params.max_resolution_A:
                found = self.from_pairs(pairwise.MOST_IMAGES, resolution_A)
                if is_erratic(found.path_px):
                    continue
                for shape in shapes:
                    field = None if shape is None else found.field
                    yield self.made_of(replace(found, field=field, coarsest_A=coarsest_A), shape)


def is_erratic(path_px: FloatArray) -> bool:
    """Whether a path (n, 2) goes to and fro from frame to frame, as no specimen does.

    Steps that do not depend on each other change by 1.4 times their length, places that do not by
    1.7 times; a drift, a bend and a single jump by less than the length of a step.  Filaments and
    crystals look the same after many displacements, and coarse detail cannot tell which is right.
    """
    steps = np.diff(path_px, axis=0)
    if len(steps) < 2:
        return False
    changes = np.hypot(*np.diff(steps, axis=0).T)
    return bool(np.median(changes) > np.median(np.hypot(*steps.T)))


def _estimate_once(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
    clock: Callable[[str], AbstractContextManager[None]],
) -> Estimate:
    """The motion in `frames`, taken as they are."""
    search = _Search(frames, plan, params, threads, clock)
    trial, is_wide = search.usual(), False
    if trial.chosen == "none" and params.refine:
        wider = search.wider(trial.start, trial.judged.has_signal)
        found = next((t for t in wider if t.chosen != "none"), None)
        trial, is_wide = found or trial, found is not None
    chosen, errors = trial.chosen, None
    drift_part = _drift_part(trial.candidates[chosen].path_px, plan)
    if drift_part > LIMITS.drift_part:
        chosen = "none"
    kept = trial.candidates[chosen]
    if chosen == "refined" and trial.refinement is not None:
        errors = trial.refinement.fit.trajectory_error_px
    return Estimate(
        motion=_as_motion(kept, frames, plan, params, errors),
        tracks=trial.start.tracks,
        scores=trial.judged.over_none(),
        has_signal=trial.judged.has_signal,
        has_fixed_pattern=False,
        chosen=chosen,
        trajectory_error_px=float("nan") if errors is None else float(np.median(errors)),
        rejected_pairs=float(np.mean(trial.start.pairs.weight == 0)),
        refinement=trial.refinement,
        pattern=trial.pattern,
        signal=trial.signal,
        is_from_wider_search=is_wide,
        lost_frames=tuple(round(float(frame)) for frame in frames.frame[trial.lost]),
        drift_part=drift_part,
    )


def _drift_part(path_px: FloatArray, plan: Plan) -> float:
    """How far a path (n, 2) goes along either axis, over the length of the field."""
    return float((np.ptp(path_px, axis=0) / (plan.movie.height_px, plan.movie.width_px)).max())


def _empty_field(plan: Plan) -> MotionField:
    """A field of the planned size, zero everywhere."""
    assert plan.control_points is not None
    movie = plan.movie
    coefficients = np.zeros((2, *plan.control_points))
    return MotionField(coefficients, movie.height_px, movie.width_px, plan.align)


def _as_motion(
    kept: Candidate,
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    errors_px: FloatArray | None,
) -> Motion:
    """The kept candidate over all frames of the file, zero at the reference frame."""
    reference = _reference_frame(kept.path_px, frames, plan, params)
    both = None if errors_px is None else np.stack([errors_px, errors_px], axis=1)
    trajectory = pairwise.as_trajectory(
        kept.path_px, frames.frame, frames.measured, plan.movie.frame_count, reference, both
    )
    return Motion(trajectory, kept.field)


def _reference_frame(
    path_px: FloatArray, frames: SmallFrames, plan: Plan, params: AlignParams
) -> int:
    """The frame of zero displacement, zero-based in the file."""
    if plan.reference_frame is not None:
        return plan.reference_frame
    at = frames.frame[pairwise.choose_reference(path_px, params.reference_frame)]
    return int(frames.measured[np.argmin(np.abs(frames.measured - at))])
