"""Plot of a gain check: scores, and the images compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.figure_style import COLORS
from flexalign.io.png import save_png
from flexalign.model import PixelArray

MULTIPLY_COLOR, DIVIDE_COLOR = COLORS["main"].light, COLORS["other"].light
DETAIL_PX = 96


def draw_gain_check(
    path: str | Path,
    orientations: Sequence[str],
    scores: Sequence[float],
    sure_sd: float,
    *,
    title: str,
    best: str,
    pictures: tuple[PixelArray, PixelArray],
) -> None:
    """Draw the score of every orientation and, beside it, the movies and the reference.

    Parameters
    ----------
    path : of a PNG file
    orientations : in words
    scores : of each, as a gain that multiplies; for one that divides the sign is opposite
    sure_sd : the threshold of the score
    best : the placement shown in `pictures`
    pictures : excess of the movies and pattern of the reference (h, w), relative

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    figure.suptitle(title, fontsize=11, wrap=True)
    axes = figure.subplots(1, 3)
    _draw_scores(axes[0], orientations, scores, sure_sd)
    _draw_details(figure, axes[1:], pictures, best)
    save_png(figure, path)


def _draw_scores(
    axes: Any, orientations: Sequence[str], scores: Sequence[float], sure_sd: float
) -> None:
    """One bar for each orientation, to the right where the gain multiplies."""
    place = np.arange(len(scores))
    colors = [MULTIPLY_COLOR if score > 0 else DIVIDE_COLOR for score in scores]
    axes.barh(place, scores, color=colors)
    axes.set_yticks(place, orientations)
    axes.invert_yaxis()
    for side in (-sure_sd, sure_sd):
        axes.axvline(side, color="0.4", linestyle="--", linewidth=1)
    axes.axvline(0, color="0.2", linewidth=0.8)
    reach = 1.15 * max(2 * sure_sd, *(abs(score) for score in scores))
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("score (standard deviations of the noise)\n< 0: divides     > 0: multiplies")
    axes.set_ylabel("reference turned, then flipped")
    axes.set_title(f"found beyond the dashed lines ({sure_sd:g})", fontsize=10)


def _draw_details(
    figure: Any, axes: Any, pictures: tuple[PixelArray, PixelArray], best: str
) -> None:
    """The same section of both images, where the reference varies most."""
    top, left = _most_varied(pictures[1])
    names = ("mean of the movies", f"reference, {best}")
    for ax, image, name in zip(axes, pictures, names, strict=True):
        piece = 100 * image[top : top + DETAIL_PX, left : left + DETAIL_PX]
        limit = float(np.quantile(np.abs(piece), 0.99)) or 1.0
        # Row 0 on top, as the names of the orientations assume.
        extent = (left, left + piece.shape[1], top + piece.shape[0], top)
        drawn = ax.imshow(piece, cmap="gray", vmin=-limit, vmax=limit, extent=extent)
        ax.set_title(name, fontsize=10, wrap=True)
        ax.set_xlabel("x (px)")
        ax.set_ylabel("y (px)")
        figure.colorbar(drawn, ax=ax, label="counts above the surroundings (%)", shrink=0.85)


def _most_varied(pattern: PixelArray) -> tuple[int, int]:
    """First row and column of the section with the largest variance."""
    rows, columns = (max(1, side // DETAIL_PX) for side in pattern.shape)
    pieces = [(DETAIL_PX * i, DETAIL_PX * j) for i in range(rows) for j in range(columns)]
    return max(pieces, key=lambda p: float(np.var(pattern[p[0] :, p[1] :][:DETAIL_PX, :DETAIL_PX])))
