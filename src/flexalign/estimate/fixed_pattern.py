"""A pattern that stays with the detector.

What a slightly wrong gain or a bad column leaves in every frame looks like a specimen that does not
move, and pulls the motion toward zero.  It shows as more common power of the frames as they lie on
the detector than the specimen, moving as it does, can have there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import j0

from flexalign.arrays import fourier
from flexalign.arrays.kernels import likelihood
from flexalign.arrays.threads import share_equally
from flexalign.estimate.patch_spectra import PatchSpectra, pair_weight, sweep_together
from flexalign.estimate.spectral_powers import RingPowers, independent_share, ring_powers
from flexalign.model import FloatArray

# So many standard deviations its pull must stand out to be believed, and to be measured closely.
SIGNIFICANT_PULL = 6.0
_SUSPICIOUS_PULL = 3.0
# One that pulls less than this, relative to the specimen, may stay.
_HARMFUL_PULL = 0.02
# Rings over which its power is averaged where it is measured patch by patch.
_SMOOTH_RINGS = 5


def _alike() -> FloatArray:
    """The strength in patches that are all alike."""
    return np.ones((1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class FixedPattern:
    """Power of what stays with the detector.

    Attributes
    ----------
    power_over_noise : (rings,) in units of the noise of one frame, not negative
    ring_frequency_per_A : (rings,)
    pull : its pull on the motion, relative to that of the specimen
    significance : of the pull, in standard deviations of noise
    strength : (y, x) power in each patch over that mean; (1, 1) = all alike
    """

    power_over_noise: FloatArray
    ring_frequency_per_A: FloatArray
    pull: float
    significance: float
    strength: FloatArray = field(default_factory=_alike)

    @property
    def is_harmful(self) -> bool:
        """Whether it is there beyond noise, and pulls on the motion."""
        return self.significance > SIGNIFICANT_PULL and self.pull > _HARMFUL_PULL

    @property
    def is_in_parts(self) -> bool:
        """Whether it has a strength of its own in each patch."""
        return self.strength.size > 1

    @property
    def is_suspicious(self) -> bool:
        """Whether it may be there, and would pull on the motion."""
        return self.significance > _SUSPICIOUS_PULL and self.pull > _HARMFUL_PULL

    def as_white(self) -> FixedPattern:
        """A pattern that has in all rings what this one has in the finest third of them."""
        finest = self.power_over_noise[2 * len(self.power_over_noise) // 3 :]
        power = np.full(len(self.power_over_noise), np.median(finest) if finest.size else 0.0)
        return replace(self, power_over_noise=power)


def measure(
    patches: PatchSpectra, still_cross: FloatArray, path_px: FloatArray, powers: RingPowers
) -> FixedPattern:
    """The fixed pattern in frames whose specimen moves along `path_px` (times, 2), at a glance.

    It is that of a specimen whose power is the same in all directions, see `measure_closely`.

    Parameters
    ----------
    still_cross : (rings,) common power of all pairs of frames as they lie on the detector, summed
        over patches
    powers : of the rings, at the motion found

    Notes
    -----
    Two frames whose specimen is displaced by d have, on the average over a ring of frequency k, the
    common power P J0(2 pi k d) of the specimen.  Without motion the specimen cannot be told from a
    pattern: all common power is called the pattern's, and its pull unknown, 0.
    """
    count = patches.ring_count * patches.count
    squared = patches.envelope**2
    apart_A = np.linalg.norm(path_px[:, None] - path_px[None], axis=2) * patches.pixel_size_A
    pairs = pair_weight(patches.envelope)
    # Radiation does not damage the pattern: two spectra have it once attenuated each.
    once = patches.envelope.sum(axis=0) ** 2 - squared.sum(axis=0)
    specimen = np.zeros(len(count))
    if apart_A.any():
        frequency = patches.ring_frequency_per_A
        specimen = powers.signal * _summed_over_pairs(squared, frequency, apart_A)
    # Eq. (11).
    residual = np.where(count > 0, still_cross / np.maximum(count, 1) - specimen, 0.0) / once
    if not apart_A.any():
        return FixedPattern(
            (residual / powers.noise).clip(0),
            patches.ring_frequency_per_A,
            pull=0.0,
            significance=0.0,
        )
    weight = np.broadcast_to(powers.weight, (patches.count, len(count))).mean(axis=0)
    pull = count * weight * patches.ring_frequency_per_A**2
    noise_sd = np.sqrt((pull**2 * powers.noise**2 * pairs / np.maximum(count * once**2, 1)).sum())
    of_specimen = (pull * powers.signal).sum()
    return FixedPattern(
        power_over_noise=(residual / powers.noise).clip(0),
        ring_frequency_per_A=patches.ring_frequency_per_A,
        pull=float((pull * residual).sum() / of_specimen) if of_specimen > 0 else 0.0,
        significance=float((pull * residual).sum() / noise_sd) if noise_sd > 0 else 0.0,
    )


def measure_closely(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    path_px: FloatArray,
    powers: RingPowers,
    threads: int = 1,
) -> FixedPattern:
    """The fixed pattern beside a specimen that moves by `displacement_px` (patches, times, 2).

    Parameters
    ----------
    path_px : (times, 2) the common part of that motion, which separates it from the pattern: where
        a pattern is strong in a part of the field, the motion found there is too small

    Notes
    -----
    Edges, carbon and astigmatism give a specimen more power along some directions, so that the mean
    over a ring of what displaced frames have in common is no J0.  Each coefficient k knows better:
    what frames have in common along the motion, C', tells what they have as they lie,

        kappa C',  kappa = sum a_s^2 a_t^2 cos(2 pi k.(d_s - d_t)) / sum a_s^2 a_t^2

    with sums over all pairs of different frames, d the path, and the pattern is what they have
    beyond that.
    """
    shape = patches.count, len(patches.ring_frequency_per_A)
    residual, seen, variance = np.zeros((3, *shape))

    def measure_patches(start: int, stop: int) -> None:
        for patch in range(start, stop):
            signal, noise = (
                np.broadcast_to(power, shape)[patch]
                for power in (powers.patch_signal, powers.patch_noise)
            )
            found = _residual_of_patch(
                patches, patch, displacement_px[patch], path_px, signal, noise
            )
            residual[patch], seen[patch], variance[patch] = found

    share_equally(measure_patches, patches.count, threads)
    once = np.maximum(patches.envelope.sum(axis=0) ** 2 - (patches.envelope**2).sum(axis=0), 1e-30)
    pull = np.broadcast_to(powers.weight, shape).mean(axis=0) * patches.ring_frequency_per_A**2
    of_specimen = float((pull * patches.ring_count * patches.count * powers.signal).sum())
    found = float((pull * residual.sum(axis=0) / once).sum())
    part = independent_share(patches.grid)
    noise_sd = float(np.sqrt((pull**2 * variance.sum(axis=0) / once**2).sum() / part))
    power = residual.sum(axis=0) / np.maximum(seen.sum(axis=0), 1e-30)
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
    """Of one patch: the common power beyond the specimen's, and what that says of a pattern.

    Parameters
    ----------
    displacement_px, path_px : (times, 2) of the patch, and common to all
    signal, noise : (rings,) powers of the patch

    Returns
    -------
    residual : (rings,) that power
    seen : (rings,) as much as a pattern of power one would leave of it
    variance : (rings,) of the residual, by noise and by noise times specimen
    """
    inside = patches.ring >= 0
    ring = patches.ring[inside]
    height, width = patches.grid.shape_px
    ky, kx = np.fft.fftfreq(height), np.fft.rfftfreq(width)

    def turned(by_px: FloatArray) -> fourier.SpectrumArray:
        """Phases (times, coefficients) that move a frame by `by_px` small pixels."""
        along_y = np.exp(-2j * np.pi * by_px[:, :1] * ky).astype(np.complex64)
        along_x = np.exp(-2j * np.pi * by_px[:, 1:] * kx).astype(np.complex64)
        phases: fourier.SpectrumArray = (along_y[:, :, None] * along_x[:, None, :])[:, inside]
        return phases

    lying = likelihood.unpacked(patches.packing, patches.packed[patch])[:, inside]
    lying = lying * turned(patches.offset_px[patch].astype(np.float64))
    phase = turned(displacement_px / patches.scale)
    once, squared = patches.envelope[:, ring], patches.envelope[:, ring] ** 2
    summed, pairs = squared.sum(axis=0), pair_weight(patches.envelope)[ring]
    own = (np.abs(lying) ** 2).sum(axis=0)
    in_place = np.abs(lying.sum(axis=0)) ** 2 - own
    along = np.abs((lying * phase.conj()).sum(axis=0)) ** 2 - own
    path_phase = turned(path_px / patches.scale)
    of_all = (squared * path_phase).sum(axis=0)
    kappa = (np.abs(of_all) ** 2 - (squared**2).sum(axis=0)) / pairs
    # The pattern, which is attenuated once, has something in common along the motion, too.
    seen = once.sum(axis=0) ** 2 - summed
    seen = seen - kappa * (np.abs((once * phase).sum(axis=0)) ** 2 - summed)
    # By how much the noise of each frame, times the specimen, changes the residual.
    lever = np.abs(of_all * path_phase.conj() - squared - kappa * (summed - squared)) ** 2
    variance = noise[ring] ** 2 * pairs * (1 - kappa**2).clip(0)
    variance += 2 * signal[ring] * noise[ring] * (squared * lever).sum(axis=0)

    def by_ring(values: FloatArray) -> FloatArray:
        return np.bincount(ring, values, len(noise)).astype(np.float64)

    return by_ring(in_place - kappa * along), by_ring(seen), by_ring(variance)


def measure_in_patches(
    patches: PatchSpectra,
    path_px: FloatArray,
    counts: tuple[int, int],
    found: FixedPattern,
    threads: int = 1,
) -> FixedPattern:
    """The pattern `found`, measured anew in each of `counts` (y, x) patches.

    Notes
    -----
    Of frames s and t whose specimen is displaced by d_st, over a ring, the common power as they lie
    on the detector, C, and that along the path, D, are

        C = P sum a_s^2 a_t^2 J0(2 pi k |d_st|) + G sum a_s a_t
        D = P sum a_s^2 a_t^2 + G sum a_s a_t J0(2 pi k |d_st|)

    with P the power of the specimen and G that of the pattern.  The same path serves all patches:
    where the pattern is strongest, it has been taken for the specimen.
    """
    along_px = np.repeat(path_px[None], patches.count, axis=0)
    still, along = sweep_together(patches, [0 * along_px, along_px], [None] * 2, threads)
    powers = ring_powers(patches, along)
    squared, pairs = patches.envelope**2, pair_weight(patches.envelope)
    once = patches.envelope.sum(axis=0) ** 2 - squared.sum(axis=0)
    apart_A = np.linalg.norm(path_px[:, None] - path_px[None], axis=2) * patches.pixel_size_A
    moved = _summed_over_pairs(squared, patches.ring_frequency_per_A, apart_A)
    moved_once = _summed_over_pairs(patches.envelope, patches.ring_frequency_per_A, apart_A)
    determinant = pairs * once - moved * moved_once
    is_known = (patches.ring_count > 0) & (determinant > 1e-6 * pairs * once)
    per_count = np.where(is_known, 1 / np.maximum(patches.ring_count * determinant, 1e-30), 0.0)
    # Eq. (13), solved for G.
    power = per_count * (still.cross * pairs - along.cross * moved)
    # By noise both common powers scatter by N^2 sum a_s^2 a_t^2, with the correlation J0.
    variance = powers.patch_noise**2 * per_count**2 * patches.ring_count
    variance = variance * pairs * (pairs**2 - moved**2) / independent_share(patches.grid)
    mean, of_mean = power.mean(axis=0), variance.mean(axis=0) / patches.count
    window = np.full(_SMOOTH_RINGS, 1 / _SMOOTH_RINGS)
    mean = np.convolve(mean, window, mode="same").clip(0)
    of_smooth = np.convolve(of_mean, window**2, mode="same")
    # What noise may have made of nothing is nothing.
    mean *= (1 - of_smooth / np.maximum(mean**2, 1e-30)).clip(0)
    strength, deviations = _strength(power, variance, mean, of_mean)
    # As much beyond noise as one number of so many deviations; half of all are above zero.
    beyond = float((deviations.clip(0) ** 2).sum()) - patches.count / 2
    return replace(
        found,
        power_over_noise=mean / powers.noise,
        ring_frequency_per_A=patches.ring_frequency_per_A,
        significance=max(found.significance, math.sqrt(max(beyond, 0.0))),
        strength=strength.reshape(counts),
    )


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
    """Power (patches,) of the pattern over its `mean` (rings,), as far as it can be told.

    Measured with a `variance` (patches, rings), with shrinkage toward one by how little of the
    scatter among patches exceeds the noise (empirical Bayes).

    Returns
    -------
    strength : (patches,)
    deviations : (patches,) by how many standard deviations what was measured is above zero
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
