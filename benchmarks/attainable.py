"""The motion that our estimator would find with the signal and noise of the movie known.

It starts from the true motion, with powers measured along that, and chooses its priors by the
evidence.  No search and no wrong power spectrum adds to its error, which is the noise's and the
prior's share: about the least that any estimate of the same prior can have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from flexalign.arrays.device import resolve
from flexalign.estimate import evidence, pairwise, patches, prior_choice, refine
from flexalign.estimate.damage import damage_envelope
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import (
    COARSEST_RESOLUTION_A,
    PatchSpectra,
    cut_spectra,
    sweep,
)
from flexalign.estimate.priors import FieldPrior, TrajectoryPrior
from flexalign.estimate.spectral_powers import ring_powers
from flexalign.estimate.starts import empty_field
from flexalign.io.movies.open_movie import open_for
from flexalign.io.references import references_for
from flexalign.model import FloatArray
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.passes import first_pass
from flexalign.plan import make_plan

_ROUNDS = 24
_PRIOR_ROUNDS = (2, 6, 12)
_MAX_STEP_PX = 2.0
# The default coarsest detail, and that of the wider search.
COARSEST_A = (COARSEST_RESOLUTION_A, math.inf)


def attainable_motion(
    movie: Path, params: AlignParams, truth: Mapping[str, Any], coarsest_A: float
) -> Motion:
    """The motion from the true one, with rings as coarse as `coarsest_A`.

    Parameters
    ----------
    truth : what `numpy.load` reads from the ``_truth.npz`` of a simulated movie
    """
    threads = params.thread_count
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        frames, _ = first_pass(
            reader, plan, references_for(reader.info, params), params, threads, _silent,
            resolve("cpu", 0),
        )  # fmt: skip
    grid = patches.make_grid(frames, plan.patches)
    true_px = _true_px(truth, grid.center_px, frames)
    spectra = cut_spectra(
        frames, grid, true_px, damage_envelope(frames, plan, params), threads, coarsest_A
    )
    fit = _fit_from(true_px, spectra, empty_field(plan), threads)
    assert fit.trajectory_px is not None
    trajectory = pairwise.as_trajectory(
        fit.trajectory_px, frames.frame, frames.measured, plan.movie.frame_count, 0, None,
        frames.copies,
    )  # fmt: skip
    return Motion(trajectory, fit.field)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that is not shown."""


def _true_px(truth: Mapping[str, Any], center_px: FloatArray, frames: SmallFrames) -> FloatArray:
    """The true displacement (patches, times, 2) at places (patches, 2)."""
    displacement = truth["displacement_px"]
    axes = np.arange(len(displacement)), truth["lattice_y_px"], truth["lattice_x_px"]
    at = RegularGridInterpolator(axes, displacement, bounds_error=False, fill_value=None)
    places = [[(frame, y, x) for frame in frames.frame] for y, x in center_px]
    found = at(np.array(places))
    return np.asarray(found - found.mean(axis=1, keepdims=True))


def _fit_from(true_px: FloatArray, spectra: PatchSpectra, shape: Any, threads: int) -> evidence.Fit:
    """The most probable motion near the true one, with the powers along that."""
    powers = ring_powers(spectra, sweep(spectra, true_px, None, threads))
    path, field, at_px = TrajectoryPrior(), None, true_px
    if shape is not None:
        field = FieldPrior(smooth_px=shape.width_px / 2)
    for done in range(_ROUNDS):
        found = sweep(spectra, at_px, powers.weight, threads)
        data = refine.patch_likelihood(spectra, found, powers, at_px)
        if done in _PRIOR_ROUNDS:
            path = prior_choice.choose_trajectory_prior(data, path)
            if field is not None:
                field = prior_choice.choose_field_prior(data, path, shape, field)
        fit = evidence.fit_motion(data, path, field, shape, with_errors=False)
        assert fit.trajectory_px is not None
        change = refine.displacement_at(
            fit.trajectory_px, fit.field, spectra.grid.center_px, spectra.frame
        )
        change -= at_px
        change -= change.mean(axis=1, keepdims=True)
        at_px = at_px + change.clip(-_MAX_STEP_PX, _MAX_STEP_PX)
    return fit
