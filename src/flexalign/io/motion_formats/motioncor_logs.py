"""Read MotionCor's shifts from its ``.aln``, its logs and its console output.

References
----------
https://github.com/czimaginginstitute/MotionCor3: Align/CSaveAlign.cpp, CPatchShifts.cpp,
CStackShift.cpp and DataUtil/CFmIntParam.cpp.  MotionCor2 1.6 prints the shifts as a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from flexalign.errors import InputError
from flexalign.files import read_text
from flexalign.io.motion_formats.motioncor import CONSOLE_TITLE, FULL_LOGS, PATCH_LOG, PatchShifts
from flexalign.io.motion_formats.numbers_in_files import (
    MAX_FRAMES,
    frame_count,
    shifts,
    size_px,
    whole_number,
)
from flexalign.io.read_errors import reading
from flexalign.model import FloatArray, FrameRange

WHAT = "MotionCor's .aln, -Full.log, -Patch-Patch.log or console output"
MAX_PATCHES = 10_000

_TABLE_TITLE, _TABLE_HEAD = "Full-frame alignment", "Frame x Shift y Shift"
# The patterns do not backtrack: their time is linear in the length of the text.
_ALN_SIZE = re.compile(r"^[ \t]*stackSize:", re.MULTILINE)
_ALN_SHIFTS = re.compile(r"^[ \t]*globalShift", re.MULTILINE)
_FULL_LOG = re.compile(r"^# *(?:full frame alignment|Patch based alignment) *$", re.MULTILINE)
_CONSOLE = re.compile(
    rf"^{CONSOLE_TITLE}|^{_TABLE_TITLE} *\n\s*Frame +x Shift +y Shift *$", re.MULTILINE
)
_PATCHES = re.compile(r"^# *Shifts are listed per (patch|frame)", re.MULTILINE)
_MOVIE_SIZE = re.compile(r"^# *Movie size: *(\d+) +(\d+)", re.MULTILINE)
_CONSOLE_ROW = re.compile(r"(?:\.* *Frame *\( *(\d+)\) *shift:|(\d+)) +(\S+) +(\S+)")
_RUN = re.compile(r"^(?=-InMrc\b)", re.MULTILINE)
_OPTION = re.compile(r"^-(\w+)[ \t]+(\S.*)$", re.MULTILINE)
_SERIAL_MOVIE = re.compile(r"^added:(.*)$", re.MULTILINE)
_RENDERED = re.compile(r"^(?:Rendered stack|Rendered size mode): *(\d+) +(\d+)", re.MULTILINE)
_STORED = re.compile(r"^(?:TIFF|MRC) file size mode: *(\d+) +(\d+)", re.MULTILINE)


def is_motioncor(text: str) -> bool:
    """Whether a text is one of MotionCor's files, by its signature."""
    return _is_aln(text) or any(mark.search(text) for mark in (_FULL_LOG, _CONSOLE))


def _is_aln(text: str) -> bool:
    """Whether a text is MotionCor's ``.aln``; AreTomo uses the name for another format."""
    return bool(_ALN_SIZE.search(text) and _ALN_SHIFTS.search(text))


def read_motioncor(path: str | Path, movie: str | None = None) -> PatchShifts:
    """The shifts of one movie in an ``.aln``, a log, or a file with MotionCor's console output.

    Of the logs, ``-Full.log`` or ``-Patch-Full.log`` and ``-Patch-Patch.log``, either finds the
    other beside it.

    Parameters
    ----------
    movie : name of the movie to read from console output of several

    Raises
    ------
    InputError
        If the file is none of these, the log of the whole frame is missing, or there are several
        movies and none is the requested one.
    """
    found = read_movies(path)
    if len(found) == 1:
        return found[0]
    for part in ("name", "stem"):
        named = [
            one for one in found
            if movie and one.movie and getattr(Path(one.movie), part) == getattr(Path(movie), part)
        ]  # fmt: skip
        if named:
            # A movie that was aligned again occurs twice; the last one counts.
            return named[-1]
    names = ", ".join(sorted({Path(one.movie or "one that is not named").name for one in found}))
    raise InputError(
        f"{path}: expected the shifts of {Path(movie).name if movie else 'one movie'}, found those "
        f"of {len(found)} movies: {names:.200}"
    )


def read_movies(path: str | Path) -> list[PatchShifts]:
    """The shifts of all movies in a file as `read_motioncor` takes it, at least one.

    Raises
    ------
    InputError
        If the file is none of these, or the log of the whole frame is missing.
    """
    path = Path(path)
    with reading(path, WHAT):
        # Text that users or wrappers wrote around the output may be in any encoding.
        text = read_text(path, errors="replace")
        if _is_aln(text):
            return [_from_aln(text)]
        if _CONSOLE.search(text):
            return _from_console(text)
        if _FULL_LOG.search(text):
            return [_from_logs(path)]
        raise ValueError("found another kind of text")


def _from_console(text: str) -> list[PatchShifts]:
    """The shifts in console output, of one or several movies."""
    found = []
    for run in _RUN.split(text):
        options = {name: value.strip() for name, value in reversed(_OPTION.findall(run))}
        tables = [_table(rows) for rows in _tables(run.split("\n"))]
        names = _movie_names(run, options, len(tables))
        found += [
            _of_run(table, name, run, options) for table, name in zip(tables, names, strict=True)
        ]
    if not found:
        raise ValueError("no shifts after its title")
    return found


def _movie_names(run: str, options: dict[str, str], count: int) -> list[str | None]:
    """The names of the movies of a run, None if they cannot be assigned."""
    if options.get("Serial", "0") == "0" and count == 1:
        inputs = (options.get(f"In{kind}") for kind in ("Mrc", "Tiff", "Eer"))
        return [next((name for name in inputs if name), None)]
    added = [name.strip() for name in _SERIAL_MOVIE.findall(run)]
    return list(added) if len(added) == count else [None] * count


def _of_run(whole: FloatArray, movie: str | None, run: str, options: dict[str, str]) -> PatchShifts:
    """The shifts of one movie with the run's facts about it."""
    sizes = set(_RENDERED.findall(run)) or set(_STORED.findall(run))
    shape_px = None
    if len(sizes) == 1:
        width, height = sizes.pop()
        shape_px = (size_px(height), size_px(width))
    pixel_A = float(shifts([options.get("PixSize", "0")], "a pixel size")[0])
    found = replace(
        _without_patches(whole),
        movie=movie,
        shape_px=shape_px,
        pixel_size_A=pixel_A if pixel_A > 0 else None,
    )
    if "Throw" not in options:
        return found
    before, after = (
        whole_number(options.get(name, "0"), f"-{name}", 0, MAX_FRAMES)
        for name in ("Throw", "Trunc")
    )
    used = FrameRange(before, before + len(whole))
    return replace(found, used=used, frame_count=used.stop + after)


def _tables(lines: Iterable[str]) -> Iterator[list[tuple[str, str, str]]]:
    """The rows (frame, x, y) after each title of the whole frame's shifts."""
    rows: list[tuple[str, str, str]] | None = None
    for line in (*lines, _TABLE_TITLE):
        words = " ".join(line.split())
        is_title = words == _TABLE_TITLE or words.startswith(CONSOLE_TITLE)
        row = None if rows is None else _CONSOLE_ROW.fullmatch(words)
        if rows is not None and row is not None:
            rows.append((row[1] or row[2], row[3], row[4]))
        elif is_title or rows or words not in ("", _TABLE_HEAD):
            if rows:
                yield rows
            rows = [] if is_title else None


def _table(rows: list[tuple[str, str, str]]) -> FloatArray:
    """The shifts (frames, 2) (y, x) of rows, whose frames must be counted from one."""
    numbers = [int(frame) for frame, _, _ in rows]
    if numbers != list(range(1, len(rows) + 1)):
        raise ValueError(f"expected frames from 1 to {len(rows)}, found {numbers[:3]} and so on")
    return shifts([(y, x) for _, x, y in rows])


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
    whole = _full_log(full)
    patch_log = path.with_name(root + PATCH_LOG)
    if root == path.name or not patch_log.exists():
        return _without_patches(whole)
    text = read_text(patch_log, errors="replace")
    table = _rows(text, 5)
    found = _with_patches(whole, table) if len(table) else _without_patches(whole)
    size = _MOVIE_SIZE.search(text)
    return replace(found, shape_px=(size_px(size[2]), size_px(size[1]))) if size else found


def _full_log(path: Path) -> FloatArray:
    """The shifts (frames, 2) (y, x) in the log of the whole frame."""
    text = read_text(path, errors="replace")
    if not _FULL_LOG.search(text) or _PATCHES.search(text):
        raise ValueError(f"{path.name} is not the log of the whole frame")
    rows = _rows(text, 3)
    _check_frames(rows[:, 0], 1)
    return rows[:, 2:0:-1]


def _from_aln(text: str) -> PatchShifts:
    """The shifts in the text of an ``.aln``."""
    settings = {
        name: words.split()
        for name, words in re.findall(r"^[ \t]*(stackSize|throw):([\d \t]+)$", text, re.MULTILINE)
    }
    width, height, frames = settings["stackSize"][:3]
    count = frame_count(frames)
    before, after = (
        whole_number(word, "frames thrown away", 0, count) for word in settings["throw"]
    )
    used = FrameRange(before, count - after)
    whole_text, _, local_text = text.partition("localShift")
    whole = _rows(whole_text.partition("globalShift")[2], 3)
    if len(whole) != used.count:
        raise ValueError(f"expected the shifts of {used.count} frames, found {len(whole)}")
    _check_frames(whole[:, 0], 0)
    found = _without_patches(whole[:, 2:0:-1])
    if local_text:
        found = _with_patches(found.whole_px, _rows(local_text, 5))
    return replace(found, used=used, frame_count=count, shape_px=(size_px(height), size_px(width)))


def _with_patches(whole: FloatArray, table: FloatArray) -> PatchShifts:
    """Shifts from rows of frame, centre x and y, shift x and y, patch by patch."""
    if not len(table) or len(table) % len(whole) or len(table) > MAX_PATCHES * len(whole):
        raise ValueError(f"expected patches of {len(whole)} frames, found {len(table)} rows")
    by_patch = table.reshape(-1, len(whole), 5)
    for patch in by_patch:
        _check_frames(patch[:, 0], int(by_patch[0, 0, 0]))
        if (patch[:, 1:3] != patch[0, 1:3]).any():
            raise ValueError("expected rows patch by patch, found several places in one patch")
    return PatchShifts(whole, by_patch[:, 0, 2:0:-1], by_patch[:, :, 4:2:-1])


def _without_patches(whole: FloatArray) -> PatchShifts:
    return PatchShifts(whole, np.zeros((0, 2)), np.zeros((0, len(whole), 2)))


def _check_frames(numbers: FloatArray, first: int) -> None:
    """Check that rows are of frames in order."""
    if not len(numbers) or (numbers != np.arange(first, first + len(numbers))).any():
        raise ValueError(
            f"expected rows of all frames from {first} on, found {numbers[:3].tolist()} and so on"
        )


def _rows(text: str, count: int) -> FloatArray:
    """The first `count` numbers of each line, without comments, blank lines and titles.

    Older versions end rows of patches with the fitted shift, newer ones with a mark for bad ones.
    """
    rows = []
    for line in text.split("\n"):
        words = line.split()
        if words and re.fullmatch(r"[-+.\d]\S*", words[0]):
            if len(words) < count:
                raise ValueError(f"expected {count} numbers in a row, found {line.strip():.40}")
            rows.append(words[:count])
    return shifts(rows).reshape(-1, count)
