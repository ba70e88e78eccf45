"""The page of `flexalign score`: verdicts, differences by resolution and movie, sums to look at."""

from __future__ import annotations

import base64
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from flexalign import __version__
from flexalign.atomic import replacing
from flexalign.report.details import as_script
from flexalign.report.live import PAGE
from flexalign.report.page import asset, page_template, style_sheet
from flexalign.scoring.movie_scores import MovieScores
from flexalign.scoring.session_scores import (
    Change,
    SessionScores,
    best_of,
    changes_of_movie,
    compare_scores,
    rival_of,
    signal_of_movie,
)
from flexalign.scoring.sum_pictures import SumPictures

STYLES = ("scores.css",)
LIBRARIES = ("echarts.min.js",)
SCRIPTS = ("charts.js", "theme.js", "scores.js")
# Number of movies on either end of the order whose sums are shown.
PICTURED_AT_EACH_END = 2
_DIGITS = 4


def pictured_movies(movies: Sequence[MovieScores]) -> tuple[tuple[str, str], list[str]]:
    """The two alignments whose sums are shown, and the movies.

    The alignments are the best one and its rival; of the movies with signal the worst and the best
    for the rival, worst first.
    """
    best = best_of(movies)
    rival = rival_of(movies, best)
    used = [movie for movie in movies if movie.has_signal]
    ordered = sorted(used, key=lambda movie: changes_of_movie(movie, best, rival, 0)[0])
    names = [movie.movie for movie in ordered]
    ends = [*names[:PICTURED_AT_EACH_END], *names[-PICTURED_AT_EACH_END:]]
    return (best, rival), list(dict.fromkeys(ends))


def write_scores_page(
    path: Path,
    movies: Sequence[MovieScores],
    pictures: Sequence[SumPictures],
    sources: Mapping[str, str],
) -> None:
    """Write the page of scores, one file with all that it needs.

    Parameters
    ----------
    movies : at least one with signal, all with the same alignments
    pictures : of the movies of `pictured_movies`
    sources : where each alignment was read from, by its name

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = page_template("scores.html").render(
        **scores_content(movies, pictures, sources, path.parent),
        styles=[style_sheet(), *map(asset, STYLES)],
        libraries=[asset(name) for name in LIBRARIES],
        scripts=[asset(name) for name in SCRIPTS],
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def scores_content(
    movies: Sequence[MovieScores],
    pictures: Sequence[SumPictures],
    sources: Mapping[str, str],
    folder: Path,
) -> dict[str, Any]:
    """Content of the page; parameters as for `write_scores_page`.

    Parameters
    ----------
    folder : of the page, for links
    """
    best = best_of(movies)
    rival = rival_of(movies, best)
    names = [score.name for score in movies[0].scores if score.name != best]
    names.sort(key=lambda name: name != rival)
    found = [compare_scores(movies, best, name) for name in names]
    used = [movie for movie in movies if movie.has_signal]
    data = {
        "movies": [movie.movie for movie in used],
        "best": best,
        "pairs": [{"bands": _plots(used, one)} for one in found],
    }
    return {
        "version": __version__,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "best": best,
        "rival": rival,
        "count": len(used),
        "without_signal": found[0].without_signal,
        "bands": _band_names(found[0]),
        "pairs": [_pair(used, one) for one in found],
        "pictured": [_pictured(used, one) for one in pictures],
        "alignments": [_alignment(movies, score.name, sources, folder)
                       for score in movies[0].scores],
        "data": Markup(as_script(data)),
    }  # fmt: skip


def _band_names(found: SessionScores) -> list[str]:
    """Names of the bands, and of the log-likelihood."""
    return [f"{coarsest:g} to {finest:g} Å" for coarsest, finest in found.bands_A] + ["all"]


def _pair(movies: Sequence[MovieScores], found: SessionScores) -> dict[str, Any]:
    """One alignment against the best: changes by resolution, plots and movies in words."""
    changes, count = (*found.bands, found.overall), len(found.bands)
    by_movie = [changes_of_movie(movie, found.a, found.b, count) for movie in movies]
    rows = [
        {
            "number": int(number),
            "movie": movies[number].movie,
            "changes": [f"{value:+z.1f}" for value in by_movie[number]],
        }
        for number in np.argsort([values[-1] for values in by_movie])
    ]
    return {
        "name": found.b,
        "verdict": found.verdict(),
        "differs": found.overall.is_significant,
        "changes": [_cell(change) for change in changes],
        "b_factor": None if math.isnan(found.b_factor_A2) else f"{found.b_factor_A2:.1f}",
        "less_in": found.movies - found.overall.more_in,
        "plots": [
            {"title": title, "words": _words(change, found)}
            for title, change in zip(_band_names(found), changes, strict=True)
        ],
        "rows": rows,
    }


def _cell(change: Change) -> dict[str, Any]:
    """A change with its limits, formatted."""
    return {
        "percent": f"{change.percent:+z.1f}",
        "limits": f"{change.low:+z.1f} to {change.high:+z.1f}",
        "has_interval": change.has_interval,
        "is_clear": change.is_significant,
    }


def _words(change: Change, found: SessionScores) -> str:
    """A plot in words, for those who cannot see it."""
    cell = _cell(change)
    return (
        f"{found.b} has {cell['percent']} % signal relative to {found.a} ({cell['limits']}), less "
        f"in {found.movies - change.more_in} of {found.movies} movies"
    )


def _plots(movies: Sequence[MovieScores], found: SessionScores) -> list[dict[str, Any]]:
    """For each band the signal along the best motion, and the change, of each movie."""
    count = len(found.bands)
    signal = [signal_of_movie(movie[found.a], count) for movie in movies]
    percent = [changes_of_movie(movie, found.a, found.b, count) for movie in movies]
    return [
        {
            "axis": ("signal / noise" if band < count else "log-likelihood") + f" along {found.a}",
            "percent": change.percent,
            "low": change.low,
            "high": change.high,
            "points": [
                [float(f"{signal[i][band]:.{_DIGITS}g}"), round(float(percent[i][band]), 2), i]
                for i in range(len(movies))
            ],
        }
        for band, change in enumerate((*found.bands, found.overall))
    ]


def _pictured(movies: Sequence[MovieScores], pictures: SumPictures) -> dict[str, Any]:
    """A movie with its sums along two alignments, and its signal by resolution."""
    names = pictures.names
    movie = next(movie for movie in movies if movie.movie == pictures.movie)
    found = compare_scores([movie], names[0], names[1])
    count = len(found.bands)
    one, other = (signal_of_movie(movie[name], count) for name in names)
    return {
        "movie": pictures.movie,
        "change": _cell(found.overall),
        "whole": list(zip(names, map(_embedded, pictures.whole), strict=True)),
        "middle": list(zip(names, map(_embedded, pictures.middle), strict=True)),
        "spectra": _embedded(pictures.spectra),
        "bands": [
            {"title": title, "signal": [float(a), float(b)], **_cell(change)}
            for title, a, b, change in zip(
                _band_names(found), one, other, (*found.bands, found.overall), strict=True
            )
        ],
    }


def _embedded(png: bytes) -> Markup:
    """A picture as the address of an image."""
    return Markup(f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}")


def _alignment(
    movies: Sequence[MovieScores], name: str, sources: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    """Where an alignment comes from, its fitted parameters, and the report of its run."""
    freedoms = [movie[name].freedom for movie in movies]
    low, high = min(low for low, _ in freedoms), max(high for _, high in freedoms)
    source = sources.get(name)
    page = None if source is None else Path(source) / PAGE
    return {
        "name": name,
        "source": source,
        "report": os.path.relpath(page, folder) if page is not None and page.is_file() else None,
        "fitted": f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}",
    }
