"""Data that determine motion in one direction only.

Parallel filaments, or a straight edge, look the same after any displacement along them.  The Fisher
information on the displacement of a frame is

    sum_k W P (2 pi)^2 k k'    over coefficients k = (k_y, k_x), a matrix (2, 2),

whose eigenvectors are the best and the worst determined direction.
"""

from __future__ import annotations

import math

import numpy as np

from flexalign.estimate.patch_spectra import PatchSpectra, pair_weight, shifted_spectra
from flexalign.estimate.spectral_powers import RingPowers, independent_share
from flexalign.model import FloatArray

# Number of patches used: those with the most information.
_PATCHES = 4
# A direction is undetermined if its information is below `_MIN_SD` noise standard deviations, or
# below `_MIN_RATIO` of that in the other direction (which the patch tapers alone produce),
# while the other exceeds it by `_GAP_SD` standard deviations (by noise: once in a million times).
_MIN_SD = 5.0
_MIN_RATIO = 0.05
_GAP_SD = 6.0


def only_direction(
    patches: PatchSpectra, displacement_px: FloatArray, powers: RingPowers
) -> FloatArray | None:
    """Unit vector (y, x) of the only direction that the data determine; None = both.

    Parameters
    ----------
    displacement_px : (patches, times, 2) that aligns the frames
    """
    information, noise_sd = information_in_directions(patches, displacement_px, powers)
    (less, more), directions = np.linalg.eigh(information)
    if less > max(_MIN_SD * noise_sd, _MIN_RATIO * more) or more < less + _GAP_SD * noise_sd:
        return None
    return np.asarray(directions[:, 1])


def information_in_directions(
    patches: PatchSpectra, displacement_px: FloatArray, powers: RingPowers
) -> tuple[FloatArray, float]:
    """Fisher information (2, 2) on displacements (y, x), up to a factor, and its noise SD.

    P is replaced by the cross-power of the frames in each coefficient.
    """
    shape = patches.count, len(patches.ring_frequency_per_A)
    weight = np.broadcast_to(powers.weight, shape)
    noise = np.broadcast_to(powers.patch_noise, shape)
    information_of_patch = (weight * powers.patch_signal * patches.ring_count).sum(axis=1)
    inside = patches.ring >= 0
    ring, wave_per_A = patches.ring[inside], _waves_per_A(patches)[:, inside]
    information, variance = np.zeros((2, 2)), 0.0
    for p in np.argsort(-information_of_patch)[:_PATCHES]:
        moved = shifted_spectra(patches, int(p), displacement_px[p])
        common = np.abs(moved.sum(axis=0)) ** 2 - (np.abs(moved) ** 2).sum(axis=0)
        # Eq. (10).
        information += (wave_per_A * (weight[p][ring] * common)) @ wave_per_A.T
        # The noise variance of the cross-power is N^2 sum a_s^2 a_t^2; cos^4 has the mean 3 / 8.
        of_ring = patches.ring_count * (2 * np.pi * patches.ring_frequency_per_A) ** 4 * 3 / 8
        scatter = (weight[p] * noise[p]) ** 2 * pair_weight(patches.envelope)
        variance += float((of_ring * scatter).sum())
    return information, math.sqrt(variance * independent_share(patches.grid))


def _waves_per_A(patches: PatchSpectra) -> FloatArray:
    """2 pi times the frequencies (2, h, w // 2 + 1) of the coefficients along y and x."""
    height, width = patches.grid.shape_px
    pixel_A = patches.scale * patches.pixel_size_A
    ky, kx = np.fft.fftfreq(height) / pixel_A[0], np.fft.rfftfreq(width) / pixel_A[1]
    return 2 * np.pi * np.stack(np.broadcast_arrays(ky[:, None], kx))
