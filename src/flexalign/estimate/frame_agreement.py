"""Frames inconsistent with the others, and inconsistent motions from the two half-sets of rings.

Standard errors assume that every frame is near its true optimum.  A frame at a wrong peak shares
almost no signal with the others, which can be detected.  Where the peak is ambiguous, the two
half-sets of rings may select different ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexalign.estimate.evidence import fit_motion
from flexalign.estimate.patch_spectra import PatchSpectra, shifted_spectra
from flexalign.estimate.refine import Refinement
from flexalign.estimate.spectral_powers import RingPowers
from flexalign.model import FloatArray
from flexalign.motion import MotionField

# Number of patches used: those with the most information.
_PATCHES = 4
# A frame is misaligned if its common signal is below this share of the expected one, by this many
# standard deviations.
_MIN_COMMON_RATIO = 0.3
_DEVIATIONS = 5.0


def lost_frames(
    patches: PatchSpectra, displacement_px: FloatArray, powers: RingPowers
) -> npt.NDArray[np.int64]:
    """Indices of misaligned frames, given displacements (patches, times, 2).

    The expected cross-power of frame t with the sum of the others, weighted as in the likelihood,
    is W P a_t^2 B with B the sum of a_s^2 over the others; its variance is half the product of the
    powers of frame and sum.
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
    is_less = found < _MIN_COMMON_RATIO * expected
    return np.flatnonzero(is_less & (found < expected - _DEVIATIONS * np.sqrt(variance)))


def halves_apart(one: Refinement, other: Refinement, shape: MotionField | None) -> float:
    """RMS distance of the paths from the two half-sets of rings, in units of its standard error.

    Their noise is independent, so for consistent paths it is about one or less.
    """
    paths, variances = [], []
    for half in (one, other):
        fit = fit_motion(half.data, half.trajectory_prior, half.field_prior, shape)
        assert fit.trajectory_px is not None
        assert fit.trajectory_error_px is not None
        paths.append(fit.trajectory_px)
        variances.append(fit.trajectory_error_px**2)
    apart = ((paths[0] - paths[1]) ** 2).sum(axis=1).mean() / len(one.axes)
    return float(np.sqrt(apart / np.maximum(np.mean(variances) * 2, 1e-30)))


def _agreement(
    patches: PatchSpectra, patch: int, displacement_px: FloatArray, weight: FloatArray
) -> FloatArray:
    """Weighted cross-power (times,) of each frame of a patch with the sum of the others."""
    moved = shifted_spectra(patches, patch, displacement_px)
    others = moved.sum(axis=0) - moved
    return np.asarray((others.conj() * moved).real @ weight[patches.ring[patches.ring >= 0]])
