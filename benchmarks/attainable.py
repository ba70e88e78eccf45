"""The motion that our estimator would find with the signal and noise of the movie known.

It starts from the true motion, with powers measured along that, and chooses its priors by the
evidence.  No search and no wrong power spectrum adds to its error, so what noise and prior leave
remains.  A fixed pattern of the detector is not removed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flexalign.estimate import evidence, pairwise, patches, prior_choice, refine
from flexalign.estimate.damage import damage_envelope
from flexalign.estimate.patch_spectra import (
    COARSEST_RESOLUTION_A,
    PatchSpectra,
    cut_spectra,
    sweep,
)
from flexalign.estimate.priors import FieldPrior, TrajectoryPrior
from flexalign.estimate.quadratic import patch_likelihood
from flexalign.estimate.spectral_powers import ring_powers
from flexalign.estimate.starts import empty_field
from flexalign.io.motion_formats.truth import read_truth, true_motion
from flexalign.model import FloatArray
from flexalign.motion import Motion, MotionField
from flexalign.params import AlignParams
from flexalign.progress import silent
from flexalign.scoring.ring_sums import Places, displacements_px
from flexalign.scoring.score_movie import after_first_pass

_ROUNDS = 24
_PRIOR_ROUNDS = (2, 6, 12)
_MAX_STEP_PX = 2.0
# The default coarsest detail, and that of the wider search.
_COARSEST_A = (COARSEST_RESOLUTION_A, math.inf)


def attainable_motions(movie: Path, truth: Path, params: AlignParams) -> Iterator[Motion]:
    """The motion from the true one, for each choice of the coarsest detail.

    Parameters
    ----------
    truth : the ``_truth.npz`` of a simulated movie
    """
    threads = params.thread_count
    with after_first_pass(movie, params, silent) as read:
        frames, plan = read.frames, read.plan
    grid = patches.make_grid(frames, plan.patches)
    index = (frames.measured - plan.align.first) // plan.frames_per_time
    places = Places(grid.center_px, np.unique(index, return_inverse=True)[1])
    true_px = displacements_px(true_motion(read_truth(truth)), frames, places)
    envelope = damage_envelope(frames, plan, params)
    for coarsest_A in _COARSEST_A:
        spectra = cut_spectra(frames, grid, true_px, envelope, threads, coarsest_A)
        fit = _fit_from(true_px, spectra, empty_field(plan), threads)
        assert fit.trajectory_px is not None
        trajectory = pairwise.as_trajectory(
            fit.trajectory_px, frames.frame, frames.measured, plan.movie.frame_count, 0, None,
            frames.copies,
        )  # fmt: skip
        yield Motion(trajectory, fit.field)


def _fit_from(
    true_px: FloatArray, spectra: PatchSpectra, shape: MotionField | None, threads: int
) -> evidence.Fit:
    """The most probable motion near the true one, with the powers along that."""
    powers = ring_powers(spectra, sweep(spectra, true_px, None, threads))
    path, at_px = TrajectoryPrior(), true_px
    field = None if shape is None else FieldPrior(smooth_px=shape.width_px / 2)
    for done in range(_ROUNDS):
        found = sweep(spectra, at_px, powers.weight, threads)
        data = patch_likelihood(spectra, found, powers, at_px)
        if done in _PRIOR_ROUNDS:
            path, field = prior_choice.choose_priors(data, path, shape, field)
        fit = evidence.fit_motion(data, path, field, shape, with_errors=False)
        optimum_px = refine.displacement_of(fit, spectra)
        change = optimum_px - at_px
        change -= change.mean(axis=1, keepdims=True)
        at_px = at_px + change.clip(-_MAX_STEP_PX, _MAX_STEP_PX)
    return fit
