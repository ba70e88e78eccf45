"""What a start has led to, and which of its candidates is kept."""

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
    """One motion that might be kept: a path (n, 2) with a field, in unbinned pixels.

    Attributes
    ----------
    halves_px : displacements (patches, times, 2) by which each half of the data judges it
    halves : what the refinement by either half has found; None = it was not refined
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
    chosen : name of the candidate to keep, see `best_candidate`; of a series, the most probable
        motion
    factor : by all data, of the refined motion against none; None = unseen data are sure enough,
        or nothing was refined
    lost : positions of the times that do not agree with the others along the refined motion, where
        that is chosen
    halves_apart : how far its halves are apart, over what their errors allow; NaN = not chosen
    log_posterior : of the refined motion, up to a constant that all trials share, where the prior
        is that of a series; else None
    direction : the only one (y, x) in which the data tell of displacements; None = in both
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

    @property
    def is_by_all_data(self) -> bool:
        """Whether unseen data alone are not clear about what is chosen."""
        if self.log_posterior is not None:
            return False
        return self.chosen != "none" and self.held_out.best() == "none"

    @property
    def pairs_led_astray(self) -> bool:
        """Whether no motion of the pairs explains unseen data clearly better than none."""
        return not any(
            self.held_out.is_clear(n) for n in ("global", "local") if n in self.candidates
        )

    def is_unmoved_rather_than(self, other: Trial) -> bool:
        """Whether rest explains these data better than the motion of another trial its own.

        Both over no signal.  The other one may look at coarser rings, too, in which chance has more
        in common; it sees all that is seen here, so that a motion which is there stands out more.
        """
        if self.factor is None or other.factor is None:
            return False
        return self.factor.log_signal - self.factor.log > other.factor.log_signal

    def is_clearly_better(self, other: Trial) -> bool:
        """Whether what this one has chosen explains unseen data clearly better."""
        scores = (t.held_out.over_none()[t.chosen] for t in (self, other))
        return next(scores) > next(scores) + held_out_likelihood.ENOUGH_EVIDENCE


def better(one: Trial, other: Trial) -> Trial:
    """The trial that makes the data more probable, all of them together; the first of two equals.

    One that has found a motion is better than one that has not.  Where unseen data are sure, the
    one whose chosen candidate predicts them better.
    """
    if (one.chosen == "none") != (other.chosen == "none"):
        return other if one.chosen == "none" else one
    if one.factor is not None and other.factor is not None:
        return other if other.factor.log > one.factor.log else one
    return max(one, other, key=lambda trial: trial.held_out.score[trial.chosen])


def best_candidate(held_out: HeldOut, factor: BayesFactor | None, apart: float) -> str:
    """Name of the candidate to keep.

    Unseen data tell where they are clear, or bring out so much signal that they are sure; else all
    of the data.
    What all data have found is not kept where either half of the rings leads elsewhere: specimens
    that look the same after many displacements make a wrong motion probable.

    Parameters
    ----------
    apart : distance of the paths by either half, see `halves_apart`; NaN = not known
    """
    if factor is None or held_out.best() != "none":
        return held_out.best()
    return "none" if apart > LIMITS.halves_apart or not factor.is_clear else "refined"
