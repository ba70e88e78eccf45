"""Doses of frames from a text file: one number per line, or MotionCor's three columns."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from flexalign.errors import InputError
from flexalign.files import exists, read_text
from flexalign.io.movies.eer_groups import divide_raw_frames, read_fm_int_file
from flexalign.parameter import shortened
from flexalign.params import MAX_FRAMES

# Longer files are not lists of doses.
_MAX_BYTES = 10_000_000


def read_doses(path: str | Path) -> tuple[float, ...]:
    """The dose of each frame of a movie, in the order of the file `path`.

    Lines of three numbers are read as in `flexalign.io.movies.eer_groups`.  ``#`` begins a comment.

    Raises
    ------
    InputError
        If the file cannot be read, or holds anything else.
    """
    path = Path(path)
    lines = [line.split("#")[0].replace(",", " ").split() for line in _text(path).splitlines()]
    if max(map(len, lines), default=0) > 1:
        return _doses_of_stretches(path)
    doses = [_dose(words[0], f"{path}: line {i}") for i, words in enumerate(lines, 1) if words]
    if not 0 < len(doses) <= MAX_FRAMES:
        raise InputError(
            f"{path}: expected the doses of 1 to {MAX_FRAMES} frames, found {len(doses)}"
        )
    return tuple(doses)


def _doses_of_stretches(path: Path) -> tuple[float, ...]:
    """The doses in a file of three columns, for a movie with exactly these raw frames."""
    stretches = read_fm_int_file(path)
    raw_count = sum(stretch.raw_frames for stretch in stretches)
    if raw_count > MAX_FRAMES:
        raise InputError(f"{path}: expected at most {MAX_FRAMES} raw frames, found {raw_count}")
    doses = divide_raw_frames(path, stretches, raw_count).doses_e_A2
    if not doses:
        raise InputError(f"{path}: expected the dose of each raw frame, found none or 0")
    return doses


def _text(path: Path) -> str:
    """The text of the file."""
    if not exists(path):
        raise InputError(
            f"{shortened(path)}: expected numbers with commas between them or a text file of "
            "doses, found no such file"
        )
    return read_text(path, max_bytes=_MAX_BYTES)


def _dose(word: str, where: str) -> float:
    """The dose of the frame that one line stands for."""
    with contextlib.suppress(ValueError):
        if math.isfinite(dose := float(word)):
            return dose
    raise InputError(f"{where}: expected one number, found '{shortened(word)}'")
