"""Bayes factor of motion against no motion, from all data with the motion integrated out.

Data held out for scoring a motion cannot be used to find it.  With few frames that is too great a
loss.  The marginal likelihood needs no held-out data: the Occam factor penalises a motion that
merely fits noise.

References
----------
Kass & Raftery, J. Am. Stat. Assoc. 90 (1995) 773.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from flexalign.estimate import evidence, refine
from flexalign.estimate.evidence import PatchLikelihood
from flexalign.estimate.patch_spectra import PatchSpectra, Sweep, sweep
from flexalign.estimate.prior_uncertainty import with_unknown_prior
from flexalign.estimate.priors import TrajectoryPrior
from flexalign.estimate.quadratic import patch_likelihood
from flexalign.estimate.refine import Refinement
from flexalign.estimate.spectral_powers import independent_share, weight_by_others
from flexalign.model import FloatArray
from flexalign.motion import MotionField

# A false motion is about as large as its standard error; a missed one stays in the image in full.
# With equal prior probabilities, a ratio of one would minimise the mean squared error.  The
# threshold is ten times that, to err on the side of no correction.
_MIN_LOG_FACTOR = math.log(10.0)
# A motion of fewer standard errors is not missed in the image, so a stricter threshold holds.
_MIN_STANDARD_ERRORS = 3.0
_MIN_LOG_FACTOR_OF_SMALL_MOTION = math.log(1e4)
# Without signal any motion may be found, so this threshold is stricter.
_MIN_LOG_FACTOR_OF_SIGNAL = math.log(1e4)
# Sizes of the drift in the mixture of priors, with equal weights.
_DRIFTS_A = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True, slots=True)
class BayesFactor:
    """Ratio of marginal likelihoods: with motion over without.

    Attributes
    ----------
    log : natural logarithm of the ratio to no motion
    log_signal : likewise, to frames without common signal
    is_small : whether the RMS of the path is less than three times that of its standard errors
    """

    log: float
    log_signal: float
    is_small: bool = False

    @property
    def is_significant(self) -> bool:
        """Whether both motion and signal are significant."""
        enough = _MIN_LOG_FACTOR_OF_SMALL_MOTION if self.is_small else _MIN_LOG_FACTOR
        return self.log > enough and self.log_signal > _MIN_LOG_FACTOR_OF_SIGNAL


def bayes_factor(
    patches: PatchSpectra,
    refinement: Refinement,
    shape: MotionField | None,
    still: Sweep,
    threads: int = 1,
) -> BayesFactor:
    """Bayes factors of motion near a refined one against no motion, and against no signal.

    Parameters
    ----------
    shape : of the field that was refined, None = trajectory only
    still : a sweep without motion

    Notes
    -----
    The likelihood is approximated by a Gaussian around the optimum (Laplace).  Motion and no motion
    have the same weights W = P / (N (N + A P)), A = sum a_t^2, with the power of each ring taken
    from the neighbouring rings: with its own power, noise that resembles signal would raise its
    weight.  A coefficient S of the sum of aligned frames has the log-likelihood
    W |S|^2 + log(1 - W N A) relative to noise alone.
    """
    fit, powers = refinement.fit, refinement.powers
    at_px = refine.displacement_of(fit, patches)
    found = sweep(patches, at_px, powers.weight, threads)
    data = patch_likelihood(patches, found, powers, at_px, refinement.axes)
    weight = weight_by_others(patches, powers)
    part = independent_share(patches.grid)
    # Eq. (9); the second term is the logarithm of the Occam factor.
    moved = (weight * found.cross).sum() - (weight * still.cross).sum()
    explained = weight * powers.patch_noise * (patches.envelope**2).sum(axis=0)
    spread = patches.ring_count * np.log1p(-explained.clip(max=1 - 1e-12))
    signal = (weight * (found.cross + found.auto) + spread).sum()
    occam = _log_occam(patches, data, refinement, shape, at_px)
    log, log_signal = part * float(moved) + occam, part * float(signal) + occam
    is_undecided = _MIN_LOG_FACTOR < log < _MIN_LOG_FACTOR_OF_SMALL_MOTION
    return BayesFactor(log, log_signal, is_undecided and _is_small(refinement, shape))


def _is_small(refinement: Refinement, shape: MotionField | None) -> bool:
    """Whether the path of a refined motion is small beside its standard errors."""
    path, fit = refinement.trajectory_prior, refinement.fit
    assert isinstance(path, TrajectoryPrior)
    fit = with_unknown_prior(fit, refinement.data, (path, refinement.field_prior), shape)
    assert fit.trajectory_px is not None
    assert fit.trajectory_error_px is not None
    variance = (fit.trajectory_px**2).sum() / (fit.trajectory_px.shape[0] * len(refinement.axes))
    return bool(variance < _MIN_STANDARD_ERRORS**2 * (fit.trajectory_error_px**2).mean())


def _log_occam(
    patches: PatchSpectra, data: PatchLikelihood, refinement: Refinement, shape: MotionField | None,
    at_px: FloatArray,
) -> float:  # fmt: skip
    """Logarithm of the Occam factor: marginal likelihood over the likelihood of motion `at_px`.

    The prior is an equal mixture over sizes of the drift.
    """
    prior = refinement.trajectory_prior
    assert isinstance(prior, TrajectoryPrior), "the prior of a series says how far it drifts"
    logs = np.array([
        evidence.fit_motion(
            data,
            replace(prior, drift_px=drift_A / patches.pixel_size_A),
            refinement.field_prior, shape, with_errors=False,
        ).log_evidence
        for drift_A in _DRIFTS_A
    ])  # fmt: skip
    along = at_px @ data.axes.T
    at_motion = (data.linear * along).sum() - 0.5 * np.einsum(
        "pti,pts,psi->", along, data.precision, along
    )
    return float(logsumexp(logs) - math.log(len(logs)) - at_motion)
