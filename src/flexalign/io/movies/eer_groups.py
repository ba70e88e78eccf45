"""Fractionation of an EER movie from MotionCor's ``-FmIntFile``.

References
----------
MotionCor3, ``-FmIntFile``, https://github.com/czimaginginstitute/MotionCor3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from flexalign.errors import InputError
from flexalign.files import read_text
from flexalign.parameter import shortened

# Longer files are not of this format.
_MAX_BYTES = 1_000_000
_MAX_RAW_FRAMES = 1_000_000
_MAX_DOSE_E_A2 = 1000.0


class Stretch(NamedTuple):
    """Consecutive raw frames that are grouped alike.

    Attributes
    ----------
    per_frame : raw frames summed to each frame
    dose_e_A2 : of one raw frame; 0 = not known
    """

    raw_frames: int
    per_frame: int
    dose_e_A2: float


class Groups(NamedTuple):
    """Fractionation of one movie.

    Attributes
    ----------
    raw_frames : in each frame
    doses_e_A2 : of each frame; empty = not known
    """

    raw_frames: tuple[int, ...]
    doses_e_A2: tuple[float, ...]


def read_fm_int_file(path: str | Path) -> tuple[Stretch, ...]:
    """The stretches in a text with three columns; the third, the dose, may be left out.

    ``#`` begins a comment.

    Raises
    ------
    InputError
        If the file cannot be read, or holds anything else.
    """
    path = Path(path)
    stretches: list[Stretch] = []
    for number, line in enumerate(read_text(path, max_bytes=_MAX_BYTES).splitlines(), 1):
        words = line.split("#")[0].replace(",", " ").split()
        if words:
            stretches.append(_stretch(words, f"{path}: line {number}"))
    if not stretches:
        raise InputError(
            f"{path}: expected lines 'raw frames, raw frames per frame, dose of a raw frame', "
            "found none"
        )
    return tuple(stretches)


def _stretch(words: Sequence[str], where: str) -> Stretch:
    """Parse one line."""
    try:
        raw_frames, per_frame = int(words[0]), int(words[1])
        dose_e_A2 = float(words[2]) if len(words) == 3 else 0.0
        if (
            len(words) in (2, 3)
            and 1 <= per_frame <= _MAX_RAW_FRAMES
            and 1 <= raw_frames <= _MAX_RAW_FRAMES
            and 0 <= dose_e_A2 <= _MAX_DOSE_E_A2
        ):
            return Stretch(raw_frames, per_frame, dose_e_A2)
    except (ValueError, IndexError):
        pass
    raise InputError(
        f"{where}: expected two numbers from 1 to {_MAX_RAW_FRAMES}, raw frames and raw frames "
        f"per frame, and a dose of at most {_MAX_DOSE_E_A2:g} e/A2, found "
        f"'{shortened(' '.join(words))}'"
    )


def divide_raw_frames(path: str | Path, stretches: Sequence[Stretch], raw_count: int) -> Groups:
    """Divide `raw_count` raw frames into frames as MotionCor does.

    Raw frames that do not fill a frame at the end of a stretch go to the next one. Raw frames
    beyond the last stretch belong to it, and stretches beyond the last raw frame are ignored. Those
    left over at the end go to the last frames, one to each.

    Parameters
    ----------
    path : of the file, for messages
    raw_count : raw frames of the movie

    Raises
    ------
    InputError
        If not a single frame can be made.

    Examples
    --------
    >>> divide_raw_frames("x", [Stretch(4, 2, 0.5), Stretch(9, 4, 0.5)], 13)
    Groups(raw_frames=(2, 2, 4, 5), doses_e_A2=(1.0, 1.0, 2.0, 2.5))
    """
    sizes = _sizes(stretches, raw_count)
    groups: list[int] = []
    waiting = 0
    for stretch, size in zip(stretches, sizes, strict=True):
        count, waiting = divmod(size + waiting, stretch.per_frame)
        groups += [stretch.per_frame] * count
    if not groups:
        raise InputError(
            f"{path}: expected raw frames enough for a frame, found {raw_count} in the movie and "
            f"{stretches[-1].per_frame} to each frame"
        )
    for number in range(waiting):
        groups[-1 - number % len(groups)] += 1
    return Groups(tuple(groups), _doses_e_A2(stretches, sizes, groups))


def _sizes(stretches: Sequence[Stretch], raw_count: int) -> list[int]:
    """Number of raw frames of each stretch within a movie."""
    ends = list(accumulate(stretch.raw_frames for stretch in stretches))
    ends = [min(end, raw_count) for end in ends[:-1]] + [raw_count]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _doses_e_A2(
    stretches: Sequence[Stretch], sizes: Sequence[int], groups: Sequence[int]
) -> tuple[float, ...]:
    """The dose of each frame, empty if that of some raw frames is unknown."""
    used = [(stretch, size) for stretch, size in zip(stretches, sizes, strict=True) if size]
    if any(stretch.dose_e_A2 == 0 for stretch, _ in used):
        return ()
    raw = [stretch.dose_e_A2 for stretch, size in used for _ in range(size)]
    ends = list(accumulate(groups))
    return tuple(
        math.fsum(raw[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)
    )
