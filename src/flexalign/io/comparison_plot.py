"""Plot of two motions of one movie and their difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flexalign.comparison import MotionComparison
from flexalign.figure_style import AFTER_COLOR, BEFORE_COLOR, DOWNWARD, draw_downward
from flexalign.io.png import save_png

A_STYLE = {"color": BEFORE_COLOR, "ls": "--", "marker": "s", "ms": 4, "lw": 1.6}
B_STYLE = {"color": AFTER_COLOR, "ls": "-", "marker": "o", "ms": 4, "lw": 1.6}
MAP_COLORS = "viridis"
MAX_MARKERS = 60


def draw_comparison(
    path: str | Path,
    comparison: MotionComparison,
    pixel_size_A: float | None,
    *,
    title: str,
    names: tuple[str, str] = ("A", "B"),
) -> None:
    """Draw the mean paths of A and B, their difference in each frame, and its map over the field.

    Parameters
    ----------
    path : of a PNG file; one of the same name is replaced
    pixel_size_A : of the unbinned movie; None = unknown, the picture is in pixels then
    title : name of the movie
    names : of A and B, for the legend

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    from matplotlib.figure import Figure

    scale, unit = (1.0, "px") if pixel_size_A is None else (pixel_size_A, "Å")
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])
    figure.suptitle(
        f"{title}: difference {comparison.rms_px * scale:.3g} {unit} root mean square", fontsize=12
    )
    _draw_paths(left, comparison, scale, unit, names)
    _draw_frames(middle, comparison, scale, unit)
    _draw_map(figure, right, comparison, pixel_size_A, scale, unit)
    save_png(figure, path)


def _draw_paths(
    axes: Any, comparison: MotionComparison, scale: float, unit: str, names: tuple[str, str]
) -> None:
    """Both paths, mean over the field, around their mean over frames."""
    step = max(1, len(comparison.frame) // MAX_MARKERS)
    for path_px, style, name in (
        (comparison.a_px, A_STYLE, names[0]),
        (comparison.b_px, B_STYLE, names[1]),
    ):
        y, x = path_px.T * scale
        axes.plot(x, y, label=name, markevery=step, **style)
        axes.plot(x[0], y[0], "o", ms=12, mfc="none", mec=style["color"], mew=1.5, ls="")
    axes.plot([], [], "o", ms=10, mfc="none", mec="black", ls="", label="first frame")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.12)
    axes.set_title("Mean path over the field", fontsize=11)
    axes.set_xlabel(f"Specimen displacement x ({unit})", fontsize=11)
    axes.set_ylabel(f"Specimen displacement y ({unit}, {DOWNWARD})", fontsize=11)
    draw_downward(axes)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(fontsize=9, framealpha=0.9)


def _draw_frames(axes: Any, comparison: MotionComparison, scale: float, unit: str) -> None:
    """The difference in each frame: total, and that of the whole frame."""
    from matplotlib.ticker import MaxNLocator

    whole_px = np.linalg.norm(comparison.b_px - comparison.a_px, axis=1)
    frames = comparison.frame + 1
    axes.plot(
        frames, comparison.per_frame_px * scale, "-o", color="black", ms=4, lw=1.6,
        label="at 9 x 9 places, rms",
    )  # fmt: skip
    axes.plot(frames, whole_px * scale, ":", color="0.4", lw=1.8, label="of the mean path")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Difference in each frame", fontsize=11)
    axes.set_xlabel("Frame", fontsize=11)
    axes.set_ylabel(f"Distance of B from A ({unit})", fontsize=11)
    axes.grid(color="0.92")
    axes.legend(fontsize=9, framealpha=0.9)


def _draw_map(
    figure: Any,
    axes: Any,
    comparison: MotionComparison,
    pixel_size_A: float | None,
    scale: float,
    unit: str,
) -> None:
    """The difference at each place, over all frames."""
    length, length_unit = (1.0, "px") if pixel_size_A is None else (pixel_size_A / 10, "nm")
    y, x = (places * length for places in (comparison.y_px, comparison.x_px))
    half_y, half_x = ((places[1] - places[0]) / 2 for places in (y, x))
    image = axes.imshow(
        comparison.per_place_px * scale, cmap=MAP_COLORS, vmin=0,
        extent=(x[0] - half_x, x[-1] + half_x, y[-1] + half_y, y[0] - half_y),
    )  # fmt: skip
    worst_y, worst_x = comparison.worst_place_px
    axes.plot(worst_x * length, worst_y * length, "x", color="red", ms=9, mew=2)
    axes.set_title("Difference at each place (cross: largest)", fontsize=11)
    axes.set_xlabel(f"Position x ({length_unit})", fontsize=11)
    axes.set_ylabel(f"Position y ({length_unit}, {DOWNWARD})", fontsize=11)
    bar = axes.inset_axes((1.03, 0, 0.05, 1))  # as high as the map
    figure.colorbar(image, cax=bar, label=f"Distance of B from A, rms over frames ({unit})")
