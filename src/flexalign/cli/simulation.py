"""The commands `simulate` and `demo`: movies with known motion."""

from __future__ import annotations

import glob
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.console import Debug, announce_compiling, progress_bar, result_line
from flexalign.cli.reporting import refuse_foreign_report, write_report
from flexalign.errors import OccupiedError, ParameterError
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.model import MovieRecord
    from flexalign.simulate import SimulatedMovie, SimulationSettings

MOTIONS = ("bumps", "polynomial", "measured", "fast-start", "jump", "none")
SPECIMENS = ("protein", "negative-stain", "crystal", "filaments")
OBJECTS = (
    "gold-foil", "gold-beads", "ice-crystals", "carbon", "still-carbon", "contaminant", "shadow",
    "beam-edge",
)  # fmt: skip
FAULTS = ("stuck-blocks", "bad-lines", "dead-quadrant", "duplicate-frame")
FORMATS = ("mrc", "tiff", "eer")
FRAMES_FOLDER = "frames"
DEMO_FILES = ("demo.tiff", "demo_gain.mrc", "demo_truth.npz")

# The demo fails if the residual is above this fraction of the motion.
DEMO_MAX_RESIDUAL = 0.25


def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the files.", metavar="DIR")],
    name: Annotated[str, typer.Option(help="What their names begin with.")] = "simulated",
    file_format: Annotated[
        str,
        typer.Option(
            "--format", help=f"One of: {', '.join(FORMATS)}.", autocompletion=lambda: list(FORMATS)
        ),
    ] = "mrc",
    size: Annotated[tuple[int, int], typer.Option(help="Pixels in x and y.", metavar="X Y")] = (
        2048,
        2048,
    ),
    frames: Annotated[
        int | None,
        typer.Option(
            help="Number of frames: 30, and 6 of each tilt of a series, if not given.", metavar="N"
        ),
    ] = None,
    pixel_size: Annotated[float, typer.Option(help="Pixel size.", metavar="A")] = 1.0,
    electrons: Annotated[
        float | None,
        typer.Option(
            help="Mean number of electrons in a pixel of one frame: 1, if not given.",
            metavar="NUMBER",
        ),
    ] = None,
    motion: Annotated[
        str,
        typer.Option(
            help=f"One of: {', '.join(MOTIONS)}. 'bumps' and 'jump' are smooth in time and not "
            f"polynomial in space; 'measured' has the steps of real movies; 'fast-start' is over "
            f"within a few frames.",
            autocompletion=lambda: list(MOTIONS),
        ),
    ] = "bumps",
    global_motion: Annotated[
        float, typer.Option(help="Approximate displacement of the whole frame.", metavar="PX")
    ] = 10.0,
    local_motion: Annotated[
        float, typer.Option(help="Approximate local displacement relative to that.", metavar="PX")
    ] = 5.0,
    specimen: Annotated[
        str,
        typer.Option(
            help=f"One of: {', '.join(SPECIMENS)}; or the file of a micrograph, which is denoised "
            f"and taken to have the given pixel size.",
            metavar="NAME|IMAGE",
            autocompletion=lambda: list(SPECIMENS),
        ),
    ] = "protein",
    objects: Annotated[
        list[str] | None,
        typer.Option(
            "--object",
            help=f"What else is in the field: {', '.join(OBJECTS)}. May be given several times.",
            metavar="NAME",
            autocompletion=lambda: list(OBJECTS),
        ),
    ] = None,
    faults: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            help=f"Faults of the detector: {', '.join(FAULTS)}. May be given several times.",
            metavar="NAME",
            autocompletion=lambda: list(FAULTS),
        ),
    ] = None,
    contrast: Annotated[
        float, typer.Option(help="Fraction of the ideal contrast that remains.", metavar="PART")
    ] = 0.9,
    ice: Annotated[
        float, typer.Option(help="Thickness of the ice; 0 = no signal from it.", metavar="A")
    ] = 500.0,
    tilt: Annotated[float, typer.Option(help="Tilt of the stage.", metavar="DEGREES")] = 0.0,
    tilt_series: Annotated[
        bool,
        typer.Option(
            "--tilt-series", help="Make a tilt series: a movie for each angle, and its .mdoc."
        ),
    ] = False,
    tilts: Annotated[
        int | None, typer.Option(help="Number of tilts of a series: 41, if not given.", metavar="N")
    ] = None,
    tilt_step: Annotated[
        float | None,
        typer.Option(help="Between neighbouring angles: 3, if not given.", metavar="DEGREES"),
    ] = None,
    dose_per_tilt: Annotated[
        float | None,
        typer.Option(help="Dose of each tilt: 3, if not given.", metavar="E/A2"),
    ] = None,
    tilt_axis: Annotated[
        float | None,
        typer.Option(
            help="Tilt axis in the image, from the y axis toward falling x: 85, if not given.",
            metavar="DEGREES",
        ),
    ] = None,
    fiducials: Annotated[
        bool, typer.Option("--fiducials", help="Beads of gold of 10 nm on both faces of the slab.")
    ] = False,
    gain_error: Annotated[
        float,
        typer.Option(
            help="Relative standard deviation of the sensitivity that the gain does not correct.",
            metavar="PART",
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed, another movie.", metavar="N")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same names.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make a movie with known motion, of protein in ice or of a micrograph, in many conditions.

    Prints the files that were written, and how to align the movie. With --tilt-series the movies
    are those of a thin slab of protein, tilt by tilt, in the order of a dose-symmetric scheme.
    """
    from flexalign.simulate import SimulationSettings

    if file_format not in FORMATS:
        raise ParameterError(f"--format: expected one of {', '.join(FORMATS)}, found {file_format}")
    pattern = f"{glob.escape(name)}[._]*"
    if not overwrite and any([*out.glob(pattern), *out.glob(f"{FRAMES_FOLDER}/{pattern}")]):
        raise OccupiedError(f"{out}: expected no file '{name}...', found one; give --overwrite")
    settings = SimulationSettings(
        shape_px=(size[1], size[0]),
        frame_count=(6 if tilt_series else 30) if frames is None else frames,
        pixel_size_A=pixel_size,
        electrons_per_px=1.0 if electrons is None else electrons,
        motion=motion,
        global_motion_px=global_motion,
        local_motion_px=local_motion,
        specimen=specimen,
        objects=tuple(objects or ()),
        faults=tuple(faults or ()),
        contrast=contrast,
        ice_thickness_A=ice,
        tilt_deg=tilt,
        gain_error=gain_error,
        seed=seed,
    )
    changes = {
        "tilt_count": tilts, "tilt_step_deg": tilt_step, "dose_per_tilt_e_A2": dose_per_tilt,
        "tilt_axis_deg": tilt_axis, "fiducials": fiducials or None,
    }  # fmt: skip
    changes = {field: value for field, value in changes.items() if value is not None}
    if changes and not tilt_series:
        raise ParameterError(f"{', '.join(changes)}: expected with --tilt-series only")
    if tilt_series:
        if electrons is not None or tilt:
            raise ParameterError(
                "--electrons, --tilt: expected for one movie only; a tilt series has "
                "--dose-per-tilt, --tilts and --tilt-step"
            )
        files = _simulate_and_save_series(settings, changes, out, name, file_format)
        _say_paths(files)
        return
    _, files = _simulate_and_save(settings, out, name, file_format)
    _say_paths(files)
    typer.echo(f"{'to align it':12} {_align_command(files, settings)}")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the files.", metavar="DIR")] = Path(
        "flexalign-demo"
    ),
    debug: Debug = False,
) -> None:
    """Simulate a small movie, align it, and compare the motion found with the true one.

    Files of an earlier demo in the folder are replaced; any others are left alone.
    Exit code: 0 when little of the motion is left, else 1.
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
    start = time.perf_counter()
    with progress_bar(files["movie"]) as progress:
        record = align_and_write(files["movie"], params, out, overwrite=True, progress=progress)
    seconds = time.perf_counter() - start
    line = result_line(files["movie"].name, record.quality, len(record.warnings), seconds)
    typer.echo(line, err=True)

    before = motion_error_px(Motion.still(settings.frame_count), truth)
    after = motion_error_px(Motion.load(out / record.outputs["motion"]), truth)
    typer.echo("Distance from the true motion   without alignment   with alignment")
    typer.echo(f"root mean square{before.rms_px:30.2f} px{after.rms_px:14.2f} px")
    typer.echo(f"largest{before.worst_px:39.2f} px{after.worst_px:14.2f} px")
    _say_files(out, files, record)
    write_report(out)
    if not after.rms_px < DEMO_MAX_RESIDUAL * before.rms_px:
        typer.echo("error: too much of the motion is left; please report this", err=True)
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
    movie: SimulationSettings, changes: dict[str, Any], out: Path, name: str, file_format: str
) -> dict[str, Path]:
    """What was written of a tilt series of such movies."""
    from flexalign.simulate import TiltSeriesSettings, save_tilt_series

    settings = TiltSeriesSettings(movie=movie, **changes)
    announce_compiling()
    with progress_bar(Path(name)) as progress:
        return save_tilt_series(
            settings, out, name, file_format,
            progress=lambda done, total: progress("simulate", done, total),
        )  # fmt: skip


def _say_paths(files: dict[str, Path]) -> None:
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


def _say_files(out: Path, files: dict[str, Path], record: MovieRecord) -> None:
    """Print the files of the demo."""
    typer.echo(f"\nFiles in {out}:")
    for kind, name in {
        **{kind: path.name for kind, path in files.items()},
        **record.outputs,
    }.items():
        typer.echo(f"  {kind:24} {Path(name).name}")
