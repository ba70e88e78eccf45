"""The commands `export` and `apply`: alignments to and from other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flexalign.cli.alignment import Settings
from flexalign.cli.console import Debug
from flexalign.cli.options import takes_parameters_without
from flexalign.cli.series_options import SaveTilts
from flexalign.errors import ParameterError
from flexalign.params import ESTIMATION, LOCAL, WRITTEN_FORMATS, formats_in

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
        float,
        typer.Option(
            help="Spherical aberration of the microscope, for RELION's table.", metavar="mm"
        ),
    ] = CS_MM,
    amplitude_contrast: Annotated[
        float, typer.Option(help="Amplitude contrast, for RELION's table.", metavar="NUMBER")
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

    formats = formats_in(to, "--to")
    if not formats:
        raise ParameterError(f"--to: expected some of {', '.join(WRITTEN_FORMATS)}, found none")
    optics = (spherical_aberration, amplitude_contrast)
    if is_series_folder(folder):
        from flexalign.cli.interop_series import export_series

        raise typer.Exit(export_series(folder, formats, optics, debug=debug))
    from flexalign.cli.interop_movies import export_movies

    raise typer.Exit(export_movies(folder, formats, optics, debug=debug))


@takes_parameters_without(
    ESTIMATION, LOCAL, "align_first", "align_last", "gain_check", "dose_check"
)
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
            metavar="MOVIE",
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
        from flexalign.cli.interop_movies import apply_to_movies

        code = apply_to_movies(
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
