"""Candidate motions from one start, scored on held-out data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from flexalign.estimate import evidence, held_out_likelihood, patches, refine
from flexalign.estimate.bayes_factor import bayes_factor
from flexalign.estimate.damage import damage_envelope
from flexalign.estimate.direction import only_direction
from flexalign.estimate.fixed_pattern import (
    FixedPattern,
    measure,
    measure_anisotropic,
    measure_in_patches,
)
from flexalign.estimate.frame_agreement import halves_apart, lost_frames
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.held_out_likelihood import HeldOut
from flexalign.estimate.jump_position import with_jumps_placed
from flexalign.estimate.outlier_frames import has_outliers, relocate_outliers
from flexalign.estimate.patch_spectra import (
    COARSEST_RESOLUTION_A,
    PatchSpectra,
    Sweep,
    cut_spectra,
    sweep,
    sweep_batch,
)
from flexalign.estimate.refine import Refinement
from flexalign.estimate.series_prior import SeriesPath, SeriesPrior
from flexalign.estimate.signal_bands import signal_bands
from flexalign.estimate.spectral_powers import (
    RingPowers,
    expected_weight,
    independent_share,
    ring_powers,
)
from flexalign.estimate.starts import Start
from flexalign.estimate.trials import Candidate, Trial, best_candidate
from flexalign.model import FloatArray
from flexalign.motion import MotionField
from flexalign.params import AlignParams
from flexalign.plan import Plan

_ROUNDS_PER_HALF = 6
# Number of times that frames which refinement leaves at a wrong place are moved.
_RELOCATIONS = 3
# On a shorter path a fixed pattern cannot be distinguished from the specimen.
_MIN_MOTION_PX = 1.0


def run_trial(
    start: Start,
    shape: MotionField | None,
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
    series: SeriesPrior | None = None,
) -> Trial:
    """The candidates from a start, with a refined one if `params.refine` is set."""
    spectra = spectra_along(
        frames, plan, params, start.path_px, start.field, threads, start.coarsest_A
    )
    placed = with_jumps_placed(start, spectra, threads)
    if placed is not start:
        start = placed
        spectra = spectra_along(
            frames, plan, params, start.path_px, start.field, threads, start.coarsest_A
        )
    if series is not None:
        spectra = replace(spectra, expected=series.signal)
    candidates = _pairwise_candidates(start, spectra)
    swept = _swept(candidates, spectra, threads)
    powers = ring_powers(spectra, swept[list(candidates)[-1]])
    held_out = _scored(candidates, spectra, powers, start, swept, threads)
    refinement = factor = log_posterior = None
    if params.refine:
        nearest = _best_moving(candidates, held_out)
        refinement, candidates["refined"] = _refined(
            start, candidates[nearest], swept[nearest], spectra, shape, series, threads
        )
        powers = refinement.powers
        held_out = _scored(candidates, spectra, powers, start, swept, threads)
        if series is not None:
            log_posterior = _log_posterior(refinement, spectra, series, threads)
        elif not held_out.is_strong:
            factor = bayes_factor(spectra, refinement, shape, swept["none"], threads)
    is_of_series = log_posterior is not None
    apart = _halves_apart(
        candidates, held_out, shape, is_required=is_of_series or factor is not None
    )
    chosen = "refined" if is_of_series else best_candidate(held_out, factor, apart)
    displacement = _whole(candidates[chosen], spectra)
    along = powers if chosen == "refined" else ring_powers(spectra, swept[chosen])
    return Trial(
        start=start,
        candidates=candidates,
        chosen=chosen,
        held_out=held_out,
        refinement=refinement,
        pattern=_pattern(spectra, held_out, candidates, powers, threads),
        signal=signal_bands(spectra, held_out.still_cross, along),
        factor=factor,
        lost=lost_frames(spectra, displacement, powers)
        if chosen == "refined"
        else np.zeros(0, np.int64),
        halves_apart=apart,
        log_posterior=log_posterior,
        direction=None if chosen == "none" else only_direction(spectra, displacement, powers),
    )


def _pairwise_candidates(start: Start, spectra: PatchSpectra) -> dict[str, Candidate]:
    """No motion, and the trajectory and local motion of the pairwise stage where there are any."""
    path_px, field = start.path_px, start.field
    candidates = {"none": _from_pairs(np.zeros_like(path_px), None, spectra)}
    if path_px.any() and start.halves_px is None:
        candidates["global"] = _from_pairs(path_px, None, spectra)
    if field is not None:
        local = evidence.move_mean_to_path(path_px, field, spectra.grid.center_px, spectra.frame)
        candidates["local"] = _from_pairs(*local, spectra)
    return candidates


def _swept(
    candidates: dict[str, Candidate], spectra: PatchSpectra, threads: int
) -> dict[str, Sweep]:
    """A sweep over all rings for each candidate of the pairwise stage."""
    displacements = [candidate.halves_px[0] for candidate in candidates.values()]
    found = sweep_batch(spectra, displacements, [None] * len(displacements), threads)
    return dict(zip(candidates, found, strict=True))


def _scored(
    candidates: dict[str, Candidate],
    spectra: PatchSpectra,
    powers: RingPowers,
    start: Start,
    swept: dict[str, Sweep],
    threads: int,
) -> HeldOut:
    """The held-out scores of the candidates, with the sweeps that exist already."""
    halves = {name: candidate.halves_px for name, candidate in candidates.items()}
    return held_out_likelihood.held_out_scores(
        spectra, halves, powers, start.pairwise_limit_A, threads, swept
    )


def _best_moving(candidates: dict[str, Candidate], held_out: HeldOut) -> str:
    """The moving candidate of the highest score, from which refinement starts.

    The patch tracks may be wrong where the global path is right.
    """
    names = [name for name in candidates if name != "none"] or ["none"]
    return max(names, key=lambda name: held_out.score[name])


def _refined(
    start: Start,
    nearest: Candidate,
    nearest_sweep: Sweep,
    spectra: PatchSpectra,
    shape: MotionField | None,
    series: SeriesPrior | None,
    threads: int,
) -> tuple[Refinement, Candidate]:
    """The refinement from the `nearest` candidate, or from the start if it has halves of its own.

    The candidate has, for scoring, a refinement on each half of the rings.
    """

    def refined_from(at_px: FloatArray, first: Sweep) -> Refinement:
        return refine.refine(
            spectra, at_px, shape, threads=threads, first=first, axes=start.axes, series=series
        )

    if start.halves_px is not None:
        at = _along(start.path_px, spectra)
        refinement = refined_from(at, sweep(spectra, at, None, threads))
        by_halves = _along(start.halves_px[0], spectra), _along(start.halves_px[1], spectra)
        return refinement, _from_refinement(refinement, spectra, by_halves, None, shape, threads)
    at, first = relocate_outliers(spectra, nearest.halves_px[0], nearest_sweep, threads)
    refinement = refined_from(at, first)
    # Among the scattered positions of faint frames, an outlier shows only in the refined path.
    for _ in range(_RELOCATIONS):
        found = refine.displacement_of(refinement.fit, spectra)
        if not has_outliers(spectra, found):
            break
        along = sweep(spectra, found, None, threads)
        moved, along = relocate_outliers(spectra, found, along, threads)
        is_moved = (moved != found).any(axis=(0, 2))
        if not is_moved.any():
            break
        refinement = refined_from(moved, along)
        at = np.where(is_moved[:, None], moved, at)
        first = sweep(spectra, at, None, threads)
    return refinement, _from_refinement(refinement, spectra, at, first, shape, threads)


def _halves_apart(
    candidates: dict[str, Candidate],
    held_out: HeldOut,
    shape: MotionField | None,
    *,
    is_required: bool,
) -> float:
    """Distance of the paths from the two half-sets, if the refined motion may be chosen; or NaN."""
    halves = candidates["refined"].halves if "refined" in candidates else None
    if halves is None or not (is_required or held_out.best() == "refined"):
        return math.nan
    return halves_apart(*halves, shape)


def _log_posterior(
    refinement: Refinement, spectra: PatchSpectra, series: SeriesPrior, threads: int
) -> float:
    """Log posterior density of a refined motion, with weights that do not depend on it."""
    path = refinement.trajectory_prior
    assert refinement.fit.trajectory_px is not None
    assert isinstance(path, SeriesPath)
    at = refine.displacement_of(refinement.fit, spectra)
    weight = expected_weight(spectra, series.signal)
    found = (sweep(spectra, at, None, threads).cross * weight).sum()
    likelihood = float(found) * independent_share(spectra.grid)
    return likelihood + path.log_density(refinement.fit.trajectory_px, spectra.frame)


def pattern_along(
    path_px: FloatArray,
    found: FixedPattern,
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
) -> FixedPattern:
    """The fixed pattern `found`, measured in each patch while the specimen moves along a path.

    Parameters
    ----------
    path_px : (n, 2); if it is too short to separate pattern and specimen, `found` is returned
    """
    if np.ptp(path_px, axis=0).max() < _MIN_MOTION_PX:
        return found
    spectra = spectra_along(frames, plan, params, path_px, None, threads)
    return measure_in_patches(spectra, path_px, plan.patches, found, threads)


def direction_without_motion(
    frames: SmallFrames, plan: Plan, params: AlignParams, threads: int
) -> FloatArray | None:
    """The only direction (y, x) in which unaligned frames determine displacements; None = both.

    All rings are used, down to the coarsest: uncorrected motion destroys the common signal of fine
    ones first.
    """
    path = np.zeros((len(frames.frame), 2))
    spectra = spectra_along(frames, plan, params, path, None, threads, math.inf)
    at = _along(path, spectra)
    powers = ring_powers(spectra, sweep(spectra, at, None, threads))
    return only_direction(spectra, at, powers)


def spectra_along(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    path_px: FloatArray,
    field: MotionField | None,
    threads: int,
    coarsest_A: float = COARSEST_RESOLUTION_A,
) -> PatchSpectra:
    """Spectra of the patches along a path (n, 2) and a field, with the damage envelope."""
    envelope = damage_envelope(frames, plan, params)
    grid = patches.make_grid(frames, plan.patches)
    displacement = refine.displacement_at(path_px, field, grid.center_px, frames.frame)
    return cut_spectra(frames, grid, displacement, envelope, threads, coarsest_A)


def _pattern(
    spectra: PatchSpectra,
    held_out: HeldOut,
    candidates: dict[str, Candidate],
    powers: RingPowers,
    threads: int,
) -> FixedPattern:
    """The fixed pattern of the detector, along the candidate of the highest score.

    A strong pattern may keep the motion from being significant, so that candidate need not be the
    chosen one.
    """
    moving = candidates[max(held_out.score, key=lambda name: held_out.score[name])]
    path_px = moving.path_px
    if np.ptp(path_px, axis=0).max() < _MIN_MOTION_PX:
        path_px = np.zeros_like(path_px)
    found = measure(spectra, held_out.still_cross, path_px, powers)
    if found.is_harmful:
        return measure_anisotropic(spectra, _whole(moving, spectra), path_px, powers, threads)
    return found


def _whole(candidate: Candidate, spectra: PatchSpectra) -> FloatArray:
    """Displacements (patches, times, 2) of a candidate."""
    return refine.displacement_at(
        candidate.path_px, candidate.field, spectra.grid.center_px, spectra.frame
    )


def _along(path_px: FloatArray, spectra: PatchSpectra) -> FloatArray:
    """Displacements (patches, times, 2) along a path (times, 2)."""
    return refine.displacement_at(path_px, None, spectra.grid.center_px, spectra.frame)


def _from_pairs(path_px: FloatArray, field: MotionField | None, spectra: PatchSpectra) -> Candidate:
    """A candidate of the pairwise stage, to which both halves of the data are held out."""
    at = refine.displacement_at(path_px, field, spectra.grid.center_px, spectra.frame)
    return Candidate(path_px, field, (at, at))


def _from_refinement(
    refinement: Refinement,
    spectra: PatchSpectra,
    start_px: FloatArray | tuple[FloatArray, FloatArray],
    first: Sweep | None,
    shape: MotionField | None,
    threads: int,
) -> Candidate:
    """The refined candidate, with a refinement on each half for scoring on the other."""
    fit = refinement.fit
    assert fit.trajectory_px is not None
    halves = refine.refine_halves(
        spectra, start_px, shape, refinement, threads, _ROUNDS_PER_HALF, first
    )
    by_half, by_other = (refine.displacement_of(half.fit, spectra) for half in halves)
    return Candidate(fit.trajectory_px, fit.field, (by_other, by_half), halves)
