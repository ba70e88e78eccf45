"""What `score` prints: a table with a verdict, CSV, JSON."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from flexalign.scoring.movie_scores import MovieScores
    from flexalign.scoring.session_scores import SessionScores

SCHEMA = 1
WIDTH_WITHOUT_TERMINAL = 80


def _against_best(movies: Sequence[MovieScores]) -> tuple[str, list[SessionScores]]:
    """The best alignment, and each other one compared with it."""
    from flexalign.scoring.session_scores import best_of, compare_scores

    best = best_of(movies)
    others = [score.name for score in movies[0].scores if score.name != best]
    return best, [compare_scores(movies, best, other) for other in others]


def print_table(movies: Sequence[MovieScores]) -> None:
    """The signal of each alignment relative to the best one, and verdicts."""
    from rich.console import Console

    best, found = _against_best(movies)
    if not found[0].movies:
        typer.echo("The frames share no signal along any of the alignments: no verdict.")
        return
    Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL).print(
        _table(best, found)
    )
    for one in found:
        typer.echo(one.verdict())
    if found[0].without_signal:
        names = ", ".join(found[0].without_signal)
        typer.echo(f"without signal along any alignment, left out: {names}", err=True)


def _table(best: str, found: Sequence[SessionScores]) -> Table:
    """Changes by resolution, the limits of each below it."""
    from rich import box
    from rich.table import Table

    count = found[0].movies
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        title=f"Signal relative to {best} (%), by resolution (A), {count} "
        f"{'movie' if count == 1 else 'movies'};\nfrom and to: 95 % interval",
        title_justify="left",
    )
    table.add_column("Alignment", overflow="fold")
    for coarsest_A, finest_A in found[0].bands_A:
        table.add_column(f"{coarsest_A:g}-{finest_A:g}", justify="right", no_wrap=True)
    table.add_column("All", justify="right", no_wrap=True)
    table.add_column("B (A2)", justify="right", no_wrap=True)
    for one in found:
        changes = (*one.bands, one.overall)
        b_factor = "?" if math.isnan(one.b_factor_A2) else f"{one.b_factor_A2:.1f}"
        table.add_row(one.b, *(f"{change.percent:+z.1f}" for change in changes), b_factor)
        table.add_row("  from", *(f"{change.low:+z.1f}" for change in changes))
        table.add_row("  to", *(f"{change.high:+z.1f}" for change in changes))
    return table


def print_csv(movies: Sequence[MovieScores]) -> None:
    """One line for each alignment of each movie."""
    from flexalign.batch.rows import write_rows

    rows = list(_rows(movies))
    columns = max(rows, key=len).keys()
    texts = [
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]
    write_rows(sys.stdout, tuple(columns), texts)


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
                "log_likelihood": float(total),
                "log_likelihood_low": float(total - bias[1]),
                "log_likelihood_high": float(total - bias[0]),
                "fitted_parameters_low": float(score.freedom[0]),
                "fitted_parameters_high": float(score.freedom[1]),
            }
            of_bands = zip(
                movie.bands_A, score.ssnr.sum(axis=0), score.ssnr_bias.sum(axis=0), strict=True
            )
            for (coarsest_A, finest_A), value, (low, high) in of_bands:
                band = f"ssnr_{coarsest_A:g}_{finest_A:g}_A"
                row |= {
                    band: float(value),
                    f"{band}_low": float(value - high),
                    f"{band}_high": float(value - low),
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
        "movies": to_plain(list(_rows(movies))),
    }
