"""The command `relion-job`: an External job of RELION, with its files and its abort protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.alignment import Settings
from flexalign.cli.console import (
    Debug,
    announce_compiling,
    print_gain_check,
    print_message,
    record_line,
    run_each,
)
from flexalign.cli.options import (
    collect_parameters,
    given_parameters,
    takes_parameters_without,
)
from flexalign.errors import InputError
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.io.movie_list import ListedMovie
    from flexalign.io.relion_project import OutputNode
    from flexalign.io.star import Blocks
    from flexalign.model import MovieRecord

ABORT_REQUEST = "RELION_JOB_ABORT_NOW"
ENDINGS = {name: f"RELION_JOB_EXIT_{name}" for name in ("SUCCESS", "FAILURE", "ABORTED")}
# A table of micrographs for RELION 3.1, and for all later versions.
MICROGRAPHS_TYPE = 1
MICROGRAPHS_LABEL = "MicrographGroupMetadata.star.relion.motioncorr"


class Aborted(BaseException):
    """RELION's user aborted the job; this ends the whole run, not one movie."""


@dataclass(frozen=True, slots=True)
class JobMovie:
    """One row of RELION's list of movies.

    Attributes
    ----------
    path : as in the list, relative to the project folder
    root : unique beginning of its outputs in the job folder, with folders
    listed : parameters from the list
    """

    path: Path
    root: str
    listed: ListedMovie

    def parameters(self, params: AlignParams) -> AlignParams:
        """Those of the list; dose and references of the options take precedence."""
        own = self.listed.own_parameters(params)
        for name in ("dose_per_frame_e_A2", "gain", "defects"):
            if getattr(params, name) is not None:
                own.pop(name, None)
        return replace(params, **own)


@takes_parameters_without("pixel_size_A", "voltage_kV", "threads", "write", "reference_frame")
def relion_job(
    in_movies: Annotated[
        Path,
        typer.Option(
            "--in_movies",
            help="RELION's list of movies, such as Import/job001/movies.star, or of tilt series "
            "(RELION 5), Import/job001/tilt_series.star.",
            metavar="STAR",
        ),
    ],
    o: Annotated[
        Path, typer.Option("--o", help="Folder of the job, as RELION names it.", metavar="DIR")
    ],
    j: Annotated[int, typer.Option("--j", help="Threads.", min=1, metavar="N")] = 1,
    settings: Settings = None,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Align the movies of a RELION project, as a job of type External.

    Start it in the project folder, as RELION does. Pixel size and voltage come from the list; of
    tilt series the doses too, and the tilts of a series share a prior as in 'tilt-series'.
    Movies that an earlier start of the job finished are not aligned again, unless they or the
    options have changed.
    """  # fmt: skip
    o.mkdir(parents=True, exist_ok=True)
    for name in ENDINGS.values():
        _remove_mark(o / name)
    ending, code = "FAILURE", 1
    try:
        from flexalign.io.relion_project import write_nodes
        from flexalign.io.relion_tilt_series import is_series_list

        read = [in_movies, *([settings] if settings else [])]
        if is_series_list(in_movies):
            code, table = _run_series(read, o, values, settings, threads=j, debug=debug)
        else:
            params = collect_parameters(values, settings)
            params = replace(params, write="relion", threads=j)
            code, table = _run(read, o, params, debug=debug)
        if table is not None:
            write_nodes(o, table)
            ending = "SUCCESS"
    except Aborted:
        (o / ABORT_REQUEST).unlink(missing_ok=True)
        typer.echo("aborted, as RELION asked", err=True)
        ending = "ABORTED"
    finally:
        (o / ENDINGS[ending]).touch()
    raise typer.Exit(code)


def _remove_mark(path: Path) -> None:
    """Remove the empty marker file of an earlier end of the job."""
    if path.is_file() and not path.stat().st_size:
        path.unlink()


def _run_series(
    read: list[Path],
    job: Path,
    values: dict[str, Any],
    settings: Path | None,
    *,
    threads: int,
    debug: bool,
) -> tuple[int, OutputNode | None]:
    """As `_run`, for tilt series."""
    from flexalign.cli.relion_series import SERIES_DEFAULTS, correct_series
    from flexalign.io.relion_project import OutputNode
    from flexalign.io.relion_tilt_series import NODE_LABEL

    params = collect_parameters(values, settings, dict(SERIES_DEFAULTS))
    params = replace(params, write="relion", threads=threads)
    code, table = correct_series(
        read[0], job, params, given_parameters(values, settings), partial(_check_abort, job),
        inputs=read, debug=debug,
    )  # fmt: skip
    return code, None if table is None else OutputNode(table, NODE_LABEL)


def _run(
    read: Sequence[Path], job: Path, params: AlignParams, *, debug: bool
) -> tuple[int, OutputNode | None]:
    """Align the movies that are not done, write the table of all; the exit code and the table.

    `read` names the list of movies and further inputs, which must not be replaced.
    """
    from flexalign.batch.first_movies import first_movies
    from flexalign.io.relion_project import OutputNode
    from flexalign.io.star import read_star
    from flexalign.io.writing.publishing import clear_leftovers

    blocks = read_star(read[0])
    movies = {movie.path: movie for movie in _movies(blocks, read[0], job)}
    _check_outputs(job, list(movies.values()), params, read)
    for folder in {(job / movie.root).parent for movie in movies.values()}:
        clear_leftovers(folder)
    announce_compiling()
    checks = first_movies(
        params, job, print_gain_check, lambda m, of_job: movies[m].parameters(of_job)
    )
    params = checks.admit(list(movies))
    done: set[str] = set()

    def align_one(path: Path) -> None:
        _check_abort(job)
        record = _align_into(job, movies[path], params, read)
        done.add(movies[path].root)
        if record is not None:
            typer.echo(record_line(path, record))

    code = run_each(list(movies), align_one, debug=debug)
    _check_abort(job)
    of_table = {movie.root: movie for movie in movies.values() if movie.root in done}
    table = _write_table(job, blocks["optics"], of_table)
    return code, OutputNode(table, MICROGRAPHS_LABEL, MICROGRAPHS_TYPE)


def _check_abort(job: Path) -> None:
    """Raise `Aborted` if RELION's abort marker is in the job folder."""
    if (job / ABORT_REQUEST).exists():
        raise Aborted


def _check_outputs(
    job: Path, movies: Sequence[JobMovie], params: AlignParams, read: Sequence[Path]
) -> None:
    """Check, before a movie is read, that no output is an input and that the tables are ours."""
    from flexalign.batch.gain_gate import CHECK_NAME, PICTURE_NAME
    from flexalign.io.relion_project import NODES, RELION_TABLE
    from flexalign.io.writing.ledger import refuse_foreign
    from flexalign.io.writing.ownership import refuse_inputs
    from flexalign.naming import output_names, relion_suffixes

    suffix_sets = [relion_suffixes(dose_weighted=is_weighted) for is_weighted in (True, False)]
    names = {
        name
        for m in movies
        for suffixes in suffix_sets
        for name in output_names(m.root, params, suffixes)
    }
    names |= {RELION_TABLE, NODES, CHECK_NAME, PICTURE_NAME, *ENDINGS.values()}
    references = (params.gain, params.dark, params.defects)
    refuse_inputs((job / name for name in names), [*(m.path for m in movies), *references, *read])
    refuse_foreign(job, [RELION_TABLE, NODES])


def _movies(blocks: Blocks, source: Path, job: Path) -> list[JobMovie]:
    """The movies in RELION's list, each file once, with the values of their optics groups."""
    from flexalign.batch.names import Names
    from flexalign.io.movie_list import read_movie_list
    from flexalign.naming import relion_root

    listed = read_movie_list(source)
    is_complete = all({"pixel_size_A", "voltage_kV"} <= movie.parameters.keys() for movie in listed)
    if not is_complete or not {"optics", "movies"} <= blocks.keys():
        raise InputError(
            f"{source}: expected RELION's list of movies with the blocks optics and movies, as "
            "its Import job writes it, and the pixel size and voltage of each movie"
        )
    names = Names()
    for root, movie in _known_movies(job):
        names.keep(movie, root)
    found: dict[str, JobMovie] = {}
    for row in listed:
        root = names.give(row.name, relion_root(row.name))
        found.setdefault(root, JobMovie(Path(row.name), root, row))
    return list(found.values())


def _known_movies(job: Path) -> Iterator[tuple[str, str]]:
    """Roots that earlier starts of the job gave, and the movies that have them."""
    from flexalign.io.motion_formats.exports import read_records

    for root, record in read_records(job).items():
        movie = record.inputs.get("movie", {}).get("path")
        if movie is not None:
            yield root, str(movie)


def _align_into(
    job: Path, movie: JobMovie, params: AlignParams, read: Sequence[Path]
) -> MovieRecord | None:
    """Align one movie into the job folder; None if an earlier start did."""
    from flexalign.align import align_and_write
    from flexalign.batch.jobs import finished_movie
    from flexalign.io.movies.open_movie import plan_movie
    from flexalign.naming import relion_suffixes

    folder, root = (job / movie.root).parent, Path(movie.root).name
    own = movie.parameters(params)
    if finished_movie(folder, root, movie.path, own) is not None:
        return None
    has_dose = plan_movie(movie.path, own).dose_per_frame_e_A2 is not None
    return align_and_write(
        movie.path,
        own,
        folder,
        root=root,
        overwrite=True,
        suffixes=relion_suffixes(dose_weighted=own.dose_weight and has_dose),
        inputs=read,
        progress=lambda stage, done, total: _check_abort(job),
    )


def _write_table(job: Path, optics: Mapping[str, list[str]], movies: dict[str, JobMovie]) -> Path:
    """Write ``corrected_micrographs.star``; its path."""
    from flexalign.io.motion_formats.exports import read_records
    from flexalign.io.relion_project import write_relion_table

    found = read_records(job, print_message)
    records = {root: record for root, record in found.items() if root in movies}
    binning = {
        movies[root].listed.optics_group: record.output_pixel_size_A / record.pixel_size_A
        for root, record in records.items()
    }
    groups = zip(optics["rlnOpticsGroup"], optics["rlnMicrographOriginalPixelSize"], strict=True)
    # An optics group without movies keeps its pixel size.
    binned = [
        float(size) * binning[int(group)] if int(group) in binning else size
        for group, size in groups
    ]
    return write_relion_table(
        job,
        records,
        optics={**optics, "rlnMicrographPixelSize": binned},
        optics_groups={root: movie.listed.optics_group for root, movie in movies.items()},
    )
