"""Which motion to believe, and what to tell the user about it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from flexalign.estimate import refine
from flexalign.estimate.patch_spectra import (
    PatchSpectra,
    Sweep,
    pair_weight,
    rings_with_weight,
    sweep,
    sweep_together,
)
from flexalign.estimate.refine import RingPowers
from flexalign.model import FloatArray, PatchTracks, SignalBand
from flexalign.motion import Motion, MotionField

# Only rings finer than this part of the pairwise stage's limit count for the score: what the
# pairwise stage has seen cannot judge it.
_UNSEEN_PART = 0.6
# So many standard deviations a score must stand out; it is chosen among many.
SIGNIFICANT = 6.0
# Early motion ends at this dose, as in RELION's statistics; without dose at this many frames.
EARLY_DOSE_E_A2 = 4.0
EARLY_FRAMES = 4
# Signal is told in bands between these resolutions.
BAND_EDGES_A = (30.0, 15.0, 10.0, 7.0, 5.0, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """How well candidates predict data that they have not seen.

    Attributes
    ----------
    score : log-likelihood of each candidate over that of frames without common signal
    chance : standard deviation of such a score when there is no common signal
    still_cross : (rings,) common power of all pairs of frames without motion, over all patches
    """

    score: dict[str, float]
    chance: float
    still_cross: FloatArray

    @property
    def has_signal(self) -> bool:
        """Whether any candidate brings out a signal that chance does not explain."""
        return max(self.score.values()) > SIGNIFICANT * self.chance

    def is_clear(self, name: str) -> bool:
        """Whether a candidate explains unseen data clearly better than no motion, and chance."""
        gain = min(self.score[name] - self.score["none"], self.score[name])
        return gain > SIGNIFICANT * self.chance

    def best(self) -> str:
        """The candidate of the highest score; "none" unless it clearly beats that and chance.

        The refined one is judged by what half of the data made of it; the whole that is kept is
        better, so it may fall short by as much as chance.
        """
        if not self.is_clear(max(self.score, key=lambda name: self.score[name])):
            return "none"
        handicap = {"refined": self.chance}
        return max(self.score, key=lambda name: self.score[name] + handicap.get(name, 0.0))

    def over_none(self) -> dict[str, float]:
        """Scores relative to that of no motion."""
        return {name: score - self.score["none"] for name, score in self.score.items()}


def held_out_scores(
    patches: PatchSpectra,
    candidates: dict[str, tuple[FloatArray, FloatArray]],
    powers: RingPowers,
    max_resolution_A: float,
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
    max_resolution_A : of the pairwise stage
    measured : candidates that come once, of which there has been a sweep over all rings
    """
    frequency = patches.ring_frequency_per_A
    half = refine.half_of_ring(len(frequency))
    unseen = frequency > 1 / (_UNSEEN_PART * max_resolution_A)
    part = refine.effective_part(patches.grid)
    weight = np.where(unseen, powers.weight, 0.0)
    rings = rings_with_weight(weight)
    swept = {name: (found, found) for name, found in (measured or {}).items()}
    if "none" not in swept:
        still = sweep(patches, candidates["none"][0], None, threads)
        swept["none"] = still, still
    scores: dict[str, float] = {}
    for name, displacements in candidates.items():
        if name not in swept:
            one, other = sweep_together(patches, displacements, [None] * 2, threads, rings)
            swept[name] = one, other
        score = 0.0
        for h in (0, 1):
            score += float((swept[name][h].cross * weight)[:, half == h].sum())
        scores[name] = score * part
    chance = refine.chance_of_score(patches, powers, weight) * part**0.5
    return HeldOut(scores, chance, swept["none"][0].cross.sum(axis=0))


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
    variance = summed**2 / (pairs * refine.effective_part(patches.grid))
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


def path_lengths_A(
    motion: Motion,
    center_px: tuple[float, float],
    frames: range,
    pixel_size_A: float,
    early_frames: float,
) -> tuple[float, float, float, float]:
    """Length of the path at one place: total, early, late, and its largest step, in Angstrom."""
    index = np.arange(frames.start, frames.stop)
    path = np.stack(motion.displacement_px(index, *center_px), axis=-1) * pixel_size_A
    steps = np.hypot(*np.diff(path, axis=0).T)
    if len(steps) == 0:
        return 0.0, 0.0, 0.0, 0.0
    early = float(steps[: max(1, round(early_frames))].sum())
    return float(steps.sum()), early, float(steps.sum()) - early, float(steps.max())


def roughness_A(
    motion: Motion, center_px: tuple[float, float], frames: range, pixel_size_A: float
) -> float:
    """Median over frames of how much the step at one place changes; NaN of fewer than 3 frames.

    Steady drift has none, a single jump adds little, noise of s per axis and frame adds 2.9 s.
    """
    index = np.arange(frames.start, frames.stop)
    path = np.stack(motion.displacement_px(index, *center_px), axis=-1) * pixel_size_A
    change = np.hypot(*np.diff(path, n=2, axis=0).T)
    return float(np.median(change)) if len(change) else math.nan


def track_residual_px(motion: Motion, tracks: PatchTracks | None) -> float:
    """Rms distance of the tracks of patches from the motion, means over time out; NaN = no tracks.

    Groups of frames are compared at the mean of their frames.
    """
    if tracks is None:
        return math.nan
    frame = np.arange(motion.frame_count)
    whole = [np.interp(tracks.frame, frame, axis) for axis in motion.trajectory.displacement_px.T]
    rest = tracks.displacement_px - np.stack(whole, axis=-1)  # (patches, groups, 2)
    if motion.field is not None:
        y_px, x_px = tracks.center_px.T[:, :, None]
        rest = rest - np.stack(motion.field.displacement_px(tracks.frame, y_px, x_px), axis=-1)
    rest = rest - rest.mean(axis=1, keepdims=True)
    return float(np.sqrt((rest**2).sum(axis=2).mean()))


def local_range_px(field: MotionField | None, frames: range) -> float:
    """Largest distance over frames and places between the field and its mean over places."""
    if field is None:
        return 0.0
    y = np.linspace(0, field.height_px - 1, 9)
    x = np.linspace(0, field.width_px - 1, 9)
    largest = 0.0
    for frame in frames:
        values = field.on_lattice(frame, y, x)
        rest = values - values.mean(axis=(1, 2), keepdims=True)
        largest = max(largest, float(np.hypot(*rest).max()))
    return largest


def largest_displacement_px(motion: Motion, frames: range) -> float:
    """Largest displacement between any two frames at any of 9 x 9 places, along y or x."""
    if motion.field is None:
        path = motion.trajectory.displacement_px[frames.start : frames.stop]
        return float(np.ptp(path, axis=0).max())
    y = np.linspace(0, motion.field.height_px - 1, 9)
    x = np.linspace(0, motion.field.width_px - 1, 9)
    path = np.stack([motion.on_lattice(frame, y, x) for frame in frames])
    return float(np.ptp(path, axis=0).max())
