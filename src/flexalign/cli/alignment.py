"""The commands `align` and `plan`."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.batch.inputs import (
    ADDITIVE_PARAMETERS,
    find_movies,
    is_one_file,
    is_run_folder,
    list_files,
    listed_parameters,
)
from flexalign.cli.checks import check_run_outputs
from flexalign.cli.console import (
    Debug,
    announce_compiling,
    announce_device,
    print_gain_check,
    print_message,
    progress_bar,
    record_line,
    run_each,
)
from flexalign.cli.help import PANEL
from flexalign.cli.option_groups import takes_options
from flexalign.cli.options import collect_parameters, given_parameters, takes_parameters
from flexalign.cli.reporting import refuse_foreign_report, write_report
from flexalign.cli.run_options import RunOptions
from flexalign.cli.running import (
    Request,
    own_values,
    params_by,
    run_movies,
    write_project_files,
)
from flexalign.errors import InputError
from flexalign.params import AlignParams, option_name

if TYPE_CHECKING:
    from flexalign.plan import Plan


def movies_argument(formats: str) -> Any:
    """The argument with the movies of a command that reads these formats."""
    return typer.Argument(
        help=f"Movies ({formats}), quoted patterns such as '*.tiff', folders of movies, text "
        "files with one movie per line, or RELION's movies.star.",
        metavar="MOVIE",
    )


Movies = Annotated[list[str], movies_argument("MRC, TIFF, EER")]
Settings = Annotated[
    Path | None,
    typer.Option(
        help="Take parameters from this TOML file, or from the _record.json of an earlier run; "
        "options given here take precedence.",
        metavar="FILE",
        rich_help_panel=PANEL,
    ),
]


@takes_parameters
@takes_options
def align(
    movies: Movies,
    out: Annotated[Path, typer.Option(help="Folder for the outputs.", metavar="DIR")],
    settings: Settings = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Align finished movies again.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan, as 'plan' does, and stop.", rich_help_panel=PANEL
        ),
    ] = False,
    debug: Debug = False,
    *,
    options: RunOptions,
    **values: Any,
) -> None:
    """Align movies and write micrographs, motion and quality metrics to a folder.

    One line per movie is printed to the standard error stream.
    A movie that fails does not stop the others.
    Repeating the command processes what is missing or has changed and, with --retry-failed, what
    has failed. With more than one movie the folder is a run, with tables of all movies.
    Pixel size, voltage and dose that are not given are taken from the .mdoc or EPU XML beside a
    movie.
    Exit code: 0 all done, 1 some failed, 2 parameters, 3 input, 4 device, 130 stopped by Ctrl-C.
    """
    paths, params, own, given = movies_and_parameters(movies, settings, values)
    if dry_run:
        raise typer.Exit(_print_plans(paths, params, own, given, debug=debug))
    is_single_movie = is_one_file(movies) and replace(options, report=True) == RunOptions()
    if is_single_movie and not is_run_folder(out):
        if options.report:
            refuse_foreign_report(out)
        read = [settings] if settings else []
        code = _align_one(paths[0], params, out, read, given, overwrite=overwrite, debug=debug)
        if options.report and not code:
            write_report(out)
        raise typer.Exit(code)
    from flexalign.batch.sources import Listed

    summary = run_movies(
        Listed(paths), params,
        Request(
            out, options, movie_count=len(paths), redo=overwrite, debug=debug,
            inputs=[*list_files(movies), *([settings] if settings else [])],
        ),
        own=own, given=given,
    )  # fmt: skip
    raise typer.Exit(summary.exit_code)


@takes_parameters
def plan(movies: Movies, settings: Settings = None, debug: Debug = False, **values: Any) -> None:
    """Print how movies would be aligned: frames, sizes, control points, memory. No pixel is read.

    Movies that are aligned alike are printed once, with disk space, memory and a rough time of
    all. The options are those of 'align'.
    """
    paths, params, own, given = movies_and_parameters(movies, settings, values)
    raise typer.Exit(_print_plans(paths, params, own, given, debug=debug))


def movies_and_parameters(
    arguments: list[str], settings: Path | None, values: dict[str, Any]
) -> tuple[list[Path], AlignParams, dict[Path, dict[str, Any]], set[str]]:
    """The movies, their common parameters, and those that a list gives for single movies.

    Last are the names of the common parameters that were given.
    """
    typed = collect_parameters(values, settings)
    paths = find_movies(arguments, (typed.gain, typed.dark, typed.defects))
    given = given_parameters(values, settings)
    listed = listed_parameters(arguments, paths, typed, given)
    params = collect_parameters(values, settings, listed.common)
    added = {name: value for name, value in listed.common.items() if name in ADDITIVE_PARAMETERS}
    return paths, replace(params, **added), listed.own, given | listed.common.keys()


def _print_plans(
    movies: list[Path],
    params: AlignParams,
    own: dict[Path, dict[str, Any]],
    given: Collection[str],
    *,
    debug: bool,
) -> int:
    """Print the plan of one movie, or of groups of many; the exit code."""
    from flexalign.batch.session_plan import PlannedMovie, describe_movies
    from flexalign.batch.sidecars import SidecarParameters
    from flexalign.io.movies.open_movie import plan_movie
    from flexalign.quality.dose_check import DOSE_MOVIES

    params_of = params_by(SidecarParameters(params, given, own_values(own), print_message))
    planned: list[PlannedMovie] = []

    def plan_it(movie: Path) -> None:
        of_movie = params_of(movie, params)
        planned.append(PlannedMovie(movie, plan_movie(movie, of_movie), of_movie))

    code = run_each(movies, plan_it, debug=debug)
    if params.dose_check == "on":
        for item in planned[:DOSE_MOVIES]:
            warn_of_dose(item.plan)
    if len(movies) == 1:
        for item in planned:
            typer.echo(item.plan.describe() + "\n")
    elif planned:
        typer.echo(describe_movies(planned, params.thread_count))
    return code


def warn_of_dose(plan: Plan) -> None:
    """Print what would stop a run: a pixel size or dose that cannot be right, by the plan alone."""
    from flexalign.quality.dose_check import dose_finding, pixel_size_finding

    finding = pixel_size_finding(plan) or dose_finding(plan, math.nan)
    if finding is not None:
        typer.echo(f"warning: {option_name(finding.option)}: {finding.text}", err=True)


def _align_one(
    movie: Path,
    params: AlignParams,
    out: Path,
    inputs: list[Path],
    given: Collection[str],
    *,
    overwrite: bool,
    debug: bool,
) -> int:
    """Align a single movie into the folder `out`, which need not be a run; return the exit code.

    `inputs` are the files read beside the movie and its references, `given` the names of the
    parameters that were given.
    """
    from flexalign.align import align_and_write
    from flexalign.arrays.device import check_gpu
    from flexalign.batch.first_movies import first_movies
    from flexalign.batch.jobs import finished_movie
    from flexalign.batch.sidecars import SidecarParameters
    from flexalign.io.writing.publishing import clear_leftovers
    from flexalign.machine import process_age_s
    from flexalign.model import START_UP_STAGE
    from flexalign.naming import movie_root

    age_s = process_age_s()
    timings_s = {} if age_s is None else {START_UP_STAGE: age_s}
    check_run_outputs(out, {str(movie): movie_root(movie)}, params, inputs)
    clear_leftovers(out)
    check_gpu(params.device)
    announce_compiling()
    of_movie = SidecarParameters(params, given, own_values({}), print_message)
    checks = first_movies(
        params, out, print_gain_check, params_by(of_movie), check_beside=of_movie.check
    )
    admitted = checks.admit([movie])
    at_first = params_by(of_movie.without_files)(movie, admitted)
    params = params_by(of_movie)(movie, admitted)

    def align_it(movie: Path) -> None:
        root = movie_root(movie)
        # Values from a file that came after the movie was aligned do not make it another one.
        known = (finished_movie(out, root, movie, one) for one in (params, at_first))
        if not overwrite and any(record is not None for record in known):
            typer.echo(f"{movie.name}: done before, see --overwrite", err=True)
            return
        announce_device(movie, params)
        with progress_bar(movie) as progress:
            record = align_and_write(
                movie, params, out, overwrite=overwrite or _has_results_of(movie, out),
                inputs=inputs, progress=progress, timings_s=timings_s,
            )  # fmt: skip
        typer.echo(record_line(movie, record), err=True)

    code = run_each([movie], align_it, debug=debug)
    write_project_files(out, params)
    return code


def _has_results_of(movie: Path, out: Path) -> bool:
    """Whether the results in `out` under the name of a movie are its own, not of a namesake."""
    from flexalign.io.record import read_record
    from flexalign.io.writing.ownership import resolved
    from flexalign.naming import RECORD_SUFFIX, movie_root

    try:
        record = read_record(out / f"{movie_root(movie)}{RECORD_SUFFIX}")
    except InputError:
        return False
    return resolved(str(record.inputs["movie"]["path"])) == resolved(str(movie))
