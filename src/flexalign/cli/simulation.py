"""The commands `simulate` and `demo`: movies with known motion."""

from __future__ import annotations

import glob
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexalign.cli.console import Debug, announce_compiling, progress_bar, result_line
from flexalign.cli.option_groups import takes_options
from flexalign.cli.reporting import refuse_foreign_report, write_report
from flexalign.cli.simulation_options import SimulateOptions
from flexalign.errors import OccupiedError
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.model import MovieRecord
    from flexalign.simulate import SimulatedMovie, SimulationSettings, TiltSeriesSettings

FRAMES_FOLDER = "frames"
DEMO_FILES = ("demo.tiff", "demo_gain.mrc", "demo_truth.npz")

# The demo fails if the residual is above this fraction of the motion.
DEMO_MAX_RESIDUAL = 0.25


@takes_options
def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the files.", metavar="DIR")],
    options: SimulateOptions,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same names.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make a movie with known motion, of protein in ice or of a micrograph, in many conditions.

    Prints the files that were written, and how to align the movie. With --tilt-series the movies
    are those of a thin slab of protein, tilt by tilt, in the order of a dose-symmetric scheme.
    """
    name, file_format = options.name, options.file_format
    pattern = f"{glob.escape(name)}[._]*"
    if not overwrite and any([*out.glob(pattern), *out.glob(f"{FRAMES_FOLDER}/{pattern}")]):
        raise OccupiedError(f"{out}: expected no file '{name}...', found one; give --overwrite")
    if options.tilt_series:
        _print_paths(_simulate_and_save_series(options.series_settings(), out, options))
        return
    settings = options.settings()
    _, files = _simulate_and_save(settings, out, name, file_format)
    _print_paths(files)
    typer.echo(f"{'to align it':12} {_align_command(files, settings)}")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the files.", metavar="DIR")] = Path(
        "flexalign-demo"
    ),
    debug: Debug = False,
) -> None:
    """Simulate a small movie, align it, and compare the estimated motion with the true one.

    Files of an earlier demo in the folder are replaced; any others are left alone.
    Exit code: 0 if the remaining motion is small, else 1.
    """
    from flexalign.align import align_and_write
    from flexalign.io.results import check_output
    from flexalign.io.writing import ledger
    from flexalign.io.writing.publishing import clear_leftovers
    from flexalign.motion import Motion
    from flexalign.simulate import SimulationSettings, motion_error_px

    settings = SimulationSettings(shape_px=(1024, 1024), frame_count=24, seed=1)
    ledger.refuse_foreign(out, DEMO_FILES)
    refuse_foreign_report(out)
    clear_leftovers(out)
    check_output(out, "demo", AlignParams(), overwrite=True)
    truth, files = _simulate_and_save(settings, out, "demo", "tiff")
    ledger.add(out, {path.name: path for path in files.values()})
    params = AlignParams(
        gain=str(files["gain"]),
        pixel_size_A=settings.pixel_size_A,
        dose_per_frame_e_A2=settings.dose_e_A2,
    )
    with progress_bar(files["movie"]) as progress:
        record = align_and_write(files["movie"], params, out, overwrite=True, progress=progress)
    typer.echo(result_line(files["movie"].name, record), err=True)

    before = motion_error_px(Motion.still(settings.frame_count), truth)
    after = motion_error_px(Motion.load(out / record.outputs["motion"]), truth)
    typer.echo("Distance from the true motion   without alignment   with alignment")
    typer.echo(f"root mean square{before.rms_px:30.2f} px{after.rms_px:14.2f} px")
    typer.echo(f"largest{before.worst_px:39.2f} px{after.worst_px:14.2f} px")
    _print_files(out, files, record)
    write_report(out)
    if not after.rms_px < DEMO_MAX_RESIDUAL * before.rms_px:
        typer.echo("error: the residual motion is too large; please report this", err=True)
        raise typer.Exit(1)


def _simulate_and_save(
    settings: SimulationSettings, out: Path, name: str, file_format: str
) -> tuple[SimulatedMovie, dict[str, Path]]:
    """Simulate a movie and save it; return it with its files."""
    from flexalign.simulate import simulate_movie

    announce_compiling()
    with progress_bar(Path(name)) as progress:
        movie = simulate_movie(
            settings,
            progress=lambda done, total: progress("simulate", done, total),
        )
    return movie, movie.save(out, name, file_format)


def _simulate_and_save_series(
    settings: TiltSeriesSettings, out: Path, options: SimulateOptions
) -> dict[str, Path]:
    """Simulate a tilt series and save it; return its files."""
    from flexalign.simulate import save_tilt_series

    announce_compiling()
    with progress_bar(Path(options.name)) as progress:
        return save_tilt_series(
            settings, out, options.name, options.file_format,
            progress=lambda done, total: progress("simulate", done, total),
        )  # fmt: skip


def _print_paths(files: dict[str, Path]) -> None:
    """One line for each kind of file."""
    for kind, path in files.items():
        typer.echo(f"{kind:12} {path}")


def _align_command(files: dict[str, Path], settings: SimulationSettings) -> str:
    """The command line that aligns the movie in `files`."""
    movie = files["movie"]
    words = ["flexalign align", shlex.quote(str(movie)), "--gain", shlex.quote(str(files["gain"]))]
    words += [f"--pixel-size {settings.pixel_size_A:g} --dose-per-frame {settings.dose_e_A2:g}"]
    if movie.suffix == ".eer":
        words.append(f"--eer-fractions {settings.frame_count}")
    return " ".join([*words, "--out", shlex.quote(str(movie.parent / "aligned"))])


def _print_files(out: Path, files: dict[str, Path], record: MovieRecord) -> None:
    """Print the files of the demo."""
    typer.echo(f"\nFiles in {out}:")
    for kind, name in {
        **{kind: path.name for kind, path in files.items()},
        **record.outputs,
    }.items():
        typer.echo(f"  {kind:24} {Path(name).name}")
