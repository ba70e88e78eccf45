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
from flexalign.arrays.kernels.float16 import add_part, stored
from flexalign.arrays.threads import share_equally
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import PatchSpectra, pair_weight
from flexalign.estimate.refine import RingPowers
from flexalign.model import FloatArray

# So many standard deviations its pull must stand out to be believed.
SIGNIFICANT_PULL = 6.0


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

    def as_white(self) -> FixedPattern:
        """A pattern that has in all rings what this one has in the finest third of them."""
        finest = self.power_over_noise[2 * len(self.power_over_noise) // 3 :]
        power = np.full(len(self.power_over_noise), np.median(finest) if finest.size else 0.0)
        return replace(self, power_over_noise=power)


def measure(
    patches: PatchSpectra, still_cross: FloatArray, path_px: FloatArray, powers: RingPowers
) -> FixedPattern:
    """The fixed pattern in frames whose specimen moves along `path_px` (times, 2).

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
