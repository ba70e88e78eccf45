"""Refine trajectory and field by likelihood, with all the signal that the movie has.

For frames F_t(k) = a_t(k) S(k) exp(-2 pi i k.d_t) + noise of power N(k), and a specimen S that is
unknown but of power P(k), the log-likelihood of the displacements is, up to a constant,

    log L(d) = sum_k W(k) |sum_t a_t(k) F_t(k) exp(+2 pi i k.d_t)|^2,
    W = P / (N (N + P sum_t a_t^2)),

over the independent coefficients k of each patch.  P and N are measured ring by ring on the frames
as currently aligned: fine rings count for nothing while the alignment is coarse and come in as it
improves.  Each round takes the gradient of log L, its expected curvature, and the priors of
`evidence`, and moves to the optimum of that quadratic.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flexalign.estimate import evidence
from flexalign.estimate.evidence import FieldPrior, Fit, PatchLikelihood, TrajectoryPrior
from flexalign.estimate.patch_spectra import (
    PatchSpectra,
    Sweep,
    pair_weight,
    rings_with_weight,
    sweep,
    sweep_together,
)
from flexalign.estimate.patches import PatchGrid
from flexalign.estimate.steps import Steps
from flexalign.model import FloatArray
from flexalign.motion import MotionField

_ROUNDS = 16
_FEWEST_ROUNDS = 4
# Rounds in which the priors are chosen anew, as more and more signal comes in; and in the end, when
# that was more than one round ago.
_PRIOR_ROUNDS = (1, 2, 4, 8)
_CONVERGED_PX = 0.01
# Rings over which signal power is averaged.
_SMOOTH_RINGS = 5
# From this trust on, twice what chance would give, a ring is said to have signal.
_SIGNAL_TRUST = 0.5
# So many times what chance would give a ring's signal must be to count at all, and in full.
_CHANCES_TRUSTED = (1.0, 3.0)
# A displacement may change by this many small pixels per round: half the finest wavelength.
_LARGEST_STEP_PX = 1.0
# Rings alternate between two halves in blocks of this many, for scores on unseen data.
HALF_BLOCK_RINGS = 4


@dataclass(frozen=True, slots=True, eq=False)
class RingPowers:
    """Signal power P, noise power N and likelihood weight W, each (rings,).

    `measured` is the signal power before it is smoothed over rings and clipped at zero, `trust`
    from 0 to 1 how clearly the smoothed one stands out from chance, a factor of the weight.
    """

    signal: FloatArray
    noise: FloatArray
    weight: FloatArray
    measured: FloatArray
    trust: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """The refined motion and what was decided on the way.

    Attributes
    ----------
    fit : trajectory and field, unbinned pixels
    trajectory_prior, field_prior : as chosen by the evidence; field_prior None without a field
    powers, ring_frequency_per_A : of the rings at the end
    rounds : number of rounds
    """

    fit: Fit
    trajectory_prior: TrajectoryPrior
    field_prior: FieldPrior | None
    powers: RingPowers
    ring_frequency_per_A: FloatArray
    rounds: int


def ring_powers(patches: PatchSpectra, found: Sweep) -> RingPowers:
    """Powers by ring from the sums over all patches, smoothed over rings and clipped at zero."""
    squared = patches.envelope**2  # (times, rings)
    pairs = pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * len(found.cross), 1)
    measured = found.cross.sum(axis=0) / (coefficients * pairs)
    signal = _smoothed(measured, patches.ring_count).clip(0)
    total = found.auto.sum(axis=0) / coefficients
    noise = (total - signal * (squared**2).sum(axis=0)) / squared.sum(axis=0)
    noise = np.maximum(noise, 1e-6 * noise.max(initial=1e-30))
    weight = signal / (noise * (noise + signal * squared.sum(axis=0)))
    # A ring whose signal does not stand out from chance says nothing.  At a sharp bound rings would
    # come and go from round to round, and the motion with them.
    chance = noise / np.sqrt(coefficients * pairs * _SMOOTH_RINGS)
    trust = np.interp(signal / chance, _CHANCES_TRUSTED, (0.0, 1.0))
    trust[patches.ring_count == 0] = 0
    return RingPowers(signal, noise, trust * weight, measured, trust)


def _smoothed(values: FloatArray, count: FloatArray) -> FloatArray:
    """Mean over neighbouring rings, each weighted by its number of coefficients."""
    window = np.ones(min(_SMOOTH_RINGS, len(count)))
    total = np.convolve(values * count, window, mode="same")
    return np.asarray(total / np.maximum(np.convolve(count, window, mode="same"), 1))


def _curvature(
    patches: PatchSpectra, found: Sweep, powers: RingPowers
) -> tuple[FloatArray, FloatArray]:
    """Expected negative second derivative of log L, per square Angstrom, in two factors.

    It has the form of a graph Laplacian: each pair of frames pulls on its difference with
    2 W P (2 pi k)^2 a_t^2 a_s^2 per coefficient, half of it along each axis.

    Returns
    -------
    strength : (patches,) common power of each patch relative to the mean
    laplacian : (times, times) of a patch of strength one
    """
    squared = patches.envelope**2
    weight, signal = powers.weight, powers.signal
    wave_per_A = 2 * np.pi * patches.ring_frequency_per_A
    per_ring = patches.ring_count * weight * signal * wave_per_A**2
    coupling = np.einsum("r,tr,sr->ts", per_ring, squared, squared)
    laplacian = np.diag(coupling.sum(axis=1)) - coupling
    pairs = pair_weight(patches.envelope)
    expected = (patches.ring_count * weight * signal * pairs).sum()
    strength = (found.cross * weight).sum(axis=1) / max(expected, 1e-30)
    return strength.clip(0.1, 10.0), laplacian


def effective_part(grid: PatchGrid) -> float:
    """Part of a tapered patch's coefficients that are independent."""
    window = grid.window.astype(np.float64)
    return float(1 / np.mean(window**4))


def patch_likelihood(
    patches: PatchSpectra,
    found: Sweep,
    powers: RingPowers,
    displacement_px: FloatArray,
) -> PatchLikelihood:
    """The quadratic that has the gradient found and the curvature expected."""
    strength, laplacian = _curvature(patches, found, powers)
    part = effective_part(patches.grid)
    precision = strength[:, None, None] * laplacian * (part * patches.pixel_size_A**2)
    linear = found.gradient * part + precision @ displacement_px
    return PatchLikelihood(patches.grid.center_px, patches.frame, precision, linear)


def displacement_at(
    path_px: FloatArray, field: MotionField | None, center_px: FloatArray, frame: npt.ArrayLike
) -> FloatArray:
    """Displacement (places, times, 2) of a path (times, 2) and a field at places (places, 2)."""
    total = np.repeat(path_px[None], len(center_px), axis=0)
    if field is not None:
        # All places have the same times, so the two factors are small.
        coefficients = field.coefficients_px.reshape(2, field.control_points[0], -1)
        in_time, in_space = field.basis_t(frame), evidence.space_basis(field, center_px)
        total = total + (in_time @ (coefficients @ in_space.T)).T  # (places, times, 2)
    return total


def chance_of_score(patches: PatchSpectra, powers: RingPowers, weight: FloatArray) -> float:
    """Standard deviation of sum W (|S|^2 - sum |X|^2) over all patches when there is only noise."""
    pairs = pair_weight(patches.envelope)
    coefficients = patches.ring_count * patches.count
    return float(np.sqrt((coefficients * pairs * (weight * powers.noise) ** 2).sum()))


def refine(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    shape: MotionField | None,
    threads: int = 1,
    rounds: int = _ROUNDS,
    first: Sweep | None = None,
) -> Refinement:
    """The most probable motion near displacements (patches, times, 2).

    Parameters
    ----------
    shape : a field of the wanted size, or None for a trajectory alone
    first : a sweep at `displacement_px`, if there has been one
    """
    first = first or sweep(patches, displacement_px, None, threads)
    climb = _climb(patches, displacement_px, shape, rounds, first)
    return _side_by_side(patches, [climb], len(patches.ring_frequency_per_A), threads)[0]


def refine_halves(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    shape: MotionField | None,
    whole: Refinement,
    threads: int = 1,
    rounds: int = _ROUNDS,
    first: Sweep | None = None,
) -> tuple[Refinement, Refinement]:
    """As `refine`, by the rings of either half alone, see `half_of_ring`.

    Parameters
    ----------
    whole : the refinement by all rings, whose priors are kept, and to whose rings these keep
    """
    first = first or sweep(patches, displacement_px, None, threads)
    rings = _rings_to_see(whole)
    halves = [_climb(patches, displacement_px, shape, rounds, first, whole, h) for h in (0, 1)]
    one, other = _side_by_side(patches, halves, rings, threads)
    return one, other


def _rings_to_see(whole: Refinement) -> int:
    """How many rings have a say in a refinement, those included that the smoothing reaches."""
    count = rings_with_weight(whole.powers.weight) + _SMOOTH_RINGS // 2
    return min(count, len(whole.powers.weight))


# A climb asks for a sweep at displacements with weights, is sent it, and returns where it ends.
_Climb = Generator[tuple[FloatArray, FloatArray], Sweep, Refinement]


def _side_by_side(
    patches: PatchSpectra, climbs: Sequence[_Climb], rings: int, threads: int
) -> list[Refinement]:
    """Where climbs end that share their sweeps over the first `rings` rings."""
    asked = {climb: next(climb) for climb in climbs}
    ends: dict[_Climb, Refinement] = {}
    while asked:
        places, weights = (list(part) for part in zip(*asked.values(), strict=True))
        swept = sweep_together(patches, places, weights, threads, rings)
        for climb, found in zip(list(asked), swept, strict=True):
            try:
                asked[climb] = climb.send(found)
            except StopIteration as end:
                ends[climb] = end.value
                del asked[climb]
    return [ends[climb] for climb in climbs]


def _climb(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    shape: MotionField | None,
    rounds: int,
    found: Sweep,
    whole: Refinement | None = None,
    half: int | None = None,
) -> _Climb:
    """Refine by all rings or, where they have been refined as a `whole`, by those of one `half`."""
    displacement, steps = displacement_px, Steps()
    chosen, is_settled, is_final = 0, False, whole is not None
    seen = np.ones(len(patches.ring_frequency_per_A), np.bool_)
    trajectory_prior, field_prior = TrajectoryPrior(), None
    if shape is not None:
        field_prior = FieldPrior(smooth_px=shape.width_px / 2)
    fewest = _FEWEST_ROUNDS
    if whole is not None:
        trajectory_prior, field_prior, fewest = whole.trajectory_prior, whole.field_prior, 1
        seen = half_of_ring(len(seen)) == half
        seen[_rings_to_see(whole) :] = False
    for done in range(1, rounds + 1):
        powers = ring_powers(patches, found)
        powers = replace(powers, weight=np.where(seen, powers.weight, 0.0))
        found = yield displacement, powers.weight
        data = patch_likelihood(patches, found, powers, displacement)
        if not is_final and (done in _PRIOR_ROUNDS or is_settled):
            steps, chosen, is_final = Steps(), done, is_settled
            trajectory_prior = evidence.choose_trajectory_prior(data, trajectory_prior)
            if shape is not None and field_prior is not None:
                field_prior = evidence.choose_field_prior(
                    data, trajectory_prior, shape, field_prior
                )
        prior = trajectory_prior, field_prior, shape
        fit = evidence.fit_motion(data, *prior, with_errors=False)
        assert fit.trajectory_px is not None
        wanted = displacement_at(
            fit.trajectory_px, fit.field, patches.grid.center_px, patches.frame
        )
        change = wanted - displacement
        change -= change.mean(axis=1, keepdims=True)
        limit = _LARGEST_STEP_PX * patches.scale.min()
        displacement = displacement + steps.next(displacement, change).clip(-limit, limit)
        is_settled = float(np.abs(change).max()) < _CONVERGED_PX and done >= fewest
        if is_settled and (is_final or done <= chosen + 1):
            break
    if whole is None:
        fit = evidence.fit_motion(data, *prior)
    return Refinement(
        fit, trajectory_prior, field_prior, powers, patches.ring_frequency_per_A, done
    )


def half_of_ring(count: int) -> npt.NDArray[np.int64]:
    """To which half, 0 or 1, each of `count` rings belongs: blocks of rings in turn."""
    return np.arange(count) // HALF_BLOCK_RINGS % 2


def finest_signal_A(powers: RingPowers, ring_frequency_per_A: FloatArray) -> float:
    """Resolution in Angstrom up to which rings have signal; NaN when none has.

    Rings beyond a gap as wide as the smoothing are there by chance.
    """
    used = np.flatnonzero(powers.trust >= _SIGNAL_TRUST)
    gaps = np.flatnonzero(np.diff(used) > _SMOOTH_RINGS)
    used = used[: gaps[0] + 1] if gaps.size else used
    return float(1 / ring_frequency_per_A[used[-1]]) if used.size else float("nan")
