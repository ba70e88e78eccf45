"""Details of one movie for the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.atomic import replacing
from flexalign.batch.rows import look_up
from flexalign.errors import InputError
from flexalign.io.motion_formats.polynomial import whole_frame_px
from flexalign.io.record import listed_output
from flexalign.io.writing.ownership import refuse_occupied
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion
from flexalign.option_messages import with_options
from flexalign.report.columns import rounded

BEGINNING = "flexalign.receive("
LATTICE = 8  # arrows along the longer side
DIGITS = 4
# Not shown: long lists of bad pixels, and values that are shown elsewhere.
NOT_SHOWN = ("movie", "hot_pixel_y", "hot_pixel_x", "schema")
# Pictures on the page, and their keys among the outputs of a record.
PICTURES = {"micrograph": "thumbnail", "spectra": "spectra_thumbnail"}


def details_of(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Details of the movie `name` as plain values.

    Motion is in Angstrom, evaluated from the record.  What the record does not have is left out.
    """
    details: dict[str, Any] = {
        "name": name,
        "movie": record["movie"],
        "quality": rounded(dict(record["quality"]), DIGITS),
        "warnings": [with_options(warning) for warning in record.get("warnings") or []],
        "parameters": record.get("parameters") or {},
        "decisions": {
            key: value
            for key, value in (record.get("decisions") or {}).items()
            if key not in NOT_SHOWN
        },
        "inputs": record["inputs"],
        "outputs": record["outputs"],
        "timings_s": {k: rounded(v, 3) for k, v in (record.get("timings_s") or {}).items()},
        "peak_memory_bytes": record.get("peak_memory_bytes"),
        "version": record.get("version"),
        "curves": record.get("curves"),
    }
    details["quality"].pop("schema", None)
    details["quality"]["flags"] = [
        {**flag, "remedy": with_options(flag.get("remedy") or "")}
        for flag in details["quality"].get("flags") or []
    ]
    pixel_size_A = look_up(record, "decisions.pixel_size_A")
    if record.get("motion") and pixel_size_A:
        motion = Motion.from_dict(dict(record["motion"]))
        details["motion"] = _motion(motion, record, float(pixel_size_A))
    return details


def _motion(motion: Motion, record: Mapping[str, Any], pixel_size_A: float) -> dict[str, Any]:
    """Trajectory, path and field in Angstrom, as lists."""
    frames = np.flatnonzero(motion.trajectory.is_measured)
    if frames.size == 0:
        frames = np.arange(motion.frame_count)
    shape_px = (record["movie"]["height_px"], record["movie"]["width_px"])
    found: dict[str, Any] = {
        "frame": (frames + 1).tolist(),
        "reference_frame": motion.reference_frame + 1,
        "yx_A": _plain(motion.trajectory.displacement_px[frames] * pixel_size_A),
        "path_A": _plain(_path_px(motion, frames) * pixel_size_A),
        "shape_px": list(shape_px),
    }
    error_px = motion.trajectory.standard_error_px
    if error_px is not None:
        found["error_yx_A"] = _plain(error_px[frames] * pixel_size_A)
    dose = look_up(record, "decisions.dose_per_frame_e_A2")
    if dose:
        before = look_up(record, "parameters.pre_exposure_e_A2") or 0.0
        each = look_up(record, "decisions.frame_doses_e_A2") or [dose] * motion.frame_count
        found["dose_e_A2"] = _plain(before + (np.cumsum(each) - 0.5 * np.array(each))[frames])
    if motion.field is not None and len(frames) > 1:
        found["field"] = _field(motion, frames, shape_px, pixel_size_A)
    return found


def _path_px(motion: Motion, frames: Any) -> FloatArray:
    """Cumulative path length of the whole frame, at each of `frames`."""
    path = whole_frame_px(motion, FrameRange(int(frames[0]), int(frames[-1]) + 1))[frames]
    steps = np.hypot(*np.diff(path, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _field(
    motion: Motion, frames: Any, shape_px: tuple[int, int], pixel_size_A: float
) -> dict[str, Any]:
    """Displacement of each place from the first to the last frame, minus the mean over places."""
    assert motion.field is not None
    longer = max(shape_px)
    rows, columns = (max(2, round(LATTICE * length / longer)) for length in shape_px)
    y = (np.arange(rows) + 0.5) * shape_px[0] / rows - 0.5
    x = (np.arange(columns) + 0.5) * shape_px[1] / columns - 0.5
    first, last = int(frames[0]), int(frames[-1])
    moved = motion.field.on_lattice(last, y, x) - motion.field.on_lattice(first, y, x)
    moved = moved - moved.mean(axis=(1, 2), keepdims=True)
    return {"y_px": _plain(y), "x_px": _plain(x), "yx_A": _plain(moved * pixel_size_A)}


def _plain(values: FloatArray) -> list[Any]:
    """Nested lists of rounded numbers; non-finite ones are None."""
    found = np.asarray(values, dtype=np.float64)
    # Decimals are set by the largest number, for all of them.
    maximum = float(np.abs(found[np.isfinite(found)]).max(initial=0.0))
    decimals = DIGITS - int(np.floor(np.log10(maximum))) - 1 if maximum > 0 else 0
    rounded_values = np.round(found, decimals).astype(object)
    rounded_values[~np.isfinite(found)] = None
    return list(rounded_values.tolist())


def with_pictures(details: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`details` with embedded pictures, for a page without its folder."""
    inside = {}
    for kind in PICTURES.values():
        name = details["outputs"].get(kind)
        if name is None:
            continue
        try:
            content = listed_output(folder, name).read_bytes()
        except (InputError, OSError):
            continue
        inside[kind] = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    return {**details, "pictures": inside}


def is_details(path: Path) -> bool:
    """Whether a file was written by `write_details`."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING.encode()
    except OSError:
        return False


def write_details(path: Path, details: Mapping[str, Any]) -> None:
    """Write the details as a JavaScript file.

    A page opened from disk may load scripts and pictures, but not JSON.

    Raises
    ------
    OutputError
        If the file cannot be written.
    OccupiedError
        If another file has its name.
    """
    refuse_occupied(path.parent, [path.name], {path.name} if is_details(path) else set())
    with replacing(path) as temporary:
        temporary.write_text(f"{BEGINNING}{as_script(details)});\n", encoding="utf-8")


def as_script(value: Any) -> str:
    """JSON escaped for a script element of a page.

    Examples
    --------
    >>> "</script>" in as_script({"name": "</script>"})
    False
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
