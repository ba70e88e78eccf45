"""Maximum a posteriori refinement of trajectory and field, with all signal of the movie.

For frames F_t(k) = a_t(k) S(k) exp(-2 pi i k.d_t) + noise of power N(k), and a specimen S that is
unknown but of power P(k), the log-likelihood of the displacements is, up to a constant,

    log L(d) = sum_k W(k) |sum_t a_t(k) F_t(k) exp(+2 pi i k.d_t)|^2,
    W = P / (N (N + P sum_t a_t^2)),

over the independent coefficients k of each patch.  P and N are measured ring by ring on the
currently aligned frames: fine rings have no weight while the alignment is coarse, and gain weight
as it improves.  d_t is the displacement of the specimen in frame t, and the phase factor shifts it
back.  Each round forms a quadratic from the gradient of log L, its expected curvature and the
`priors`, and moves to its optimum (Fisher scoring).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from flexalign.estimate import evidence, prior_choice
from flexalign.estimate.anderson import AndersonSteps
from flexalign.estimate.evidence import Fit, PatchLikelihood
from flexalign.estimate.patch_spectra import (
    PatchSpectra,
    Sweep,
    rings_with_weight,
    sweep,
    sweep_batch,
)
from flexalign.estimate.priors import FieldPrior, TrajectoryPrior
from flexalign.estimate.quadratic import BOTH_AXES, patch_likelihood
from flexalign.estimate.series_prior import MeasuredSignal, SeriesPath, SeriesPrior
from flexalign.estimate.spectral_powers import (
    SMOOTH_RINGS,
    RingPowers,
    half_of_ring,
    measured_signal,
    ring_powers,
)
from flexalign.model import FloatArray
from flexalign.motion import MotionField

_ROUNDS = 16
_MIN_ROUNDS = 4
# Rounds in which the priors are chosen again as more signal is used; also at the end, if the last
# choice was more than one round before.
_PRIOR_ROUNDS = (1, 2, 4, 8)
_CONVERGED_PX = 0.01
# A displacement may change by this many small pixels per round: half the finest wavelength.
MAX_STEP_PX = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """The refined motion, with the priors and powers it is based on.

    Attributes
    ----------
    fit : trajectory and field, unbinned pixels
    trajectory_prior, field_prior : as chosen by the evidence; field_prior None without a field
    powers, ring_frequency_per_A : of the rings at the end
    rounds : number of rounds
    data : quadratic log-likelihood of the patches at the end
    signal : signal power, for the priors of other tilts of a series
    axes : (axes, 2) unit vectors (y, x) along which there is motion
    """

    fit: Fit
    trajectory_prior: TrajectoryPrior | SeriesPath
    field_prior: FieldPrior | None
    powers: RingPowers
    ring_frequency_per_A: FloatArray
    rounds: int
    data: PatchLikelihood
    signal: MeasuredSignal
    axes: FloatArray = field(default_factory=lambda: BOTH_AXES)


def displacement_at(
    path_px: FloatArray, field: MotionField | None, center_px: FloatArray, frame: npt.ArrayLike
) -> FloatArray:
    """Displacement (places, times, 2) by path (times, 2) and field at positions (places, 2)."""
    total = np.repeat(path_px[None], len(center_px), axis=0)
    if field is not None:
        # All positions have the same times: two small products instead of one large one.
        coefficients = field.coefficients_px.reshape(2, field.control_points[0], -1)
        in_time, in_space = field.basis_t(frame), evidence.space_basis(field, center_px)
        total = total + (in_time @ (coefficients @ in_space.T)).T  # (places, times, 2)
    return total


def displacement_of(fit: Fit, patches: PatchSpectra) -> FloatArray:
    """Displacement (patches, times, 2) of a fitted motion at the centres of patches."""
    assert fit.trajectory_px is not None
    return displacement_at(fit.trajectory_px, fit.field, patches.grid.center_px, patches.frame)


def refine(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    shape: MotionField | None,
    threads: int = 1,
    rounds: int = _ROUNDS,
    first: Sweep | None = None,
    axes: FloatArray = BOTH_AXES,
    series: SeriesPrior | None = None,
) -> Refinement:
    """The most probable motion near displacements (patches, times, 2).

    Parameters
    ----------
    shape : a field of the requested size, or None for a trajectory only
    first : a sweep at `displacement_px`, if available
    axes : (axes, 2) unit vectors (y, x) along which there is motion
    series : priors from other tilts; None = priors are chosen by the evidence of this movie
    """
    first = first or sweep(patches, displacement_px, None, threads)
    ascent = _Ascent(patches, displacement_px, shape, rounds, first, axes, series=series)
    return _run_ascents(patches, [ascent], len(patches.ring_frequency_per_A), threads)[0]


def refine_halves(
    patches: PatchSpectra,
    displacement_px: FloatArray | tuple[FloatArray, FloatArray],
    shape: MotionField | None,
    whole: Refinement,
    threads: int = 1,
    rounds: int = _ROUNDS,
    first: Sweep | None = None,
) -> tuple[Refinement, Refinement]:
    """As `refine`, with each half-set of rings separately, see `half_of_ring`.

    Parameters
    ----------
    displacement_px : common start of both, or one start for each
    whole : the refinement with all rings, whose priors and rings are used
    first : a sweep at the common start, if available
    """
    rings = _used_ring_count(whole)
    starts = displacement_px if isinstance(displacement_px, tuple) else (displacement_px,) * 2
    firsts = sweep_batch(patches, starts, [None] * 2, threads) if first is None else [first, first]
    halves = [
        _Ascent(patches, start, shape, rounds, found, whole.axes, whole, half)
        for half, (start, found) in enumerate(zip(starts, firsts, strict=True))
    ]
    one, other = _run_ascents(patches, halves, rings, threads)
    return one, other


def _used_ring_count(whole: Refinement) -> int:
    """Number of rings up to the last with weight, plus the reach of the smoothing."""
    weight = whole.powers.weight
    return min(rings_with_weight(weight) + SMOOTH_RINGS // 2, int(weight.shape[-1]))


def _run_ascents(
    patches: PatchSpectra, ascents: Sequence[_Ascent], rings: int, threads: int
) -> list[Refinement]:
    """Results of several ascents with common sweeps over the first `rings` rings."""
    while running := [ascent for ascent in ascents if not ascent.is_done]:
        places, weights = (list(part) for part in zip(*(a.proposal for a in running), strict=True))
        swept = sweep_batch(patches, places, weights, threads, rings)
        for ascent, found in zip(running, swept, strict=True):
            ascent.accept(found)
    return [ascent.result() for ascent in ascents]


class _Ascent:
    """Iterative refinement with all rings or, given the result `whole` of that, with one `half`.

    It proposes the displacements of the next sweep, and accepts its result, until it is done.

    Attributes
    ----------
    is_done : whether it has converged or reached its number of `rounds`
    """

    def __init__(
        self,
        patches: PatchSpectra,
        displacement_px: FloatArray,
        shape: MotionField | None,
        rounds: int,
        found: Sweep,
        axes: FloatArray,
        whole: Refinement | None = None,
        half: int | None = None,
        series: SeriesPrior | None = None,
    ) -> None:
        self._patches, self._shape, self._axes = patches, shape, axes
        self._displacement_px, self._steps = displacement_px, AndersonSteps()
        self._rounds, self._done, self.is_done = rounds, 0, False
        # Round of the last choice of priors, and whether that is final.
        self._prior_round, self._is_settled, self._is_final = 0, False, whole is not None
        self._is_half = whole is not None
        self._used = np.ones(len(patches.ring_frequency_per_A), np.bool_)
        self._path_prior: TrajectoryPrior | SeriesPath = TrajectoryPrior()
        self._field_prior: FieldPrior | None = None
        self._min_rounds = _MIN_ROUNDS
        if shape is not None:
            self._field_prior = FieldPrior(smooth_px=shape.width_px / 2)
        if series is not None:
            self._path_prior = series.path
            self._field_prior = None if shape is None else series.field
        if whole is not None:
            self._path_prior, self._field_prior = whole.trajectory_prior, whole.field_prior
            self._min_rounds = 1
            self._used = half_of_ring(len(self._used)) == half
            self._used[_used_ring_count(whole) :] = False
        self._powers = self._powers_by(found)

    @property
    def proposal(self) -> tuple[FloatArray, FloatArray]:
        """Displacements (patches, times, 2) and weights (patches, rings) of the next sweep."""
        return self._displacement_px, self._powers.weight

    def accept(self, found: Sweep) -> None:
        """Take the sweep at the proposal, and move to the optimum of the quadratic around it."""
        self._done += 1
        self._data = patch_likelihood(
            self._patches, found, self._powers, self._displacement_px, self._axes
        )
        if not self._is_final and (self._done in _PRIOR_ROUNDS or self._is_settled):
            self._steps, self._prior_round, self._is_final = (
                AndersonSteps(), self._done, self._is_settled,
            )  # fmt: skip
            self._path_prior, self._field_prior = _best_priors(
                self._data, self._shape, self._path_prior, self._field_prior
            )
        change = self._optimum_px() - self._displacement_px
        change -= change.mean(axis=1, keepdims=True)
        limit = MAX_STEP_PX * self._patches.scale.min()
        step = self._steps.next(self._displacement_px, change).clip(-limit, limit)
        self._displacement_px = self._displacement_px + step
        self._is_settled = (
            float(np.abs(change).max()) < _CONVERGED_PX and self._done >= self._min_rounds
        )
        is_converged = self._is_settled and (self._is_final or self._done <= self._prior_round + 1)
        self.is_done = is_converged or self._done == self._rounds
        if not self.is_done:
            self._powers = self._powers_by(found)

    def result(self) -> Refinement:
        """The refined motion; with standard errors unless it is that of one half."""
        fit = self._fit
        if not self._is_half:
            fit = evidence.fit_motion(self._data, self._path_prior, self._field_prior, self._shape)
        return Refinement(
            fit, self._path_prior, self._field_prior, self._powers,
            self._patches.ring_frequency_per_A, self._done, self._data,
            measured_signal(self._patches, self._powers), self._axes,
        )  # fmt: skip

    def _powers_by(self, found: Sweep) -> RingPowers:
        """Powers from a sweep; rings that are not used have zero weight."""
        powers = ring_powers(self._patches, found)
        return replace(powers, weight=np.where(self._used, powers.weight, 0.0))

    def _optimum_px(self) -> FloatArray:
        """Displacements (patches, times, 2) at the posterior mode of the quadratic."""
        self._fit = evidence.fit_motion(
            self._data, self._path_prior, self._field_prior, self._shape, with_errors=False
        )
        return displacement_of(self._fit, self._patches)


def _best_priors(
    data: PatchLikelihood,
    shape: MotionField | None,
    path: TrajectoryPrior | SeriesPath,
    field_prior: FieldPrior | None,
) -> tuple[TrajectoryPrior | SeriesPath, FieldPrior | None]:
    """The priors of greatest evidence near those given; for a series prior, only its width."""
    if isinstance(path, SeriesPath):
        return path.with_best_width(data), field_prior
    return prior_choice.choose_priors(data, path, shape, field_prior)
