"""The commands that replace Xmipp's movie alignment programs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.console import Debug, announce_compiling, progress_bar, record_line
from flexalign.cli.option_groups import takes_options
from flexalign.errors import DeviceError, ParameterError
from flexalign.io.writing.ownership import refuse_existing
from flexalign.parameter import check_limits
from flexalign.params import AlignParams, parameters

if TYPE_CHECKING:
    from flexalign.compat.xmipp import XmippFiles

DEFAULT_SHIFTS = Path("out.xmd")
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def _file(*names: str, text: str) -> Any:
    return typer.Option(*names, help=text, metavar="FILE")


def _pair(name: str, text: str, metavar: str = "FIRST LAST") -> Any:
    return typer.Option(name, help=text, metavar=metavar)


@dataclass(frozen=True, slots=True)
class XmippOptions:
    """The arguments of Xmipp's programs."""

    frames: Annotated[Path, _file("-i", text="List of frames (.xmd), or a movie.")]
    shifts: Annotated[
        Path | None,
        _file("-o", text="The motion, as Xmipp's metadata. Default: a new file out.xmd."),
    ] = None
    average: Annotated[Path | None, _file("--oavg", text="Mean of the aligned frames (MRC).")] = (
        None
    )
    unaligned_average: Annotated[
        Path | None, _file("--oavgInitial", text="Mean of the unaligned frames (MRC).")
    ] = None
    aligned: Annotated[Path | None, _file("--oaligned", text="The aligned frames (MRC).")] = None
    sampling: Annotated[
        float, typer.Option("--sampling", help="Pixel size of the movie.", metavar="A")
    ] = 1.0
    binning: Annotated[float, typer.Option("--bin", help="Bin the outputs by this factor.")] = 1.0
    max_shift: Annotated[
        float,
        typer.Option("--maxShift", help="Maximum displacement between frames.", metavar="A"),
    ] = 50.0
    max_resolution: Annotated[
        float,
        typer.Option(
            "--maxResForCorrelation",
            help="Resolution limit of the correlation of frames.",
            metavar="A",
        ),
    ] = 30.0
    frame_range: Annotated[
        tuple[int, int],
        _pair("--frameRange", "Frames to align, counted from 0 in the list; -1 = first or last."),
    ] = (-1, -1)
    sum_range: Annotated[
        tuple[int, int],
        _pair("--frameRangeSum", "Frames to sum, among those that are aligned."),
    ] = (-1, -1)
    dark: Annotated[Path | None, _file("--dark", text="Dark reference, subtracted first.")] = None
    gain: Annotated[
        Path | None, _file("--gain", text="Gain reference, which multiplies, as it is in the file.")
    ] = None
    skip_local: Annotated[
        bool, typer.Option("--skipLocalAlignment", help="Estimate global motion only.")
    ] = False
    control_points: Annotated[
        tuple[int, int, int] | None,
        _pair("--controlPoints", "Control points of the local motion.", "X Y T"),
    ] = None
    patches: Annotated[tuple[int, int] | None, _pair("--patches", "Number of patches.", "X Y")] = (
        None
    )
    min_patch: Annotated[
        float,
        typer.Option("--minLocalRes", help="Minimum side of a patch.", metavar="A"),
    ] = 500.0
    group_frames: Annotated[
        int, typer.Option("--patchesAvg", help="Frames summed to measure a patch.")
    ] = 3
    device: Annotated[
        int | None,
        typer.Option("--device", help="GPU to use, if there is one; otherwise the CPU is used."),
    ] = None
    storage: Annotated[
        Path | None,
        _file("--storage", text="Accepted and ignored: no transform is timed beforehand."),
    ] = None

    def files(self) -> XmippFiles:
        """The input and the outputs."""
        from flexalign.compat.xmipp import XmippFiles

        motion = self.shifts or DEFAULT_SHIFTS
        return XmippFiles(self.frames, motion, self.average, self.unaligned_average, self.aligned)

    def params(self) -> AlignParams:
        """The parameters of the alignment.

        Raises
        ------
        ParameterError
            If a number is outside its limits; it names Xmipp's option.
        """
        numbers = {
            "pixel_size_A": ("--sampling", self.sampling),
            "binning": ("--bin", self.binning),
            "max_shift_A": ("--maxShift", self.max_shift),
            "max_resolution_A": ("--maxResForCorrelation", self.max_resolution),
            "control_points": ("--controlPoints", self.control_points),
            "patches": ("--patches", self.patches),
            "min_patch_A": ("--minLocalRes", self.min_patch),
            "group_frames": ("--patchesAvg", self.group_frames),
        }
        table = parameters()
        for name, (option, value) in numbers.items():
            check_limits(name, value, table[name], option)
        values: dict[str, Any] = {name: value for name, (_, value) in numbers.items()}
        return AlignParams(
            gain=str(self.gain) if self.gain else None,
            dark=str(self.dark) if self.dark else None,
            local=not self.skip_local,
            device=_device(self.device),
            **values,
        )


@takes_options
def xmipp_movie_alignment(
    options: XmippOptions,
    debug: Debug = False,
) -> None:
    """Align one movie with the arguments of Xmipp's programs, and write their files.

    For the scripts made by 'xmipp-install'. Control points and patches that are not given are
    chosen for the movie. Output files are replaced, as by Xmipp's programs, unless they are inputs
    too.
    """
    from flexalign.compat.xmipp import align_as_xmipp

    params = options.params()
    if options.shifts is None:
        refuse_existing(DEFAULT_SHIFTS, overwrite=False)
    announce_compiling()
    with progress_bar(options.frames) as progress:
        record = align_as_xmipp(
            options.files(), params,
            align_range=options.frame_range, sum_range=options.sum_range, progress=progress,
        )  # fmt: skip
    movie = Path(record.movie.path)
    typer.echo(record_line(movie, record), err=True)


def xmipp_install(
    home: Annotated[
        Path,
        typer.Argument(
            help="Folder to be used as XMIPP_HOME; the scripts go to its 'bin'.", metavar="DIR"
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace programs of the same names.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Install scripts that replace Xmipp's movie alignment programs and start flexalign.

    With XMIPP_HOME set to the folder, Scipion's own FlexAlign protocol runs on flexalign.
    """
    from flexalign.compat.xmipp import install_programs

    for path in install_programs(home, overwrite=overwrite):
        typer.echo(path)


def _device(number: int | None) -> str:
    """The device; of several GPUs, only the requested one is left visible."""
    if number is None:
        return "cpu"
    if number < 0:
        raise ParameterError(f"--device: expected the number of a GPU from 0 on, found {number}")
    visible = os.environ.get(VISIBLE_GPUS)
    numbers = visible.split(",") if visible else None
    if numbers and number >= len(numbers):
        raise DeviceError(
            f"--device: expected a number below {len(numbers)}, since {VISIBLE_GPUS} is "
            f"{visible}; found {number}"
        )
    os.environ[VISIBLE_GPUS] = numbers[number] if numbers else str(number)
    return "auto"
