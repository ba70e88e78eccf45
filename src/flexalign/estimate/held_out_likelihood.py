"""Which motion to believe: candidates judged on data that they have not seen."""

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
    sweep_together,
)
from flexalign.estimate.spectral_powers import (
    RingPowers,
    half_of_ring,
    independent_share,
    score_sd,
    weight_by_others,
)
from flexalign.model import FloatArray

# Only rings finer than this part of the pairwise stage's limit count for the score: what the
# pairwise stage has seen cannot judge it.
_UNSEEN_RATIO = 0.6
# So many standard deviations a score must stand out from noise; of thirty candidates one in a
# thousand does by noise.
SIGNIFICANT = 4.0
# From so many on, what is brought out leads a refinement to any motion that is left.
SURELY = 10.0
# A motion must make what it has not seen so much more probable than no motion does (in the natural
# logarithm) to be believed.  For a specimen that stands still that happens at most once in 10 000:
# the ratio of two likelihoods has the mean one under the hypothesis in its denominator.
ENOUGH_EVIDENCE = math.log(1e4)
# To tell how far two motions are apart, so many patches and directions are used.
_PATCHES_LOOKED_AT = 9
_DIRECTIONS = 4


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """How well candidates predict data that they have not seen.

    Attributes
    ----------
    score : log-likelihood of each candidate over that of frames without common signal
    gain : that over the one of no motion, the least of those by different weights
    noise_sd : standard deviation of such a score when there is no common signal
    spread : standard deviation, by noise, of the difference of two scores; by the two names
    still_cross : (rings,) common power of all pairs of frames without motion, over all patches
    """

    score: dict[str, float]
    gain: dict[str, float]
    noise_sd: float
    spread: dict[frozenset[str], float]
    still_cross: FloatArray

    @property
    def has_signal(self) -> bool:
        """Whether any candidate brings out a signal that noise does not explain."""
        return max(self.score.values()) > SIGNIFICANT * self.noise_sd

    def is_clear(self, name: str) -> bool:
        """Whether a candidate explains unseen data clearly better than no motion, and noise."""
        if name == "none":
            return False
        return self.gain[name] > ENOUGH_EVIDENCE and self.score[name] > SIGNIFICANT * self.noise_sd

    def is_surely(self, name: str) -> bool:
        """Whether a candidate brings out so much signal that any motion beside it would show."""
        return self.score[name] > SURELY * self.noise_sd

    @property
    def is_sure(self) -> bool:
        """Whether the best candidate brings out so much that any motion beside it would show."""
        return self.is_surely(self.best())

    def best(self) -> str:
        """The candidate of the highest score; "none" unless it clearly beats that and noise.

        The refined one is judged by what half of the data made of it; the whole that is kept is
        better, so it may fall short by as much as the two differ by noise.
        """
        highest = max(self.score, key=lambda name: self.score[name])
        if not self.is_clear(highest):
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
    seen_to_A: float,
    threads: int = 1,
    measured: dict[str, Sweep] | None = None,
) -> HeldOut:
    """How well each candidate predicts data that it has not seen.

    The rings finer than what the pairwise stage used are dealt to two halves.  A candidate from the
    pairwise stage has seen neither; a refined one comes twice, refined on either half, and is
    judged on the other.

    Parameters
    ----------
    candidates : name -> displacements (patches, times, 2) by which to judge halves 0 and 1; among
        them "none"
    powers : of the rings, the same for all
    seen_to_A : resolution limit of the pairwise stage; infinite where nothing has been seen
    measured : candidates that come once, of which there has been a sweep over all rings
    """
    frequency = patches.ring_frequency_per_A
    half = half_of_ring(len(frequency))
    unseen = frequency > 1 / (_UNSEEN_RATIO * seen_to_A)
    part = independent_share(patches.grid)
    weight = np.where(unseen, weight_by_others(patches, powers), 0.0)
    rings = rings_with_weight(weight)
    swept = {name: (found, found) for name, found in (measured or {}).items()}
    if "none" not in swept:
        still = sweep(patches, candidates["none"][0], None, threads)
        swept["none"] = still, still
    for name, displacements in candidates.items():
        if name not in swept:
            one, other = sweep_together(patches, displacements, [None] * 2, threads, rings)
            swept[name] = one, other
    crosses = {
        name: np.where(half == 0, one.cross, other.cross) for name, (one, other) in swept.items()
    }
    # Eq. (8).
    scores = {name: float((crosses[name] * weight).sum()) * part for name in candidates}
    gains = {name: score - scores["none"] for name, score in scores.items()}
    if "refined" in candidates:
        # The refined motion has seen all rings, and makes their noise look like signal; what either
        # half has found makes that of the rings look so that judge it.  Neither is to decide alone.
        coefficients = np.maximum(patches.ring_count * patches.count, 1)
        seen = crosses["refined"].sum(axis=0) / (coefficients * pair_weight(patches.envelope))
        by_halves = weight_by_others(patches, replace(powers, measured=seen))
        for name in candidates:
            gain = ((crosses[name] - crosses["none"]) * np.where(unseen, by_halves, 0.0)).sum()
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
    """Standard deviation, by noise, of the difference of the scores of two motions.

    Sums along two motions share the noise but for what the distance between them turns: of two
    such sums of the power A N + A^2 P, A = sum a_t^2, whose noise has the correlation r, the
    difference of |S|^2 has the variance 2 A N (A N + A^2 P) (1 - |r|^2).

    Parameters
    ----------
    apart_px : (patches, times, 2) one motion less the other
    """
    squared = patches.envelope**2
    summed = squared.sum(axis=0)
    some = np.unique(np.linspace(0, len(apart_px) - 1, _PATCHES_LOOKED_AT).astype(np.int64))
    angle = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    along_A = apart_px[some] @ np.stack([np.sin(angle), np.cos(angle)]) * patches.pixel_size_A
    turns = np.moveaxis(along_A, 1, -1)[..., None, :] * patches.ring_frequency_per_A[:, None]
    turned = np.einsum("pdrt,tr->pdr", np.exp(2j * np.pi * turns), squared, optimize=True)
    differing = 1 - np.mean(np.abs(turned) ** 2, axis=(0, 1)) / np.maximum(summed, 1e-30) ** 2
    noise = summed * powers.patch_noise
    variance = 2 * noise * (noise + summed**2 * powers.patch_signal) * differing.clip(0)
    return float(np.sqrt((patches.ring_count * weight**2 * variance).sum()))
