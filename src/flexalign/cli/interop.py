"""The commands `export` and `apply`: alignments to and from other programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.batch.inputs import is_one_file
from flexalign.cli.alignment import Settings, movies_and_parameters
from flexalign.cli.checks import check_run_outputs
from flexalign.cli.console import Debug, announce_compiling, progress_bar, record_line, run_each
from flexalign.cli.options import takes_parameters_without
from flexalign.cli.running import write_project_files
from flexalign.cli.series_options import SaveTilts
from flexalign.errors import InputError, ParameterError
from flexalign.io.writing.ownership import resolved
from flexalign.params import ESTIMATION, LOCAL, WRITTEN_FORMATS, AlignParams

if TYPE_CHECKING:
    from flexalign.model import MovieRecord

# RELION's defaults on import; repeated from flexalign.io.relion_project, which is slow to import.
CS_MM = 2.7
AMPLITUDE_CONTRAST = 0.1


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with finished movies. For RELION give it as seen from the project folder.",
            metavar="FOLDER",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help=f"Comma-separated formats: {', '.join(WRITTEN_FORMATS)}.",
            metavar="FORMATS",
        ),
    ] = "relion",
    spherical_aberration: Annotated[
        float, typer.Option(help="Of the microscope, for RELION's table.", metavar="mm")
    ] = CS_MM,
    amplitude_contrast: Annotated[
        float, typer.Option(help="For RELION's table.", metavar="NUMBER")
    ] = AMPLITUDE_CONTRAST,
    debug: Debug = False,
) -> None:
    """Write the alignments of finished movies for other programs, beside their other files.

    The folder may be that of tilt series: the files of the tilts are in its folder tilts. A movie
    that fails does not stop the others.
    For RELION: a STAR file for each movie and corrected_micrographs.star for all.
    Power spectra for the CTF need the movie: they come from 'align --write relion'.
    Exit code: 0 all done, 1 some failed, 2 parameters, 3 input.
    """
    from flexalign.report.series import is_series_folder

    formats = AlignParams(write=to).formats
    optics = (spherical_aberration, amplitude_contrast)
    if is_series_folder(folder):
        from flexalign.cli.interop_series import export_series

        raise typer.Exit(export_series(folder, formats, optics, debug=debug))
    raise typer.Exit(export_movies(folder, formats, optics, debug=debug))


def export_movies(
    folder: Path, formats: Sequence[str], optics: tuple[float, float], *, debug: bool
) -> int:
    """Export all movies of a folder; one that fails costs no other; the exit code.

    Parameters
    ----------
    optics : spherical aberration in mm and amplitude contrast, for RELION's table
    """
    from flexalign.io.motion_formats.exports import export_movie, read_records
    from flexalign.io.relion_project import RELION_TABLE, write_relion_table
    from flexalign.io.warp_project import link_averages
    from flexalign.io.writing.ledger import refuse_foreign
    from flexalign.io.writing.publishing import clear_leftovers

    if "relion" in formats:
        refuse_foreign(folder, [RELION_TABLE])
    unreadable: list[str] = []
    finished = read_records(folder, unreadable.append)
    for text in unreadable:
        typer.echo(text, err=True)
    if not finished:
        raise InputError(
            f"{folder}: expected a folder with results of flexalign, found no '*_record.json' "
            "that can be read"
        )
    for place in {(folder / root).parent for root in finished}:
        clear_leftovers(place)
    records: dict[str, MovieRecord] = {}

    def export_one(root: str) -> None:
        records[root] = export_movie(folder, root, finished[root], formats)
        _print_warnings(root, records[root])

    code = run_each(list(finished), export_one, debug=debug)
    if "relion" in formats and records:
        table = write_relion_table(folder, records, cs_mm=optics[0], amplitude_contrast=optics[1])
        typer.echo(f"{len(records)} movies in {table}", err=True)
    if "warp" in formats:
        link_averages(folder, records)
    return code or int(bool(unreadable))


def _print_warnings(root: str, record: MovieRecord) -> None:
    """Print the warnings of an export."""
    for warning in record.warnings:
        if "RELION" in warning:
            typer.echo(f"{root}: {warning}", err=True)


@takes_parameters_without(ESTIMATION, LOCAL, "align_first", "align_last", "gain_check")
def apply(
    motion: Annotated[
        str,
        typer.Option(
            help="Alignment of the movie, from flexalign (_motion.json, _record.json), RELION (the "
            "STAR file of a movie), Xmipp (_shifts.xmd), MotionCor (.aln, logs) or Warp (.xml). "
            "For several movies a folder, a quoted pattern, or RELION's "
            "corrected_micrographs.star: movies are matched by name. For tilt series the folder "
            "of 'tilt-series'.",
            metavar="FILE",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the outputs.", metavar="DIR")],
    movies: Annotated[
        list[str] | None,
        typer.Argument(
            help="Movies, quoted patterns, folders and lists as for 'align'. None for tilt series: "
            "their movies are known.",
            metavar="[MOVIES]...",
            show_default=False,
        ),
    ] = None,
    settings: Settings = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the outputs of an earlier run.")
    ] = False,
    save_tilts: SaveTilts = False,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Make micrographs from existing alignments, without estimating the motion.

    Frames whose motion is not in the file are left out. A movie that fails does not stop the
    others; repeat the command to make what is missing. For tilt series the stacks are made, each
    tilt with its own dose and pixel size.
    Exit code: 0 all done, 1 some failed, 2 parameters, 3 input, 4 device.
    """
    from flexalign.report.series import is_series_folder

    if movies:
        if save_tilts:
            raise ParameterError(
                "--save-tilts: expected no such option with movies, whose files are always kept"
            )
        code = _apply_to_movies(
            movies, motion, out, values, settings, overwrite=overwrite, debug=debug
        )
    elif is_series_folder(Path(motion)):
        from flexalign.cli.interop_series import apply_series

        code = apply_series(
            Path(motion), out, values, settings,
            overwrite=overwrite, save_tilts=save_tilts, debug=debug,
        )  # fmt: skip
    else:
        raise ParameterError(
            f"--motion {motion}: expected movies to apply it to, or the folder of tilt series; "
            "found neither"
        )
    raise typer.Exit(code)


def _apply_to_movies(
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
    from flexalign.io.writing.publishing import clear_leftovers

    paths, params, own = movies_and_parameters(movies, settings, values)
    names, matched, missing = _matched(movies, paths, motion, out)
    inputs = [*dict.fromkeys(matched.values()), *([settings] if settings else [])]
    check_run_outputs(out, {str(path): names[path] for path in paths}, params, inputs)
    clear_leftovers(out)
    announce_compiling()
    done: list[bool] = []

    def apply_to(path: Path) -> None:
        if path not in matched:
            raise InputError(missing[path])
        of_movie = replace(params, **own.get(resolved(path), {}))
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
    from flexalign.batch.names import Names
    from flexalign.io.motion_formats.alignment_pairs import alignments_of
    from flexalign.io.motion_formats.exports import read_records
    from flexalign.naming import movie_root

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
    from flexalign.align import align_and_write, params_for
    from flexalign.batch.jobs import finished, job_key, reference_states
    from flexalign.io.motion_formats.read_motion import read_motion
    from flexalign.io.movies.open_movie import open_for
    from flexalign.io.record import file_state
    from flexalign.plain import to_plain
    from flexalign.plan import make_plan

    start = time.perf_counter()
    with open_for(movie, params) as reader:
        pixel_size_A = make_plan(reader.info, replace(params, local=False)).pixel_size_A
        found = read_motion(motion, reader.info, pixel_size_A)
    states = {"movie": file_state(movie), **reference_states(params)}
    earlier = finished(out, root, job_key(params_for(found, params).hash(), states))
    if earlier is not None and not overwrite and earlier.motion == to_plain(found.to_dict()):
        return False
    with progress_bar(movie) as progress:
        record = align_and_write(
            movie, params, out, root=root, overwrite=overwrite, motion=found, inputs=inputs,
            progress=progress,
        )  # fmt: skip
    typer.echo(record_line(movie, record, time.perf_counter() - start), err=True)
    return True
