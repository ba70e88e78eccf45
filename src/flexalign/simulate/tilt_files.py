"""Write simulated tilt series as microscopes do: movies, and a ``.mdoc`` that describes them.

References
----------
The ``.mdoc`` format: SerialEM's help, "Image file metadata"; IMOD's man page of autodoc files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from flexalign.atomic import replacing
from flexalign.simulate.files import check_format, save_gain, save_movie
from flexalign.simulate.tilt_series import SimulatedTilt, simulate_tilt_series
from flexalign.simulate.tilt_settings import TiltSeriesSettings

FRAMES_FOLDER = "frames"
EER_RAW_FRAMES_PER_FRAME = 32

_WINDOWS_FOLDER = "X:\\frames"
_FIRST_EXPOSURE = datetime(2026, 1, 1, 12)
_EXPOSURE_INTERVAL = timedelta(seconds=40)
_EXPOSURE_S = 1.2
# SerialEM's image rotation is that of the tilt axis and a right angle more.
_IMAGE_ROTATION_DEG = 90.0


class SavedTilt(NamedTuple):
    """A tilt as the ``.mdoc`` describes it.

    Attributes
    ----------
    number : in order of time, from 0
    angle_deg : of the stage
    pre_exposure_e_A2 : dose of all earlier tilts
    file_name : of its movie
    """

    number: int
    angle_deg: float
    pre_exposure_e_A2: float
    file_name: str


def save_tilt_series(
    settings: TiltSeriesSettings,
    folder: str | Path,
    name: str,
    file_format: str = "mrc",
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Path]:
    """Simulate a series and write it, tilt by tilt; what was written, by kind.

    - "mdoc": ``<name>.mdoc``, in SerialEM's layout, in order of time; it is written last.
    - "gain" (EER: "gain_counts" too): one for the series, see `save_movie`.
    - "movies": the folder ``frames`` with ``<name>_<order>_<angle>.<format>`` and the
      ``..._truth.npz`` of each.

    Parameters
    ----------
    file_format : one of `FORMATS`; EER has 32 raw frames for each frame
    threads, progress : as for `simulate_tilt_series`

    Raises
    ------
    ParameterError
        If a setting is out of its limits, or the format another one.
    InputError
        If the files cannot be written.
    """
    check_format(file_format)
    folder = Path(folder)
    movies = folder / FRAMES_FOLDER
    raw_frames = EER_RAW_FRAMES_PER_FRAME if file_format == "eer" else None
    saved: list[SavedTilt] = []
    gains: dict[str, Path] = {}
    for tilt in simulate_tilt_series(settings, threads=threads, progress=progress):
        root = _root(name, tilt)
        paths = save_movie(tilt.movie, movies, root, file_format, raw_frames, with_gain=False)
        if not saved and tilt.movie.gain is not None:
            gains = save_gain(
                tilt.movie.gain, folder, name, file_format, settings.movie.pixel_size_A
            )
        saved.append(
            SavedTilt(tilt.number, tilt.angle_deg, tilt.pre_exposure_e_A2, paths["movie"].name)
        )
    mdoc = folder / f"{name}.mdoc"
    with replacing(mdoc) as temporary:
        temporary.write_text(mdoc_text(settings, name, saved, raw_frames or 1), encoding="ascii")
    return {"mdoc": mdoc, "movies": movies, **gains}


def _root(name: str, tilt: SimulatedTilt) -> str:
    """Common beginning of the file names of a tilt: order from 1, and angle."""
    return f"{name}_{tilt.number + 1:03d}_{tilt.angle_deg:.1f}"


def mdoc_text(
    settings: TiltSeriesSettings, name: str, tilts: Sequence[SavedTilt], raw_frames: int = 1
) -> str:
    """The ``.mdoc`` of a series.

    Parameters
    ----------
    raw_frames : of the file for each frame
    """
    movie = settings.movie
    height, width = movie.shape_px
    start_time = f"{_FIRST_EXPOSURE:%d-%b-%y  %H:%M:%S}"
    head = [
        f"PixelSpacing = {movie.pixel_size_A:g}",
        f"Voltage = {movie.voltage_kV:g}",
        f"ImageFile = {name}.mrc",
        f"ImageSize = {width} {height}",
        "DataMode = 1",
        "",
        f"[T = SerialEM: simulated by flexalign {start_time}]",
        "",
        f"[T =     Tilt axis angle = {settings.tilt_axis_deg:.1f}, binning = 1  spot = 8  "
        "camera = 0]",
    ]
    sections = [_section(settings, tilt, raw_frames) for tilt in tilts]
    return "\n".join(["\n".join(head), *sections]) + "\n"


def _section(settings: TiltSeriesSettings, tilt: SavedTilt, raw_frames: int) -> str:
    """The section of one tilt in the ``.mdoc``."""
    movie = settings.of_tilt(tilt.number)
    frames = movie.frame_count * raw_frames
    exposed = _FIRST_EXPOSURE + tilt.number * _EXPOSURE_INTERVAL
    rotation_deg = (settings.tilt_axis_deg + _IMAGE_ROTATION_DEG + 180) % 360 - 180
    electrons_per_s = movie.electrons_per_px * movie.frame_count / _EXPOSURE_S
    lines = [
        "",
        f"[ZValue = {tilt.number}]",
        f"TiltAngle = {tilt.angle_deg:.2f}",
        "StagePosition = 0 0",
        "StageZ = 0",
        f"ExposureDose = {settings.dose_per_tilt_e_A2:.6g}",
        f"DoseRate = {electrons_per_s:.6g}",
        f"PixelSpacing = {movie.pixel_size_A:g}",
        "SpotSize = 8",
        f"Defocus = {-movie.defocus_um:g}",
        "ImageShift = 0 0",
        f"RotationAngle = {rotation_deg:g}",
        f"ExposureTime = {_EXPOSURE_S:g}",
        "Binning = 1",
        "CameraIndex = 0",
        "DividedBy2 = 0",
        "CountsPerElectron = 1",
        f"TargetDefocus = {-movie.defocus_um:g}",
        f"PriorRecordDose = {tilt.pre_exposure_e_A2:.6g}",
        f"SubFramePath = {_WINDOWS_FOLDER}\\{tilt.file_name}",
        f"NumSubFrames = {frames}",
        f"FrameDosesAndNumber = {settings.dose_per_tilt_e_A2 / frames:.6g} {frames}",
        f"DateTime = {exposed:%d-%b-%y  %H:%M:%S}",
    ]
    return "\n".join(lines)
