"""Statistics of a motion: path lengths, roughness, local range, residuals of the tracks."""

from __future__ import annotations

import math

import numpy as np

from flexalign.model import PatchTracks
from flexalign.motion import Motion, MotionField

# Early motion ends at this dose, as in RELION's statistics; without dose at this many frames.
EARLY_DOSE_E_A2 = 4.0
EARLY_FRAMES = 4


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
    """Median over frames of the change of step at one place; NaN for fewer than 3 frames.

    Steady drift gives zero, a single jump adds little, noise of s per axis and frame gives 2.9 s.
    """
    index = np.arange(frames.start, frames.stop)
    path = np.stack(motion.displacement_px(index, *center_px), axis=-1) * pixel_size_A
    change = np.hypot(*np.diff(path, n=2, axis=0).T)
    return float(np.median(change)) if len(change) else math.nan


def track_residual_px(motion: Motion, tracks: PatchTracks | None) -> float:
    """Rms distance of patch tracks from the motion, means over time removed; NaN = no tracks.

    Groups of frames are compared at their mean frame.
    """
    if tracks is None:
        return math.nan
    frame = np.arange(motion.frame_count)
    whole = [np.interp(tracks.frame, frame, axis) for axis in motion.trajectory.displacement_px.T]
    residual = tracks.displacement_px - np.stack(whole, axis=-1)  # (patches, groups, 2)
    if motion.field is not None:
        y_px, x_px = tracks.center_px.T[:, :, None]
        residual = residual - np.stack(
            motion.field.displacement_px(tracks.frame, y_px, x_px), axis=-1
        )
    residual = residual - residual.mean(axis=1, keepdims=True)
    return float(np.sqrt((residual**2).sum(axis=2).mean()))


def local_range_px(field: MotionField | None, frames: range) -> float:
    """Largest distance over frames and places between the field and its mean over places."""
    if field is None:
        return 0.0
    y = np.linspace(0, field.height_px - 1, 9)
    x = np.linspace(0, field.width_px - 1, 9)
    maximum = 0.0
    for frame in frames:
        values = field.on_lattice(frame, y, x)
        residual = values - values.mean(axis=(1, 2), keepdims=True)
        maximum = max(maximum, float(np.hypot(*residual).max()))
    return maximum


def largest_displacement_px(motion: Motion, frames: range) -> float:
    """Largest displacement between any two frames at any of 9 x 9 places, along y or x."""
    if motion.field is None:
        path = motion.trajectory.displacement_px[frames.start : frames.stop]
        return float(np.ptp(path, axis=0).max())
    y = np.linspace(0, motion.field.height_px - 1, 9)
    x = np.linspace(0, motion.field.width_px - 1, 9)
    path = np.stack([motion.on_lattice(frame, y, x) for frame in frames])
    return float(np.ptp(path, axis=0).max())
