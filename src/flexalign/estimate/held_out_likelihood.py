"""Scores of candidate motions on held-out data."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from flexalign.estimate.patch_spectra import (
    PatchSpectra,
    Sweep,
    pair_weight,
    rings_with_weight,
    sweep,
    sweep_batch,
)
from flexalign.estimate.spectral_powers import (
    RingPowers,
    half_of_ring,
    independent_share,
    score_sd,
    strength_by_other_half,
    weight_by_others,
)
from flexalign.model import FloatArray

# Only rings finer than this share of the resolution limit of the pairwise stage count for the
# score: data that a candidate was fitted to cannot validate it.
_HELD_OUT_RATIO = 0.6
# Significance threshold of a score in noise standard deviations: with thirty candidates, noise
# exceeds it once in a thousand times.
SIGNIFICANT = 4.0
# Above this many, the signal is strong enough for refinement to find any remaining motion.
STRONG_SIGNAL = 10.0
# Log-likelihood ratio to no motion, on held-out data, that a motion needs to be accepted.  For a
# specimen at rest it is exceeded at most once in 10 000 times: a likelihood ratio has the mean one
# under the hypothesis in its denominator.
MIN_LOG_LIKELIHOOD_RATIO = math.log(1e4)
# Numbers of patches and directions used to compare two motions.
_SAMPLED_PATCHES = 9
_DIRECTIONS = 4


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Held-out scores of candidates.

    Attributes
    ----------
    score : log-likelihood ratio of each candidate to frames without common signal
    gain : score minus that of no motion, the smallest over different weights
    noise_sd : standard deviation of such a score when there is no common signal
    spread : noise standard deviation of the difference of two scores, by the pair of names
    still_cross : (rings,) cross-power of all pairs of unaligned frames, over all patches
    """

    score: dict[str, float]
    gain: dict[str, float]
    noise_sd: float
    spread: dict[frozenset[str], float]
    still_cross: FloatArray

    @property
    def has_signal(self) -> bool:
        """Whether the score of any candidate is significant."""
        return max(self.score.values()) > SIGNIFICANT * self.noise_sd

    def is_significant(self, name: str) -> bool:
        """Whether a candidate explains held-out data significantly better than none and noise."""
        if name == "none":
            return False
        return (
            self.gain[name] > MIN_LOG_LIKELIHOOD_RATIO
            and self.score[name] > SIGNIFICANT * self.noise_sd
        )

    def has_strong_signal(self, name: str) -> bool:
        """Whether the signal is so strong that any further motion would be detected."""
        return self.score[name] > STRONG_SIGNAL * self.noise_sd

    @property
    def is_strong(self) -> bool:
        """The same for the best candidate."""
        return self.has_strong_signal(self.best())

    def best(self) -> str:
        """The candidate of the highest score, if it is clear; else "none".

        The score of the refined one is that of a fit to half of the data, while the motion that is
        kept is fitted to all, so it may fall short by the noise of the difference.
        """
        highest = max(self.score, key=lambda name: self.score[name])
        if not self.is_significant(highest):
            return "none"
        if "refined" in self.score and highest != "refined":
            short = self.score[highest] - self.score["refined"]
            if short < self.spread[frozenset((highest, "refined"))]:
                return "refined"
        return highest

    def over_none(self) -> dict[str, float]:
        """Scores relative to that of no motion."""
        return {name: score - self.score["none"] for name, score in self.score.items()}


def held_out_scores(
    patches: PatchSpectra,
    candidates: dict[str, tuple[FloatArray, FloatArray]],
    powers: RingPowers,
    pairwise_limit_A: float,
    threads: int = 1,
    measured: dict[str, Sweep] | None = None,
) -> HeldOut:
    """Score each candidate on data that it was not fitted to.

    The rings finer than those of the pairwise stage are divided into two halves.  For a candidate
    of the pairwise stage both are held out; the refined one is refined on each half and scored on
    the other.

    Parameters
    ----------
    candidates : name -> displacements (patches, times, 2) with which to score halves 0 and 1;
        includes "none"
    powers : of the rings, the same for all
    pairwise_limit_A : resolution limit of the pairwise stage; infinite = no data were used
    measured : sweeps over all rings that exist already, of candidates with one displacement
    """
    frequency = patches.ring_frequency_per_A
    half = half_of_ring(len(frequency))
    is_held_out = frequency > 1 / (_HELD_OUT_RATIO * pairwise_limit_A)
    part = independent_share(patches.grid)
    weight = np.where(is_held_out, weight_by_others(patches, powers), 0.0)
    rings = rings_with_weight(weight)
    swept = {name: (found, found) for name, found in (measured or {}).items()}
    if "none" not in swept:
        still = sweep(patches, candidates["none"][0], None, threads)
        swept["none"] = still, still
    for name, displacements in candidates.items():
        if name not in swept:
            one, other = sweep_batch(patches, displacements, [None] * 2, threads, rings)
            swept[name] = one, other
    crosses = {
        name: np.where(half == 0, one.cross, other.cross) for name, (one, other) in swept.items()
    }
    # Eq. (8).
    scores = {name: float((crosses[name] * weight).sum()) * part for name in candidates}
    gains = {name: score - scores["none"] for name, score in scores.items()}
    if "refined" in candidates:
        # The refined motion was fitted to the noise of all rings, which raises their apparent
        # signal.  Powers along the motions of the halves avoid that; the smaller gain counts.
        coefficients = np.maximum(patches.ring_count * patches.count, 1)
        measured_power = crosses["refined"].sum(axis=0) / (
            coefficients * pair_weight(patches.envelope)
        )
        strength = strength_by_other_half(patches, crosses["refined"], powers)
        by_halves = weight_by_others(
            patches, replace(powers, measured=measured_power, strength=strength)
        )
        for name in candidates:
            gain = ((crosses[name] - crosses["none"]) * np.where(is_held_out, by_halves, 0.0)).sum()
            gains[name] = min(gains[name], float(gain) * part)
    noise_sd = score_sd(patches, powers, weight) * part**0.5
    spread = {
        frozenset((one, other)): part**0.5
        * _difference_sd(patches, powers, weight, candidates[one][0] - candidates[other][0])
        for one, other in itertools.combinations(candidates, 2)
    }
    return HeldOut(scores, gains, noise_sd, spread, swept["none"][0].cross.sum(axis=0))


def _difference_sd(
    patches: PatchSpectra, powers: RingPowers, weight: FloatArray, apart_px: FloatArray
) -> float:
    """Noise standard deviation of the difference of the scores of two motions.

    The sums S along two motions have the power A N + A^2 P, A = sum a_t^2, and noise that is
    correlated by r through their distance; the difference of |S|^2 has the variance
    2 A N (A N + A^2 P) (1 - |r|^2).

    Parameters
    ----------
    apart_px : (patches, times, 2) difference of the two motions
    """
    squared = patches.envelope**2
    summed = squared.sum(axis=0)
    some = np.unique(np.linspace(0, len(apart_px) - 1, _SAMPLED_PATCHES).astype(np.int64))
    angle = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    along_A = apart_px[some] @ np.stack([np.sin(angle), np.cos(angle)]) * patches.pixel_size_A
    turns = np.moveaxis(along_A, 1, -1)[..., None, :] * patches.ring_frequency_per_A[:, None]
    turned = np.einsum("pdrt,tr->pdr", np.exp(2j * np.pi * turns), squared, optimize=True)
    differing = 1 - np.mean(np.abs(turned) ** 2, axis=(0, 1)) / np.maximum(summed, 1e-30) ** 2
    noise = summed * powers.patch_noise
    variance = 2 * noise * (noise + summed**2 * powers.patch_signal) * differing.clip(0)
    return float(np.sqrt((patches.ring_count * weight**2 * variance).sum()))
