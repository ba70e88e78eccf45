"""The commands `check-gain` and `estimate-gain`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.batch.inputs import find_movies, list_files
from flexalign.cli.alignment import Movies
from flexalign.cli.console import Debug, announce_compiling, progress_bar
from flexalign.cli.options import collect_parameters, takes_only_parameters
from flexalign.errors import InputError, ParameterError
from flexalign.gain.limits import GAIN_SIDE_PX
from flexalign.io.writing import ledger
from flexalign.io.writing.ownership import refuse_existing, refuse_inputs, resolved
from flexalign.option_messages import with_options

if TYPE_CHECKING:
    from flexalign.gain.estimate import GainEstimate
    from flexalign.gain.verdict import GainCheck

MaxMovies = Annotated[
    int, typer.Option("--movies", help="Maximum number of movies to read.", min=1, metavar="N")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of text.")
]  # fmt: skip


@takes_only_parameters(
    "gain", "gain_rotate", "gain_flip", "gain_sense", "tiff_rows", "eer_fractions",
    "eer_upsampling", "threads",
)  # fmt: skip
def check_gain(
    movies: Movies,
    max_movies: MaxMovies = 10,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Plot the scores, and the movies beside the reference, to this file.",
            metavar="PNG",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the plot.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Check whether a gain reference fits movies, and find its orientation.

    The mean of the movies is compared with the reference in all eight orientations, as a
    multiplying and as a dividing gain. Only as many movies are read as needed for a verdict.
    Exit code: 0 it fits or the verdict is unsure, 3 it fits in another orientation or not at all.
    """
    from flexalign.gain.check import GainChecker

    params = collect_parameters(values, None)
    if params.gain is None:
        raise ParameterError("--gain: expected the gain reference to check, found none")
    paths = find_movies(movies, (params.gain,))
    if plot is not None:
        refuse_inputs([plot], [*paths, params.gain, *list_files(movies)])
        refuse_existing(plot, overwrite=overwrite)
    announce_compiling()
    threads = params.thread_count
    checker = GainChecker(params, max_px=GAIN_SIDE_PX, threads=threads)
    with progress_bar(Path(params.gain)) as progress:
        found = checker.take(paths[:max_movies], progress)
    if found is None:
        raise checker.problem or InputError(f"{movies[0]}: expected a movie, found none")
    if plot is not None and not checker.draw(plot, found):
        typer.echo(f"{plot}: there is nothing to plot", err=True)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
    else:
        for line in _check_lines(found):
            typer.echo(line)
    raise typer.Exit(InputError.exit_code if found.is_mismatch else 0)


def _check_lines(check: GainCheck) -> Iterator[str]:
    """The table of candidates and the verdict."""
    count = len(check.movies)
    if check.candidates:
        yield (
            f"{check.gain}: varies by {100 * check.variation:.2g} % from pixel to pixel; "
            f"compared with {check.frame_count} frames of {count} "
            f"movie{'' if count == 1 else 's'}, {check.counts_per_px:.3g} counts per pixel"
        )
        yield ""
        yield (
            f"{'rotate':>6}  {'flip':<11}  {'sense':<8}  {'size':<5}  {'score':>7}  "
            f"{'margin':>7}  pattern"
        )
    for c in check.candidates:
        place, is_given = c.placement, c.placement == check.given
        if c.score >= 0 or is_given:
            yield (
                f"{place.rotate:>6}  {place.flip:<11}  {place.sense:<8}  {c.size:<5}  "
                f"{c.score:>7.1f}  {c.margin:>7.1f}  {100 * c.part:>5.0f} %"
                f"{' <- as given' if is_given else ''}"
            )
    if check.candidates:
        yield "of each orientation, the better sense; margin: by how much the best score is higher"
        yield ""
    yield check.describe()
    advice = check.advice()
    if advice:
        yield f"use it with: {with_options(advice)}"


@takes_only_parameters("tiff_rows", "eer_fractions", "eer_upsampling", "threads")
def estimate_gain(
    movies: Movies,
    out: Annotated[
        Path,
        typer.Option(
            help="The reference to write: .mrc or .tif, or .gain for EER movies.", metavar="FILE"
        ),
    ],
    max_movies: MaxMovies = 1000,
    keep_illumination: Annotated[
        bool,
        typer.Option(
            "--keep-illumination",
            help="Do not divide out the smooth illumination.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Estimate a gain reference from raw movies.

    It multiplies and its mean is one; zero marks bad pixels. For EER movies an MRC or TIFF divides,
    as RELION expects. Its precision, and the number of movies for a better one, are printed at the
    end.
    """
    from flexalign.gain.estimate import estimate_gain as estimate

    params = collect_parameters(values, None)
    paths = find_movies(movies)
    if ledger.is_listed(out):  # made by an earlier run
        paths = [path for path in paths if resolved(path) != resolved(out)]
    refuse_inputs([out], [*paths, *list_files(movies)])
    announce_compiling()
    with progress_bar(out) as show:
        made = estimate(
            paths[:max_movies],
            out,
            params,
            keep_illumination=keep_illumination,
            overwrite=overwrite,
            threads=params.thread_count,
            progress=show,
        )
    ledger.add(out.parent, {out.name: out})
    if as_json:
        typer.echo(json.dumps(made.to_dict()))
        return
    for line in _estimate_lines(made):
        typer.echo(line)


def _estimate_lines(made: GainEstimate) -> Iterator[str]:
    """Summary of the estimate, its noise, and how many movies would improve it."""
    for movie, reason in made.left_out.items():
        yield f"{movie} is left out: {reason}"
    s = "" if made.movie_count == 1 else "s"
    yield (
        f"{made.path}: from {made.frame_count} frames of {made.movie_count} movie{s}, "
        f"{made.counts_per_px:.3g} counts per pixel; it {_sense_text(made.sense)}"
    )
    yield (
        f"sensitivity varies by {100 * made.variation:.2g} % from pixel to pixel, with an error "
        f"of {100 * made.noise:.2g} % for each; bad pixels: {made.defect_count}; "
        f"illumination varied by {100 * (made.illumination_range - 1):.2g} %"
    )
    goals = ", ".join(f"{100 * float(p):g} % {n}" for p, n in made.movies_for.items())
    yield f"number of such movies for an error of: {goals}"
    if not made.is_enough:
        yield (
            "warning: too few movies: the noise of this reference is not small compared with the "
            f"variation that it corrects; use {made.movies_needed} movies or more"
        )


def _sense_text(sense: str) -> str:
    return "multiplies" if sense == "multiply" else "divides (counts, as for EER)"
