"""What Warp and WarpTools expect beside the XML files of movies: averages, and tomostar files.

An average is known by the name of its movie: ``average/<movie>.mrc``, and of half of the frames
``average/even`` and ``average/odd``.  Warp counts frames from 0, so its even frames are the first,
third and so on.

References
----------
https://github.com/warpem/warp, WarpLib/Movie.cs (names of folders), Movie/ExportMovie.cs (halves)
and WarpTools/Commands/Tiltseries/ImportTiltseries.cs (columns of a tomostar file).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flexalign.atomic import explained, replacing
from flexalign.errors import InputError, OccupiedError
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.model import MovieRecord

TOMOSTAR_FOLDER = "tomostar"
# Folder of the averages, and which of our images they are; the first that there is.
_AVERAGES = {
    "average": ("dose_weighted", "micrograph"),
    "average/odd": ("even",),
    "average/even": ("odd",),
}
# Warp weights tilts by their dose itself, and would do so twice.
_AVERAGES_OF_TILTS = {**_AVERAGES, "average": ("micrograph",)}


@dataclass(frozen=True, slots=True)
class WarpTilt:
    """One row of a tomostar file.

    Attributes
    ----------
    movie : path of the movie from the folder of the tomostar file
    angle_deg : of the stage
    dose_e_A2 : before this tilt
    intensity : mean counts
    """

    movie: str
    angle_deg: float
    dose_e_A2: float
    intensity: float


def link_averages(
    folder: str | Path, records: Mapping[str, MovieRecord], *, are_tilts: bool = False
) -> None:
    """Make links to the images of movies where Warp expects averages.

    They are relative, so they hold when the folder is moved, and take no space.

    Parameters
    ----------
    records : by the roots of their files in `folder`; those without Warp's XML are left out
    are_tilts : of a tilt series; their averages are never dose-weighted

    Raises
    ------
    OccupiedError
        If a file that is not ours has the name of one; the others are made first.
    OutputError
        If one cannot be made.
    """
    occupied = []
    averages = _AVERAGES_OF_TILTS if are_tilts else _AVERAGES
    for root, record in records.items():
        if "warp" not in record.outputs:
            continue
        place = (Path(folder) / root).parent
        name = Path(record.outputs["warp"]).with_suffix(".mrc").name
        for folder_name, kinds in averages.items():
            image = next((record.outputs[k] for k in kinds if k in record.outputs), None)
            if image is not None:
                path = place / folder_name / name
                if not _link(path, f"{'../' * len(Path(folder_name).parts)}{image}"):
                    occupied.append(path)
    if occupied:
        raise OccupiedError(
            f"{occupied[0]}: expected no file of another program where the average of a movie "
            f"goes, found {len(occupied)}; move them away or choose another folder"
        )


def _link(path: Path, target: str) -> bool:
    """Make a link unless it is there; False where something else has its name."""
    if path.is_symlink():
        found = os.readlink(path)  # noqa: PTH115
        if found == target:
            return True
        if Path(found).parent != Path(target).parent:
            return False
    elif path.exists():
        return False
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
    return True


def write_tomostar(folder: Path, name: str, tilts: Sequence[WarpTilt], axis_deg: float) -> Path:
    """Write the tomostar file of a series, as ``WarpTools ts_import`` makes it; its path.

    As there unless ``--dont_invert`` is given, angles have the opposite sign.

    Parameters
    ----------
    tilts : in any order
    axis_deg : from the vertical of the image, counter-clockwise; NaN = unknown, written as 0

    Raises
    ------
    InputError
        If a name has a space in it, which Warp cannot read.
    OccupiedError
        If a foreign file has its name.
    OutputError
        If it cannot be written.
    """
    for tilt in tilts:
        if any(character.isspace() for character in tilt.movie):
            raise InputError(f"{tilt.movie}: Warp reads no names with spaces; rename the movie")
    path = folder / f"{name}.tomostar"
    labels = ("MovieName", "AngleTilt", "AxisAngle", "Dose", "AverageIntensity", "MaskedFraction")
    lines = ["", "data_", "", "loop_"]
    lines += [f"_wrp{label} #{number}" for number, label in enumerate(labels, start=1)]
    axis = 0.0 if math.isnan(axis_deg) else axis_deg
    lines += [
        f"  {tilt.movie}  {-tilt.angle_deg + 0.0:.2f}  {axis:.3f}  {tilt.dose_e_A2:.6g}  "
        f"{tilt.intensity:.3f}  0.000"
        for tilt in sorted(tilts, key=lambda tilt: tilt.angle_deg)
    ]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    refuse_foreign(folder, [path.name])
    with replacing_listed(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
