"""The commands that align movies, or say how they would."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flexalign.cli.movies import check_roots, find_movies
from flexalign.cli.options import collect_parameters, takes_parameters
from flexalign.cli.show import Debug, announce_compiling, progress_bar, result_line, run_each
from flexalign.params import AlignParams

Movies = Annotated[
    list[str],
    typer.Argument(
        help="Movies (MRC, TIFF, EER), quoted patterns such as '*.tiff', or folders of movies."
    ),
]
Settings = Annotated[
    Path | None,
    typer.Option(
        help="Take parameters from this TOML file, or from the _record.json of an earlier run; "
        "options typed here win.",
        metavar="FILE",
    ),
]


@takes_parameters
def align(
    movies: Movies,
    out: Annotated[Path, typer.Option(help="Folder for the outputs.", metavar="DIR")],
    settings: Settings = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the outputs of an earlier run.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, as 'plan' does, and stop.")
    ] = False,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Align movies and write micrographs, motion and evidence to a folder.

    One line of result per movie goes to the standard error stream.
    A movie that fails does not stop the others.
    Exit code: 0 all done, 1 some failed, 2 parameters, 3 input, 4 device.
    """
    params = collect_parameters(values, settings)
    paths = find_movies(movies, (params.gain, params.dark, params.defects))
    if dry_run:
        raise typer.Exit(run_each(paths, _planner(params), debug=debug))
    raise typer.Exit(_align_all(paths, params, out, overwrite=overwrite, debug=debug))


@takes_parameters
def plan(movies: Movies, settings: Settings = None, debug: Debug = False, **values: Any) -> None:
    """Print how movies would be aligned: frames, sizes, control points, memory. No pixel is read.

    The options are those of 'align'.
    """
    params = collect_parameters(values, settings)
    paths = find_movies(movies, (params.gain, params.dark, params.defects))
    raise typer.Exit(run_each(paths, _planner(params), debug=debug))


def _planner(params: AlignParams) -> Callable[[Path], None]:
    """What prints the plan of one movie."""
    from flexalign.align import plan_movie

    def print_plan(movie: Path) -> None:
        typer.echo(plan_movie(movie, params).describe() + "\n")

    return print_plan


def _align_all(
    movies: list[Path], params: AlignParams, out: Path, *, overwrite: bool, debug: bool
) -> int:
    """Align each movie into the folder `out`; the exit code."""
    from flexalign.align import align_and_write
    from flexalign.io.results import movie_root

    check_roots({movie: movie_root(movie) for movie in movies})
    announce_compiling()

    def align_one(movie: Path) -> None:
        start = time.perf_counter()
        with progress_bar(movie) as progress:
            record = align_and_write(movie, params, out, overwrite=overwrite, progress=progress)
        typer.echo(result_line(movie, record, time.perf_counter() - start), err=True)

    code = run_each(movies, align_one, debug=debug)
    if "relion" in params.formats:
        _write_relion_table(out)
    return code


def _write_relion_table(out: Path) -> None:
    """Bring RELION's table up to date with all movies of the folder, where there are any."""
    from flexalign.io.exports import read_records
    from flexalign.io.relion_project import write_relion_table

    records = {r: record for r, record in read_records(out).items() if "relion" in record.outputs}
    if records:
        write_relion_table(out, records)
