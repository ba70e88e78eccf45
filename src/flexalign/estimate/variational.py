"""Refinement of a weak signal, averaged over all motions that the data allow.

Where the motion is uncertain by more than a wavelength of fine detail, the powers of the rings
along the most probable motion are too large, as that motion is fitted to their noise, and so are
the weights and the curvature.  Here the posterior of the motion is approximated by the Gaussian of
least Kullback-Leibler divergence: its mean is where the mean gradient over the posterior is zero,
and its precision is the mean curvature.  The powers are those of a `smooth_spectrum` with the
motion integrated out (expectation maximisation).

References
----------
Opper & Archambeau, Neural Comput. 21 (2009) 786.  Dempster, Laird & Rubin, J. R. Stat. Soc. B 39
(1977) 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexalign.estimate import evidence, prior_choice, refine
from flexalign.estimate.candidates import spectra_along
from flexalign.estimate.direction import only_direction
from flexalign.estimate.evidence import PatchLikelihood
from flexalign.estimate.frame_agreement import lost_frames
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.jump_position import position_error_px
from flexalign.estimate.patch_spectra import PatchSpectra, Sweep, sweep, sweep_batch
from flexalign.estimate.priors import FieldPrior, TrajectoryPrior
from flexalign.estimate.quadratic import patch_likelihood
from flexalign.estimate.refine import Refinement
from flexalign.estimate.signal_bands import signal_bands
from flexalign.estimate.spectral_powers import RingPowers, half_of_ring, ring_powers
from flexalign.estimate.trials import Trial
from flexalign.model import FloatArray
from flexalign.motion import MotionField
from flexalign.params import AlignParams
from flexalign.plan import Plan

# Number of motions drawn from the posterior, in pairs of opposite deviations from its mean.
_SAMPLES = 16
_SEED = 1
_ROUNDS = 16
# Rounds in which the priors are chosen again.
_PRIOR_ROUNDS = (1, 2, 4, 8, _ROUNDS - 1)
# After this many rounds half of each step is taken, since the mean over few samples is noisy.
_FULL_STEPS = 6


def averaged_trial(
    trial: Trial, frames: SmallFrames, plan: Plan, params: AlignParams, threads: int
) -> Trial:
    """A trial whose refined motion is the mean of its posterior; unchanged if there is none."""
    refined, start, first = trial.candidates["refined"], trial.start, trial.refinement
    assert first is not None
    spectra = spectra_along(
        frames, plan, params, start.path_px, start.field, threads, start.coarsest_A
    )
    average = refine_average(spectra, first, refined.halves_px, refined.field, threads)
    found = first if average is None else average
    at_px, path_px = refine.displacement_of(found.fit, spectra), found.fit.trajectory_px
    assert path_px is not None
    assert isinstance(found.trajectory_prior, TrajectoryPrior)
    powers = ring_powers(spectra, sweep(spectra, at_px, None, threads))
    jumps = found.trajectory_prior.jump_frames
    trial = replace(trial, jump_error_px=position_error_px(spectra, at_px, jumps, powers, threads))
    if average is None:
        return trial
    kept = replace(refined, path_px=path_px, field=found.fit.field)
    return replace(
        trial,
        refinement=found,
        candidates={**trial.candidates, "refined": kept},
        signal=signal_bands(spectra, trial.held_out.still_cross, powers),
        lost=lost_frames(spectra, at_px, powers),
        direction=only_direction(spectra, at_px, powers),
    )


def refine_average(
    patches: PatchSpectra,
    start: Refinement,
    halves_px: tuple[FloatArray, FloatArray],
    shape: MotionField | None,
    threads: int = 1,
) -> Refinement | None:
    """The mean of the Gaussian posterior near a refined motion; None if rounds do not converge.

    Parameters
    ----------
    start : with priors of a single movie
    halves_px : displacements (patches, times, 2) for each half-set of rings, found without it
    shape : a field of the requested size, or None for a trajectory only
    """
    path, field = start.trajectory_prior, start.field_prior
    assert isinstance(path, TrajectoryPrior), "neighbouring tilts already tell the powers"
    at_px = refine.displacement_of(start.fit, patches)
    deviations_px = np.zeros((1, *at_px.shape))
    powers = _powers_held_out(patches, halves_px, threads)
    normal = _standard_normal(len(at_px[0]), shape, len(start.axes))
    for done in range(_ROUNDS):
        found = _mean_sweep(patches, at_px + deviations_px, powers, threads)
        data = patch_likelihood(
            patches, found, powers, at_px, start.axes, _variance_px2(deviations_px)
        )
        if done in _PRIOR_ROUNDS:
            path, field = prior_choice.choose_priors(data, path, shape, field)
        fit = evidence.fit_motion(data, path, field, shape, with_errors=done == _ROUNDS - 1)
        change_px = refine.displacement_of(fit, patches) - at_px
        at_px = at_px + _step_px(patches, change_px, done)
        if done > 0:  # the first sweep is along the most probable motion alone
            powers = ring_powers(patches, found, is_smooth=True)
        deviations_px = _deviations_px(patches, data, path, field, shape, normal)
    if np.abs(_centred(change_px)).max() > _max_step_px(patches):
        # With the motion integrated out hardly any signal is left, and the rounds diverge.
        return None
    return replace(
        start, fit=fit, trajectory_prior=path, field_prior=field, data=data, powers=powers,
        rounds=start.rounds + _ROUNDS,
    )  # fmt: skip


def _powers_held_out(
    patches: PatchSpectra, halves_px: tuple[FloatArray, FloatArray], threads: int
) -> RingPowers:
    """Powers of each ring along the motion found without it."""
    one, other = sweep_batch(patches, halves_px, [None, None], threads)
    half = half_of_ring(len(patches.ring_frequency_per_A))
    cross = np.where(half == 0, one.cross, other.cross)
    return ring_powers(patches, Sweep(one.gradient, cross, one.auto), is_smooth=True)


def _mean_sweep(
    patches: PatchSpectra, places_px: FloatArray, powers: RingPowers, threads: int
) -> Sweep:
    """Mean of the sweeps at displacements (samples, patches, times, 2)."""
    swept = sweep_batch(patches, list(places_px), [powers.weight] * len(places_px), threads)
    gradient = np.mean([one.gradient for one in swept], axis=0)
    cross = np.mean([one.cross for one in swept], axis=0)
    return Sweep(gradient, cross, swept[0].auto)


def _variance_px2(deviations_px: FloatArray) -> FloatArray:
    """Variance (times, times) per axis of the displacement between two frames, over patches."""
    apart_px = deviations_px[:, :, :, None] - deviations_px[:, :, None]
    return np.asarray((apart_px**2).mean(axis=(0, 1, 4)))


def _step_px(patches: PatchSpectra, change_px: FloatArray, done: int) -> FloatArray:
    """The step (patches, times, 2) for a change to the optimum of the quadratic."""
    limit_px = _max_step_px(patches)
    change_px = _centred(change_px).clip(-limit_px, limit_px)
    return np.asarray(change_px * (1.0 if done < _FULL_STEPS else 0.5))


def _max_step_px(patches: PatchSpectra) -> float:
    return refine.MAX_STEP_PX * float(patches.scale.min())


def _centred(displacement_px: FloatArray) -> FloatArray:
    """Displacements (patches, times, 2) without the mean over time of each patch."""
    return np.asarray(displacement_px - displacement_px.mean(axis=1, keepdims=True))


def _standard_normal(times: int, shape: MotionField | None, axes: int) -> FloatArray:
    """Numbers (samples, parameters, axes) of the standard normal distribution, in opposite pairs.

    They are the same in all rounds, so that the iteration converges.
    """
    size = times + (0 if shape is None else shape.coefficients_px[0].size)
    half = np.random.default_rng(_SEED).standard_normal((_SAMPLES // 2, size, axes))
    return np.concatenate([half, -half])


def _deviations_px(
    patches: PatchSpectra,
    data: PatchLikelihood,
    path: TrajectoryPrior,
    field: FieldPrior | None,
    shape: MotionField | None,
    normal: FloatArray,
) -> FloatArray:
    """Deviations (samples, patches, times, 2) of motions of the posterior from its mean."""
    drawn = evidence.posterior_deviations(data, path, field, shape, normal)
    center_px, frame = patches.grid.center_px, patches.frame
    return np.array([refine.displacement_at(*one, center_px, frame) for one in drawn])
