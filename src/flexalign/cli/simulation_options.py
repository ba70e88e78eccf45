"""The options of the command `simulate`, and the settings that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.errors import ParameterError
from flexalign.simulated_choices import FAULTS, FORMATS, MOTIONS, OBJECTS, SPECIMENS

if TYPE_CHECKING:
    from flexalign.simulate import SimulationSettings, TiltSeriesSettings

# Options of a series, and the field of `TiltSeriesSettings` that each sets.
_SERIES_FIELDS = {
    "tilts": "tilt_count",
    "tilt_step": "tilt_step_deg",
    "dose_per_tilt": "dose_per_tilt_e_A2",
    "tilt_axis": "tilt_axis_deg",
    "fiducials": "fiducials",
}


def _one_of(names: Sequence[str], *declarations: str, text: str, metavar: str | None = None) -> Any:
    """An option with completion of some names."""
    return typer.Option(
        *declarations, help=text, metavar=metavar, autocompletion=lambda: list(names)
    )


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """A movie or a tilt series to be made."""

    name: Annotated[str, typer.Option(help="Beginning of the names of the files.")] = "simulated"
    file_format: Annotated[
        str,
        _one_of(FORMATS, "--format", text=f"One of: {', '.join(FORMATS)}."),
    ] = "mrc"
    size: Annotated[tuple[int, int], typer.Option(help="Pixels in x and y.", metavar="X Y")] = (
        2048,
        2048,
    )
    frames: Annotated[
        int | None,
        typer.Option(
            help="Number of frames. Default: 30, and 6 for each tilt of a series.", metavar="N"
        ),
    ] = None
    pixel_size: Annotated[float, typer.Option(help="Pixel size of the movie.", metavar="A")] = 1.0
    electrons: Annotated[
        float | None,
        typer.Option(
            help="Mean number of electrons per pixel and frame. Default: 1.",
            metavar="NUMBER",
        ),
    ] = None
    motion: Annotated[
        str,
        _one_of(
            MOTIONS,
            text=f"One of: {', '.join(MOTIONS)}. 'bumps' and 'jump' are smooth in time and not "
            "polynomial in space; 'measured' has the steps of real movies; 'fast-start' is over "
            "within a few frames.",
        ),
    ] = "bumps"
    global_motion: Annotated[
        float, typer.Option(help="Approximate displacement of the whole frame.", metavar="px")
    ] = 10.0
    local_motion: Annotated[
        float, typer.Option(help="Approximate local displacement relative to that.", metavar="px")
    ] = 5.0
    specimen: Annotated[
        str,
        _one_of(
            SPECIMENS,
            text=f"One of: {', '.join(SPECIMENS)}; or the file of a micrograph, which is denoised "
            "and taken to have the given pixel size.",
            metavar="NAME|IMAGE",
        ),
    ] = "protein"
    objects: Annotated[
        list[str] | None,
        _one_of(
            OBJECTS,
            "--object",
            text=f"Objects in the field: {', '.join(OBJECTS)}. May be given several times.",
            metavar="NAME",
        ),
    ] = None
    faults: Annotated[
        list[str] | None,
        _one_of(
            FAULTS,
            "--fault",
            text=f"Faults of the detector: {', '.join(FAULTS)}. May be given several times.",
            metavar="NAME",
        ),
    ] = None
    contrast: Annotated[
        float, typer.Option(help="Fraction of the ideal contrast that remains.", metavar="FRACTION")
    ] = 0.9
    ice: Annotated[
        float, typer.Option(help="Thickness of the ice; 0 = no signal from it.", metavar="A")
    ] = 500.0
    tilt: Annotated[float, typer.Option(help="Tilt of the stage.", metavar="degrees")] = 0.0
    tilt_series: Annotated[
        bool,
        typer.Option(
            "--tilt-series", help="Make a tilt series: a movie for each angle, and its .mdoc."
        ),
    ] = False
    tilts: Annotated[
        int | None, typer.Option(help="Number of tilts of a series. Default: 41.", metavar="N")
    ] = None
    tilt_step: Annotated[
        float | None,
        typer.Option(help="Step between neighbouring angles. Default: 3.", metavar="degrees"),
    ] = None
    dose_per_tilt: Annotated[
        float | None,
        typer.Option(help="Dose of each tilt. Default: 3.", metavar="e/A2"),
    ] = None
    tilt_axis: Annotated[
        float | None,
        typer.Option(
            help="Tilt axis in the image, from the y axis toward decreasing x. Default: 85.",
            metavar="degrees",
        ),
    ] = None
    fiducials: Annotated[
        bool, typer.Option("--fiducials", help="Gold beads of 10 nm on both surfaces of the slab.")
    ] = False
    gain_error: Annotated[
        float,
        typer.Option(
            help="Relative standard deviation of the sensitivity that the gain does not correct.",
            metavar="FRACTION",
        ),
    ] = 0.0
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.", metavar="N")] = 0
    detector_seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the detector: movies with the same one have the same gain, hot "
            "pixels and faults. Default: the same as --seed.",
            metavar="N", show_default=False,
        ),
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        if self.file_format not in FORMATS:
            raise ParameterError(
                f"--format: expected one of {', '.join(FORMATS)}, found {self.file_format}"
            )

    def settings(self) -> SimulationSettings:
        """The settings of the movie, or of all movies of a series."""
        from flexalign.simulate import SimulationSettings

        frames = 6 if self.tilt_series else 30
        settings = SimulationSettings(
            shape_px=(self.size[1], self.size[0]),
            frame_count=frames if self.frames is None else self.frames,
            pixel_size_A=self.pixel_size,
            electrons_per_px=1.0 if self.electrons is None else self.electrons,
            motion=self.motion,
            global_motion_px=self.global_motion,
            local_motion_px=self.local_motion,
            specimen=self.specimen,
            objects=tuple(self.objects or ()),
            faults=tuple(self.faults or ()),
            contrast=self.contrast,
            ice_thickness_A=self.ice,
            tilt_deg=self.tilt,
            gain_error=self.gain_error,
            seed=self.seed,
            detector_seed=self.detector_seed,
        )
        if not self.tilt_series and (given := self._given_of_series()):
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ParameterError(f"{options}: expected with --tilt-series only")
        return settings

    def series_settings(self) -> TiltSeriesSettings:
        """The settings of a tilt series."""
        from flexalign.simulate import TiltSeriesSettings

        movie = self.settings()
        if self.electrons is not None or self.tilt:
            raise ParameterError(
                "--electrons, --tilt: expected for one movie only; a tilt series has "
                "--dose-per-tilt, --tilts and --tilt-step"
            )
        given = {_SERIES_FIELDS[name]: value for name, value in self._given_of_series().items()}
        return TiltSeriesSettings(movie=movie, **given)

    def _given_of_series(self) -> dict[str, Any]:
        """The options of a series that were given."""
        values = {name: getattr(self, name) for name in _SERIES_FIELDS}
        return {
            name: value
            for name, value in values.items()
            if value is not None and value is not False
        }
