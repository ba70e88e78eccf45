"""Choose the hyperparameters of the priors by the evidence (empirical Bayes)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from flexalign.estimate.evidence import (
    PatchLikelihood,
    fit_motion,
    log_evidence,
    normal_equations,
)
from flexalign.estimate.priors import SLOWING_RATIOS, FieldPrior, PathPrior, TrajectoryPrior
from flexalign.model import FloatArray
from flexalign.motion import MotionField

# Step factors of the hyperparameter search, coarse to fine.
_SEARCH_FACTORS = (4.0, 2.0, 1.41)
_SEARCH_ROUNDS = 3
# Gain in log evidence for which a jump is added: it must make up for the choice of the position.
_JUMP_EVIDENCE = 8.0
_MAX_JUMPS = 3


def choose_priors(
    data: PatchLikelihood,
    path: TrajectoryPrior,
    shape: MotionField | None,
    field: FieldPrior | None,
) -> tuple[TrajectoryPrior, FieldPrior | None]:
    """The priors of greatest evidence near those of a path and, with a `shape`, of a field."""
    path = choose_trajectory_prior(data, path)
    if shape is not None and field is not None:
        field = choose_field_prior(data, path, shape, field)
    return path, field


def choose_trajectory_prior(data: PatchLikelihood, start: TrajectoryPrior) -> TrajectoryPrior:
    """The trajectory prior of greatest posterior density, without a field.

    That is its evidence times the prior density of its hyperparameters.  The slowing is searched
    stepwise from `start`.  Then the largest steps are allowed as jumps, one by one, as long as that
    clearly increases the evidence: otherwise they would inflate the smooth part and the jitter.
    """
    normal = normal_equations(data, True, None)
    span = float(np.ptp(data.frame)) + 1
    limits = ((0.01, 200.0), (1.0, 4 * span), (1e-3, 50.0))

    def optimized(near: TrajectoryPrior) -> tuple[TrajectoryPrior, float]:
        def prior(smooth_px: float, smooth_frames: float, jitter_px: float) -> TrajectoryPrior:
            return replace(
                near, smooth_px=smooth_px, smooth_frames=smooth_frames, jitter_px=jitter_px
            )

        def score(*numbers: float) -> float:
            tried = prior(*numbers)
            return tried.log_density + log_evidence(normal, data.frame, tried, None, None)

        found = prior(
            *coordinate_ascent(score, (near.smooth_px, near.smooth_frames, near.jitter_px), limits)
        )
        return found, score(found.smooth_px, found.smooth_frames, found.jitter_px)

    best, best_score = optimized(replace(start, jump_frames=()))
    slowings = [part * span for part in SLOWING_RATIOS]
    at = int(np.argmin(np.abs(np.array(slowings) - start.slowing_frames)))
    for nearby in (range(at + 1, len(slowings)), range(at - 1, -1, -1)):
        before = best_score
        for k in nearby:
            trial, trial_score = optimized(replace(best, slowing_frames=slowings[k]))
            if trial_score <= best_score:
                break
            best, best_score = trial, trial_score
        if best_score > before:
            break
    while len(best.jump_frames) < _MAX_JUMPS:
        jumps = (*best.jump_frames, _largest_step(data, best))
        trial, trial_score = optimized(replace(best, jump_frames=jumps))
        if trial_score < best_score + _JUMP_EVIDENCE:
            break
        best, best_score = trial, trial_score
    return best


def _largest_step(data: PatchLikelihood, prior: TrajectoryPrior) -> float:
    """Time, between two frames, of the largest step of the most probable path without a jump."""
    path = fit_motion(data, prior, None, None, with_errors=False).trajectory_px
    assert path is not None
    steps = np.hypot(*np.diff(path, axis=0).T)
    middle = (data.frame[1:] + data.frame[:-1]) / 2
    steps[np.isin(middle, prior.jump_frames)] = 0
    return float(middle[np.argmax(steps)])


def choose_field_prior(
    data: PatchLikelihood,
    trajectory: TrajectoryPrior | None,
    shape: MotionField,
    start: FieldPrior,
) -> FieldPrior:
    """The field prior of greatest posterior density, given a trajectory prior and its slowing."""
    normal = normal_equations(data, trajectory is not None, shape)
    slowing = 0.0 if trajectory is None else trajectory.slowing_frames

    def score(*numbers: float) -> float:
        prior = replace(FieldPrior(*numbers), slowing_frames=slowing)
        return prior.log_density + log_evidence(normal, data.frame, trajectory, prior, shape)

    limits = _field_limits(data.frame, shape)
    numbers = coordinate_ascent(
        score, (start.size_px, start.smooth_frames, start.smooth_px), limits
    )
    return replace(FieldPrior(*numbers), slowing_frames=slowing)


def choose_common_field_prior(
    data: Sequence[PatchLikelihood],
    paths: Sequence[PathPrior],
    shapes: Sequence[MotionField],
    start: FieldPrior,
) -> FieldPrior:
    """One field prior for several movies, each with its own path prior."""
    normals = []
    for one, path, shape in zip(data, paths, shapes, strict=True):
        mean_px = path.mean_px(one.frame)
        if mean_px is not None:
            one = replace(one, linear=one.linear - one.precision @ mean_px)
        normals.append(normal_equations(one, True, shape))

    def score(*numbers: float) -> float:
        prior = FieldPrior(*numbers)
        return prior.log_density + sum(
            log_evidence(normal, one.frame, path, prior, shape)
            for normal, one, path, shape in zip(normals, data, paths, shapes, strict=True)
        )

    limits = _field_limits(data[0].frame, shapes[0])
    return FieldPrior(
        *coordinate_ascent(score, (start.size_px, start.smooth_frames, start.smooth_px), limits)
    )


def _field_limits(frame: FloatArray, shape: MotionField) -> tuple[tuple[float, float], ...]:
    """Limits of size, time scale and length scale of a field's prior."""
    side = max(shape.height_px, shape.width_px)
    span = float(np.ptp(frame)) + 1
    return (1e-3, 100.0), (span / 10, 10 * span), (side / 10, 10 * side)


def coordinate_ascent(
    score: Callable[..., float],
    start: tuple[float, ...],
    limits: tuple[tuple[float, float], ...],
) -> tuple[float, ...]:
    """Arguments near `start` with the greatest score, by coordinate ascent in logarithmic steps."""
    best = tuple(float(np.clip(v, *limit)) for v, limit in zip(start, limits, strict=True))
    best_score = score(*best)
    for factor in _SEARCH_FACTORS:
        for _ in range(_SEARCH_ROUNDS):
            before = best_score
            for position, limit in enumerate(limits):
                for step in (factor, 1 / factor):
                    start = best
                    while True:
                        value = float(np.clip(best[position] * step, *limit))
                        trial = (*best[:position], value, *best[position + 1 :])
                        found = score(*trial) if value != best[position] else -np.inf
                        if found <= best_score:
                            break
                        best, best_score = trial, found
                    # The opposite step would return to values already tried.
                    if best != start:
                        break
            if best_score - before < 0.1:
                break
    return best
