"""The command `score`: the signal in the sums along any alignments of the same movies."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.alignment import Settings, movies_and_parameters
from flexalign.cli.console import Debug, announce_compiling, progress_bar, run_each
from flexalign.cli.options import takes_parameters_without
from flexalign.cli.scoring_output import everything, print_csv, print_table
from flexalign.errors import InputError, ParameterError
from flexalign.params import ESTIMATION, OUTPUT

if TYPE_CHECKING:
    from flexalign.scoring.movie_scores import MovieScores

_RESERVED = "none"


@takes_parameters_without(
    ESTIMATION,
    OUTPUT,
    "local",
    "control_points",
    "align_first",
    "align_last",
    "gain_check",
    "dose_check",
)
def score(
    alignments: Annotated[
        list[str],
        typer.Argument(
            help="Alignments of the movies, each a folder, a file or a quoted pattern as for "
            "'compare'; with a name of your choice as NAME=PATH. No motion is always among them.",
            metavar="ALIGNMENT...",
        ),
    ],
    movies: Annotated[
        list[str],
        typer.Option(
            help="Movies, quoted patterns, folders or lists as for 'align'; may be repeated.",
            metavar="MOVIES",
        ),
    ],
    settings: Settings = None,
    with_global: Annotated[
        bool,
        typer.Option("--with-global", help="Score the trajectory of each local alignment as well."),
    ] = False,
    independent: Annotated[
        bool,
        typer.Option(
            "--independent",
            help="The alignments were not made with the electrons of these movies, but with others "
            "of the same exposures; nothing is subtracted for fitted noise.",
        ),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the scores of each movie as CSV instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Plot the signal by resolution to this PNG file.", metavar="FILE"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing plot.")
    ] = False,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Score alignments, of any programs, by the signal that the frames share along each.

    No truth is needed: frames have independent noise, so what they share after alignment is
    signal. Give gain, dose and pixel size as for 'align'. Each movie is read once.

    An alignment also aligns the noise that it was fitted to. The expected amount is subtracted;
    where it is known only within limits, the intervals include them.

    Exit code: 0 all scored, 1 some could not be, 2 parameters, 3 nothing could be.
    """
    if as_csv and as_json:
        raise ParameterError("--csv, --json: expected one of them, found both")
    arguments = _named(alignments)
    paths, params, own, _ = movies_and_parameters(movies, settings, values)
    params = replace(params, dose_weight=False, psd=False)
    files, missing = _files_of(paths, arguments)
    if plot is not None:
        from flexalign.io.writing.ownership import refuse_existing, refuse_inputs

        refuse_inputs(
            [plot], [*paths, *(path for found in files.values() for path in found.values())]
        )
        refuse_existing(plot, overwrite=overwrite)
    announce_compiling()
    scored: list[MovieScores] = []

    def work(path: Path) -> None:
        from flexalign.io.writing.ownership import resolved
        from flexalign.scoring.score_movie import read_scored, score_movie

        if path in missing:
            raise InputError(missing[path])
        of_movie = replace(params, **own.get(resolved(path), {}))
        motions = read_scored(
            path, files[path], of_movie, with_global=with_global, is_independent=independent
        )
        with progress_bar(path) as progress:
            scored.append(score_movie(path, motions, of_movie, progress))

    code = run_each(paths, work, debug=debug)
    alike = _with_all_names(scored)
    if as_json:
        typer.echo(json.dumps(everything(alike), indent=1))
    elif as_csv:
        print_csv(alike)
    elif alike:
        print_table(alike)
    if plot is not None and alike:
        from flexalign.scoring.plot import draw_scores

        draw_scores(plot, alike)
    raise typer.Exit(code)


def _named(arguments: list[str]) -> dict[str, str]:
    """The arguments by name: what was typed before "=", else the shortest path that is unique."""
    named: dict[str, str] = {}
    unnamed: list[str] = []
    for argument in arguments:
        name, sign, path = argument.partition("=")
        if not (sign and name and path) or Path(argument).exists():
            unnamed.append(argument)
        elif name in named:
            raise ParameterError(f"{argument}: expected different names, found {name!r} twice")
        else:
            named[name] = path
    last = Counter(Path(argument).name for argument in unnamed)
    for argument in unnamed:
        name = Path(argument).name
        name = argument if last[name] > 1 or name in named else name
        if name in named:
            raise ParameterError(f"{argument}: expected each alignment once, found it twice")
        named[name] = argument
    if _RESERVED in named:
        raise ParameterError(
            f"{_RESERVED}: no motion is always scored under this name; give another one as "
            "NAME=PATH"
        )
    return named


def _files_of(
    movies: list[Path], arguments: dict[str, str]
) -> tuple[dict[Path, dict[str, Path]], dict[Path, str]]:
    """The file of each alignment of each movie, and why movies lack one."""
    from flexalign.io.motion_formats.alignment_pairs import alignments_of, find_alignments

    files: dict[Path, dict[str, Path]] = {movie: {} for movie in movies}
    missing: dict[Path, str] = {}
    for name, argument in arguments.items():
        alone = find_alignments(argument) if len(movies) == 1 else []
        if len(alone) == 1:
            files[movies[0]][name] = alone[0].path
            continue
        found, lacking = alignments_of(movies, argument)
        for movie, path in found.items():
            files[movie][name] = path
        missing |= lacking
    return files, missing


def _with_all_names(scored: list[MovieScores]) -> list[MovieScores]:
    """The movies, each with the alignments that all of them have."""
    from flexalign.scoring.movie_scores import with_names

    if not scored:
        return []
    names = [
        one.name
        for one in scored[0].scores
        if all(any(other.name == one.name for other in movie.scores) for movie in scored)
    ]
    return [with_names(movie, names) for movie in scored]
