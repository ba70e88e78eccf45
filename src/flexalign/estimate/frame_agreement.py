"""Frames that do not agree with the others along the motion found.

Standard errors suppose that every frame is near its optimum.  One at a wrong peak has next to
nothing in common with the others, which shows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexalign.estimate.patch_spectra import PatchSpectra, moved_spectra
from flexalign.estimate.refine import RingPowers
from flexalign.model import FloatArray

# So many patches are looked at, those that say most.
_PATCHES = 4
# A frame is lost that has less than this part of the common signal expected of it, by so many
# standard deviations.
_LEAST_PART = 0.3
_DEVIATIONS = 5.0


def lost_frames(
    patches: PatchSpectra, displacement_px: FloatArray, powers: RingPowers
) -> npt.NDArray[np.int64]:
    """Positions of the times that do not agree, along displacements (patches, times, 2).

    The common power of frame t and the sum of the others, weighted as in the likelihood, is W P
    a_t^2 B with B the sum of a_s^2 over the others; by noise it scatters by half the product of
    what frame and sum have.
    """
    shape = patches.count, len(patches.ring_frequency_per_A)
    weight = np.broadcast_to(powers.weight, shape)
    signal = np.broadcast_to(powers.patch_signal, shape)
    noise = np.broadcast_to(powers.patch_noise, shape)
    squared = patches.envelope**2
    others = squared.sum(axis=0) - squared
    found, expected, variance = np.zeros((3, len(squared)))
    for p in np.argsort(-(weight * signal * patches.ring_count).sum(axis=1))[:_PATCHES]:
        found += _agreement(patches, int(p), displacement_px[p], weight[p])
        expected += (squared * others) @ (patches.ring_count * weight[p] * signal[p])
        of_frame = squared * (noise[p] + squared * signal[p])
        of_others = others * (noise[p] + others * signal[p])
        variance += (of_frame * of_others / 2) @ (patches.ring_count * weight[p] ** 2)
    is_less = found < _LEAST_PART * expected
    return np.flatnonzero(is_less & (found < expected - _DEVIATIONS * np.sqrt(variance)))


def _agreement(
    patches: PatchSpectra, patch: int, displacement_px: FloatArray, weight: FloatArray
) -> FloatArray:
    """Weighted common power (times,) of each frame of a patch with all others."""
    moved = moved_spectra(patches, patch, displacement_px)
    others = moved.sum(axis=0) - moved
    return np.asarray((others.conj() * moved).real @ weight[patches.ring[patches.ring >= 0]])
