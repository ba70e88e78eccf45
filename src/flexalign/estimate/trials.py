"""Result of an estimation from one start, and the choice among its candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.estimate import held_out_likelihood
from flexalign.estimate.bayes_factor import BayesFactor
from flexalign.estimate.fixed_pattern import FixedPattern
from flexalign.estimate.held_out_likelihood import HeldOut
from flexalign.estimate.refine import Refinement
from flexalign.estimate.starts import Start
from flexalign.model import FloatArray, SignalBand
from flexalign.motion import MotionField
from flexalign.quality_limits import LIMITS


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A candidate motion: a path (n, 2) with a field, in unbinned pixels.

    Attributes
    ----------
    halves_px : displacements (patches, times, 2) with which halves 0 and 1 of the data score it
    halves : refinements on each half; None = it was not refined
    """

    path_px: FloatArray
    field: MotionField | None
    halves_px: tuple[FloatArray, FloatArray]
    halves: tuple[Refinement, Refinement] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """All candidates from one start, and the one to keep.

    Attributes
    ----------
    chosen : name of the candidate to keep, see `best_candidate`; with a series prior, "refined"
    factor : Bayes factors of the refined motion, by all data; None if held-out data suffice or
        nothing was refined
    lost : indices of frames that are misaligned in the refined motion, where that is chosen
    halves_apart : RMS distance of the paths from the two half-sets of rings, in units of its
        standard error; NaN = not chosen
    log_posterior : of the refined motion, up to a constant common to all trials, with a series
        prior; else None
    direction : unit vector (y, x) of the only direction that the data determine; None = both
    jump_error_px : standard error (n,) along each axis by the unknown positions of jumps; None = it
        was not measured, the signal being strong
    """

    start: Start
    candidates: dict[str, Candidate]
    chosen: str
    held_out: HeldOut
    refinement: Refinement | None
    pattern: FixedPattern
    signal: tuple[SignalBand, ...]
    factor: BayesFactor | None
    lost: npt.NDArray[np.int64]
    halves_apart: float
    log_posterior: float | None = None
    direction: FloatArray | None = None
    jump_error_px: FloatArray | None = None

    @property
    def is_by_all_data(self) -> bool:
        """Whether the chosen motion is not significant on held-out data alone."""
        if self.log_posterior is not None:
            return False
        return self.chosen != "none" and self.held_out.best() == "none"

    @property
    def needs_average(self) -> bool:
        """Whether the signal is so weak that the motion is averaged over its posterior.

        With a prior from other tilts the powers are known without the motion.
        """
        is_single_movie = self.log_posterior is None
        has_both_axes = len(self.start.axes) == 2
        return is_single_movie and has_both_axes and not self.held_out.is_strong

    @property
    def pairwise_failed(self) -> bool:
        """Whether no pairwise motion explains held-out data significantly better than none."""
        return not any(
            self.held_out.is_significant(n) for n in ("global", "local") if n in self.candidates
        )

    def favours_no_motion_over(self, other: Trial) -> bool:
        """Whether the evidence for rest, in this trial, exceeds that for motion in another.

        Both are relative to no signal.  The other trial may include coarser rings, where spurious
        correlations are stronger; as it has all data of this one, real motion is more significant.
        """
        if self.factor is None or other.factor is None:
            return False
        return self.factor.log_signal - self.factor.log > other.factor.log_signal

    def is_significantly_better(self, other: Trial) -> bool:
        """Whether the chosen motion explains held-out data significantly better than the other."""
        scores = (t.held_out.over_none()[t.chosen] for t in (self, other))
        return next(scores) > next(scores) + held_out_likelihood.MIN_LOG_LIKELIHOOD_RATIO


def better(one: Trial, other: Trial) -> Trial:
    """The trial with the larger Bayes factor; `one` if they are equal.

    A trial that found motion is better than one that did not.  Without Bayes factors, the held-out
    scores of the chosen candidates decide.
    """
    if (one.chosen == "none") != (other.chosen == "none"):
        return other if one.chosen == "none" else one
    if one.factor is not None and other.factor is not None:
        return other if other.factor.log > one.factor.log else one
    return max(one, other, key=lambda trial: trial.held_out.score[trial.chosen])


def best_candidate(held_out: HeldOut, factor: BayesFactor | None, apart: float) -> str:
    """Name of the candidate to keep.

    Held-out data decide if they are significant or `factor` is None, otherwise all data.  A motion
    that only all data support is rejected if the two half-sets of rings disagree: for specimens
    with ambiguous displacements, a wrong motion may have a high evidence.

    Parameters
    ----------
    apart : distance of the paths from the two half-sets, see `halves_apart`; NaN = unknown
    """
    if factor is None or held_out.best() != "none":
        return held_out.best()
    return "none" if apart > LIMITS.halves_apart or not factor.is_significant else "refined"
