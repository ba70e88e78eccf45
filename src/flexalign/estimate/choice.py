"""Estimate the motion in each way that was asked for, and keep what explains unseen data best."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from flexalign.arrays import dose
from flexalign.estimate import evidence, pairwise, patches, quality, refine
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.refine import PatchSpectra, Refinement
from flexalign.model import FloatArray, PatchTracks
from flexalign.motion import Motion, MotionField
from flexalign.params import AlignParams
from flexalign.plan import Plan

_ROUNDS_PER_HALF = 4


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
    chosen : name of the candidate that was kept
    trajectory_error_px : standard error of a frame's displacement per axis, NaN when not refined
    rejected_pairs : part of the frame pairs that do not fit the trajectory
    refinement : None when not refined
    """

    motion: Motion
    tracks: PatchTracks | None
    scores: dict[str, float]
    chosen: str
    trajectory_error_px: float
    rejected_pairs: float
    refinement: Refinement | None


def estimate_motion(
    frames: SmallFrames,
    plan: Plan,
    params: AlignParams,
    threads: int,
    clock: Callable[[str], AbstractContextManager[None]],
) -> Estimate:
    """The motion of the specimen in `frames`."""
    with clock("pairwise"):
        small = frames.shrunk(plan.pairwise_shape_px, threads)
        path, pairs = pairwise.global_trajectory(
            small, params.max_resolution_A, params.max_shift_A, threads
        )
    tracks, field, shape = None, None, None
    if plan.control_points is not None:
        with clock("patches"):
            shape = _empty_field(plan)
            tracks, likelihood = patches.track_patches(
                small, path, plan.patches, plan.group_frames, params.max_resolution_A, threads
            )
            field = patches.fit_local_field(likelihood, shape)
    with clock("refinement"):
        spectra = _patch_spectra(frames, plan, params, path, field, threads)
        candidates = {
            "none": _from_pairs(np.zeros_like(path), None, spectra),
            "global": _from_pairs(path, None, spectra),
        }
        if field is not None:
            local = evidence.give_mean_to_path(path, field, spectra.grid.center_px, spectra.frame)
            candidates["local"] = _from_pairs(*local, spectra)
        start = candidates["global" if field is None else "local"]
        refinement, weight = None, refine.weight_at(spectra, start.halves_px[0], threads)
        if params.refine:
            refinement = refine.refine(spectra, start.halves_px[0], shape, threads=threads)
            weight = refinement.powers.weight
            candidates["refined"] = _from_refinement(refinement, spectra, start, shape, threads)
        scores = quality.held_out_scores(
            spectra,
            {name: c.halves_px for name, c in candidates.items()},
            weight,
            params.max_resolution_A,
            threads,
        )
    chosen = max(scores, key=lambda name: scores[name])
    kept = candidates[chosen]
    errors = None
    if chosen == "refined" and refinement is not None:
        errors = refinement.fit.trajectory_error_px
    return Estimate(
        motion=_as_motion(kept, frames, plan, params, errors),
        tracks=tracks,
        scores=scores,
        chosen=chosen,
        trajectory_error_px=float("nan") if errors is None else float(np.median(errors)),
        rejected_pairs=float(np.mean(pairs.weight == 0)),
        refinement=refinement,
    )


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
    per_frame = plan.dose_per_frame_e_A2
    envelope = None
    if per_frame is not None:
        middle = params.pre_exposure_e_A2 + per_frame * (frames.frame + 0.5)

        def envelope(frequency_per_A: FloatArray) -> FloatArray:
            return np.asarray(
                dose.exposure_weights(frequency_per_A, middle[:, None], params.voltage_kV),
                dtype=np.float64,
            )

    grid = patches.make_grid(frames, plan.patches)
    displacement = refine.displacement_at(path_px, field, grid.center_px, frames.frame)
    return refine.cut_spectra(frames, grid, displacement, envelope, threads)


def _from_pairs(path_px: FloatArray, field: MotionField | None, spectra: PatchSpectra) -> Candidate:
    """A candidate of the pairwise stage, which has seen neither half of the data."""
    at = refine.displacement_at(path_px, field, spectra.grid.center_px, spectra.frame)
    return Candidate(path_px, field, (at, at))


def _from_refinement(
    refinement: Refinement,
    spectra: PatchSpectra,
    start: Candidate,
    shape: MotionField | None,
    threads: int,
) -> Candidate:
    """The refined candidate, with its refinements on either half for the other to judge."""
    assert refinement.fit.trajectory_px is not None
    judged = []
    for other in (1, 0):
        half = refine.refine(
            spectra,
            start.halves_px[0],
            shape,
            half=other,
            threads=threads,
            rounds=_ROUNDS_PER_HALF,
            priors=(refinement.trajectory_prior, refinement.field_prior),
        ).fit
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
        kept.path_px, frames.frame, plan.movie.frame_count, reference, both
    )
    return Motion(trajectory, kept.field)


def _reference_frame(
    path_px: FloatArray, frames: SmallFrames, plan: Plan, params: AlignParams
) -> int:
    """The frame of zero displacement, zero-based in the file."""
    if plan.reference_frame is not None:
        return plan.reference_frame
    return int(frames.frame[pairwise.choose_reference(path_px, params.reference_frame)])
