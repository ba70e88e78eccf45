"""Which motion to believe, and what to tell the user about it."""

from __future__ import annotations

import numpy as np

from flexalign.estimate import refine
from flexalign.estimate.refine import PatchSpectra
from flexalign.model import FloatArray
from flexalign.motion import Motion, MotionField

# Only rings finer than this part of the pairwise stage's limit count for the score: what the
# pairwise stage has seen cannot judge it.
_UNSEEN_PART = 0.6
# Early motion ends at this dose, as in RELION's statistics; without dose at this many frames.
EARLY_DOSE_E_A2 = 4.0
EARLY_FRAMES = 4
# A movie is called still when nothing in it moves farther than this many standard errors.
_STILL_ERRORS = 3.0
LARGE_STEP_A = 20.0
LARGE_MOTION_A = 150.0


def held_out_scores(
    patches: PatchSpectra,
    candidates: dict[str, tuple[FloatArray, FloatArray]],
    weight: FloatArray,
    max_resolution_A: float,
    threads: int = 1,
) -> dict[str, float]:
    """Log-likelihood that each candidate gives to data it has not seen, relative to "none".

    The rings finer than what the pairwise stage used are dealt to two halves.  A candidate from the
    pairwise stage has seen neither; a refined one comes twice, refined on either half, and is
    judged on the other.

    Parameters
    ----------
    candidates : name -> displacements (patches, times, 2) by which to judge halves 0 and 1; among
        them "none"
    weight : (rings,) likelihood weight, the same for all
    max_resolution_A : of the pairwise stage
    """
    frequency = patches.ring_frequency_per_A
    half = refine.half_of_ring(len(frequency))
    unseen = frequency > 1 / (_UNSEEN_PART * max_resolution_A)
    part = refine.effective_part(patches.grid)
    scores: dict[str, float] = {}
    for name, displacements in candidates.items():
        score = 0.0
        for h in (0, 1):
            # A candidate that comes once serves for both halves.
            if h == 0 or displacements[1] is not displacements[0]:
                cross = refine.sweep(patches, displacements[h], weight, threads).cross.sum(axis=0)
            score += float((cross * weight)[unseen & (half == h)].sum())
        scores[name] = score * part
    return {name: score - scores["none"] for name, score in scores.items()}


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


def flags(
    total_A: float,
    largest_step_A: float,
    largest_displacement_px: float,
    error_px: float,
    bad_frame_count: int,
    chosen: str,
) -> tuple[str, ...]:
    """Short names of what a person should look at."""
    found = {
        "bad-frames": bad_frame_count > 0,
        "jump": largest_step_A > LARGE_STEP_A,
        "large-motion": total_A > LARGE_MOTION_A,
        "still": chosen == "none"
        or bool(np.isfinite(error_px) and largest_displacement_px < _STILL_ERRORS * error_px),
        "no-signal": chosen == "none" and largest_displacement_px > 0,
    }
    return tuple(name for name, is_so in found.items() if is_so)
