"""Candidate motions from one start, scored on held-out data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from flexalign.arrays import dose
from flexalign.estimate import evidence, held_out_likelihood, patches, refine
from flexalign.estimate.bayes_factor import bayes_factor
from flexalign.estimate.direction import only_direction
from flexalign.estimate.fixed_pattern import (
    FixedPattern,
    measure,
    measure_closely,
    measure_in_patches,
)
from flexalign.estimate.frame_agreement import halves_apart, lost_frames
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.held_out_likelihood import HeldOut
from flexalign.estimate.outlier_frames import brought_back
from flexalign.estimate.patch_spectra import (
    COARSEST_RESOLUTION_A,
    PatchSpectra,
    Sweep,
    cut_spectra,
    sweep,
    sweep_together,
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
# Lower bound of the damage envelope, to avoid division by zero.
_MIN_ATTENUATION = 1e-15
# On a shorter path a fixed pattern cannot be distinguished from the specimen.
_MIN_MOTION_PX = 1.0


def try_from(
    start: Start,
    shape: MotionField | None,
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
    series: SeriesPrior | None = None,
) -> Trial:
    """The candidates from a start, with a refined one if `params.refine` is set."""
    path_px, field = start.path_px, start.field
    spectra = _spectra(frames, plan, params, path_px, field, threads, start.coarsest_A)
    if series is not None:
        spectra = replace(spectra, expected=series.signal)
    candidates = {"none": _from_pairs(np.zeros_like(path_px), None, spectra)}
    if path_px.any() and start.halves_px is None:
        candidates["global"] = _from_pairs(path_px, None, spectra)
    if field is not None:
        local = evidence.give_mean_to_path(path_px, field, spectra.grid.center_px, spectra.frame)
        candidates["local"] = _from_pairs(*local, spectra)
    places = [candidate.halves_px[0] for candidate in candidates.values()]
    found = sweep_together(spectra, places, [None] * len(places), threads)
    swept = dict(zip(candidates, found, strict=True))
    powers = ring_powers(spectra, swept[list(candidates)[-1]])

    def score_candidates() -> HeldOut:
        halves = {name: candidate.halves_px for name, candidate in candidates.items()}
        return held_out_likelihood.held_out_scores(
            spectra, halves, powers, start.seen_to_A, threads, swept
        )

    held_out, refinement, factor = score_candidates(), None, None
    if params.refine:
        # The patch tracks may be wrong where the global path is right.
        names = [name for name in candidates if name != "none"] or ["none"]
        nearest = max(names, key=lambda name: held_out.score[name])
        at, first = candidates[nearest].halves_px[0], swept[nearest]
        if start.halves_px is None:
            at, first = brought_back(spectra, at, first, threads)
        else:
            at = _along(start.path_px, spectra)
            first = sweep(spectra, at, None, threads)
        refinement = refine.refine(
            spectra, at, shape, threads=threads, first=first, axes=start.axes, series=series
        )
        powers = refinement.powers
        by_halves = None
        if start.halves_px is not None:
            by_halves = _along(start.halves_px[0], spectra), _along(start.halves_px[1], spectra)
        candidates["refined"] = _from_refinement(
            refinement, spectra, by_halves or at, None if by_halves else first, shape, threads
        )
        held_out = score_candidates()
        if not held_out.is_sure and series is None:
            factor = bayes_factor(spectra, refinement, shape, swept["none"], threads)
    # A strong pattern may keep the motion from being significant, so it is measured along the best
    # moving candidate, chosen or not.
    likely = candidates[max(held_out.score, key=lambda name: held_out.score[name])]
    pattern = _pattern(spectra, held_out.still_cross, likely, powers, threads)
    is_of_series = series is not None and refinement is not None
    halves, apart = candidates.get("refined", candidates["none"]).halves, math.nan
    if halves is not None and (is_of_series or factor is not None or held_out.best() == "refined"):
        apart = halves_apart(*halves, shape)
    kept = "refined" if is_of_series else best_candidate(held_out, factor, apart)
    along = powers if kept == "refined" else ring_powers(spectra, swept[kept])
    signal = signal_bands(spectra, held_out.still_cross, along)
    at = _whole(candidates[kept], spectra)
    direction = None if kept == "none" else only_direction(spectra, at, powers)
    lost = lost_frames(spectra, at, powers) if kept == "refined" else np.zeros(0, np.int64)
    log_posterior = None
    if series is not None and refinement is not None:
        log_posterior = _log_posterior(refinement, spectra, series, threads)
    return Trial(
        start, candidates, kept, held_out, refinement, pattern, signal, factor, lost, apart,
        log_posterior, direction,
    )  # fmt: skip


def _log_posterior(
    refinement: Refinement, spectra: PatchSpectra, series: SeriesPrior, threads: int
) -> float:
    """Log posterior density of a refined motion, with weights that do not depend on it."""
    path = refinement.trajectory_prior
    assert refinement.fit.trajectory_px is not None
    assert isinstance(path, SeriesPath)
    at = refine.displacement_at(
        refinement.fit.trajectory_px, refinement.fit.field, spectra.grid.center_px, spectra.frame
    )
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
    spectra = _spectra(frames, plan, params, path_px, None, threads)
    return measure_in_patches(spectra, path_px, plan.patches, found, threads)


def direction_without_motion(
    frames: SmallFrames, plan: Plan, params: AlignParams, threads: int
) -> FloatArray | None:
    """The only direction (y, x) in which unaligned frames determine displacements; None = both.

    All rings are used, down to the coarsest: uncorrected motion destroys the common signal of fine
    ones first.
    """
    path = np.zeros((len(frames.frame), 2))
    spectra = _spectra(frames, plan, params, path, None, threads, math.inf)
    at = _along(path, spectra)
    powers = ring_powers(spectra, sweep(spectra, at, None, threads))
    return only_direction(spectra, at, powers)


def _spectra(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    path_px: FloatArray,
    field: MotionField | None,
    threads: int,
    coarsest_A: float = COARSEST_RESOLUTION_A,
) -> PatchSpectra:
    """Spectra of the patches along a path (n, 2) and a field, with the damage envelope."""
    dose_e_A2 = plan.dose_before_e_A2(frames.frame + 0.5)
    envelope = None
    if dose_e_A2 is not None:
        middle = params.pre_exposure_e_A2 + dose_e_A2

        def envelope(frequency_per_A: FloatArray) -> FloatArray:
            left = dose.exposure_weights(frequency_per_A, middle[:, None], params.voltage_kV)
            return np.maximum(left.astype(np.float64), _MIN_ATTENUATION)

    grid = patches.make_grid(frames, plan.patches)
    displacement = refine.displacement_at(path_px, field, grid.center_px, frames.frame)
    return cut_spectra(frames, grid, displacement, envelope, threads, coarsest_A)


def _pattern(
    spectra: PatchSpectra,
    still_cross: FloatArray,
    moving: Candidate,
    powers: RingPowers,
    threads: int,
) -> FixedPattern:
    """The fixed pattern of the detector, given a candidate motion of the specimen."""
    path_px = moving.path_px
    if np.ptp(path_px, axis=0).max() < _MIN_MOTION_PX:
        path_px = np.zeros_like(path_px)
    found = measure(spectra, still_cross, path_px, powers)
    if found.is_harmful:
        return measure_closely(spectra, _whole(moving, spectra), path_px, powers, threads)
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
    held_out = []
    for half in (halves[1].fit, halves[0].fit):
        assert half.trajectory_px is not None
        held_out.append(
            refine.displacement_at(
                half.trajectory_px, half.field, spectra.grid.center_px, spectra.frame
            )
        )
    return Candidate(fit.trajectory_px, fit.field, (held_out[0], held_out[1]), halves)
