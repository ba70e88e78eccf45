"""Estimate the motion with each requested model, and select one of them.

"No motion" is decided in three steps.  Each trial (`trials.Trial.chosen`) takes the best candidate
by held-out data (`HeldOut.best`) or, where these do not suffice, by all data (`bayes_factor`).
Where that is "none", other starts are tried (`search`).  A drift over more than half of the field
is rejected (`_as_estimate`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain

import numpy as np
from threadpoolctl import threadpool_limits

from flexalign.estimate import pairwise
from flexalign.estimate.candidates import pattern_along
from flexalign.estimate.fixed_pattern import SIGNIFICANT_PULL, FixedPattern
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.held_out_likelihood import MIN_LOG_LIKELIHOOD_RATIO
from flexalign.estimate.pattern_removal import remove_pattern
from flexalign.estimate.prior_uncertainty import with_unknown_prior
from flexalign.estimate.priors import TrajectoryPrior
from flexalign.estimate.result import Estimate
from flexalign.estimate.search import Search
from flexalign.estimate.series_prior import SeriesPrior
from flexalign.estimate.trials import Candidate, Trial
from flexalign.model import FloatArray
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.plan import Plan
from flexalign.quality_limits import LIMITS

# Number of times a fixed pattern is measured and removed, along an improved motion each time.
_PATTERN_ROUNDS = 2
# A path of a smaller extent is that of a pattern, or of a specimen at rest.
_NO_MOTION_PX = 0.1


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
    series : prior from the other tilts of the series, None = a single movie
    """
    # The linear systems are small: one BLAS thread is fastest, and leaves cores to other movies.
    with threadpool_limits(limits=1, user_api="blas"):
        estimate = _estimate_once(frames, plan, params, threads, clock, series)
        if not params.refine:
            return estimate
        given = frames, plan, params, threads
        with clock("fixed pattern"):
            found = _pattern_to_remove(estimate, *given)
        if found is None:
            return estimate
        best, pattern = estimate, found
        # The pattern biases the motion toward zero, and with it the measurement of the pattern.
        for done in range(_PATTERN_ROUNDS):
            with clock("fixed pattern"):
                if done > 0:
                    pattern = pattern_along(best.path_px(frames), found, *given)
                cleaned = remove_pattern(frames, pattern, threads)
            again = _estimate_once(cleaned, plan, params, threads, clock, series)
            if again.is_still or (best.is_still and not _is_by_held_out_data(again)):
                break
            best = replace(again, has_fixed_pattern=True, pattern=found)
        if best is estimate or (found.is_nonuniform and not estimate.pattern.is_harmful):
            return best
        search = Search(frames, plan, params, threads, clock)
        return _confirm_pattern(estimate, best, search, series)


def _is_by_held_out_data(estimate: Estimate) -> bool:
    """Whether the motion that was kept is significant on held-out data.

    Where there was none before a pattern was removed, all data may favour a wrong one after it:
    what is removed contains a part of the specimen.
    """
    return estimate.scores[estimate.chosen] > MIN_LOG_LIKELIHOOD_RATIO


def _confirm_pattern(
    estimate: Estimate, again: Estimate, search: Search, series: SeriesPrior | None
) -> Estimate:
    """The motion found `again` after removing a suspected pattern, if that is confirmed.

    With a wrong motion the specimen itself resembles a pattern.  If there is no pattern along the
    new motion, that motion is the start of a refinement with the original frames.  Where that
    returns to no motion, the pattern is removed all the same.
    """
    start = again.start
    assert start is not None
    trial = search.trial_from(start, None if start.field is None else search.shape, series)
    if trial.pattern.is_harmful:
        return replace(again, has_fixed_pattern=True, pattern=trial.pattern)
    if series is not None or trial.held_out.is_significant("refined"):
        refined = _as_estimate(trial, "refined", again.is_from_wider_search, search)
        if series is not None or _moves(refined, search.frames) or not _moves(again, search.frames):
            return refined
    given = search.frames, search.plan, search.params, search.threads
    along = pattern_along(again.path_px(search.frames), estimate.pattern, *given)
    if along.significance > SIGNIFICANT_PULL:
        return replace(again, has_fixed_pattern=True, pattern=estimate.pattern)
    return estimate


def _pattern_to_remove(
    estimate: Estimate, frames: SmallFrames, plan: Plan, params: AlignParams, threads: int
) -> FixedPattern | None:
    """The fixed pattern to remove before estimating the motion again; None = there is none.

    A pattern in part of the field is more significant when measured patch by patch.
    """
    pattern = estimate.pattern
    if pattern.is_suspicious:
        path_px = estimate.path_px(frames)
        found = pattern_along(path_px, pattern, frames, plan, params, threads)
        if found.significance > SIGNIFICANT_PULL:
            return found
    if estimate.has_signal and not estimate.is_drift_rejected and not _moves(estimate, frames):
        # Without motion the specimen counts as pattern, and would be removed.  A gain residual is
        # white, and the specimen has the least power in the finest rings.
        white = pattern.as_white()
        return white if white.power_over_noise.any() else None
    return None


def _moves(estimate: Estimate, frames: SmallFrames) -> bool:
    """Whether the path is more than that of a pattern, or of a specimen at rest."""
    return estimate.chosen != "none" and bool(
        np.ptp(estimate.path_px(frames), axis=0).max() > _NO_MOTION_PX
    )


def _estimate_once(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
    clock: Callable[[str], AbstractContextManager[None]],
    series: SeriesPrior | None,
) -> Estimate:
    """The motion in `frames`, taken as they are."""
    search, is_wide = Search(frames, plan, params, threads, clock), False
    trial = search.from_default_starts() if series is None else search.with_series_prior(series)
    if trial.chosen == "none" and params.refine:
        wider_search = chain(
            search.along_one_direction(trial.start),
            search.wider_search(trial.start, trial.held_out.has_signal),
        )
        moving = (t for t in wider_search if t.chosen != "none")
        found = next((t for t in moving if not trial.favours_no_motion_over(t)), None)
        trial, is_wide = found or trial, found is not None
    return _as_estimate(trial, trial.chosen, is_wide or trial.is_by_all_data, search)


def _as_estimate(trial: Trial, chosen: str, is_wide: bool, search: Search) -> Estimate:
    """The result of a trial, with the candidate `chosen`."""
    frames, plan, params, errors = search.frames, search.plan, search.params, None
    if chosen == "refined" and trial.needs_average:
        trial = search.averaged(trial)
    jump_frames: tuple[float, ...] = ()
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
            jump_frames = path_prior.jump_frames if chosen == "refined" else ()
        if chosen == "refined":
            kept, errors = replace(kept, field=fit.field), fit.trajectory_error_px
            if errors is not None and trial.jump_error_px is not None:
                errors = np.hypot(errors, trial.jump_error_px)
    return Estimate(
        motion=_as_motion(
            kept, frames, plan, params, _errors_px(kept, errors, direction), jump_frames
        ),
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

    Perpendicular to that direction the motion may be as large as along it.
    """
    if along_px is None:
        return None
    if direction is None:
        return np.stack([along_px, along_px], axis=1)
    other = (kept.path_px @ direction).std()
    return np.asarray(np.hypot(along_px[:, None] * direction, other * direction[::-1]))


def _drift_ratio(path_px: FloatArray, plan: Plan) -> float:
    """Extent of a path (n, 2) along either axis, relative to the size of the field."""
    return float((np.ptp(path_px, axis=0) / (plan.movie.height_px, plan.movie.width_px)).max())


def _as_motion(
    kept: Candidate,
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    errors_px: FloatArray | None,
    jump_frames: tuple[float, ...],
) -> Motion:
    """The kept candidate over all frames of the file, zero at the reference frame."""
    reference = _reference_frame(kept.path_px, frames, plan, params)
    trajectory = pairwise.as_trajectory(
        kept.path_px, frames.frame, frames.measured, plan.movie.frame_count, reference, errors_px,
        frames.copies, jump_frames,
    )  # fmt: skip
    return Motion(trajectory, kept.field)


def _reference_frame(
    path_px: FloatArray, frames: SmallFrames, plan: Plan, params: AlignParams
) -> int:
    """The frame of zero displacement, zero-based in the file."""
    if plan.reference_frame is not None:
        return plan.reference_frame
    at = frames.frame[pairwise.choose_reference(path_px, params.reference_frame)]
    return int(frames.measured[np.argmin(np.abs(frames.measured - at))])
