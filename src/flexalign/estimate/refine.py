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
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from flexalign.estimate import evidence
from flexalign.estimate.anderson import Steps
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
from flexalign.estimate.series_prior import ExpectedSignal, SeenSignal, SeriesPath, SeriesPrior
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
# Rings on either side by which a ring's power is told without itself.
_RINGS_BESIDE = 4
# From this trust on, twice what chance would give, a ring is said to have signal.
_SIGNAL_TRUST = 0.5
# So many times what chance would give a ring's signal must be to count at all, and in full.
_CHANCES_TRUSTED = (1.0, 3.0)
# Noise in no ring is less than this part of that in the finest ones, and in no patch less than this
# part of the mean.
_LEAST_NOISE = 0.5
_LEAST_LOUDNESS = 0.05
# The strength of a patch in a ring is that over the rings up to so many times as coarse or fine.
_STRENGTH_RATIO = 1.3
# Its scatter among patches is at least this, squared; and it lies between these.
_LEAST_SCATTER = 0.0025
_STRENGTHS = (0.02, 50.0)
# A displacement may change by this many small pixels per round: half the finest wavelength.
_LARGEST_STEP_PX = 1.0
# Unit vectors (y, x) of the directions in which there is motion.
_BOTH: FloatArray = np.eye(2)
# Rings alternate between two halves in blocks of this many, for scores on unseen data.
HALF_BLOCK_RINGS = 4


def _alike() -> FloatArray:
    """The factor of patches that are all alike."""
    return np.ones((1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class RingPowers:
    """Signal power P, noise power N and likelihood weight W by ring, and those of each patch.

    Attributes
    ----------
    signal, noise : (rings,) P and N, means over patches
    weight : (rings,) W of such a patch, or (patches, rings) that of each
    measured : (rings,) signal power before it is smoothed over rings and clipped at zero
    trust : (rings,) from 0 to 1, how clearly the smoothed one stands out from chance; a factor of
        the weight
    strength : (patches, rings) signal power of each patch over that mean; (1, 1) = all alike
    loudness : (patches, 1) noise power of each patch over that mean; (1, 1) = all alike
    """

    signal: FloatArray
    noise: FloatArray
    weight: FloatArray
    measured: FloatArray
    trust: FloatArray
    strength: FloatArray = field(default_factory=_alike)
    loudness: FloatArray = field(default_factory=_alike)

    @property
    def patch_signal(self) -> FloatArray:
        """Signal power of each patch (patches, rings)."""
        return self.strength * self.signal

    @property
    def patch_noise(self) -> FloatArray:
        """Noise power of each patch (patches, rings)."""
        return self.loudness * self.noise


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """The refined motion and what was decided on the way.

    Attributes
    ----------
    fit : trajectory and field, unbinned pixels
    trajectory_prior, field_prior : as chosen by the evidence; field_prior None without a field
    powers, ring_frequency_per_A : of the rings at the end
    rounds : number of rounds
    data : what the patches say, as a quadratic near the end
    seen : the signal, as it is told to other tilts of a series
    axes : (axes, 2) unit vectors (y, x) along which there is motion
    """

    fit: Fit
    trajectory_prior: TrajectoryPrior | SeriesPath
    field_prior: FieldPrior | None
    powers: RingPowers
    ring_frequency_per_A: FloatArray
    rounds: int
    data: PatchLikelihood
    seen: SeenSignal
    axes: FloatArray = field(default_factory=lambda: _BOTH)


def ring_powers(patches: PatchSpectra, found: Sweep) -> RingPowers:
    """Powers by ring, smoothed over rings and clipped at zero, and the weights of each patch."""
    squared = patches.envelope**2  # (times, rings)
    pairs = pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * len(found.cross), 1)
    measured = found.cross.sum(axis=0) / (coefficients * pairs)
    signal = _smoothed(measured, patches.ring_count, np.ones(_SMOOTH_RINGS)).clip(0)
    total = found.auto.sum(axis=0) / coefficients
    noise = (total - signal * (squared**2).sum(axis=0)) / squared.sum(axis=0)
    noise = np.maximum(noise, _least_noise(noise, patches.ring_count))
    trust = _trust(patches, signal, noise, _SMOOTH_RINGS)
    if patches.expected is not None:
        signal, trust = _with_expected(patches, patches.expected, signal, noise, trust)
    loudness = _loudness(patches, found)
    strength = _strength(patches, found, signal, noise, loudness)
    weight = _weight(patches, trust, strength * signal, loudness * noise)
    return RingPowers(signal, noise, weight, measured, trust, strength, loudness)


def _trust(
    patches: PatchSpectra, signal: FloatArray, noise: FloatArray, rings_together: int
) -> FloatArray:
    """How clearly the signal power of each ring stands out from chance, from 0 to 1.

    A ring whose signal does not says nothing.  At a sharp bound rings would come and go from round
    to round, and the motion with them.
    """
    pairs = pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * patches.count, 1)
    chance = noise / np.sqrt(coefficients * pairs * rings_together)
    trust = np.interp(signal / chance, _CHANCES_TRUSTED, (0.0, 1.0))
    return np.where(patches.ring_count > 0, trust, 0.0)


def _with_expected(
    patches: PatchSpectra,
    expected: ExpectedSignal,
    signal: FloatArray,
    noise: FloatArray,
    trust: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Signal power (rings,) and trust in it, once it is known what neighbours have.

    What is measured and what is expected count by their precisions.  Strong rings are known by
    themselves; faint ones, and those of frames that lie far off, by the neighbours.
    """
    pairs = pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * patches.count * _SMOOTH_RINGS, 1)
    variance = noise**2 / (coefficients * pairs)
    scale = noise_level(patches, noise) ** 2 / (patches.envelope**2).mean(axis=0)
    power, error = expected.seen.at(patches.ring_frequency_per_A)
    before = (error**2 + (expected.scatter * power) ** 2) * scale**2
    measured, known_by = 1 / np.maximum(variance, 1e-300), 1 / np.maximum(before, 1e-12 * variance)
    posterior = (signal * measured + power * scale * known_by) / (measured + known_by)
    known = np.interp(power / np.maximum(error, 1e-300), _CHANCES_TRUSTED, (0.0, 1.0))
    known = np.where(patches.ring_count > 0, known, 0.0)
    return np.asarray(posterior.clip(0)), np.where(np.isfinite(error), known, trust)


def expected_weight(patches: PatchSpectra, expected: ExpectedSignal) -> FloatArray:
    """Weight W (rings,) of the likelihood by what neighbours have, the same for all motions.

    Noise is all power that there is.
    """
    squared = patches.envelope**2
    coefficients = np.maximum(patches.ring_count * patches.count, 1)
    noise = patches.power.sum(axis=0) / coefficients / squared.sum(axis=0)
    noise = np.maximum(noise, _least_noise(noise, patches.ring_count))
    power, error = expected.seen.at(patches.ring_frequency_per_A)
    known = np.interp(power / np.maximum(error, 1e-300), _CHANCES_TRUSTED, (0.0, 1.0))
    signal = power * noise_level(patches, noise) ** 2 / squared.mean(axis=0)
    weight = known * signal / (noise * (noise + signal * squared.sum(axis=0)))
    return np.asarray(np.where(patches.ring_count > 0, weight, 0.0))


def noise_level(patches: PatchSpectra, noise: FloatArray) -> float:
    """Noise power of the finest quarter of the rings."""
    used = np.flatnonzero(patches.ring_count)
    return float(np.median(noise[used[3 * len(used) // 4 :]]))


def seen_signal(patches: PatchSpectra, powers: RingPowers) -> SeenSignal:
    """The signal of a movie as it tells its neighbours of it."""
    squared, pairs = (patches.envelope**2).mean(axis=0), pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * patches.count, 1)
    scale = squared / noise_level(patches, powers.noise) ** 2
    error = powers.noise / np.sqrt(coefficients * pairs)
    error = np.where(patches.ring_count > 0, error, np.inf)
    return SeenSignal(patches.ring_frequency_per_A, powers.measured * scale, error * scale)


def _weight(
    patches: PatchSpectra, trust: FloatArray, signal: FloatArray, noise: FloatArray
) -> FloatArray:
    """Weight W (patches, rings) of the likelihood for powers of each patch."""
    summed = (patches.envelope**2).sum(axis=0)
    return np.asarray(trust * signal / (noise * (noise + signal * summed)))


def weight_by_others(patches: PatchSpectra, powers: RingPowers) -> FloatArray:
    """Weight (patches, rings) whose signal power is that of the rings around each but itself.

    By its own power a ring would count the more, the more noise happens to look like signal there.
    """
    window = np.ones(2 * _RINGS_BESIDE + 1)
    window[_RINGS_BESIDE] = 0
    signal = _smoothed(powers.measured, patches.ring_count, window).clip(0)
    trust = _trust(patches, signal, powers.noise, 2 * _RINGS_BESIDE)
    return _weight(patches, trust, powers.strength * signal, powers.patch_noise)


def _least_noise(noise: FloatArray, count: FloatArray) -> float:
    """The least that noise can be in any ring.

    The noise of a detector hardly falls toward coarse rings.  What seems to be far less of it is a
    signal that radiation leaves as it is, so that frames share more than the dose says.
    """
    used = np.flatnonzero(count)
    finest = noise[used[3 * len(used) // 4 :]]
    usual = float(np.median(finest)) if finest.size else 0.0
    return max(_LEAST_NOISE * usual, 1e-6 * float(noise.max(initial=0.0)), 1e-30)


def _loudness(patches: PatchSpectra, found: Sweep) -> FloatArray:
    """Noise power (patches, 1) of each patch over the mean, by the finest rings."""
    used = np.flatnonzero(patches.ring_count)
    power = found.auto[:, used[3 * len(used) // 4 :]].sum(axis=1, keepdims=True)
    return np.asarray((power / max(float(power.mean()), 1e-30)).clip(_LEAST_LOUDNESS))


def _strength(
    patches: PatchSpectra, found: Sweep, signal: FloatArray, noise: FloatArray, loudness: FloatArray
) -> FloatArray:
    """Signal power (patches, rings) of each patch over the mean, as far as it can be told.

    What is measured over the rings around each is shrunk to one, the more the less of the scatter
    among patches is more than chance (empirical Bayes).
    """
    rings = np.arange(len(signal))
    first = np.floor(rings / _STRENGTH_RATIO).astype(np.int64)
    last = np.minimum(np.ceil(rings * _STRENGTH_RATIO).astype(np.int64) + 1, len(rings))

    def around(values: FloatArray) -> FloatArray:
        total = np.cumsum(np.concatenate([0 * values[..., :1], values], axis=-1), axis=-1)
        return np.asarray(total[..., last] - total[..., first])

    # Each ring counts by what it says about the strength.
    says = signal / noise**2
    expected = around(patches.ring_count * pair_weight(patches.envelope) * signal * says)
    is_known = expected > 0
    expected = np.where(is_known, expected, 1.0)
    strength = around(found.cross * says) / expected
    variance = loudness**2 / (expected * effective_part(patches.grid))
    scatter = np.mean((strength - 1) ** 2 - variance, axis=0).clip(_LEAST_SCATTER)
    shrunk = (strength * scatter + variance) / (scatter + variance)
    return np.where(is_known, shrunk, 1.0).clip(*_STRENGTHS)


def _smoothed(values: FloatArray, count: FloatArray, window: FloatArray) -> FloatArray:
    """Mean over a window of rings, each weighted by its number of coefficients."""
    beyond = max(0, len(window) - len(count))
    window = window[beyond // 2 : len(window) - (beyond + 1) // 2]
    total = np.convolve(values * count, window, mode="same")
    return np.asarray(total / np.maximum(np.convolve(count, window, mode="same"), 1))


def _curvature(patches: PatchSpectra, powers: RingPowers) -> FloatArray:
    """Expected negative second derivative of log L (patches, times, times), per square Angstrom.

    It has the form of a graph Laplacian: each pair of frames pulls on its difference with
    2 W P (2 pi k)^2 a_t^2 a_s^2 per coefficient, half of it along each axis.
    """
    squared = patches.envelope**2
    wave_per_A = 2 * np.pi * patches.ring_frequency_per_A
    per_ring = patches.ring_count * powers.weight * powers.patch_signal * wave_per_A**2
    per_ring = np.broadcast_to(per_ring, (patches.count, len(wave_per_A)))
    coupling = (squared * per_ring[:, None, :]) @ squared.T
    diagonal = np.arange(len(squared))
    laplacian = -coupling
    laplacian[:, diagonal, diagonal] += coupling.sum(axis=2)
    return np.asarray(laplacian)


def effective_part(grid: PatchGrid) -> float:
    """Part of a tapered patch's coefficients that are independent."""
    squared = grid.window.ravel() ** 2
    return float(squared.size / (squared @ squared))


def patch_likelihood(
    patches: PatchSpectra,
    found: Sweep,
    powers: RingPowers,
    displacement_px: FloatArray,
    axes: FloatArray = _BOTH,
) -> PatchLikelihood:
    """The quadratic that has the gradient found and the curvature expected, along `axes`.

    All signal that there is speaks for a single axis, half of it for each of two.
    """
    part = effective_part(patches.grid)
    precision = _curvature(patches, powers) * (part * patches.pixel_size_A**2 * 2 / len(axes))
    linear = (found.gradient @ axes.T) * part + precision @ (displacement_px @ axes.T)
    return PatchLikelihood(patches.grid.center_px, patches.frame, precision, linear, axes)


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
    variance = patches.ring_count * pairs * (weight * powers.patch_noise) ** 2
    return float(np.sqrt(np.broadcast_to(variance, (patches.count, len(pairs))).sum()))


def refine(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    shape: MotionField | None,
    threads: int = 1,
    rounds: int = _ROUNDS,
    first: Sweep | None = None,
    axes: FloatArray = _BOTH,
    series: SeriesPrior | None = None,
) -> Refinement:
    """The most probable motion near displacements (patches, times, 2).

    Parameters
    ----------
    shape : a field of the wanted size, or None for a trajectory alone
    first : a sweep at `displacement_px`, if there has been one
    axes : (axes, 2) unit vectors (y, x) along which there is motion
    series : the priors, where neighbours tell them; None = the evidence of the movie chooses them
    """
    first = first or sweep(patches, displacement_px, None, threads)
    climb = _climb(patches, displacement_px, shape, rounds, first, axes, series=series)
    return _side_by_side(patches, [climb], len(patches.ring_frequency_per_A), threads)[0]


def refine_halves(
    patches: PatchSpectra,
    displacement_px: FloatArray | tuple[FloatArray, FloatArray],
    shape: MotionField | None,
    whole: Refinement,
    threads: int = 1,
    rounds: int = _ROUNDS,
    first: Sweep | None = None,
) -> tuple[Refinement, Refinement]:
    """As `refine`, by the rings of either half alone, see `half_of_ring`.

    Parameters
    ----------
    displacement_px : where both start, or one start for each
    whole : the refinement by all rings, whose priors are kept, and to whose rings these keep
    first : a sweep where both start, if there has been one
    """
    rings = _rings_to_see(whole)
    starts = displacement_px if isinstance(displacement_px, tuple) else (displacement_px,) * 2
    if first is None:
        firsts = sweep_together(patches, starts, [None] * 2, threads)
    else:
        firsts = [first, first]
    halves = [
        _climb(patches, start, shape, rounds, found, whole.axes, whole, half)
        for half, (start, found) in enumerate(zip(starts, firsts, strict=True))
    ]
    one, other = _side_by_side(patches, halves, rings, threads)
    return one, other


def _rings_to_see(whole: Refinement) -> int:
    """How many rings have a say in a refinement, those included that the smoothing reaches."""
    weight = whole.powers.weight
    return min(rings_with_weight(weight) + _SMOOTH_RINGS // 2, int(weight.shape[-1]))


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
    axes: FloatArray,
    whole: Refinement | None = None,
    half: int | None = None,
    series: SeriesPrior | None = None,
) -> _Climb:
    """Refine by all rings or, where they have been refined as a `whole`, by those of one `half`."""
    displacement, steps = displacement_px, Steps()
    chosen, is_settled, is_final = 0, False, whole is not None
    seen = np.ones(len(patches.ring_frequency_per_A), np.bool_)
    trajectory_prior: TrajectoryPrior | SeriesPath = TrajectoryPrior()
    field_prior = None
    if shape is not None:
        field_prior = FieldPrior(smooth_px=shape.width_px / 2)
    if series is not None:
        trajectory_prior, field_prior = series.path, None if shape is None else series.field
    fewest = _FEWEST_ROUNDS
    if whole is not None:
        trajectory_prior, field_prior, fewest = whole.trajectory_prior, whole.field_prior, 1
        seen = half_of_ring(len(seen)) == half
        seen[_rings_to_see(whole) :] = False
    for done in range(1, rounds + 1):
        powers = ring_powers(patches, found)
        powers = replace(powers, weight=np.where(seen, powers.weight, 0.0))
        found = yield displacement, powers.weight
        data = patch_likelihood(patches, found, powers, displacement, axes)
        if not is_final and (done in _PRIOR_ROUNDS or is_settled):
            steps, chosen, is_final = Steps(), done, is_settled
            trajectory_prior, field_prior = _chosen(data, shape, trajectory_prior, field_prior)
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
        fit, trajectory_prior, field_prior, powers, patches.ring_frequency_per_A, done, data,
        seen_signal(patches, powers), axes,
    )  # fmt: skip


def _chosen(
    data: PatchLikelihood,
    shape: MotionField | None,
    path: TrajectoryPrior | SeriesPath,
    field_prior: FieldPrior | None,
) -> tuple[TrajectoryPrior | SeriesPath, FieldPrior | None]:
    """The priors of greatest evidence near those given; of a series, how wide it is."""
    if isinstance(path, SeriesPath):
        return path.as_wide_as(data), field_prior
    path = evidence.choose_trajectory_prior(data, path)
    if shape is not None and field_prior is not None:
        field_prior = evidence.choose_field_prior(data, path, shape, field_prior)
    return path, field_prior


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
