"""Statistics of a motion: path lengths, roughness, local range, residuals of the tracks."""

from __future__ import annotations

import math

import numpy as np

from flexalign.io.motion_formats.polynomial import whole_frame_px
from flexalign.model import FloatArray, FrameRange, PatchTracks
from flexalign.motion import Motion, MotionField

# RELION's default limit between early and late motion (--dose_motionstats_cutoff).
EARLY_DOSE_E_A2 = 4.0
# Without a dose, as with this one.
ASSUMED_DOSE_E_A2 = 1.0


def path_lengths_A(
    motion: Motion,
    frames: FrameRange,
    pixel_size_A: float,
    dose_after_e_A2: FloatArray,
) -> tuple[float, float, float, float]:
    """Length of the path of the whole frame: total, early, late, and its largest step, in Angstrom.

    As in RELION, a step is early if the frame that it leads to ends within the first 4 e/A2.

    Parameters
    ----------
    frames : between which steps are taken
    dose_after_e_A2 : accumulated dose at the end of each of them, with the pre-exposure
    """
    steps = np.hypot(*np.diff(_path_A(motion, frames, pixel_size_A), axis=0).T)
    if len(steps) == 0:
        return 0.0, 0.0, 0.0, 0.0
    # A sum of doses of 0.1 e/A2 may exceed 4 by its rounding.
    is_early = dose_after_e_A2[1:] <= EARLY_DOSE_E_A2 * (1 + 1e-9)
    early, late = float(steps[is_early].sum()), float(steps[~is_early].sum())
    return early + late, early, late, float(steps.max())


def roughness_A(motion: Motion, frames: FrameRange, pixel_size_A: float) -> float:
    """Median over frames of the change of step of the whole frame; NaN for fewer than 3 frames.

    Steady drift gives zero, a single jump adds little, noise of s per axis and frame gives 2.9 s.
    """
    change = np.hypot(*np.diff(_path_A(motion, frames, pixel_size_A), n=2, axis=0).T)
    return float(np.median(change)) if len(change) else math.nan


def _path_A(motion: Motion, frames: FrameRange, pixel_size_A: float) -> FloatArray:
    """The path (frames, 2) of the whole frame, with the sign of a correction, in Angstrom."""
    return whole_frame_px(motion, frames)[frames.first : frames.stop] * pixel_size_A


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
