"""Plot of the motion of one movie: trajectory and local motion."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from flexalign.figure_style import DOWNWARD, draw_downward, frame_colormap
from flexalign.io.png import save_png
from flexalign.model import FloatArray, PatchTracks
from flexalign.motion import Motion, MotionField

# Fixed axes (left, bottom, width, height), the colour bar last: automatic layout takes as long as
# drawing.
PATH_BOXES = [(0.12, 0.1, 0.72, 0.79), (0.87, 0.16, 0.022, 0.67)]
LOCAL_BOXES = [(0.065, 0.1, 0.4, 0.79), (0.52, 0.1, 0.4, 0.79), (0.935, 0.16, 0.012, 0.67)]
FRAME_NUMBERS = 10
NUMBERS_APART = 0.045  # of the width of the path
MIN_SPAN_A = 1.0  # minimum axis range, so that noise does not look like motion
LATTICE_WITHOUT_TRACKS = 5
MEASURED_COLOR = "0.65"
MAX_TRACK_RATIO = 0.42  # of the distance between patches


def draw_trajectory(
    target: str | Path | BinaryIO,
    motion: Motion,
    pixel_size_A: float,
    shape_px: tuple[int, int],
    *,
    title: str,
    tracks: PatchTracks | None = None,
) -> None:
    """Plot the trajectory in Angstrom, and beside it the local motion.

    The local motion of a place is its displacement minus the trajectory and its mean over time:
    lines for the field, dots for the measured tracks, each joined with the field at its frame,
    enlarged as given by a scale bar.

    Parameters
    ----------
    target : path of a PNG file, or an open file to write it to
    pixel_size_A, shape_px : of the unbinned movie, (h, w)
    title : name of the movie
    tracks : measured patches

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    has_local = motion.field is not None or tracks is not None
    figure = Figure(figsize=(12.5 if has_local else 7.5, 6.2))
    *columns, bar = (figure.add_axes(box) for box in (LOCAL_BOXES if has_local else PATH_BOXES))
    figure.suptitle(title, fontsize=12)
    measured = np.flatnonzero(motion.trajectory.is_measured)
    frames = measured if measured.size else np.arange(motion.frame_count)
    limits = (int(frames[0]) + 1, max(int(frames[-1]) + 1, int(frames[0]) + 2))
    colored = _draw_path(columns[0], motion, frames, pixel_size_A, limits)
    if has_local:
        _draw_local(columns[1], motion, pixel_size_A, shape_px, tracks, limits)
    whole = MaxNLocator(integer=True)
    figure.colorbar(colored, cax=bar, label="Frame", ticks=whole)
    save_png(figure, target)


def _colored_line(
    x: FloatArray, y: FloatArray, frame: FloatArray, limits: tuple[int, int], width: float
) -> Any:
    """A line coloured by frame, counted from one."""
    from matplotlib.collections import LineCollection

    points = np.stack([x, y], axis=1)
    lines = LineCollection(
        list(np.stack([points[:-1], points[1:]], axis=1)),
        cmap=frame_colormap(),
        linewidths=width,
        capstyle="round",
    )
    lines.set_array((frame[:-1] + frame[1:]) / 2)
    lines.set_clim(*limits)
    return lines


def _draw_path(
    axes: Any, motion: Motion, frames: Any, pixel_size_A: float, limits: tuple[int, int]
) -> Any:
    """The trajectory with frame numbers and standard errors; returns the coloured line."""
    y, x = motion.trajectory.displacement_px[frames].T * pixel_size_A
    error_px = motion.trajectory.standard_error_px
    if error_px is not None:
        error_y, error_x = error_px[frames].T * pixel_size_A
        axes.errorbar(
            x, y, error_y, error_x, fmt="none", ecolor="0.75", elinewidth=1, zorder=1,
            label="standard error",
        )  # fmt: skip
    lines = axes.add_collection(_colored_line(x, y, frames + 1.0, limits, 2.0))
    axes.scatter(
        x, y, c=frames + 1, s=18, cmap=frame_colormap(), vmin=limits[0], vmax=limits[1], zorder=3
    )
    axes.plot(x[0], y[0], "o", ms=12, mfc="none", mec="black", mew=1.5, ls="", label="first frame")
    middle = np.array([x.min() + x.max(), y.min() + y.max()]) / 2
    axes.update_datalim([middle - MIN_SPAN_A / 2, middle + MIN_SPAN_A / 2])
    _number_frames(axes, frames, x, y)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.12)
    axes.set_title(f"Whole frame, relative to frame {motion.reference_frame + 1}", fontsize=11)
    axes.set_xlabel("Specimen displacement x (Å)", fontsize=11)
    axes.set_ylabel(f"Specimen displacement y (Å, {DOWNWARD})", fontsize=11)
    draw_downward(axes)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(fontsize=9, framealpha=0.9)
    return lines


def _number_frames(axes: Any, frames: Any, x: FloatArray, y: FloatArray) -> None:
    """About ten frame numbers beside the path, always on the same side of it."""
    step = max(1, math.ceil(len(frames) / FRAME_NUMBERS))
    apart = NUMBERS_APART * max(float(np.ptp(x)), float(np.ptp(y)), MIN_SPAN_A)
    chosen: list[int] = []
    for i in [0, len(frames) - 1, *range(step, len(frames) - 1, step)]:
        if all(math.hypot(x[i] - x[other], y[i] - y[other]) > apart for other in chosen):
            chosen.append(i)
    for i in chosen:
        following, previous = min(i + 1, len(x) - 1), max(i - 1, 0)
        along = np.array([x[following] - x[previous], y[previous] - y[following]])  # on the page
        length = float(np.hypot(*along))
        aside = np.array([-along[1], along[0]]) / length if length > 0 else np.array([0.0, 1.0])
        axes.annotate(
            str(frames[i] + 1), (x[i], y[i]), xytext=tuple(12 * aside),
            textcoords="offset points", ha="center", va="center", fontsize=9, zorder=4,
        )  # fmt: skip


def _draw_local(
    axes: Any,
    motion: Motion,
    pixel_size_A: float,
    shape_px: tuple[int, int],
    tracks: PatchTracks | None,
    limits: tuple[int, int],
) -> None:
    """The local motion of each place, drawn at its position on the micrograph."""
    from matplotlib.patches import Rectangle

    height_nm, width_nm = (length * pixel_size_A / 10 for length in shape_px)
    centers_px, frames = _places(motion, shape_px, tracks)
    paths_A = _field_paths(motion, centers_px, frames) * pixel_size_A
    dots_A = None if tracks is None else _track_residual(motion, tracks) * pixel_size_A
    max_A = max(float(np.abs(paths_A).max()), _typical_extent(dots_A))
    spacing_nm = math.sqrt(height_nm * width_nm / len(centers_px))
    bar_A = _round_number(max_A) if max_A > 0 else 1.0
    nm_per_A = MAX_TRACK_RATIO * spacing_nm / max(max_A, bar_A)
    axes.add_patch(Rectangle((0, 0), width_nm, height_nm, fill=False, ec="0.3", lw=1.2))
    for i, center_nm in enumerate(centers_px * pixel_size_A / 10):
        track_nm = center_nm + paths_A[i] * nm_per_A
        if dots_A is not None:
            _draw_measured(axes, center_nm + dots_A[i] * nm_per_A, track_nm, motion.field)
        y, x = track_nm.T
        if motion.field is not None and len(frames) > 1:
            axes.add_collection(_colored_line(x, y, frames + 1.0, limits, 2.2))
    bar_nm = bar_A * nm_per_A
    axes.plot([0, bar_nm], [1.045 * height_nm] * 2, color="black", lw=2.5, solid_capstyle="butt")
    axes.text(
        bar_nm + 0.015 * width_nm, 1.045 * height_nm,
        f"{bar_A:g} Å of motion (enlarged {10 * nm_per_A:.3g} times)", va="center", fontsize=9,
    )  # fmt: skip
    axes.set_xlim(-0.04 * width_nm, 1.04 * width_nm)
    axes.set_ylim(1.09 * height_nm, -0.04 * height_nm)
    axes.set_aspect("equal")
    drawn = ["lines: field"] * (motion.field is not None) + ["dots: measured"] * (
        tracks is not None
    )
    axes.set_title(f"Local motion beyond that of the frame ({', '.join(drawn)})", fontsize=11)
    axes.set_xlabel("Position x (nm)", fontsize=11)
    axes.set_ylabel(f"Position y (nm, {DOWNWARD})", fontsize=11)


def _draw_measured(
    axes: Any, dots_nm: FloatArray, track_nm: FloatArray, field: MotionField | None
) -> None:
    """The measured points of a patch, each joined with the field at its frame, or in order."""
    from matplotlib.collections import LineCollection

    axes.plot(dots_nm[:, 1], dots_nm[:, 0], ".", ms=3, color=MEASURED_COLOR, zorder=1)
    known = np.isfinite(dots_nm).all(axis=1)
    points = dots_nm[known]
    ends = points[1:] if field is None else track_nm[known]
    lines = np.stack([points[: len(ends)], ends], axis=1)[:, :, ::-1]
    axes.add_collection(LineCollection(list(lines), colors=MEASURED_COLOR, lw=0.6, zorder=1))


def _places(
    motion: Motion, shape_px: tuple[int, int], tracks: PatchTracks | None
) -> tuple[FloatArray, FloatArray]:
    """Where (places, 2) and at which frames local motion is drawn."""
    if tracks is not None:
        return tracks.center_px, tracks.frame
    y, x = (
        (np.arange(LATTICE_WITHOUT_TRACKS) + 0.5) * n / LATTICE_WITHOUT_TRACKS for n in shape_px
    )
    centers_px = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    assert motion.field is not None
    return centers_px, np.array(list(motion.field.frames), dtype=np.float64)


def _field_paths(motion: Motion, centers_px: FloatArray, frames: FloatArray) -> FloatArray:
    """The field (places, times, 2) at the places, around its mean over time."""
    if motion.field is None:
        return np.zeros((len(centers_px), len(frames), 2))
    y_px, x_px = centers_px.T[:, :, None]
    field = np.stack(motion.field.displacement_px(frames[None, :], y_px, x_px), axis=-1)
    return np.asarray(field - field.mean(axis=1, keepdims=True))


def _track_residual(motion: Motion, tracks: PatchTracks) -> FloatArray:
    """Measured displacement (places, times, 2) beyond the trajectory, around its mean over time."""
    frame = np.arange(motion.frame_count)
    whole = [
        np.interp(tracks.frame, frame, column) for column in motion.trajectory.displacement_px.T
    ]
    residual = tracks.displacement_px - np.stack(whole, axis=-1)
    return np.asarray(residual - np.nanmean(residual, axis=1, keepdims=True))


def _typical_extent(dots_A: FloatArray | None) -> float:
    """Robust extent of the dots around their places, so that outliers do not set the scale."""
    if dots_A is None or not np.isfinite(dots_A).any():
        return 0.0
    return float(np.nanpercentile(np.abs(dots_A), 95))


def _round_number(maximum: float) -> float:
    """The largest of 1, 2, 5 times a power of ten not above `maximum`."""
    power = 10.0 ** math.floor(math.log10(maximum))
    return max(step * power for step in (1, 2, 5) if step * power <= maximum * (1 + 1e-9))
