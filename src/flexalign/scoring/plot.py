"""Plot of the signal of several alignments, by resolution and by movie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.figure_style import SERIES_COLORS
from flexalign.io.png import save_png
from flexalign.scoring.movie_scores import MovieScores
from flexalign.scoring.session_scores import (
    SessionScores,
    best_of,
    changes_of_movie,
    compare_scores,
)

_SPREAD = 0.5


def draw_scores(path: str | Path, movies: Sequence[MovieScores]) -> None:
    """Draw the signal of each alignment relative to the best one: in each band, and in each movie.

    Parameters
    ----------
    path : of a PNG file; one of the same name is replaced
    movies : at least one, all with the same alignments

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    from matplotlib.figure import Figure

    best = best_of(movies)
    others = [score.name for score in movies[0].scores if score.name != best]
    found = [compare_scores(movies, best, name) for name in others]
    figure = Figure(figsize=(12, 5), layout="constrained")
    by_band, by_movie = figure.subplots(1, 2)
    _draw_bands(by_band, found)
    _draw_movies(by_movie, movies, best, others)
    for axes in (by_band, by_movie):
        axes.axhline(0, color="0.3", lw=1)
        axes.set_ylabel(f"Signal relative to {best} (%)")
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
    by_band.legend(fontsize=9, framealpha=0.9)
    save_png(figure, path)


def _draw_bands(axes: Any, found: Sequence[SessionScores]) -> None:
    """Changes in each band with their intervals."""
    for number, one in enumerate(found):
        offset = _SPREAD * ((number + 0.5) / len(found) - 0.5)
        middle = np.array([change.percent for change in one.bands])
        limits = np.array([(change.low, change.high) for change in one.bands]).T
        axes.errorbar(
            np.arange(len(middle)) + offset, middle, yerr=np.abs(limits - middle), fmt="o",
            capsize=3, color=SERIES_COLORS[number % len(SERIES_COLORS)], label=one.b,
        )  # fmt: skip
    bands_A = found[0].bands_A
    names = [f"{coarsest:g}-{finest:g}" for coarsest, finest in bands_A]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel("Resolution (Å)")
    axes.set_title("By resolution, with 95 % intervals", fontsize=11)


def _draw_movies(
    axes: Any, movies: Sequence[MovieScores], best: str, others: Sequence[str]
) -> None:
    """The log-likelihood of each movie relative to that along the best motion, in order."""
    used = [movie for movie in movies if movie.has_signal]
    for number, name in enumerate(others):
        percent = [changes_of_movie(movie, best, name, bands=0)[0] for movie in used]
        axes.plot(
            np.arange(len(used)) + 1, np.sort(percent), "o-", ms=4, lw=1,
            color=SERIES_COLORS[number % len(SERIES_COLORS)], label=name,
        )  # fmt: skip
    axes.set_xlabel("Movie, in order of the difference")
    axes.set_title("By movie, all resolutions", fontsize=11)
