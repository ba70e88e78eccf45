"""Fixed pattern of the detector.

The residual of a slightly wrong gain or a bad column is the same in every frame, like a specimen
that does not move, and biases the motion toward zero.  It shows as cross-power of the unaligned
frames in excess of what the moving specimen contributes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import j0

from flexalign.arrays import fourier
from flexalign.arrays.threads import share_equally
from flexalign.estimate.patch_spectra import PatchSpectra, pair_weight, sweep_batch
from flexalign.estimate.spectral_powers import RingPowers, independent_share, ring_powers
from flexalign.model import FloatArray

# Significance of the pull, in standard deviations: for removal, and for a closer measurement.
SIGNIFICANT_PULL = 6.0
_SUSPICIOUS_PULL = 3.0
# A pattern with less pull than this, relative to the specimen, is ignored.
_MIN_HARMFUL_PULL = 0.02
# Rings over which its power is averaged where it is measured patch by patch.
_SMOOTH_RINGS = 5


def _uniform() -> FloatArray:
    """Strength of a pattern that is the same in all patches."""
    return np.ones((1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class FixedPattern:
    """Power spectrum of the fixed pattern.

    Attributes
    ----------
    power_over_noise : (rings,) in units of the noise power of one frame, not negative
    ring_frequency_per_A : (rings,)
    pull : its weight in the likelihood, sum W k^2 G, relative to that of the specimen
    significance : of the pull, in noise standard deviations
    strength : (y, x) power in each patch relative to the mean; (1, 1) = uniform
    """

    power_over_noise: FloatArray
    ring_frequency_per_A: FloatArray
    pull: float
    significance: float
    strength: FloatArray = field(default_factory=_uniform)

    @property
    def is_harmful(self) -> bool:
        """Whether it is significant and strong enough to bias the motion."""
        return self.significance > SIGNIFICANT_PULL and self.pull > _MIN_HARMFUL_PULL

    @property
    def is_nonuniform(self) -> bool:
        """Whether its strength varies between patches."""
        return self.strength.size > 1

    @property
    def is_suspicious(self) -> bool:
        """Whether it may be present, and would bias the motion."""
        return self.significance > _SUSPICIOUS_PULL and self.pull > _MIN_HARMFUL_PULL

    def as_white(self) -> FixedPattern:
        """A white pattern, with the median power of the finest third of the rings."""
        finest = self.power_over_noise[2 * len(self.power_over_noise) // 3 :]
        power = np.full(len(self.power_over_noise), np.median(finest) if finest.size else 0.0)
        return replace(self, power_over_noise=power)


def measure(
    patches: PatchSpectra, still_cross: FloatArray, path_px: FloatArray, powers: RingPowers
) -> FixedPattern:
    """First estimate of the fixed pattern while the specimen moves along `path_px` (times, 2).

    The specimen is assumed to have the same power in all directions; see `measure_anisotropic`.

    Parameters
    ----------
    still_cross : (rings,) cross-power of all pairs of unaligned frames, summed over patches
    powers : of the rings, at the estimated motion

    Notes
    -----
    For two frames displaced by d, the average cross-power of the specimen over a ring of frequency
    k is P J0(2 pi k d).  Without motion, specimen and pattern cannot be distinguished: all
    cross-power is attributed to the pattern, and its pull is set to 0.
    """
    count = patches.ring_count * patches.count
    squared = patches.envelope**2
    apart_A = np.linalg.norm(path_px[:, None] - path_px[None], axis=2) * patches.pixel_size_A
    pairs = pair_weight(patches.envelope)
    # Radiation does not damage the pattern: each spectrum is attenuated once, by its weight a_t.
    attenuated_once = patches.envelope.sum(axis=0) ** 2 - squared.sum(axis=0)
    specimen = np.zeros(len(count))
    if apart_A.any():
        frequency = patches.ring_frequency_per_A
        specimen = powers.signal * _summed_over_pairs(squared, frequency, apart_A)
    # Eq. (11).
    residual = (
        np.where(count > 0, still_cross / np.maximum(count, 1) - specimen, 0.0) / attenuated_once
    )
    if not apart_A.any():
        return FixedPattern(
            (residual / powers.noise).clip(0),
            patches.ring_frequency_per_A,
            pull=0.0,
            significance=0.0,
        )
    weight = np.broadcast_to(powers.weight, (patches.count, len(count))).mean(axis=0)
    pull = count * weight * patches.ring_frequency_per_A**2
    noise_sd = np.sqrt(
        (pull**2 * powers.noise**2 * pairs / np.maximum(count * attenuated_once**2, 1)).sum()
    )
    of_specimen = (pull * powers.signal).sum()
    return FixedPattern(
        power_over_noise=(residual / powers.noise).clip(0),
        ring_frequency_per_A=patches.ring_frequency_per_A,
        pull=float((pull * residual).sum() / of_specimen) if of_specimen > 0 else 0.0,
        significance=float((pull * residual).sum() / noise_sd) if noise_sd > 0 else 0.0,
    )


def measure_anisotropic(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    path_px: FloatArray,
    powers: RingPowers,
    threads: int = 1,
) -> FixedPattern:
    """The fixed pattern while the specimen moves by `displacement_px` (patches, times, 2).

    Parameters
    ----------
    path_px : (times, 2) global part of that motion, by which pattern and specimen are separated:
        where a pattern is locally strong, the local motion is biased toward zero

    Notes
    -----
    Edges, carbon and astigmatism make the power of the specimen anisotropic, so that its
    cross-power averaged over a ring does not follow J0.  Instead, the cross-power C' of the aligned
    frames predicts that of the specimen in the unaligned ones, coefficient by coefficient:

        kappa C',  kappa = sum a_s^2 a_t^2 cos(2 pi k.(d_s - d_t)) / sum a_s^2 a_t^2

    with sums over all pairs of different frames and d the path.  The pattern is the excess over
    that.
    """
    shape = patches.count, len(patches.ring_frequency_per_A)
    residual, response, variance = np.zeros((3, *shape))

    def measure_patches(start: int, stop: int) -> None:
        for patch in range(start, stop):
            signal, noise = (
                np.broadcast_to(power, shape)[patch]
                for power in (powers.patch_signal, powers.patch_noise)
            )
            found = _residual_of_patch(
                patches, patch, displacement_px[patch], path_px, signal, noise
            )
            residual[patch], response[patch], variance[patch] = found

    share_equally(measure_patches, patches.count, threads)
    attenuated_once = np.maximum(
        patches.envelope.sum(axis=0) ** 2 - (patches.envelope**2).sum(axis=0), 1e-30
    )
    pull = np.broadcast_to(powers.weight, shape).mean(axis=0) * patches.ring_frequency_per_A**2
    of_specimen = float((pull * patches.ring_count * patches.count * powers.signal).sum())
    found = float((pull * residual.sum(axis=0) / attenuated_once).sum())
    part = independent_share(patches.grid)
    noise_sd = float(np.sqrt((pull**2 * variance.sum(axis=0) / attenuated_once**2).sum() / part))
    power = residual.sum(axis=0) / np.maximum(response.sum(axis=0), 1e-30)
    return FixedPattern(
        power_over_noise=(power / powers.noise).clip(0),
        ring_frequency_per_A=patches.ring_frequency_per_A,
        pull=found / of_specimen if of_specimen > 0 else 0.0,
        significance=found / noise_sd if noise_sd > 0 else 0.0,
    )


def _residual_of_patch(
    patches: PatchSpectra,
    patch: int,
    displacement_px: FloatArray,
    path_px: FloatArray,
    signal: FloatArray,
    noise: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cross-power of the unaligned frames of one patch in excess of that of the specimen.

    Parameters
    ----------
    displacement_px, path_px : (times, 2) of the patch, and common to all
    signal, noise : (rings,) powers of the patch

    Returns
    -------
    residual : (rings,) excess cross-power
    response : (rings,) the same for a pattern of unit power
    variance : (rings,) of the residual, from noise x noise and noise x specimen
    """
    inside = patches.ring >= 0
    ring = patches.ring[inside]
    height, width = patches.grid.shape_px
    ky, kx = np.fft.fftfreq(height), np.fft.rfftfreq(width)

    def turned(by_px: FloatArray) -> fourier.SpectrumArray:
        """Phase factors (times, coefficients) that shift a frame by `by_px` small pixels."""
        along_y = np.exp(-2j * np.pi * by_px[:, :1] * ky).astype(np.complex64)
        along_x = np.exp(-2j * np.pi * by_px[:, 1:] * kx).astype(np.complex64)
        phases: fourier.SpectrumArray = (along_y[:, :, None] * along_x[:, None, :])[:, inside]
        return phases

    unaligned = patches.of_patch(patch)[:, inside]
    unaligned = unaligned * turned(patches.offset_px[patch].astype(np.float64))
    phase = turned(displacement_px / patches.scale)
    attenuated_once, squared = patches.envelope[:, ring], patches.envelope[:, ring] ** 2
    summed, pairs = squared.sum(axis=0), pair_weight(patches.envelope)[ring]
    own = (np.abs(unaligned) ** 2).sum(axis=0)
    unaligned_cross = np.abs(unaligned.sum(axis=0)) ** 2 - own
    along = np.abs((unaligned * phase.conj()).sum(axis=0)) ** 2 - own
    path_phase = turned(path_px / patches.scale)
    of_all = (squared * path_phase).sum(axis=0)
    kappa = (np.abs(of_all) ** 2 - (squared**2).sum(axis=0)) / pairs
    # The pattern, which is attenuated once, also adds to the cross-power of the aligned frames.
    response = attenuated_once.sum(axis=0) ** 2 - summed
    response = response - kappa * (np.abs((attenuated_once * phase).sum(axis=0)) ** 2 - summed)
    # Sensitivity of the residual to the noise of each frame, times the specimen.
    sensitivity = np.abs(of_all * path_phase.conj() - squared - kappa * (summed - squared)) ** 2
    variance = noise[ring] ** 2 * pairs * (1 - kappa**2).clip(0)
    variance += 2 * signal[ring] * noise[ring] * (squared * sensitivity).sum(axis=0)

    def by_ring(values: FloatArray) -> FloatArray:
        return np.bincount(ring, values, len(noise)).astype(np.float64)

    return by_ring(unaligned_cross - kappa * along), by_ring(response), by_ring(variance)


def measure_in_patches(
    patches: PatchSpectra,
    path_px: FloatArray,
    counts: tuple[int, int],
    found: FixedPattern,
    threads: int = 1,
) -> FixedPattern:
    """The pattern `found`, measured again in each of `counts` (y, x) patches.

    Notes
    -----
    For frames s and t displaced by d_st, the cross-power C of the unaligned frames and D of those
    aligned along the path are, over a ring,

        C = P sum a_s^2 a_t^2 J0(2 pi k |d_st|) + G sum a_s a_t
        D = P sum a_s^2 a_t^2 + G sum a_s a_t J0(2 pi k |d_st|)

    with P the power of the specimen and G that of the pattern.  All patches use the global path:
    where the pattern is strongest, local motion was fitted to it instead of to the specimen.
    """
    along_px = np.repeat(path_px[None], patches.count, axis=0)
    still, along = sweep_batch(patches, [0 * along_px, along_px], [None] * 2, threads)
    powers = ring_powers(patches, along)
    squared, pairs = patches.envelope**2, pair_weight(patches.envelope)
    attenuated_once = patches.envelope.sum(axis=0) ** 2 - squared.sum(axis=0)
    apart_A = np.linalg.norm(path_px[:, None] - path_px[None], axis=2) * patches.pixel_size_A
    moved = _summed_over_pairs(squared, patches.ring_frequency_per_A, apart_A)
    moved_once = _summed_over_pairs(patches.envelope, patches.ring_frequency_per_A, apart_A)
    determinant = pairs * attenuated_once - moved * moved_once
    is_known = (patches.ring_count > 0) & (determinant > 1e-6 * pairs * attenuated_once)
    per_count = np.where(is_known, 1 / np.maximum(patches.ring_count * determinant, 1e-30), 0.0)
    # Eq. (13), solved for G.
    power = per_count * (still.cross * pairs - along.cross * moved)
    # Both cross-powers have the noise variance N^2 sum a_s^2 a_t^2, with the correlation J0.
    variance = powers.patch_noise**2 * per_count**2 * patches.ring_count
    variance = variance * pairs * (pairs**2 - moved**2) / independent_share(patches.grid)
    mean, of_mean = power.mean(axis=0), variance.mean(axis=0) / patches.count
    window = np.full(_SMOOTH_RINGS, 1 / _SMOOTH_RINGS)
    mean = np.convolve(mean, window, mode="same").clip(0)
    of_smooth = np.convolve(of_mean, window**2, mode="same")
    # Shrinkage: a mean within its noise goes to zero.
    mean *= (1 - of_smooth / np.maximum(mean**2, 1e-30)).clip(0)
    strength, deviations = _strength(power, variance, mean, of_mean)
    # Combined significance of the positive deviations; by noise, half of them are positive.
    beyond = float((deviations.clip(0) ** 2).sum()) - patches.count / 2
    return replace(
        found,
        power_over_noise=mean / powers.noise,
        ring_frequency_per_A=patches.ring_frequency_per_A,
        significance=max(found.significance, math.sqrt(max(beyond, 0.0))),
        strength=_over_all_patches(strength, patches, counts),
    )


def _over_all_patches(
    strength: FloatArray, patches: PatchSpectra, counts: tuple[int, int]
) -> FloatArray:
    """Strength (y, x) of all patches; 1, the mean, in those left out."""
    every = np.ones(counts)
    every.flat[patches.grid.index] = strength
    return every


def _summed_over_pairs(
    factor: FloatArray, frequency_per_A: FloatArray, apart_A: FloatArray
) -> FloatArray:
    """Sum (rings,) of f_s f_t J0(2 pi k d_st) over frames s != t, for factors f (times, rings)."""
    total = np.empty(len(frequency_per_A))
    for r, frequency in enumerate(frequency_per_A):
        of_ring = factor[:, r]
        turned = of_ring @ j0(2 * np.pi * frequency * apart_A) @ of_ring
        total[r] = turned - of_ring @ of_ring
    return total


def _strength(
    power: FloatArray, variance: FloatArray, mean: FloatArray, of_mean: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Power (patches,) of the pattern relative to its `mean` (rings,), with shrinkage toward one.

    The shrinkage follows from the `variance` (patches, rings) of the measured `power` and the
    scatter among patches in excess of that (empirical Bayes).

    Returns
    -------
    strength : (patches,)
    deviations : (patches,) measured strength before shrinkage, in standard deviations
    """
    weight = np.divide(mean, of_mean, out=np.zeros_like(mean), where=of_mean > 0)
    total = float(weight @ mean)
    if total == 0:
        return np.ones(len(power)), np.zeros(len(power))
    strength = power @ weight / total
    noise_variance = variance @ weight**2 / total**2
    scatter = max(float(np.mean((strength - 1) ** 2 - noise_variance)), 0.0)
    posterior = np.asarray((strength * scatter + noise_variance) / (scatter + noise_variance)).clip(
        0
    )
    return posterior, strength / np.sqrt(noise_variance)
