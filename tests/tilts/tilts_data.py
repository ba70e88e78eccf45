"""Small tilt series: movies of a picture that drifts, with an mdoc as the microscope writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import mrcfile
import numpy as np

SHAPE_PX = (64, 96)
FRAMES = 4
PIXEL_A = 1.5
DOSE = 3.0
AXIS_DEG = 85.3


def write_movie(path: Path, angle_deg: float, *, frames: int = FRAMES, counts: float = 3.0) -> Path:
    """A movie whose mean counts say its angle: they are 12 (1 + angle / 200)."""
    rng = np.random.default_rng(round(100 * angle_deg) % 2**31)
    picture = rng.poisson(counts, SHAPE_PX)
    picture = picture * (4 * counts * (1 + angle_deg / 200) / picture.mean())
    stack = [rng.poisson(np.roll(picture, (i, 2 * i), (0, 1))) for i in range(frames)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.array(stack, np.int16))
        file.set_image_stack()
        file.voxel_size = PIXEL_A
    return path


@dataclass
class Section:
    """One entry of an mdoc to be written."""

    angle: float
    name: str
    number: int
    seconds: float
    items: dict[str, str] = field(default_factory=dict)


def write_mdoc(
    path: Path,
    sections: Sequence[Section],
    *,
    layout: str = "serialem",
    leave: Sequence[str] = (),
) -> Path:
    """An mdoc in the layout of "serialem", "tomo5" or "pace"; `leave` names items left out."""
    start = datetime(2023, 11, 6, 18, 0, 0)
    day = {"serialem": "%d-%b-%y  %H:%M:%S", "tomo5": "%d-%b-%y %H:%M:%S"}.get(
        layout, "%d-%b-%Y  %H:%M:%S"
    )
    title = {
        "tomo5": f"[T =     TiltAxisAngle = {-AXIS_DEG - 90:.1f}  Binning = 1 SpotSize = 7]",
    }.get(layout, f"[T =     Tilt axis angle = {AXIS_DEG}, binning = 1  spot = 7  camera = 0]")
    program = {
        "tomo5": "Tomography: TITAN    06-Nov-23  18:00:00",
        "pace": "SerialEM: PACEtomo",
    }.get(layout, "SerialEM: K3")
    head = {
        "PixelSpacing": str(PIXEL_A),
        "Voltage": "300",
        "ImageFile": f"{path.stem}.mrc",
        "ImageSize": f"{SHAPE_PX[1]} {SHAPE_PX[0]}",
        "DataMode": "1",
    }
    lines = [f"{key} = {value}" for key, value in head.items()]
    lines += ["", f"[T = {program}]", "", title, ""]
    for section in sections:
        items = {
            "TiltAngle": f"{section.angle:g}",
            "StagePosition": "12.5 -30.25",
            "MinMaxMean": "0 77 6.5",
            "ExposureDose": f"{DOSE:g}",
            "SubFramePath": f"X:\\frames\\{section.name}",
            "NumSubFrames": str(FRAMES),
            "RotationAngle": f"{AXIS_DEG if layout == 'tomo5' else AXIS_DEG + 90:g}",
            "DateTime": (start + timedelta(seconds=section.seconds)).strftime(day),
        } | section.items
        lines += [f"[ZValue = {section.number}]"]
        lines += [f"{key} = {value}" for key, value in items.items() if key not in leave]
        lines += [""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\r\n".join(lines) if layout == "tomo5" else "\n".join(lines))
    return path


def dose_symmetric(count: int = 7, step: float = 3.0) -> list[float]:
    """Angles in order of exposure: 0, 3, -3, -6, 6, ..."""
    angles = [0.0]
    for i in range(1, count // 2 + 1):
        pair = [step * i, -step * i]
        angles += pair if i % 2 else pair[::-1]
    return angles[:count]


def write_series(
    folder: Path,
    name: str = "TS_1",
    angles: Sequence[float] | None = None,
    *,
    layout: str = "serialem",
    suffix: str = ".mrcs",
    leave: Sequence[str] = (),
) -> Path:
    """A whole series with its movies beside the mdoc; the path of the mdoc."""
    sections = []
    for number, angle in enumerate(dose_symmetric() if angles is None else angles):
        movie = f"{name}_{number + 1:03}_{angle:.1f}{suffix}"
        write_movie(folder / movie, angle)
        sections.append(Section(angle, movie, number, 60.0 * number))
    return write_mdoc(folder / f"{name}.mdoc", sections, layout=layout, leave=leave)


def angle_of(image: np.ndarray, counts: float = 3.0) -> float:
    """The angle that the mean of an image of `write_movie` says, within a degree or two."""
    return float(200 * (image.mean() / (4 * counts) - 1))
