"""The commands `align` and `plan`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

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
    progress_bar,
    record_line,
    run_each,
)
from flexalign.cli.option_groups import takes_options
from flexalign.cli.options import collect_parameters, given_parameters, takes_parameters
from flexalign.cli.reporting import refuse_foreign_report, write_report
from flexalign.cli.run_options import RunOptions
from flexalign.cli.running import INTERRUPTED, run_movies, write_project_files
from flexalign.params import AlignParams

Movies = Annotated[
    list[str],
    typer.Argument(
        help="Movies (MRC, TIFF, EER), quoted patterns such as '*.tiff', folders of movies, text "
        "files with one movie per line, or RELION's movies.star."
    ),
]
Settings = Annotated[
    Path | None,
    typer.Option(
        help="Take parameters from this TOML file, or from the _record.json of an earlier run; "
        "options given here take precedence.",
        metavar="FILE",
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
            help="Replace the outputs of an earlier run; align finished movies again.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, as 'plan' does, and stop.")
    ] = False,
    debug: Debug = False,
    *,
    options: RunOptions,
    **values: Any,
) -> None:
    """Align movies and write micrographs, motion and quality metrics to a folder.

    One line per movie is printed to the standard error stream.
    A movie that fails does not stop the others.
    With more than one movie the folder is a run: repeating the command processes what is missing
    or has changed and, with --retry-failed, what has failed.
    Exit code: 0 all done, 1 some failed, 2 parameters, 3 input, 4 device, 130 stopped by Ctrl-C.
    """
    paths, params, own = movies_and_parameters(movies, settings, values)
    if dry_run:
        raise typer.Exit(run_each(paths, _planner(params, own), debug=debug))
    is_single_movie = is_one_file(movies) and replace(options, report=True) == RunOptions()
    if is_single_movie and not is_run_folder(out):
        if options.report:
            refuse_foreign_report(out)
        read = [settings] if settings else []
        code = _align_one(paths[0], params, out, read, overwrite=overwrite, debug=debug)
        if options.report and not code:
            write_report(out)
        raise typer.Exit(code)
    from flexalign.batch.run import Listed

    summary = run_movies(
        Listed(paths), params, out, options, movie_count=len(paths), redo=overwrite, debug=debug,
        own=own, inputs=[*list_files(movies), *([settings] if settings else [])],
    )  # fmt: skip
    raise typer.Exit(INTERRUPTED if summary.unfinished else summary.exit_code)


@takes_parameters
def plan(movies: Movies, settings: Settings = None, debug: Debug = False, **values: Any) -> None:
    """Print how movies would be aligned: frames, sizes, control points, memory. No pixel is read.

    The options are those of 'align'.
    """
    paths, params, own = movies_and_parameters(movies, settings, values)
    raise typer.Exit(run_each(paths, _planner(params, own), debug=debug))


def movies_and_parameters(
    arguments: list[str], settings: Path | None, values: dict[str, Any]
) -> tuple[list[Path], AlignParams, dict[Path, dict[str, Any]]]:
    """The movies, their common parameters, and those that a list gives for single movies."""
    typed = collect_parameters(values, settings)
    paths = find_movies(arguments, (typed.gain, typed.dark, typed.defects))
    given = given_parameters(values, settings)
    listed = listed_parameters(arguments, paths, typed, given)
    params = collect_parameters(values, settings, listed.common)
    added = {name: value for name, value in listed.common.items() if name in ADDITIVE_PARAMETERS}
    return paths, replace(params, **added), listed.own


def _planner(params: AlignParams, own: dict[Path, dict[str, Any]]) -> Callable[[Path], None]:
    """A function that prints the plan of one movie."""
    from flexalign.io.movies.open_movie import plan_movie
    from flexalign.io.writing.ownership import resolved

    def print_plan(movie: Path) -> None:
        of_movie = replace(params, **own.get(resolved(movie), {}))
        typer.echo(plan_movie(movie, of_movie).describe() + "\n")

    return print_plan


def _align_one(
    movie: Path,
    params: AlignParams,
    out: Path,
    inputs: list[Path],
    *,
    overwrite: bool,
    debug: bool,
) -> int:
    """Align a single movie into the folder `out`, which need not be a run; return the exit code.

    `inputs` are the files read beside the movie and its references.
    """
    from flexalign.align import align_and_write
    from flexalign.batch.gain_gate import gain_gate
    from flexalign.io.writing.publishing import clear_leftovers
    from flexalign.naming import movie_root

    check_run_outputs(out, {str(movie): movie_root(movie)}, params, inputs)
    clear_leftovers(out)
    announce_device(params.device)
    announce_compiling()
    gate = gain_gate(params, out, print_gain_check)
    if gate is not None:
        params = gate.admit([movie])

    def align_it(movie: Path) -> None:
        start = time.perf_counter()
        with progress_bar(movie) as progress:
            record = align_and_write(
                movie, params, out, overwrite=overwrite, inputs=inputs, progress=progress
            )
        typer.echo(record_line(movie, record, time.perf_counter() - start), err=True)

    code = run_each([movie], align_it, debug=debug)
    write_project_files(out, params)
    return code
