"""Write the logs and the ``.aln`` file of MotionCor2 and MotionCor3.

They hold corrections, minus our displacements, in pixels of the unbinned movie, relative to the
first frame used.  Patches have the residual after the whole-frame shift.  The logs have two
decimals, the console output and the ``.aln`` three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexalign.atomic import replacing
from flexalign.errors import InputError
from flexalign.io.motion_formats.field_fit import fit_field
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion, Trajectory

CONSOLE_TITLE = "Full-frame alignment shift"
PATCH_LOG = "-Patch-Patch.log"
FULL_LOGS = ("-Patch-Full.log", "-Full.log")
# More control points than this would fit the noise of patches.
MAX_POINTS_IN_PLACE, MAX_POINTS_IN_TIME = 12, 12
_MARGIN_PATCHES = 2


@dataclass(frozen=True, slots=True, eq=False)
class PatchShifts:
    """Shifts of MotionCor, in its sign.

    Attributes
    ----------
    whole_px : (frames, 2) (y, x) of the whole frame
    center_px : (patches, 2) (y, x)
    local_px : (patches, frames, 2) (y, x), local shift of each patch, added to the whole-frame one
    used : the frames, zero-based in the file; None = unknown
    frame_count : of the file; None = unknown
    shape_px : (height, width) of the unbinned movie; None = unknown
    movie : its name; None = unknown
    pixel_size_A : unbinned; None = unknown
    """

    whole_px: FloatArray
    center_px: FloatArray
    local_px: FloatArray
    used: FrameRange | None = None
    frame_count: int | None = None
    shape_px: tuple[int, int] | None = None
    movie: str | None = None
    pixel_size_A: float | None = None


def as_patch_shifts(motion: Motion, used: FrameRange, patches: tuple[int, int]) -> PatchShifts:
    """The motion at the centres of `patches` (y, x) in MotionCor's form."""
    frames = np.arange(used.first, used.stop)
    whole = -motion.trajectory.displacement_px[frames]
    if motion.field is None:
        return PatchShifts(whole - whole[0], np.zeros((0, 2)), np.zeros((0, len(frames), 2)), used)
    height, width = motion.field.height_px, motion.field.width_px
    y, x = (
        (np.arange(count) + 0.5) * size / count - 0.5
        for count, size in zip(patches, (height, width), strict=True)
    )
    field = motion.field.anchored(used.first)
    local = -np.stack([field.on_lattice(frame, y, x) for frame in used])  # (t, 2, y, x)
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return PatchShifts(
        whole - whole[0],
        np.stack([rows.ravel(), columns.ravel()], axis=1),
        local.reshape(len(frames), 2, -1).transpose(2, 0, 1),
        used,
    )


def as_motion(shifts: PatchShifts, frame_count: int, shape_px: tuple[int, int]) -> Motion:
    """The motion of MotionCor's shifts, zero in the first frame used.

    MotionCor interpolates between patches by distance weights, we by a B-spline: between patches
    the two differ slightly.

    Raises
    ------
    InputError
        If the number of frames differs.
    """
    used = shifts.used or FrameRange(0, len(shifts.whole_px))
    found = shifts.frame_count or used.stop
    if found != frame_count:
        raise InputError(
            f"expected the shifts of {frame_count} frames, found those of {found}: is it the "
            "right movie?"
        )
    mean = shifts.local_px.mean(axis=0) if len(shifts.local_px) else np.zeros((1, 2))
    whole = shifts.whole_px + mean
    nearest = np.clip(np.arange(frame_count), used.first, used.stop - 1) - used.first
    measured = np.isin(np.arange(frame_count), np.arange(used.first, used.stop))
    trajectory = Trajectory(-whole[nearest], measured, used.first)
    if len(shifts.local_px) < 4:
        return Motion(trajectory)
    y, x = shifts.center_px.T
    points = [_points(len(np.unique(axis))) for axis in (y, x)]
    field = fit_field(
        -(shifts.local_px - mean),
        y,
        x,
        used,
        (min(used.count, MAX_POINTS_IN_TIME), points[0], points[1]),
        shape_px,
    )
    return Motion(trajectory, field)


def patches_for(control_points: int) -> int:
    """Number of patches along an axis that represent a field with that many control points."""
    return control_points + _MARGIN_PATCHES


def _points(patches: int) -> int:
    """Control points along an axis for a number of patches: fewer, for stability at the edges."""
    min_points = min(patches, 3)
    return min(max(min_points, patches - _MARGIN_PATCHES), MAX_POINTS_IN_PLACE)


def write_console_log(path: str | Path, shifts: PatchShifts) -> None:
    """Write the lines of MotionCor's output that RELION, Scipion and others parse."""
    lines = [
        f"...... Frame ({frame:3d}) shift: {x:9.3f}  {y:9.3f}"
        for frame, (y, x) in enumerate(shifts.whole_px + 0.0, start=1)
    ]
    _write(path, [CONSOLE_TITLE, *lines, ""])


def write_full_log(path: str | Path, shifts: PatchShifts) -> None:
    """Write ``-Full.log``: frame, x and y."""
    head = ["# full frame alignment", "# frame, x and y shift in pixels", ""]
    rows = enumerate(shifts.whole_px + 0.0, start=1)
    _write(path, [*head, *(f"{frame:4d}  {x:8.2f}  {y:8.2f}" for frame, (y, x) in rows)])


def write_patch_log(path: str | Path, shifts: PatchShifts, shape_px: tuple[int, int]) -> None:
    """Write ``-Patch-Patch.log``: frame, centre x and y, shift x and y, and whether it is bad."""
    frames = len(shifts.whole_px)
    lines = [
        "# Patch based alignment",
        f"# Number of patches: {len(shifts.center_px)}",
        "# Shifts are listed per patch.",
        f"# Movie size: {shape_px[1]}  {shape_px[0]}  {frames}",
        "",
    ]
    for number, (center, track) in enumerate(
        zip(shifts.center_px, shifts.local_px + 0.0, strict=True), start=1
    ):
        lines.append(f"#Patch {number:03d} shifts")
        lines += [
            f"{frame:4d} {center[1]:8.2f} {center[0]:8.2f} {x:8.2f} {y:8.2f} {0:4d}"
            for frame, (y, x) in enumerate(track, start=1)
        ]
        lines.append("")
    _write(path, lines)


def write_aln(
    path: str | Path,
    shifts: PatchShifts,
    shape_px: tuple[int, int],
    frame_count: int,
    patches: tuple[int, int],
) -> None:
    """Write the ``.aln`` that MotionCor keeps with ``-OutAln``.

    Parameters
    ----------
    patches : (y, x) number of patches of `shifts`
    """
    used = shifts.used or FrameRange(0, frame_count)
    y, x = patches if len(shifts.local_px) else (0, 0)
    lines = [
        "setting",
        f"   stackSize: {shape_px[1]} {shape_px[0]} {frame_count} 1",
        f"   patches: {x} {y} 0",
        f"   throw: {used.first} {frame_count - used.stop}",
        "#    Global Shift",
        "#---------------------",
        "globalShift",
        "   stackID 0",
    ]
    lines += [f"{i:6d}  {x:+8.3f}  {y:+8.3f}" for i, (y, x) in enumerate(shifts.whole_px + 0.0)]
    if len(shifts.local_px):
        lines += ["#    Local Shift", "#---------------------", "localShift"]
    for number, (center, track) in enumerate(
        zip(shifts.center_px, shifts.local_px + 0.0, strict=True)
    ):
        lines += [f"   patchID: {number}", "   Converge: 1"]
        place = f"{center[1]:8.2f}  {center[0]:8.2f}"
        lines += [f"{i:6d}  {place}  {x:+8.3f}  {y:+8.3f}" for i, (y, x) in enumerate(track)]
        lines.append("")
    _write(path, lines)


def _write(path: str | Path, lines: Iterable[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
