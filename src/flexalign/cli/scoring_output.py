"""What `score` prints: a table with a verdict, CSV, JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flexalign.scoring.movie_scores import MovieScores
    from flexalign.scoring.session_scores import Change, SessionScores

SCHEMA = 1
WIDTH_WITHOUT_TERMINAL = 120


def _against_best(movies: Sequence[MovieScores]) -> tuple[str, list[SessionScores]]:
    """The best alignment, and each other one compared with it."""
    from flexalign.scoring.session_scores import best_of, compare_scores

    best = best_of(movies)
    others = [score.name for score in movies[0].scores if score.name != best]
    return best, [compare_scores(movies, best, other) for other in others]


def print_table(movies: Sequence[MovieScores]) -> None:
    """The signal of each alignment relative to the best one, and verdicts."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    best, found = _against_best(movies)
    if not found[0].movies:
        typer.echo("The frames share no signal along any of the alignments: no verdict.")
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"Signal relative to {best} (%), {found[0].movies} movies, 95 % confidence",
        title_justify="left",
    )
    table.add_column("Alignment", overflow="fold")
    for coarsest_A, finest_A in found[0].bands_A:
        table.add_column(f"{coarsest_A:g}-{finest_A:g} A", justify="right", no_wrap=True)
    table.add_column("All", justify="right", no_wrap=True)
    table.add_column("B (A2)", justify="right", no_wrap=True)
    for one in found:
        cells = [_cell(change) for change in (*one.bands, one.overall)]
        table.add_row(one.b, *cells, f"{one.b_factor_A2:.1f}")
    console.print(table)
    for one in found:
        typer.echo(one.verdict())
    if found[0].without_signal:
        names = ", ".join(found[0].without_signal)
        typer.echo(f"without signal along any alignment, left out: {names}", err=True)


def _cell(change: Change) -> str:
    """A change with the half width of its interval."""
    return f"{change.percent:+.1f} +- {change.half_width:.1f}"


def print_csv(movies: Sequence[MovieScores]) -> None:
    """One line for each alignment of each movie."""
    from flexalign.batch.rows import write_rows

    rows = list(_rows(movies))
    columns = max(rows, key=len).keys()
    write_rows(sys.stdout, tuple(columns), rows)


def _rows(movies: Sequence[MovieScores]) -> Iterator[dict[str, Any]]:
    """The scores of each alignment of each movie, with their limits after correction."""
    for movie in movies:
        for score in movie.scores:
            total, bias = score.log_likelihood.sum(), score.log_likelihood_bias.sum(axis=0)
            row: dict[str, Any] = {
                "movie": movie.movie,
                "alignment": score.name,
                "frames": movie.frames,
                "has_signal": movie.has_signal,
                "log_likelihood": f"{total:.6g}",
                "log_likelihood_low": f"{total - bias[1]:.6g}",
                "log_likelihood_high": f"{total - bias[0]:.6g}",
                "fitted_parameters_low": f"{score.freedom[0]:.6g}",
                "fitted_parameters_high": f"{score.freedom[1]:.6g}",
            }
            of_bands = zip(
                movie.bands_A, score.ssnr.sum(axis=0), score.ssnr_bias.sum(axis=0), strict=True
            )
            for (coarsest_A, finest_A), value, (low, high) in of_bands:
                band = f"ssnr_{coarsest_A:g}_{finest_A:g}_A"
                row |= {
                    band: f"{value:.6g}",
                    f"{band}_low": f"{value - high:.6g}",
                    f"{band}_high": f"{value - low:.6g}",
                }
            yield row


def everything(movies: Sequence[MovieScores]) -> dict[str, Any]:
    """All results as plain JSON."""
    from flexalign.plain import to_plain

    if not movies:
        return {"schema": SCHEMA, "movies": []}
    best, found = _against_best(movies)
    return {
        "schema": SCHEMA,
        "best": best,
        "comparisons": [{**to_plain(one), "verdict": one.verdict()} for one in found],
        "movies": list(_rows(movies)),
    }
