"""The logs and the ``.aln`` file of MotionCor2 and MotionCor3, written and read.

They hold corrections, minus our displacements, in pixels of the unbinned movie, relative to the
first frame used.  Patches have what the whole frame leaves.  The logs keep hundredths of a pixel,
the console output and the ``.aln`` thousandths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flexalign.errors import InputError
from flexalign.io.atomic import replacing
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion, Trajectory, fit_field

CONSOLE_TITLE = "Full-frame alignment shift"
PATCH_LOG = "-Patch-Patch.log"
FULL_LOGS = ("-Patch-Full.log", "-Full.log")
# More control points than this would follow the noise of patches.
MOST_POINTS_IN_PLACE, MOST_POINTS_IN_TIME = 12, 12
_SPARE_PATCHES = 2

_MOVIE_SIZE = re.compile(r"^#\s*Movie size:\s*(\d+)\s+(\d+)", re.MULTILINE)
_CONSOLE_LINE = re.compile(r"Frame\s*\(\s*\d+\)\s*shift:\s*(\S+)\s+(\S+)")


@dataclass(frozen=True, slots=True, eq=False)
class PatchShifts:
    """What MotionCor keeps, in its sign.

    Attributes
    ----------
    whole_px : (frames, 2) (y, x) of the whole frame
    center_px : (patches, 2) (y, x)
    local_px : (patches, frames, 2) (y, x), what is to be added at each patch
    used : the frames, zero-based in the file; None = not said
    frame_count : of the file; None = not said
    shape_px : (height, width) of the unbinned movie; None = not said
    """

    whole_px: FloatArray
    center_px: FloatArray
    local_px: FloatArray
    used: FrameRange | None = None
    frame_count: int | None = None
    shape_px: tuple[int, int] | None = None


def as_patch_shifts(motion: Motion, used: FrameRange, patches: tuple[int, int]) -> PatchShifts:
    """The motion at the middles of `patches` (y, x), as MotionCor would keep it."""
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
    """The motion behind shifts of MotionCor, zero in the first frame used.

    MotionCor weights patches by their distance; here a B-spline goes through them, so between
    patches the two differ a little.

    Raises
    ------
    InputError
        If the shifts are not those of so many frames.
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
        (min(used.count, MOST_POINTS_IN_TIME), points[0], points[1]),
        shape_px,
    )
    return Motion(trajectory, field)


def patches_for(control_points: int) -> int:
    """How many patches along an axis hold a field of so many control points."""
    return control_points + _SPARE_PATCHES


def _points(patches: int) -> int:
    """Control points along an axis with so many patches: fewer, so that their edges stay calm."""
    fewest = min(patches, 3)
    return min(max(fewest, patches - _SPARE_PATCHES), MOST_POINTS_IN_PLACE)


def write_console_log(path: str | Path, shifts: PatchShifts) -> None:
    """Write the lines of MotionCor's output that RELION, Scipion and others look for."""
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


def read_motioncor(path: str | Path) -> PatchShifts:
    """The shifts in an ``.aln``, a log, or a file with MotionCor's console output.

    Of the logs, ``-Full.log`` or ``-Patch-Full.log`` and ``-Patch-Patch.log``, either finds the
    other beside it.

    Raises
    ------
    InputError
        If the file is none of these, or the log of the whole frame is missing.
    """
    path = Path(path)
    text = _text(path)
    try:
        if "stackSize" in text:
            found = _from_aln(text)
        elif CONSOLE_TITLE in text:
            found = _without_patches(_console_shifts(text))
        else:
            found = _from_logs(path)
        for numbers in (found.whole_px, found.center_px, found.local_px):
            if not np.isfinite(numbers).all():
                raise ValueError("a number is not finite")
        return found
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"{path}: expected MotionCor's .aln, -Full.log, -Patch-Patch.log or console output: "
            f"{error}"
        ) from error


def _from_logs(path: Path) -> PatchShifts:
    """The shifts in a log and its companion."""
    root = path.name
    for suffix in (PATCH_LOG, *FULL_LOGS):
        root = root.removesuffix(suffix)
    full = next((path.with_name(root + s) for s in FULL_LOGS if path.with_name(root + s).exists()),
                None)  # fmt: skip
    if root == path.name:
        full = path
    if full is None:
        raise InputError(f"{path}: expected {root}{FULL_LOGS[1]} beside it, found none")
    rows = np.array([row[:3] for row in _rows(_text(full).splitlines(), 3)])
    whole = rows[:, 2:0:-1]
    patch_log = path.with_name(root + PATCH_LOG)
    if root == path.name or not patch_log.exists():
        return _without_patches(whole)
    # Older versions end with the fitted shift, newer ones with a mark for bad patches.
    text = _text(patch_log)
    table = np.array([row[:5] for row in _rows(text.splitlines(), 5)])
    found = _with_patches(whole, table) if len(table) else _without_patches(whole)
    size = _MOVIE_SIZE.search(text)
    return replace(found, shape_px=(int(size[2]), int(size[1]))) if size else found


def _from_aln(text: str) -> PatchShifts:
    """The shifts in the text of an ``.aln``."""
    settings = {
        name: [int(word) for word in words.split()]
        for name, words in re.findall(r"(stackSize|patches|throw):\s*([\d ]+)", text)
    }
    frames = settings["stackSize"][2]
    used = FrameRange(settings["throw"][0], frames - settings["throw"][1])
    whole_text, _, local_text = text.partition("localShift")
    whole = np.array(list(_rows(whole_text.partition("globalShift")[2].splitlines(), 3)))
    if len(whole) != used.count:
        raise ValueError(f"expected the shifts of {used.count} frames, found {len(whole)}")
    found = _without_patches(whole[:, 2:0:-1])
    if local_text:
        rows = np.array(list(_rows(local_text.splitlines(), 5)))
        found = _with_patches(whole[:, 2:0:-1], rows)
    width, height = settings["stackSize"][:2]
    return replace(found, used=used, frame_count=frames, shape_px=(height, width))


def _with_patches(whole: FloatArray, table: FloatArray) -> PatchShifts:
    """Shifts from rows of frame, centre x and y, shift x and y, patch by patch."""
    if not len(table) or len(table) % len(whole):
        raise ValueError(f"expected patches of {len(whole)} frames, found {len(table)} rows")
    by_patch = table.reshape(-1, len(whole), 5)
    return PatchShifts(whole, by_patch[:, 0, 2:0:-1], by_patch[:, :, 4:2:-1])


def _without_patches(whole: FloatArray) -> PatchShifts:
    return PatchShifts(whole, np.zeros((0, 2)), np.zeros((0, len(whole), 2)))


def _console_shifts(text: str) -> FloatArray:
    """The last block of whole-frame shifts (frames, 2) (y, x) in console output."""
    block = text.rpartition(CONSOLE_TITLE)[2]
    found = _CONSOLE_LINE.findall(block)
    if not found:
        raise ValueError("no shifts after its title")
    return np.array([[float(y), float(x)] for x, y in found])


def _rows(lines: Iterable[str], fewest: int) -> Iterator[list[float]]:
    """The numbers of each line that is nothing but at least so many numbers."""
    for line in lines:
        words = line.split()
        if len(words) >= fewest and not line.lstrip().startswith("#"):
            try:
                yield [float(word) for word in words]
            except ValueError:
                continue


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: expected a file of MotionCor: {error.strerror}") from error


def _write(path: str | Path, lines: Iterable[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
