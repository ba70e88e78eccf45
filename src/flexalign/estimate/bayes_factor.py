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
from flexalign.estimate.refine import Refinement
from flexalign.model import FloatArray
from flexalign.motion import MotionField

# A specimen at rest reaches such a logarithm once in 100 times at most: the ratio of two
# probabilities has the mean one under the hypothesis in its denominator.
_ENOUGH = math.log(100)
# Of all motions that might bring out a signal in noise alone, the best reaches so many standard
# deviations in few of a thousand movies.
_SIGNIFICANT = 8.0
# How far motion may drift, all alike probable.
_DRIFTS_A = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True, slots=True)
class BayesFactor:
    """How much more probable all data are with a motion, whichever it is, than at rest.

    Attributes
    ----------
    log : natural logarithm of the ratio
    significance : of the signal along the likeliest motion, in standard deviations of chance
    """

    log: float
    significance: float

    @property
    def is_clear(self) -> bool:
        """Whether there is motion, and a signal."""
        return self.log > _ENOUGH and self.significance > _SIGNIFICANT


def bayes_factor(
    patches: PatchSpectra,
    refinement: Refinement,
    shape: MotionField | None,
    still: Sweep,
    threads: int = 1,
) -> BayesFactor:
    """How much more probable motions around a refined one are than rest.

    Parameters
    ----------
    shape : of the field that was refined, None = a trajectory alone
    still : a sweep without motion

    Notes
    -----
    Around the optimum the likelihood is taken to be normal (Laplace).  Both hypotheses have the
    same weights, those of the motion with the power of each ring by the rings around it: by its own
    power, a ring would count the more, the more its noise looks like signal.
    """
    fit, powers = refinement.fit, refinement.powers
    assert fit.trajectory_px is not None
    at_px = refine.displacement_at(
        fit.trajectory_px, fit.field, patches.grid.center_px, patches.frame
    )
    found = sweep(patches, at_px, powers.weight, threads)
    data = refine.patch_likelihood(patches, found, powers, at_px)
    weight = refine.weight_by_others(patches, powers)
    part = refine.effective_part(patches.grid)
    gain = part * float(((found.cross - still.cross) * weight).sum())
    score = math.sqrt(part) * float((found.cross * weight).sum())
    chance = refine.chance_of_score(patches, powers, weight)
    return BayesFactor(
        gain + _log_occam(patches, data, refinement, shape, at_px),
        score / chance if chance > 0 else 0.0,
    )


def _log_occam(
    patches: PatchSpectra, data: PatchLikelihood, refinement: Refinement, shape: MotionField | None,
    at_px: FloatArray,
) -> float:  # fmt: skip
    """Logarithm of the likelihood integrated over all motions, over that of the motion `at_px`.

    The prior is a mixture of equal parts, each with its own size of the drift.
    """
    logs = np.array([
        evidence.fit_motion(
            data,
            replace(refinement.trajectory_prior, drift_px=drift_A / patches.pixel_size_A),
            refinement.field_prior, shape, with_errors=False,
        ).log_evidence
        for drift_A in _DRIFTS_A
    ])  # fmt: skip
    at_motion = (data.linear * at_px).sum() - 0.5 * np.einsum(
        "pti,pts,psi->", at_px, data.precision, at_px
    )
    return float(logsumexp(logs) - math.log(len(logs)) - at_motion)
