"""Estimate the motion in each way that was asked for, and keep what explains unseen data best."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from flexalign.arrays import dose
from flexalign.estimate import evidence, pairwise, patches, quality, refine
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import PatchSpectra, Sweep, cut_spectra, sweep_together
from flexalign.estimate.pattern import FixedPattern, measure, taken_out
from flexalign.estimate.quality import HeldOut
from flexalign.estimate.refine import Refinement
from flexalign.model import FloatArray, PairwiseShifts, PatchTracks, SignalBand
from flexalign.motion import Motion, MotionField
from flexalign.params import LIMITS, AlignParams
from flexalign.plan import Plan

_ROUNDS_PER_HALF = 6
# A fixed pattern that pulls less than this, relative to the specimen, may stay.
_HARMFUL_PULL = 0.02
# Groups of frames to pair when single frames are too faint for it.
_FEW_GROUPS = 8
# Less than this part of an amplitude is nothing, but can be divided by.
_LEAST_LEFT = 1e-15
# Along a shorter path a pattern cannot be told from the specimen.
_SMALLEST_MOTION_PX = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One motion that might be kept: a path (n, 2) with a field, in unbinned pixels.

    Attributes
    ----------
    halves_px : displacements (patches, times, 2) by which each half of the data judges it
    """

    path_px: FloatArray
    field: MotionField | None
    halves_px: tuple[FloatArray, FloatArray]


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
    drift_part: float = float("nan")

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
        pattern = estimate.pattern
        is_harmful = pattern.significance > quality.SIGNIFICANT and pattern.pull > _HARMFUL_PULL
        if not (params.refine and (is_harmful or (estimate.has_signal and estimate.is_still))):
            return estimate
        with clock("fixed pattern"):
            cleaned = taken_out(frames, pattern, threads)
        again = _estimate_once(cleaned, plan, params, threads, clock)
        # A specimen that really stands still is gone together with the pattern.
        if again.chosen == "none":
            return estimate
        return replace(again, has_fixed_pattern=True, pattern=pattern)


def _estimate_once(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
    clock: Callable[[str], AbstractContextManager[None]],
) -> Estimate:
    """The motion in `frames`, taken as they are."""
    shape = None if plan.control_points is None else _empty_field(plan)

    def try_start(start: _Start) -> _Trial:
        with clock("refinement"):
            return _try_from(start, shape, frames, plan, params, threads)

    start = _pairwise_start(frames, shape, plan, params, threads, clock, pairwise.MOST_IMAGES)
    trial = try_start(start)
    if trial.pairs_led_astray and len(frames.frame) > _FEW_GROUPS:
        # Single frames are too faint to be paired; groups of them may not be.
        start = _pairwise_start(frames, shape, plan, params, threads, clock, _FEW_GROUPS)
        trial = _better(trial, try_start(start))
    if trial.pairs_led_astray and params.refine:
        # Weak signal can still be found from standing still.
        still = _Start(np.zeros_like(start.path_px), start.pairs, start.tracks, None)
        trial = _better(trial, try_start(still))
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
        drift_part=drift_part,
    )


def _drift_part(path_px: FloatArray, plan: Plan) -> float:
    """How far a path (n, 2) goes along either axis, over the length of the field."""
    return float((np.ptp(path_px, axis=0) / (plan.movie.height_px, plan.movie.width_px)).max())


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """What the pairwise stage found: path (n, 2), pairs, and of the patches tracks and field."""

    path_px: FloatArray
    pairs: PairwiseShifts
    tracks: PatchTracks | None
    field: MotionField | None


def _pairwise_start(
    frames: SmallFrames,
    shape: MotionField | None,
    plan: Plan,
    params: AlignParams,
    threads: int,
    clock: Callable[[str], AbstractContextManager[None]],
    most_images: int,
) -> _Start:
    """The pairwise motion of at most `most_images` frames or groups of them."""
    with clock("pairwise"):
        # Made anew where it is needed twice: it would stand in the way of the refinement.
        small = frames.shrunk(plan.pairwise_shape_px, threads)
        path, pairs = pairwise.global_trajectory(
            small, params.max_resolution_A, params.max_shift_A, threads, most_images
        )
    if shape is None:
        return _Start(path, pairs, None, None)
    with clock("patches"):
        tracks, likelihood = patches.track_patches(
            small, path, plan.patches, plan.group_frames, params.max_resolution_A, threads
        )
        return _Start(path, pairs, tracks, patches.fit_local_field(likelihood, shape))


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """All candidates from one start, and which of them predicts unseen data best."""

    start: _Start
    candidates: dict[str, Candidate]
    judged: HeldOut
    refinement: Refinement | None
    pattern: FixedPattern
    signal: tuple[SignalBand, ...]

    @property
    def chosen(self) -> str:
        """Name of that candidate."""
        return self.judged.best()

    @property
    def pairs_led_astray(self) -> bool:
        """Whether no motion of the pairs explains unseen data clearly better than none."""
        return not any(self.judged.is_clear(n) for n in ("global", "local") if n in self.candidates)


def _better(one: _Trial, other: _Trial) -> _Trial:
    """The trial whose chosen candidate predicts unseen data better; the first of two equals."""
    return max(one, other, key=lambda trial: trial.judged.score[trial.chosen])


def _try_from(
    start: _Start,
    shape: MotionField | None,
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
) -> _Trial:
    """The candidates that a start leads to, refined or not as asked."""
    path_px, field = start.path_px, start.field
    spectra = _patch_spectra(frames, plan, params, path_px, field, threads)
    candidates = {"none": _from_pairs(np.zeros_like(path_px), None, spectra)}
    if path_px.any():
        candidates["global"] = _from_pairs(path_px, None, spectra)
    if field is not None:
        local = evidence.give_mean_to_path(path_px, field, spectra.grid.center_px, spectra.frame)
        candidates["local"] = _from_pairs(*local, spectra)
    places = [candidate.halves_px[0] for candidate in candidates.values()]
    found = sweep_together(spectra, places, [None] * len(places), threads)
    swept = dict(zip(candidates, found, strict=True))
    powers = refine.ring_powers(spectra, swept[list(candidates)[-1]])

    def judge() -> HeldOut:
        halves = {name: candidate.halves_px for name, candidate in candidates.items()}
        return quality.held_out_scores(
            spectra, halves, powers, params.max_resolution_A, threads, swept
        )

    judged, refinement = judge(), None
    if params.refine:
        # Tracks of patches may have led astray where the path has not.
        names = [name for name in candidates if name != "none"] or ["none"]
        nearest = max(names, key=lambda name: judged.score[name])
        at, first = candidates[nearest].halves_px[0], swept[nearest]
        refinement = refine.refine(spectra, at, shape, threads=threads, first=first)
        powers = refinement.powers
        candidates["refined"] = _from_refinement(refinement, spectra, at, first, shape, threads)
        judged = judge()
    # A pattern may outshine the motion: the best of those that move shows it, chosen or not.
    likely = candidates[max(judged.score, key=lambda name: judged.score[name])].path_px
    if np.ptp(likely, axis=0).max() < _SMALLEST_MOTION_PX:
        likely = np.zeros_like(likely)
    pattern = measure(spectra, judged.still_cross, likely, powers)
    kept = judged.best()
    along = powers if kept == "refined" else refine.ring_powers(spectra, swept[kept])
    signal = quality.signal_bands(spectra, judged.still_cross, along)
    return _Trial(start, candidates, judged, refinement, pattern, signal)


def _empty_field(plan: Plan) -> MotionField:
    """A field of the planned size, zero everywhere."""
    assert plan.control_points is not None
    movie = plan.movie
    coefficients = np.zeros((2, *plan.control_points))
    return MotionField(coefficients, movie.height_px, movie.width_px, plan.align)


def _patch_spectra(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    path_px: FloatArray,
    field: MotionField | None,
    threads: int,
) -> PatchSpectra:
    """Spectra of the patches along the pairwise motion, damaged as the dose says."""
    dose_e_A2 = plan.dose_before_e_A2(frames.frame + 0.5)
    envelope = None
    if dose_e_A2 is not None:
        middle = params.pre_exposure_e_A2 + dose_e_A2

        def envelope(frequency_per_A: FloatArray) -> FloatArray:
            left = dose.exposure_weights(frequency_per_A, middle[:, None], params.voltage_kV)
            return np.maximum(left.astype(np.float64), _LEAST_LEFT)

    grid = patches.make_grid(frames, plan.patches)
    displacement = refine.displacement_at(path_px, field, grid.center_px, frames.frame)
    return cut_spectra(frames, grid, displacement, envelope, threads)


def _from_pairs(path_px: FloatArray, field: MotionField | None, spectra: PatchSpectra) -> Candidate:
    """A candidate of the pairwise stage, which has seen neither half of the data."""
    at = refine.displacement_at(path_px, field, spectra.grid.center_px, spectra.frame)
    return Candidate(path_px, field, (at, at))


def _from_refinement(
    refinement: Refinement,
    spectra: PatchSpectra,
    start_px: FloatArray,
    first: Sweep,
    shape: MotionField | None,
    threads: int,
) -> Candidate:
    """The refined candidate, with its refinements on either half for the other to judge."""
    assert refinement.fit.trajectory_px is not None
    halves = refine.refine_halves(
        spectra, start_px, shape, refinement, threads, _ROUNDS_PER_HALF, first
    )
    judged = []
    for half in (halves[1].fit, halves[0].fit):
        assert half.trajectory_px is not None
        judged.append(
            refine.displacement_at(
                half.trajectory_px, half.field, spectra.grid.center_px, spectra.frame
            )
        )
    return Candidate(refinement.fit.trajectory_px, refinement.fit.field, (judged[0], judged[1]))


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
