"""Spectral signal-to-noise ratio of the sum of all frames in resolution bands."""

from __future__ import annotations

import itertools

import numpy as np

from flexalign.estimate.patch_spectra import PatchSpectra, pair_weight
from flexalign.estimate.spectral_powers import RingPowers, independent_share
from flexalign.model import FloatArray, SignalBand

# Limits of the resolution bands.
BAND_EDGES_A = (30.0, 15.0, 10.0, 7.0, 5.0, 4.0)


def signal_bands(
    patches: PatchSpectra, still_cross: FloatArray, along: RingPowers
) -> tuple[SignalBand, ...]:
    """Spectral signal-to-noise ratio of the sum of all frames, before and after alignment.

    Pairs of frames share signal but no noise, so their cross-power estimates the signal power P
    without bias by the noise power N.  The ratio of the dose-weighted sum is P / N sum_t a_t^2.
    Coefficients of a band have equal weights.  Bands finer than the frames resolve are left out.

    Parameters
    ----------
    still_cross : (rings,) cross-power of all pairs of unaligned frames, over all patches
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
