"""A pattern that stays with the detector, and frames from which it is taken out.

What a slightly wrong gain or a bad column leaves in every frame looks like a specimen that does not
move, and pulls the motion toward zero.  It shows as more common power of the frames as they lie on
the detector than the specimen, moving as it does, can have there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import j0

from flexalign.arrays import correlate, fourier
from flexalign.arrays.kernels import likelihood
from flexalign.arrays.kernels.float16 import add_part, stored
from flexalign.arrays.threads import share_equally
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import PatchSpectra, pair_weight
from flexalign.estimate.refine import RingPowers, effective_part
from flexalign.model import FloatArray

# So many standard deviations its pull must stand out to be believed.
_SIGNIFICANT_PULL = 6.0
# One that pulls less than this, relative to the specimen, may stay.
_HARMFUL_PULL = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class FixedPattern:
    """Power of what stays with the detector.

    Attributes
    ----------
    power_over_noise : (rings,) in units of the noise of one frame, not negative
    ring_frequency_per_A : (rings,)
    pull : its pull on the motion, relative to that of the specimen
    significance : of the pull, in standard deviations of chance
    """

    power_over_noise: FloatArray
    ring_frequency_per_A: FloatArray
    pull: float
    significance: float

    @property
    def is_harmful(self) -> bool:
        """Whether it is there beyond chance, and pulls on the motion."""
        return self.significance > _SIGNIFICANT_PULL and self.pull > _HARMFUL_PULL

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
        for r, frequency in enumerate(patches.ring_frequency_per_A):
            both = np.outer(squared[:, r], squared[:, r]) * j0(2 * np.pi * frequency * apart_A)
            specimen[r] = powers.signal[r] * (both.sum() - np.trace(both))
    rest = np.where(count > 0, still_cross / np.maximum(count, 1) - specimen, 0.0) / once
    if not apart_A.any():
        return FixedPattern(
            (rest / powers.noise).clip(0), patches.ring_frequency_per_A, pull=0.0, significance=0.0
        )
    weight = np.broadcast_to(powers.weight, (patches.count, len(count))).mean(axis=0)
    pull = count * weight * patches.ring_frequency_per_A**2
    chance = np.sqrt((pull**2 * powers.noise**2 * pairs / np.maximum(count * once**2, 1)).sum())
    of_specimen = (pull * powers.signal).sum()
    return FixedPattern(
        power_over_noise=(rest / powers.noise).clip(0),
        ring_frequency_per_A=patches.ring_frequency_per_A,
        pull=float((pull * rest).sum() / of_specimen) if of_specimen > 0 else 0.0,
        significance=float((pull * rest).sum() / chance) if chance > 0 else 0.0,
    )


def measure_closely(
    patches: PatchSpectra, displacement_px: FloatArray, powers: RingPowers, threads: int = 1
) -> FixedPattern:
    """The fixed pattern beside a specimen that moves by `displacement_px` (patches, times, 2).

    Notes
    -----
    Edges, carbon and astigmatism give a specimen more power along some directions, so that the mean
    over a ring of what displaced frames have in common is no J0.  Each coefficient k knows better:
    what frames have in common along the motion, C', tells what they have as they lie,

        kappa C',  kappa = sum a_s^2 a_t^2 cos(2 pi k.(d_s - d_t)) / sum a_s^2 a_t^2

    with sums over all pairs of different frames, and the pattern is what they have beyond that.
    """
    shape = patches.count, len(patches.ring_frequency_per_A)
    rest, seen, variance = np.zeros((3, *shape))

    def measure_patches(start: int, stop: int) -> None:
        for patch in range(start, stop):
            signal, noise = (
                np.broadcast_to(power, shape)[patch]
                for power in (powers.patch_signal, powers.patch_noise)
            )
            found = _rest_of_patch(patches, patch, displacement_px[patch], signal, noise)
            rest[patch], seen[patch], variance[patch] = found

    share_equally(measure_patches, patches.count, threads)
    once = np.maximum(patches.envelope.sum(axis=0) ** 2 - (patches.envelope**2).sum(axis=0), 1e-30)
    pull = np.broadcast_to(powers.weight, shape).mean(axis=0) * patches.ring_frequency_per_A**2
    of_specimen = float((pull * patches.ring_count * patches.count * powers.signal).sum())
    found = float((pull * rest.sum(axis=0) / once).sum())
    part = effective_part(patches.grid)
    chance = float(np.sqrt((pull**2 * variance.sum(axis=0) / once**2).sum() / part))
    power = rest.sum(axis=0) / np.maximum(seen.sum(axis=0), 1e-30)
    return FixedPattern(
        power_over_noise=(power / powers.noise).clip(0),
        ring_frequency_per_A=patches.ring_frequency_per_A,
        pull=found / of_specimen if of_specimen > 0 else 0.0,
        significance=found / chance if chance > 0 else 0.0,
    )


def _rest_of_patch(
    patches: PatchSpectra,
    patch: int,
    displacement_px: FloatArray,
    signal: FloatArray,
    noise: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of one patch: the common power beyond the specimen's, and what that says of a pattern.

    Parameters
    ----------
    displacement_px : (times, 2)
    signal, noise : (rings,) powers of the patch

    Returns
    -------
    rest : (rings,) that power
    seen : (rings,) as much as a pattern of power one would leave of it
    variance : (rings,) of the rest, by noise and by noise times specimen
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
    of_all = (squared * phase).sum(axis=0)
    kappa = (np.abs(of_all) ** 2 - (squared**2).sum(axis=0)) / pairs
    # The pattern, which is attenuated once, has something in common along the motion, too.
    seen = once.sum(axis=0) ** 2 - summed
    seen = seen - kappa * (np.abs((once * phase).sum(axis=0)) ** 2 - summed)
    # By how much the noise of each frame, times the specimen, changes the rest.
    lever = np.abs(of_all * phase.conj() - squared - kappa * (summed - squared)) ** 2
    variance = noise[ring] ** 2 * pairs * (1 - kappa**2).clip(0)
    variance += 2 * signal[ring] * noise[ring] * (squared * lever).sum(axis=0)

    def by_ring(values: FloatArray) -> FloatArray:
        return np.bincount(ring, values, len(noise)).astype(np.float64)

    return by_ring(in_place - kappa * along), by_ring(seen), by_ring(variance)


def taken_out(frames: SmallFrames, pattern: FixedPattern, threads: int = 1) -> SmallFrames:
    """Frames whose remaining noise and pattern have nothing in common.

    Each loses the part 1 - 1 / sqrt(1 + n G / N) of the mean of all n, ring by ring: what whitens
    noise of power N with a common pattern of power G.  Taking out the whole mean would leave the
    noise of the mean behind, with the opposite sign.
    """
    shape, pixel_A = frames.shape_px, frames.pixel_size_A
    mean = fourier.rfft2(frames.pixels.mean(axis=0, dtype=np.float32), threads)
    frequency = correlate.ring_index(shape, (frames.scale[0] * pixel_A, frames.scale[1] * pixel_A))
    power = np.interp(frequency, pattern.ring_frequency_per_A, pattern.power_over_noise)
    part = 1 - 1 / np.sqrt(1 + len(frames.frame) * power)
    common = fourier.irfft2(mean * part.astype(np.float32), shape, threads)
    pixels = frames.pixels.copy()

    def take_out(start: int, stop: int) -> None:
        for image in stored(pixels)[start:stop]:
            add_part(common, np.float32(-1), image)

    share_equally(take_out, len(pixels), threads)
    return replace(frames, pixels=pixels)
