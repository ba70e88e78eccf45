"""Spectral signal-to-noise ratio of the sum of all frames in bands of resolution."""

from __future__ import annotations

import itertools

import numpy as np

from flexalign.estimate.patch_spectra import PatchSpectra, pair_weight
from flexalign.estimate.spectral_powers import RingPowers, independent_share
from flexalign.model import FloatArray, SignalBand

# Signal is told in bands between these resolutions.
BAND_EDGES_A = (30.0, 15.0, 10.0, 7.0, 5.0, 4.0)


def signal_bands(
    patches: PatchSpectra, still_cross: FloatArray, along: RingPowers
) -> tuple[SignalBand, ...]:
    """Spectral signal-to-noise ratio of the sum of all frames, before and after, by resolution.

    Pairs of frames have the signal in common and no noise, so that their products tell its power P
    whatever that of the noise, N: the ratio for the sum, each frame weighted by what the dose
    leaves, is P / N sum_t a_t^2.  Coefficients of a band count alike.  Bands finer than the frames
    reach are left out.

    Parameters
    ----------
    still_cross : (rings,) common power of all pairs of frames without motion, over all patches
    along : powers of the rings along the motion that was kept
    """
    frequency = patches.ring_frequency_per_A
    summed = (patches.envelope**2).sum(axis=0)
    count = patches.ring_count * patches.count
    pairs = np.maximum(count * pair_weight(patches.envelope), 1e-30)
    per_noise = summed / np.maximum(along.noise, 1e-30)
    before, after = per_noise * still_cross / pairs, per_noise * along.measured
    variance = summed**2 / (pairs * independent_share(patches.grid))
    bands = []
    for coarsest_A, finest_A in itertools.pairwise(BAND_EDGES_A):
        inside = (frequency >= 1 / coarsest_A) & (frequency < 1 / finest_A)
        part = np.where(inside, count, 0.0)
        if frequency[-1] < 1 / finest_A - 2 * frequency[1] or not part.any():
            continue
        part /= part.sum()
        error = np.sqrt((part**2 * variance).sum())
        bands.append(
            SignalBand(
                coarsest_A, finest_A, float(part @ before), float(part @ after), float(error)
            )
        )
    return tuple(bands)
