"""The commands `export` and `apply`: alignments to and from other programs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.alignment import Settings
from flexalign.cli.console import Debug, announce_compiling, progress_bar, record_line, run_each
from flexalign.cli.options import collect_parameters, takes_parameters_without
from flexalign.errors import InputError
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

    For RELION: a STAR file for each movie and corrected_micrographs.star for all.
    Power spectra for the CTF need the movie: they come from 'align --write relion'.
    """
    from flexalign.io.motion_formats.exports import export_folder, read_records
    from flexalign.io.relion_project import RELION_TABLE, write_relion_table
    from flexalign.io.writing.ledger import refuse_foreign

    formats = AlignParams(write=to).formats
    if "relion" in formats:
        refuse_foreign(folder, [RELION_TABLE])
    finished = read_records(folder, lambda text: typer.echo(text, err=True))
    if not finished:
        raise InputError(
            f"{folder}: expected a folder with results of flexalign, found no '*_record.json' "
            "that can be read"
        )
    records = export_folder(folder, finished, formats)
    for root, record in records.items():
        _say_warnings(root, record)
    if "relion" in formats:
        table = write_relion_table(
            folder, records, cs_mm=spherical_aberration, amplitude_contrast=amplitude_contrast
        )
        typer.echo(f"{len(records)} movies in {table}", err=True)


def _say_warnings(root: str, record: MovieRecord) -> None:
    """Print the warnings of an export."""
    for warning in record.warnings:
        if "RELION" in warning:
            typer.echo(f"{root}: {warning}", err=True)


@takes_parameters_without(ESTIMATION, LOCAL, "align_first", "align_last", "gain_check")
def apply(
    movie: Annotated[Path, typer.Argument(help="Movie (MRC, TIFF, EER).", metavar="MOVIE")],
    motion: Annotated[
        Path,
        typer.Option(
            help="Its alignment, of flexalign (_motion.json, _record.json), RELION (the STAR file "
            "of the movie), Xmipp (_shifts.xmd), MotionCor (.aln, logs) or Warp (.xml).",
            metavar="FILE",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the outputs.", metavar="DIR")],
    settings: Settings = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the outputs of an earlier run.")
    ] = False,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Make micrographs from an existing alignment, without estimating the motion.

    Frames whose motion is not in the file are left out.
    """
    from flexalign.align import align_and_write
    from flexalign.io.motion_formats.read_motion import read_motion
    from flexalign.io.movies.open_movie import open_for
    from flexalign.io.writing.ownership import refuse_inputs
    from flexalign.io.writing.publishing import clear_leftovers
    from flexalign.naming import movie_root, output_names
    from flexalign.plan import make_plan

    params = collect_parameters(values, settings)
    inputs = [motion, *([settings] if settings else [])]
    references = (params.gain, params.dark, params.defects)
    outputs = (out / name for name in output_names(movie_root(movie), params))
    refuse_inputs(outputs, [movie, *references, *inputs])
    clear_leftovers(out)
    announce_compiling()

    def apply_to(path: Path) -> None:
        start = time.perf_counter()
        with open_for(path, params) as reader:
            pixel_size_A = make_plan(reader.info, replace(params, local=False)).pixel_size_A
            found = read_motion(motion, reader.info, pixel_size_A)
        with progress_bar(path) as progress:
            record = align_and_write(
                path, params, out, overwrite=overwrite, motion=found, inputs=inputs,
                progress=progress,
            )  # fmt: skip
        typer.echo(record_line(path, record, time.perf_counter() - start), err=True)

    raise typer.Exit(run_each([movie], apply_to, debug=debug))
