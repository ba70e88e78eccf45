"""Describe a record, the motion of a movie or a list of movies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.comparison import PLACES, compare_motions
from flexalign.errors import InputError
from flexalign.io.inspect.facts import FileFacts, Lines
from flexalign.io.inspect.session_facts import inspect_tilt_series
from flexalign.io.motion_formats.read_motion import (
    ANY_SHAPE_PX,
    MovieFacts,
    format_of,
    read_all_facts,
    read_motion_of,
)
from flexalign.io.record import read_record
from flexalign.io.star import read_star
from flexalign.motion import Motion
from flexalign.plan import movie_lines

_ANY_FILE = "a movie, a reference, an alignment, a record or a list of bad pixels"
_LIST_COLUMNS = {"rlnMicrographMovieName": "movies", "rlnMicrographName": "micrographs"}


def inspect_record(path: Path) -> FileFacts:
    """The parameters and quality of an alignment."""
    record = read_record(path)
    quality = record.quality
    missing = [name for name in record.outputs.values() if not (path.parent / name).exists()]
    files = f"{len(record.outputs)} files, "
    motion = Motion.from_dict(record.motion)
    local = f", local up to {quality.local_range_A:.1f} A" if quality.local_range_A > 0 else ""
    lines: Lines = [
        ("record", str(path)),
        ("written by", f"flexalign {record.version}"),
        *movie_lines(record.movie),
        ("model", quality.model),
        ("motion", f"{quality.total_motion_A:.1f} A, early {quality.early_motion_A:.1f} A, largest "
         f"step {quality.largest_step_A:.1f} A{local}"),
        ("error", f"{quality.trajectory_error_A:.3f} A standard error of a frame"),
        ("hot pixels", str(quality.hot_pixel_count)),
        ("flags", " ".join(quality.flag_names) or "none"),
        ("outputs", files + (f"missing: {', '.join(missing)}" if missing else "all present")),
    ]  # fmt: skip
    lines += [(flag.name, f"{flag.message}. {flag.remedy}") for flag in quality.flags]
    lines += [("warning", warning) for warning in record.warnings]
    values = {
        "version": record.version,
        "movie": record.movie,
        "quality": quality,
        "warnings": record.warnings,
        "outputs": record.outputs,
        "missing_outputs": missing,
        "parameters": record.parameters,
        **_motion_values(motion, (record.movie.height_px, record.movie.width_px)),
    }
    return FileFacts(str(path), "record", values, tuple(lines))


def inspect_list(path: Path) -> FileFacts | None:
    """A STAR file that lists movies, micrographs or tilt series; None for any other."""
    blocks = read_star(path)
    if (found := inspect_tilt_series(path, blocks)) is not None:
        return found
    for column, what in _LIST_COLUMNS.items():
        tables = [table for name, table in blocks.items() if column in table and name != "general"]
        count = sum(len(table[column]) for table in tables)
        if count:
            lines = (("list", str(path)), (what, str(count)))
            return FileFacts(str(path), "list", {what: count}, lines)
    return None


def inspect_motion(path: Path, pixel_size_A: float | None = None) -> FileFacts:
    """The motion in a file of ours or of another program, or those of all movies in it.

    Parameters
    ----------
    pixel_size_A : of the unbinned movie, if the file does not have it
    """
    program = format_of(path, _ANY_FILE)
    movies = [_of_movie(path, program, facts, pixel_size_A) for facts in read_all_facts(path)]
    head: Lines = [("motion", str(path)), ("format", program)]
    if len(movies) == 1:
        values, lines = movies[0]
        return FileFacts(str(path), "motion", values, (*head, *lines))
    head.append(("movies", str(len(movies))))
    values = {"program": program, "movies": [values for values, _ in movies]}
    return FileFacts(
        str(path), "motion", values, (*head, *(line for _, lines in movies for line in lines))
    )


def _of_movie(
    path: Path, program: str, facts: MovieFacts, pixel_size_A: float | None
) -> tuple[dict[str, Any], Lines]:
    """Values and lines on the motion of one movie."""
    known = facts.pixel_size_A or pixel_size_A
    lines: Lines = [
        ("movie", facts.movie or "not named"),
        ("frames", str(facts.frame_count or "unknown")),
        ("size", "{1} x {0} px".format(*facts.shape_px) if facts.shape_px else "unknown"),
        ("pixel size", "unknown" if known is None else f"{known:.4g} A"),
    ]
    values: dict[str, Any] = {"program": program, **asdict(facts), "pixel_size_A": known}
    # Warp's and Xmipp's coordinates are fractions of the frame, independent of its size.
    shape_px = facts.shape_px or (ANY_SHAPE_PX if program in ("Warp", "Xmipp") else None)
    try:
        motion = read_motion_of(path, replace(facts, pixel_size_A=known, shape_px=shape_px))
        values.update(_motion_values(motion, shape_px or ANY_SHAPE_PX))
        lines += _motion_lines(values)
    except InputError as error:
        lines.append(("note", str(error).removeprefix(f"{path}: ")))
    return values, lines


def _motion_values(motion: Motion, shape_px: tuple[int, int]) -> dict[str, Any]:
    """Statistics of a motion."""
    measured = np.flatnonzero(motion.trajectory.is_measured)
    steps = np.diff(motion.trajectory.displacement_px[measured], axis=0)
    values: dict[str, Any] = {
        "measured_frames": len(measured),
        "reference_frame": motion.reference_frame,
        "control_points": None if motion.field is None else motion.field.control_points,
        "path_px": float(np.linalg.norm(steps, axis=1).sum()),
    }
    if len(measured) > 1:
        still = Motion.still(motion.frame_count)
        found = compare_motions(still, motion, measured, shape_px)
        values |= {"rms_px": found.rms_px, "local_rms_px": found.local_rms_px}
    return values


def _motion_lines(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The same as text; frames counted from one."""
    frames, reference = values["measured_frames"], values["reference_frame"] + 1
    yield "measured", f"{frames} frames, relative to frame {reference}"
    yield "path", f"{values['path_px']:.3f} px of the whole frame"
    if "rms_px" in values:
        local = f"{values['local_rms_px']:.3f} px of it local"
        yield "rms", f"{values['rms_px']:.3f} px over {PLACES} x {PLACES} places, {local}"
