"""Alignments of movies to and from other programs, for the commands `export` and `apply`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from flexalign.align import align_and_write
from flexalign.alignment_request import params_for
from flexalign.batch.inputs import is_one_file
from flexalign.batch.jobs import finished_movie
from flexalign.batch.names import Names
from flexalign.batch.sidecars import SidecarParameters
from flexalign.cli.alignment import movies_and_parameters
from flexalign.cli.checks import check_run_outputs
from flexalign.cli.console import (
    announce_compiling,
    print_message,
    progress_bar,
    record_line,
    run_each,
)
from flexalign.cli.running import own_values, params_by, write_project_files
from flexalign.errors import InputError
from flexalign.files import check_folder
from flexalign.io.motion_formats.alignment_pairs import alignments_of
from flexalign.io.motion_formats.exports import export_movie, read_records
from flexalign.io.motion_formats.read_motion import read_motion
from flexalign.io.movies.open_movie import open_for
from flexalign.io.relion_project import RELION_TABLE, write_relion_table
from flexalign.io.warp_project import link_averages
from flexalign.io.writing.ledger import refuse_foreign
from flexalign.io.writing.publishing import clear_leftovers
from flexalign.model import MovieRecord
from flexalign.naming import movie_root
from flexalign.params import AlignParams
from flexalign.plain import to_plain
from flexalign.plan import make_plan


def export_movies(
    folder: Path,
    formats: Sequence[str],
    optics: tuple[float, float],
    *,
    debug: bool,
    are_tilts: bool = False,
) -> int:
    """Export all movies of a folder, also if some fail; the exit code.

    Parameters
    ----------
    optics : spherical aberration in mm and amplitude contrast, for RELION's table
    are_tilts : of tilt series
    """
    check_folder(folder)
    if "relion" in formats:
        refuse_foreign(folder, [RELION_TABLE])
    unreadable: list[str] = []
    found = read_records(folder, unreadable.append)
    for text in unreadable:
        print_message(text)
    if not found:
        raise InputError(
            f"{folder}: expected a folder with results of flexalign, found no '*_record.json' "
            "that can be read"
        )
    for place in {(folder / root).parent for root in found}:
        clear_leftovers(place)
    records: dict[str, MovieRecord] = {}

    def export_one(root: str) -> None:
        records[root] = export_movie(folder, root, found[root], formats)
        _print_warnings(root, records[root])

    code = run_each(list(found), export_one, debug=debug)
    if "relion" in formats and records:
        table = write_relion_table(folder, records, cs_mm=optics[0], amplitude_contrast=optics[1])
        typer.echo(f"{len(records)} movies in {table}", err=True)
    if "motioncor" in formats and records:
        typer.echo(f"{len(records)} movies: .aln and log files of MotionCor in {folder}", err=True)
    if "warp" in formats and records:
        link_averages(folder, records, are_tilts=are_tilts)
        typer.echo(f"{len(records)} movies: .xml files of Warp in {folder}", err=True)
    return code or int(bool(unreadable))


def _print_warnings(root: str, record: MovieRecord) -> None:
    """Print the warnings of an export."""
    for warning in record.warnings:
        if "RELION" in warning:
            print_message(f"{root}: {warning}")


def apply_to_movies(
    movies: list[str],
    motion: str,
    out: Path,
    values: dict[str, Any],
    settings: Path | None,
    *,
    overwrite: bool,
    debug: bool,
) -> int:
    """Make the micrographs of movies along the alignments that `motion` names; the exit code."""
    paths, params, own, given = movies_and_parameters(movies, settings, values)
    params_of = params_by(SidecarParameters(params, given, own_values(own), print_message))
    names, matched, missing = _matched(movies, paths, motion, out)
    inputs = [*dict.fromkeys(matched.values()), *([settings] if settings else [])]
    check_run_outputs(out, {str(path): names[path] for path in paths}, params, inputs)
    clear_leftovers(out)
    announce_compiling()
    done: list[bool] = []

    def apply_to(path: Path) -> None:
        if path not in matched:
            raise InputError(missing[path])
        of_movie = params_of(path, params)
        done.append(
            apply_one(path, of_movie, matched[path], out, names[path], inputs, overwrite=overwrite)
        )

    code = run_each(paths, apply_to, debug=debug)
    if len(paths) > 1:
        typer.echo(f"{sum(done)} movies done, {len(done) - sum(done)} done before", err=True)
    write_project_files(out, params)
    return code


def _matched(
    arguments: Sequence[str], movies: Sequence[Path], motion: str, out: Path
) -> tuple[dict[Path, str], dict[Path, Path], dict[Path, str]]:
    """Names of the outputs and the alignment of each movie, and why some have none."""
    if is_one_file(arguments) and Path(motion).is_file():
        return {movies[0]: movie_root(movies[0])}, {movies[0]: Path(motion)}, {}
    given = Names()
    for root, record in read_records(out).items():
        given.keep(str(record.inputs["movie"]["path"]), root)
    names = {path: given.give(str(path.absolute())) for path in movies}
    matched, missing = alignments_of(movies, motion)
    return names, matched, missing


def apply_one(
    movie: Path,
    params: AlignParams,
    motion: Path,
    out: Path,
    root: str,
    inputs: Sequence[Path],
    *,
    overwrite: bool,
) -> bool:
    """Make the micrograph of a movie; False if an earlier run did.

    Parameters
    ----------
    motion : file of its alignment
    root : what the names of the outputs begin with
    inputs : files that must not be replaced
    """
    with open_for(movie, params) as reader:
        pixel_size_A = make_plan(reader.info, replace(params, local=False)).pixel_size_A
        found = read_motion(motion, reader.info, pixel_size_A)
    earlier = finished_movie(out, root, movie, params_for(found, params))
    if earlier is not None and not overwrite and earlier.motion == to_plain(found.to_dict()):
        return False
    with progress_bar(movie) as progress:
        record = align_and_write(
            movie, params, out, root=root, overwrite=overwrite, motion=found, inputs=inputs,
            progress=progress,
        )  # fmt: skip
    typer.echo(record_line(movie, record), err=True)
    return True
