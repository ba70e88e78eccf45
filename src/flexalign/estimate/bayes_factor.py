"""Whether anything moved, by all data at once: a motion that is integrated out against rest.

Data kept unseen to judge a motion cannot help to find it.  Where frames are few that is too much to
lose.  The probability of all data with the motion integrated out needs none: a motion that fits
noise pays for every other one that it might have been.

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
from flexalign.estimate.priors import TrajectoryPrior
from flexalign.estimate.refine import Refinement
from flexalign.estimate.spectral_powers import independent_share, weight_by_others
from flexalign.model import FloatArray
from flexalign.motion import MotionField

# A motion that is kept for a specimen at rest is as small as its standard error; one that is missed
# is left in the image in full.  Were both equally probable beforehand, the mean squared error would
# be least with a threshold of one.  It is ten times that, to harm nothing.
_ENOUGH_FOR_MOTION = math.log(10.0)
# Where there is no signal any motion may be found, so that this has to be surer.
_ENOUGH_FOR_SIGNAL = math.log(1e4)
# How far motion may drift, all alike probable.
_DRIFTS_A = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True, slots=True)
class BayesFactor:
    """How much more probable all data are with a motion, whichever it is.

    Attributes
    ----------
    log : natural logarithm of the ratio to their probability at rest
    log_signal : likewise, to that of frames that have nothing in common
    """

    log: float
    log_signal: float

    @property
    def is_clear(self) -> bool:
        """Whether there is motion, and a signal."""
        return self.log > _ENOUGH_FOR_MOTION and self.log_signal > _ENOUGH_FOR_SIGNAL


def bayes_factor(
    patches: PatchSpectra,
    refinement: Refinement,
    shape: MotionField | None,
    still: Sweep,
    threads: int = 1,
) -> BayesFactor:
    """How much more probable motions around a refined one are than rest, and than no signal.

    Parameters
    ----------
    shape : of the field that was refined, None = a trajectory alone
    still : a sweep without motion

    Notes
    -----
    Around the optimum the likelihood is taken to be normal (Laplace).  Motion and rest have the
    same weights W = P / (N (N + A P)), A = sum a_t^2, with the power of each ring by the rings
    around it: by its own power, a ring would count the more, the more its noise looks like signal.
    A coefficient S of the sum of moved frames has the log-likelihood W |S|^2 + log(1 - W N A) over
    that of noise alone.
    """
    fit, powers = refinement.fit, refinement.powers
    assert fit.trajectory_px is not None
    at_px = refine.displacement_at(
        fit.trajectory_px, fit.field, patches.grid.center_px, patches.frame
    )
    found = sweep(patches, at_px, powers.weight, threads)
    data = refine.patch_likelihood(patches, found, powers, at_px, refinement.axes)
    weight = weight_by_others(patches, powers)
    part = independent_share(patches.grid)
    # Eq. (9); the second term is the logarithm of the Occam factor.
    moved = (weight * found.cross).sum() - (weight * still.cross).sum()
    explained = weight * powers.patch_noise * (patches.envelope**2).sum(axis=0)
    spread = patches.ring_count * np.log1p(-explained.clip(max=1 - 1e-12))
    signal = (weight * (found.cross + found.auto) + spread).sum()
    occam = _log_occam(patches, data, refinement, shape, at_px)
    return BayesFactor(part * float(moved) + occam, part * float(signal) + occam)


def _log_occam(
    patches: PatchSpectra, data: PatchLikelihood, refinement: Refinement, shape: MotionField | None,
    at_px: FloatArray,
) -> float:  # fmt: skip
    """Logarithm of the likelihood integrated over all motions, over that of the motion `at_px`.

    The prior is a mixture of equal parts, each with its own size of the drift.
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
