"""Estimate the motion by each model that was requested, and select one of them.

That nothing moved is decided in three steps.  Each trial (`candidates.Trial.chosen`) takes the best
candidate by data that it was not fitted to (`HeldOut.best`) or, where these are few, by all data
(`bayes_factor`).  Where that is "none", other starts are tried (`_Search`).  A drift over more than
half of the field is not believed (`_as_estimate`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain

import numpy as np
from threadpoolctl import threadpool_limits

from flexalign.estimate import pairwise, patches
from flexalign.estimate.candidates import (
    Candidate,
    Start,
    Trial,
    better,
    direction_without_motion,
    pattern_along,
    try_from,
)
from flexalign.estimate.evidence import TrajectoryPrior
from flexalign.estimate.fixed_pattern import SIGNIFICANT_PULL, FixedPattern, taken_out
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import COARSEST_RESOLUTION_A
from flexalign.estimate.path_search import straight_path, straight_path_by_halves
from flexalign.estimate.prior_uncertainty import with_unknown_prior
from flexalign.estimate.refine import Refinement
from flexalign.estimate.series_prior import SeriesPrior, TiltStatistics
from flexalign.model import FloatArray, PatchTracks, SignalBand
from flexalign.motion import Motion, MotionField
from flexalign.params import AlignParams
from flexalign.plan import Plan
from flexalign.quality_limits import LIMITS

# So often a fixed pattern is measured and taken out, along better motions each time.
_PATTERN_ROUNDS = 2
# So often the only direction with motion is measured, along better motions each time.
_DIRECTION_ROUNDS = 2
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
    shape = None if plan.control_points is None else _empty_field(plan)
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


def estimate_motion(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
    clock: Callable[[str], AbstractContextManager[None]],
    series: SeriesPrior | None = None,
) -> Estimate:
    """The motion of the specimen in `frames`.

    Parameters
    ----------
    series : what other tilts of the series say, None = nothing
    """
    # The solves are small: one thread each is fastest, and leaves other movies their cores.
    with threadpool_limits(limits=1, user_api="blas"):
        estimate = _estimate_once(frames, plan, params, threads, clock, series)
        if not params.refine:
            return estimate
        given = frames, plan, params, threads
        with clock("fixed pattern"):
            found = _pattern_to_take_out(estimate, *given)
        if found is None:
            return estimate
        best, pattern = estimate, found
        # Found beside the pattern a motion is less than it is, and so is what else there is.
        for done in range(_PATTERN_ROUNDS):
            with clock("fixed pattern"):
                if done > 0:
                    pattern = pattern_along(best.path_px(frames), found, *given)
                cleaned = taken_out(frames, pattern, threads)
            again = _estimate_once(cleaned, plan, params, threads, clock, series)
            if again.is_still:
                break
            best = replace(again, has_fixed_pattern=True, pattern=found)
        if best is estimate or (found.is_in_parts and not estimate.pattern.is_harmful):
            return best
        return _with_pattern_or_not(estimate, best, _Search(frames, plan, params, threads, clock))


def _with_pattern_or_not(estimate: Estimate, again: Estimate, search: _Search) -> Estimate:
    """The motion found `again` without a suspected pattern, if there is one along that motion.

    Beside a wrong motion the specimen itself looks like a pattern.  Where it is none, the frames
    as they are lead from there to the motion, or to none.
    """
    start = again.start
    assert start is not None
    trial = search.made_of(start, None if start.field is None else search.shape)
    if trial.pattern.is_harmful:
        return replace(again, has_fixed_pattern=True, pattern=trial.pattern)
    if trial.held_out.is_clear("refined"):
        return _as_estimate(trial, "refined", again.is_from_wider_search, search)
    given = search.frames, search.plan, search.params, search.threads
    along = pattern_along(again.path_px(search.frames), estimate.pattern, *given)
    if along.significance > SIGNIFICANT_PULL:
        return replace(again, has_fixed_pattern=True, pattern=estimate.pattern)
    return estimate


def _pattern_to_take_out(
    estimate: Estimate, frames: SmallFrames, plan: Plan, params: AlignParams, threads: int
) -> FixedPattern | None:
    """The fixed pattern without which the motion may be another one; None = there is none.

    What is in a part of the field only stands out more where patches are measured one by one.
    """
    pattern = estimate.pattern
    if pattern.is_suspicious:
        path_px = estimate.path_px(frames)
        found = pattern_along(path_px, pattern, frames, plan, params, threads)
        if found.significance > SIGNIFICANT_PULL:
            return found
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

    def from_pairs(self, max_images: int, resolution_A: float | None = None) -> Start:
        """The pairwise motion of at most `max_images` frames or groups of them."""
        limit_A = resolution_A or self.params.max_resolution_A
        with self.clock("pairwise"):
            # Made anew where it is needed twice: it would stand in the way of the refinement.
            small = self.frames.downsampled(self.plan.pairwise_shape_px, self.threads)
            path, pairs = pairwise.global_trajectory(
                small, limit_A, self.params.max_shift_A, self.threads, max_images
            )
        if self.shape is None:
            return Start(self.frames.frame, path, pairs, None, None, limit_A)
        with self.clock("patches"):
            tracks, likelihood = patches.track_patches(
                small, path, self.plan.patches, self.plan.group_frames, limit_A, self.threads
            )
            field = patches.fit_local_field(likelihood, self.shape)
        return Start(self.frames.frame, path, pairs, tracks, field, limit_A)

    def made_of(
        self, start: Start, shape: MotionField | None, series: SeriesPrior | None = None
    ) -> Trial:
        """What a start leads to, with a field of the given shape or without one.

        Where data tell of one direction only, motion in the other is left out, unless that makes
        unseen data far less probable.
        """
        given = shape, self.frames, self.plan, self.params, self.threads, series
        with self.clock("refinement"):
            trial = try_from(start, *given)
            for _ in range(_DIRECTION_ROUNDS if series is None else 0):
                if trial.direction is None or trial.start.is_along(trial.direction):
                    break
                along = try_from(start.along(trial.direction), *given)
                if trial.is_clearly_better(along):
                    break
                trial = along
        return trial

    def by_series(self, series: SeriesPrior) -> Trial:
        """From the pairs and from what other tilts expect, whichever is more probable in the end.

        Without motion as its rival: that a stage which moves in all other tilts stands still in
        this one is as improbable as the prior says.
        """
        starts = [replace(self.from_pairs(pairwise.MAX_IMAGES), coarsest_A=math.inf)]
        if series.signal.is_known:
            expected_px = series.path.mean_px(self.frames.frame)
            starts.append(replace(starts[0], path_px=expected_px, field=None))
        trials = [self.made_of(start, self.shape, series) for start in starts]
        return max(trials, key=_log_posterior)

    def from_default_starts(self) -> Trial:
        """From the pairs, and from wherever else a motion may be where that is not sure."""
        start = self.from_pairs(pairwise.MAX_IMAGES)
        trial = self.made_of(start, self.shape)
        if trial.chosen == "none" or not trial.held_out.is_sure:
            for other in self.others(start, trial):
                trial = better(trial, self.made_of(other, self.shape))
        return trial

    def others(self, start: Start, trial: Trial) -> Iterator[Start]:
        """Starts beside the one that led to `trial`."""
        if trial.pairs_led_astray and len(self.frames.frame) > _FEW_GROUPS:
            # Single frames are too faint to be paired; groups of them may not be.
            start = self.from_pairs(_FEW_GROUPS)
            yield start
        if not self.params.refine:
            return
        if start.field is not None:
            # Tracks of patches may lead astray where the path does not.
            yield replace(start, field=None)
        # Weak signal may be found from rest, or by all frames together.
        yield self.still(start)
        straight = None if trial.held_out.is_surely("none") else self.straight(start)
        if straight is not None:
            yield straight

    def along_one_direction(self, start: Start) -> Iterator[Trial]:
        """Of data that tell of one direction only, motion in that, wherever else none is found."""
        if self.straight_px is None:  # there is so much signal that motion would have shown
            return
        with self.clock("direction"):
            direction = direction_without_motion(self.frames, self.plan, self.params, self.threads)
        if direction is None:
            return
        for one in chain(self._by_all_frames(start), self._by_coarser_pairs()):
            along = replace(one.along(direction), coarsest_A=math.inf)
            if not is_erratic(along.path_px):
                yield self.made_of(along, self.shape)

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
        for shape in shapes:
            trials = [self.made_of(one, shape) for one in self._by_all_frames(start)]
            yield reduce(better, trials)
        if has_signal:
            return
        for found in self._by_coarser_pairs():
            if is_erratic(found.path_px):
                continue
            for shape in shapes:
                yield self.made_of(replace(found, field=shape and found.field), shape)

    def _by_all_frames(self, start: Start) -> Iterator[Start]:
        """The simple path and no motion, which all rings may judge."""
        for one in (self.straight(start), self.still(start)):
            if one is not None:
                yield replace(one, seen_to_A=math.inf)

    def _by_coarser_pairs(self) -> Iterator[Start]:
        """The motion of pairs by coarser detail than usual, from fine to coarse."""
        for resolution_A, coarsest_A in _COARSER_A:
            if resolution_A > self.params.max_resolution_A:
                found = self.from_pairs(pairwise.MAX_IMAGES, resolution_A)
                yield replace(found, coarsest_A=coarsest_A)


def _log_posterior(trial: Trial) -> float:
    """How probable its refined motion is; nothing is less so than what was not refined."""
    return -math.inf if trial.log_posterior is None else trial.log_posterior


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
    series: SeriesPrior | None,
) -> Estimate:
    """The motion in `frames`, taken as they are."""
    search, is_wide = _Search(frames, plan, params, threads, clock), False
    trial = search.from_default_starts() if series is None else search.by_series(series)
    if trial.chosen == "none" and params.refine:
        wider = chain(
            search.along_one_direction(trial.start),
            search.wider(trial.start, trial.held_out.has_signal),
        )
        found = next((t for t in wider if t.chosen != "none"), None)
        trial, is_wide = found or trial, found is not None
    return _as_estimate(trial, trial.chosen, is_wide or trial.is_by_all_data, search)


def _as_estimate(trial: Trial, chosen: str, is_wide: bool, search: _Search) -> Estimate:
    """What a trial has found, with the candidate `chosen`."""
    frames, plan, params, errors = search.frames, search.plan, search.params, None
    drift_part = _drift_ratio(trial.candidates[chosen].path_px, plan)
    if drift_part > LIMITS.drift_part:
        chosen = "none"
    kept, refinement = trial.candidates[chosen], trial.refinement
    direction = trial.start.direction if chosen != "none" else None
    if refinement is not None:
        path_prior, fit = refinement.trajectory_prior, refinement.fit
        if isinstance(path_prior, TrajectoryPrior):
            priors = path_prior, refinement.field_prior
            fit = with_unknown_prior(fit, refinement.data, priors, search.shape)
            refinement = replace(refinement, fit=fit)
        if chosen == "refined":
            kept, errors = replace(kept, field=fit.field), fit.trajectory_error_px
    return Estimate(
        motion=_as_motion(kept, frames, plan, params, _errors_px(kept, errors, direction)),
        tracks=trial.start.tracks,
        scores=trial.held_out.over_none(),
        has_signal=trial.held_out.has_signal or trial.chosen != "none",
        has_fixed_pattern=False,
        chosen=chosen,
        trajectory_error_px=float("nan") if errors is None else float(np.median(errors)),
        rejected_pairs=float(np.mean(trial.start.pairs.weight == 0)),
        refinement=refinement,
        pattern=trial.pattern,
        signal=trial.signal,
        is_from_wider_search=is_wide,
        lost_frames=tuple(round(float(frame)) for frame in frames.frame[trial.lost]),
        halves_apart=trial.halves_apart if chosen == "refined" else float("nan"),
        drift_part=drift_part,
        start=replace(trial.start, path_px=kept.path_px, field=kept.field, halves_px=None),
        direction=direction,
    )


def _errors_px(
    kept: Candidate, along_px: FloatArray | None, direction: FloatArray | None
) -> FloatArray | None:
    """Standard errors (n, 2) (y, x), from those (n,) along the only direction, or along each axis.

    Across that direction the specimen may have gone as far as along it.
    """
    if along_px is None:
        return None
    if direction is None:
        return np.stack([along_px, along_px], axis=1)
    other = (kept.path_px @ direction).std()
    return np.asarray(np.hypot(along_px[:, None] * direction, other * direction[::-1]))


def _drift_ratio(path_px: FloatArray, plan: Plan) -> float:
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
    trajectory = pairwise.as_trajectory(
        kept.path_px, frames.frame, frames.measured, plan.movie.frame_count, reference, errors_px
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
