"""Doses of frames from a text file: one number a line, or the three columns of MotionCor."""

from __future__ import annotations

import math
from pathlib import Path

from flexalign.errors import InputError
from flexalign.files import exists, read_text
from flexalign.params import MOST_FRAMES, shortened

# Longer files are something else than a list of doses.
_MOST_BYTES = 10_000_000


def read_doses(path: str | Path) -> tuple[float, ...]:
    """The dose of each frame of a movie, in the order of the file `path`.

    Lines of three numbers, as in the file that MotionCor takes with ``-FmIntFile``, are a number
    of raw frames, how many of them are summed to one frame, and the dose of each raw frame; what
    does not fill a frame at the end of a line is left out.  ``#`` begins a remark.

    Raises
    ------
    InputError
        If the file cannot be read, or holds anything else.

    References
    ----------
    MotionCor3 user manual (2023), ``-FmIntFile``.
    """
    path = Path(path)
    doses: list[float] = []
    width = 0
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split("#")[0].replace(",", " ").split()
        width = width or len(words)
        if not words:
            continue
        doses += _doses_of_line(words, f"{path}: line {number}: ") if len(words) == width else []
        if len(words) != width or len(doses) > MOST_FRAMES:
            raise InputError(
                f"{path}: line {number}: expected {width} numbers as in the lines before and at "
                f"most {MOST_FRAMES} frames in all, found {len(words)} numbers, {len(doses)} frames"
            )
    if not doses:
        raise InputError(f"{path}: expected the dose of each frame, found none")
    return tuple(doses)


def _text(path: Path) -> str:
    """What the file holds."""
    if not exists(path):
        raise InputError(
            f"{shortened(path)}: expected numbers with commas between them or a text file of "
            "doses, found no such file"
        )
    return read_text(path, most_bytes=_MOST_BYTES)


def _doses_of_line(words: list[str], where: str) -> list[float]:
    """The doses of the frames that one line stands for."""
    try:
        numbers = [float(word) for word in words]
        if len(numbers) == 1 and math.isfinite(numbers[0]):
            return numbers
        frames, summed, dose = int(words[0]), int(words[1]), numbers[2]
        if len(numbers) == 3 and min(frames, summed) > 0 and frames // summed <= MOST_FRAMES:
            return [summed * dose] * (frames // summed)
    except (ValueError, IndexError, OverflowError):
        pass
    raise InputError(
        f"{where}expected one number, or a number of frames, how many are summed and the dose of "
        f"each, found '{shortened(' '.join(words))}'"
    )
