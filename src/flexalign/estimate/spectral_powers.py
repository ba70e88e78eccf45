"""Signal and noise power of the patches by Fourier ring, and the likelihood's weights.

Symbols are those of section 4 of ``docs/explanation/estimation.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from flexalign.estimate import smooth_spectrum
from flexalign.estimate.patch_spectra import PatchSpectra, Sweep, pair_weight
from flexalign.estimate.patches import PatchGrid
from flexalign.estimate.series_prior import ExpectedSignal, MeasuredSignal
from flexalign.model import FloatArray

# Rings over which signal power is averaged.
SMOOTH_RINGS = 5
# Standard deviations by which a ring must differ from the mean over rings to keep its own power.
_DETAIL_SIGNIFICANCE = 3.0
# Rings on either side from which a ring's power is estimated without itself.
_RINGS_BESIDE = 4
# Minimum trust of a ring with signal: twice the noise standard deviation.
_SIGNAL_TRUST = 0.5
# Ratios of a ring's signal to its noise standard deviation for zero and for full trust.
_NOISE_RATIOS_TRUSTED = (1.0, 3.0)
# Minimum noise of a ring relative to the finest ones, and of a patch relative to the mean.
_MIN_RELATIVE_NOISE = 0.5
_MIN_NOISE_RATIO = 0.05
# The strength of a patch in a ring is averaged over frequencies up to this factor apart.
_STRENGTH_RATIO = 1.3
# Minimum variance of the strength among patches, and limits of the strength.
_MIN_SCATTER = 0.0025
_STRENGTHS = (0.02, 50.0)
# Rings alternate between the two half-sets in blocks of this many.
HALF_BLOCK_RINGS = 4


def _uniform() -> FloatArray:
    """The factor when all patches are alike."""
    return np.ones((1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class RingPowers:
    """Signal power P, noise power N and likelihood weight W by ring, and those of each patch.

    Attributes
    ----------
    signal, noise : (rings,) P and N, means over patches
    weight : (rings,) W of a mean patch, or (patches, rings) of each
    measured : (rings,) signal power before smoothing over rings and clipping at zero
    trust : (rings,) from 0 to 1, by the significance of the smoothed power; a factor of the weight
    strength : (patches, rings) signal power of each patch relative to the mean; (1, 1) = all alike
    relative_noise : (patches, 1) noise power of each patch relative to the mean; (1, 1) = all alike
    """

    signal: FloatArray
    noise: FloatArray
    weight: FloatArray
    measured: FloatArray
    trust: FloatArray
    strength: FloatArray = field(default_factory=_uniform)
    relative_noise: FloatArray = field(default_factory=_uniform)

    @property
    def patch_signal(self) -> FloatArray:
        """Signal power of each patch (patches, rings)."""
        return self.strength * self.signal

    @property
    def patch_noise(self) -> FloatArray:
        """Noise power of each patch (patches, rings)."""
        return self.relative_noise * self.noise


def ring_powers(patches: PatchSpectra, found: Sweep, *, is_smooth: bool = False) -> RingPowers:
    """Powers by ring, smoothed over rings and clipped at zero, and the weights of each patch.

    If the spectrum `is_smooth`, that is the prior of the powers instead of the mean over rings, and
    all rings are trusted: noise is less often taken for signal.

    With a prior from other tilts all rings of a patch are used.  The coarsest, where gold has most
    of its signal, differ by more than noise and keep their own power.
    """
    squared = patches.envelope**2  # (times, rings)
    pairs = pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * len(found.cross), 1)
    measured = found.cross.sum(axis=0) / (coefficients * pairs)
    signal = _smoothed(measured, patches.ring_count, np.ones(SMOOTH_RINGS)).clip(0)
    total = found.auto.sum(axis=0) / coefficients
    if patches.expected is not None:
        variance = noise_level(patches, total / squared.sum(axis=0)) ** 2 / (coefficients * pairs)
        signal = with_significant_detail(signal, measured, variance).clip(0)
    noise = (total - signal * (squared**2).sum(axis=0)) / squared.sum(axis=0)
    noise = np.maximum(noise, _noise_floor(noise, patches.ring_count))
    trust = _trust(patches, signal, noise, SMOOTH_RINGS)
    if is_smooth:
        signal = _smooth_signal(patches, measured, noise)
        trust = (patches.ring_count > 0).astype(np.float64)
    if patches.expected is not None:
        signal, trust = _with_expected(patches, patches.expected, signal, noise, trust)
    relative_noise = _relative_noise(patches, found)
    strength = _strength(patches, found.cross, signal, noise, relative_noise)
    weight = _weight(patches, trust, strength * signal, relative_noise * noise)
    return RingPowers(signal, noise, weight, measured, trust, strength, relative_noise)


def with_significant_detail(
    smooth: FloatArray, measured: FloatArray, variance: FloatArray
) -> FloatArray:
    """Smoothed values, moved toward the measured ones where they differ by more than noise."""
    squared = (measured - smooth) ** 2
    excess = (squared - _DETAIL_SIGNIFICANCE**2 * variance).clip(0)
    return np.asarray(smooth + (measured - smooth) * excess / np.maximum(squared, 1e-300))


def _smooth_signal(patches: PatchSpectra, measured: FloatArray, noise: FloatArray) -> FloatArray:
    """Signal power (rings,) with the prior of a smooth spectrum; zero in rings left out."""
    used = np.flatnonzero(patches.ring_count)
    coefficients = patches.ring_count[used] * patches.count * independent_share(patches.grid)
    variance = noise[used] ** 2 / (coefficients * pair_weight(patches.envelope)[used])
    signal = np.zeros_like(measured)
    signal[used] = smooth_spectrum.expected_power(
        measured[used], variance, patches.ring_frequency_per_A[used]
    )
    return signal


def _trust(
    patches: PatchSpectra, signal: FloatArray, noise: FloatArray, rings_together: int
) -> FloatArray:
    """Significance of the signal power of each ring, mapped to 0 to 1.

    The ramp avoids a sharp threshold, at which rings would switch on and off from round to round.
    """
    pairs = pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * patches.count, 1)
    noise_sd = noise / np.sqrt(coefficients * pairs * rings_together)
    trust = np.interp(signal / noise_sd, _NOISE_RATIOS_TRUSTED, (0.0, 1.0))
    return np.where(patches.ring_count > 0, trust, 0.0)


def _with_expected(
    patches: PatchSpectra,
    expected: ExpectedSignal,
    signal: FloatArray,
    noise: FloatArray,
    trust: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Signal power (rings,) and trust, with the prior from neighbouring tilts.

    Measured and expected power are weighted by their precisions: strong rings are dominated by the
    data, faint ones and those of misaligned frames by the neighbours.
    """
    pairs = pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * patches.count * SMOOTH_RINGS, 1)
    variance = noise**2 / (coefficients * pairs)
    scale = noise_level(patches, noise) ** 2 / (patches.envelope**2).mean(axis=0)
    power, error = expected.signal.at(patches.ring_frequency_per_A)
    before = (error**2 + (expected.scatter * power) ** 2) * scale**2
    measured, known_by = 1 / np.maximum(variance, 1e-300), 1 / np.maximum(before, 1e-12 * variance)
    posterior = (signal * measured + power * scale * known_by) / (measured + known_by)
    known = np.interp(power / np.maximum(error, 1e-300), _NOISE_RATIOS_TRUSTED, (0.0, 1.0))
    known = np.where(patches.ring_count > 0, known, 0.0)
    return np.asarray(posterior.clip(0)), np.where(np.isfinite(error), known, trust)


def expected_weight(patches: PatchSpectra, expected: ExpectedSignal) -> FloatArray:
    """Weight W (rings,) from the signal of neighbouring tilts, independent of the motion.

    The total power is used as the noise power.
    """
    squared = patches.envelope**2
    coefficients = np.maximum(patches.ring_count * patches.count, 1)
    noise = patches.power.sum(axis=0) / coefficients / squared.sum(axis=0)
    noise = np.maximum(noise, _noise_floor(noise, patches.ring_count))
    power, error = expected.signal.at(patches.ring_frequency_per_A)
    known = np.interp(power / np.maximum(error, 1e-300), _NOISE_RATIOS_TRUSTED, (0.0, 1.0))
    signal = power * noise_level(patches, noise) ** 2 / squared.mean(axis=0)
    weight = known * signal / (noise * (noise + signal * squared.sum(axis=0)))
    return np.asarray(np.where(patches.ring_count > 0, weight, 0.0))


def noise_level(patches: PatchSpectra, noise: FloatArray) -> float:
    """Noise power of the finest quarter of the rings."""
    used = np.flatnonzero(patches.ring_count)
    return float(np.median(noise[used[3 * len(used) // 4 :]]))


def measured_signal(patches: PatchSpectra, powers: RingPowers) -> MeasuredSignal:
    """The signal of a tilt, for the priors of its neighbours."""
    squared, pairs = (patches.envelope**2).mean(axis=0), pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * patches.count, 1)
    scale = squared / noise_level(patches, powers.noise) ** 2
    error = powers.noise / np.sqrt(coefficients * pairs)
    error = np.where(patches.ring_count > 0, error, np.inf)
    return MeasuredSignal(patches.ring_frequency_per_A, powers.measured * scale, error * scale)


def _weight(
    patches: PatchSpectra, trust: FloatArray, signal: FloatArray, noise: FloatArray
) -> FloatArray:
    """Weight W (patches, rings) of the likelihood, from the powers of each patch."""
    summed = (patches.envelope**2).sum(axis=0)
    # Eq. (2), times the trust.
    return np.asarray(trust * signal / (noise * (noise + signal * summed)))


def weight_by_others(patches: PatchSpectra, powers: RingPowers) -> FloatArray:
    """Weight (patches, rings) with the signal power of each ring taken from its neighbours only.

    Its own power would give a ring more weight where noise happens to resemble signal.
    """
    window = np.ones(2 * _RINGS_BESIDE + 1)
    window[_RINGS_BESIDE] = 0
    signal = _smoothed(powers.measured, patches.ring_count, window).clip(0)
    trust = _trust(patches, signal, powers.noise, 2 * _RINGS_BESIDE)
    return _weight(patches, trust, powers.strength * signal, powers.patch_noise)


def _noise_floor(noise: FloatArray, count: FloatArray) -> float:
    """Minimum noise power of any ring.

    Detector noise hardly decreases toward coarse rings.  A much lower estimate is an artefact of
    signal that is not damaged by radiation, so that frames share more than the envelope predicts.
    """
    used = np.flatnonzero(count)
    finest = noise[used[3 * len(used) // 4 :]]
    median = float(np.median(finest)) if finest.size else 0.0
    return max(_MIN_RELATIVE_NOISE * median, 1e-6 * float(noise.max(initial=0.0)), 1e-30)


def _relative_noise(patches: PatchSpectra, found: Sweep) -> FloatArray:
    """Noise power (patches, 1) of each patch relative to the mean, from the finest rings."""
    used = np.flatnonzero(patches.ring_count)
    power = found.auto[:, used[3 * len(used) // 4 :]].sum(axis=1, keepdims=True)
    return np.asarray((power / max(float(power.mean()), 1e-30)).clip(_MIN_NOISE_RATIO))


def strength_by_other_half(
    patches: PatchSpectra, cross: FloatArray, powers: RingPowers
) -> FloatArray:
    """Relative signal power (patches, rings) of each patch, from rings of the other half only.

    Parameters
    ----------
    cross : (patches, rings) with each half along a motion that was found without it
    """
    half = half_of_ring(len(powers.signal))
    given = patches, cross, powers.signal, powers.noise, powers.relative_noise
    by_halves = [_strength(*given, half == which) for which in (0, 1)]
    return np.where(half == 0, by_halves[1], by_halves[0])


def _strength(
    patches: PatchSpectra,
    cross: FloatArray,
    signal: FloatArray,
    noise: FloatArray,
    relative_noise: FloatArray,
    is_used: npt.NDArray[np.bool_] | bool = True,
) -> FloatArray:
    """Signal power (patches, rings) of each patch relative to the mean, with shrinkage toward one.

    The ratio is measured over neighbouring rings; the shrinkage follows from its noise and the
    scatter among patches in excess of that (empirical Bayes).

    Parameters
    ----------
    cross : (patches, rings)
    is_used : (rings,) whether a ring takes part
    """
    rings = np.arange(len(signal))
    first = np.floor(rings / _STRENGTH_RATIO).astype(np.int64)
    last = np.minimum(np.ceil(rings * _STRENGTH_RATIO).astype(np.int64) + 1, len(rings))

    def around(values: FloatArray) -> FloatArray:
        total = np.cumsum(np.concatenate([0 * values[..., :1], values], axis=-1), axis=-1)
        return np.asarray(total[..., last] - total[..., first])

    # Rings are weighted by their information on the strength.
    information = np.where(is_used, signal / noise**2, 0.0)
    expected = around(patches.ring_count * pair_weight(patches.envelope) * signal * information)
    is_known = expected > 0
    expected = np.where(is_known, expected, 1.0)
    strength = around(cross * information) / expected
    variance = relative_noise**2 / (expected * independent_share(patches.grid))
    scatter = np.mean((strength - 1) ** 2 - variance, axis=0).clip(_MIN_SCATTER)
    posterior = (strength * scatter + variance) / (scatter + variance)
    return np.where(is_known, posterior, 1.0).clip(*_STRENGTHS)


def _smoothed(values: FloatArray, count: FloatArray, window: FloatArray) -> FloatArray:
    """Mean over a window of rings, each weighted by its number of coefficients."""
    beyond = max(0, len(window) - len(count))
    window = window[beyond // 2 : len(window) - (beyond + 1) // 2]
    total = np.convolve(values * count, window, mode="same")
    return np.asarray(total / np.maximum(np.convolve(count, window, mode="same"), 1))


def independent_share(grid: PatchGrid) -> float:
    """Share of independent coefficients of a tapered patch."""
    squared = grid.window.ravel() ** 2
    return float(squared.size / (squared @ squared))


def score_sd(patches: PatchSpectra, powers: RingPowers, weight: FloatArray) -> float:
    """Standard deviation of sum W (|S|^2 - sum |X|^2) over all patches when there is only noise."""
    pairs = pair_weight(patches.envelope)
    variance = patches.ring_count * pairs * (weight * powers.patch_noise) ** 2
    return float(np.sqrt(np.broadcast_to(variance, (patches.count, len(pairs))).sum()))


def half_of_ring(count: int) -> npt.NDArray[np.int64]:
    """Half-set, 0 or 1, of each of `count` rings: alternating blocks of rings."""
    return np.arange(count) // HALF_BLOCK_RINGS % 2


def finest_signal_A(powers: RingPowers, ring_frequency_per_A: FloatArray) -> float:
    """Resolution in Angstrom up to which rings have signal; NaN when none has.

    Rings beyond a gap wider than the smoothing are attributed to noise.
    """
    used = np.flatnonzero(powers.trust >= _SIGNAL_TRUST)
    gaps = np.flatnonzero(np.diff(used) > SMOOTH_RINGS)
    used = used[: gaps[0] + 1] if gaps.size else used
    return float(1 / ring_frequency_per_A[used[-1]]) if used.size else float("nan")
