"""The command `score`: the signal in the sums along any alignments of the same movies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.batch.inputs import is_movie_name, list_files
from flexalign.cli.alignment import Settings, movies_and_parameters
from flexalign.cli.console import (
    Debug,
    announce_compiling,
    print_message,
    progress_bar,
    run_each,
)
from flexalign.cli.option_groups import takes_options
from flexalign.cli.options import takes_parameters_without
from flexalign.cli.running import own_values, params_by
from flexalign.cli.scoring_output import everything, print_csv, print_table
from flexalign.errors import InputError, ParameterError
from flexalign.params import ESTIMATION, OUTPUT, RANGES, REFERENCE_FILES, AlignParams

if TYPE_CHECKING:
    from flexalign.scoring.movie_scores import MovieScores
    from flexalign.scoring.score_movie import Scored
    from flexalign.scoring.sum_pictures import SumPictures

Alignments = Annotated[
    list[str],
    typer.Argument(
        help="Alignments of the movies, each a folder, a file or a quoted pattern as for "
        "'compare'; with a name of your choice as NAME=PATH. No motion is always among them.",
        metavar="ALIGNMENT",
    ),
]
MoviesOption = Annotated[
    list[str],
    typer.Option(
        help="Movies, quoted patterns, folders or lists as for 'align'; may be repeated.",
        metavar="MOVIES",
    ),
]


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What is scored, and the outputs."""

    with_global: Annotated[
        bool,
        typer.Option("--with-global", help="Score the trajectory of each local alignment as well."),
    ] = False
    independent: Annotated[
        bool,
        typer.Option(
            "--independent",
            help="The alignments were not made with the electrons of these movies, but with others "
            "of the same exposures; nothing is subtracted for fitted noise.",
        ),
    ] = False
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the scores of each movie as CSV instead.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False
    plot: Annotated[
        Path | None,
        typer.Option(help="Plot the signal by resolution to this PNG file.", metavar="FILE"),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a page (HTML, one file) with verdicts, plots by movie, and the sums of the "
            "worst and the best movies along two alignments, side by side.",
            metavar="FILE",
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing plot or page.")
    ] = False

    def __post_init__(self) -> None:
        if self.as_csv and self.as_json:
            raise ParameterError("--csv, --json: expected one of them, found both")
        if self.plot is not None and self.plot == self.report:
            raise ParameterError(f"--plot, --report: expected two files, found {self.plot} twice")


@takes_parameters_without(
    RANGES, ESTIMATION, OUTPUT, "local", "control_points", "group_frames", "min_patch_A",
    "gain_check", "dose_check",
)  # fmt: skip
@takes_options
def score(
    alignments: Alignments,
    movies: MoviesOption,
    settings: Settings = None,
    debug: Debug = False,
    *,
    options: ScoreOptions,
    **values: Any,
) -> None:
    """Score alignments, of any programs, by the signal that the frames share along each.

    No truth is needed: frames have independent noise, so what they share after alignment is
    signal. Give gain, dose and pixel size as for 'align'. Each movie is read once.

    An alignment also aligns the noise that it was fitted to. The expected amount is subtracted;
    where it is known only within limits, the intervals include them.

    Exit code: 0 all scored, 1 some failed, 2 parameters, 3 all failed.
    """
    from flexalign.batch.names import Names
    from flexalign.batch.sidecars import SidecarParameters

    arguments = _named(alignments, with_global=options.with_global)
    paths, params, own, given = movies_and_parameters(movies, settings, values)
    params = replace(params, dose_weight=False, psd=False)
    params_of = params_by(SidecarParameters(params, given, own_values(own), print_message))
    files, missing = _files_of(paths, arguments)
    aligned = [path for found in files.values() for path in found.values()]
    references = [getattr(params, role) for role in REFERENCE_FILES]
    inputs = [*paths, *aligned, *references, *list_files(movies), settings]
    _check_outputs(options, inputs)
    announce_compiling()
    names = Names()
    jobs = [
        ScoreJob(
            names.give(str(path.absolute())), path, files[path], params_of(path, params), options
        )
        for path in paths
    ]  # fmt: skip
    scored: dict[ScoreJob, MovieScores] = {}

    def work(job: ScoreJob) -> None:
        if job.movie in missing:
            raise InputError(missing[job.movie])
        scored[job] = job.scores()

    code = run_each(jobs, work, debug=debug)
    if scored or options.as_json:
        _print(list(scored.values()), options)
    if scored and not _draw(scored, arguments, options, debug=debug):
        code = 1
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreJob:
    """A movie to score, with the files of its alignments by name.

    Attributes
    ----------
    name : of the movie in all results, unique among the movies
    files : the alignments, by name
    """

    name: str
    movie: Path
    files: dict[str, Path]
    params: AlignParams
    options: ScoreOptions

    def __str__(self) -> str:
        return str(self.movie)

    def motions(self) -> dict[str, Scored]:
        """Read the alignments."""
        from flexalign.scoring.score_movie import read_scored

        return read_scored(
            self.movie, self.files, self.params, with_global=self.options.with_global,
            is_independent=self.options.independent,
        )  # fmt: skip

    def scores(self) -> MovieScores:
        """Score them."""
        from flexalign.scoring.score_movie import score_movie

        motions = self.motions()
        with progress_bar(self.movie) as progress:
            found = score_movie(self.movie, motions, self.params, progress)
        return replace(found, movie=self.name)

    def pictures(self, names: Sequence[str]) -> SumPictures:
        """Sum the movie along the alignments of these names, for the page."""
        from flexalign.scoring.sum_pictures import sum_pictures

        motions = self.motions()
        chosen = {name: motions[name] for name in names}
        with progress_bar(self.movie) as progress:
            found = sum_pictures(self.movie, chosen, self.params, progress)
        return replace(found, movie=self.name)


def _check_outputs(options: ScoreOptions, inputs: Sequence[str | Path | None]) -> None:
    """Check, before anything is read, that outputs can be written and replace no other file."""
    from flexalign.io.results import make_folder
    from flexalign.io.writing.ownership import refuse_existing, refuse_inputs

    outputs = _outputs(options)
    refuse_inputs(outputs, inputs)
    for path in outputs:
        refuse_existing(path, overwrite=options.overwrite)
        make_folder(path.parent)


def _outputs(options: ScoreOptions) -> list[Path]:
    """The files that are requested."""
    return [path for path in (options.plot, options.report) if path is not None]


def _print(movies: list[MovieScores], options: ScoreOptions) -> None:
    """Print the scores in the requested form."""
    if options.as_json:
        typer.echo(json.dumps(everything(movies), indent=1))
    elif options.as_csv:
        print_csv(movies)
    else:
        print_table(movies)


def _draw(
    scored: dict[ScoreJob, MovieScores],
    sources: dict[str, str],
    options: ScoreOptions,
    *,
    debug: bool,
) -> bool:
    """Draw the plot and write the page, where requested; whether all sums could be made."""
    movies, code = list(scored.values()), 0
    if not any(movie.has_signal for movie in movies):
        for path in _outputs(options):
            typer.echo(f"{path}: not written, since the frames share no signal", err=True)
        return True
    if options.plot is not None:
        from flexalign.scoring.plot import draw_scores

        draw_scores(options.plot, movies)
    if options.report is not None:
        from flexalign.report.scores import pictured_movies, write_scores_page

        names, wanted = pictured_movies(movies)
        jobs = {job.name: job for job in scored}
        pictures: list[SumPictures] = []
        code = run_each(
            [jobs[name] for name in wanted],
            lambda job: pictures.append(job.pictures(names)),
            debug=debug,
        )
        write_scores_page(options.report, movies, pictures, sources)
        typer.echo(f"report: {options.report}", err=True)
    return code == 0


def _named(arguments: list[str], *, with_global: bool) -> dict[str, str]:
    """The arguments by name: what was typed before "=", else the shortest path that is unique."""
    from flexalign.scoring.movie_scores import GLOBAL, NO_MOTION

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
    for path in (*unnamed, *named.values()):
        if is_movie_name(Path(path)):
            raise ParameterError(
                f"{path}: expected an alignment, found the name of a movie: give each movie with "
                "a --movies of its own"
            )
    last = Counter(Path(argument).name for argument in unnamed)
    for argument in unnamed:
        name = Path(argument).name
        name = argument if last[name] > 1 or name in named else name
        if name in named:
            raise ParameterError(f"{argument}: expected each alignment once, found it twice")
        named[name] = argument
    if NO_MOTION in named:
        raise ParameterError(
            f"{NO_MOTION}: no motion is always scored under this name; give another one as "
            "NAME=PATH"
        )
    for name in named if with_global else ():
        if name + GLOBAL in named:
            raise ParameterError(
                f"{name + GLOBAL}: the trajectory of {name} has this name; give another one as "
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
