"""Xmipp's lists of frames: an ``.xmd`` with one frame per row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from flexalign.errors import InputError
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.read_errors import reading
from flexalign.io.star import read_star
from flexalign.model import FrameRange

SUFFIX = ".xmd"
# 000001@movie.eer#40,4K,uint16 or 000001@movie.mrc:mrcs
FRAME = re.compile(r"(?P<number>\d+)@(?P<name>(?P<path>[^#]+?)(?:#(?P<eer>[^#]+)|:\w+)?)")
EER_FRACTIONS = re.compile(r"(\d+),4K,\w+")


@dataclass(frozen=True, slots=True)
class FrameList:
    """Consecutive frames of one movie.

    Attributes
    ----------
    movie : the file
    name : as in the list, with EER fractions and format
    frames : zero-based in the file
    eer_fractions : frames to make of an EER movie, None for other movies
    """

    movie: Path
    name: str
    frames: FrameRange
    eer_fractions: int | None = None


def read_frame_list(path: str | Path) -> FrameList:
    """The frames in a list, or all frames of a movie.

    Relative paths start from the current folder, as they do for Xmipp's programs.

    Raises
    ------
    InputError
        If the file is missing, is no such list, or its frames are not consecutive frames of one
        movie.

    References
    ----------
    The path of an EER frame names the number of fractions, the grid and the type of number,
    https://github.com/I2PC/xmippCore (rwEER).
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        with open_movie(path) as movie:
            return FrameList(path, str(path), FrameRange(0, movie.info.frame_count))
    with reading(path, "a list of frames"):
        return _consecutive(path, _images(path))


def _consecutive(path: Path, images: list[str]) -> FrameList:
    """The frames in a list, checked to be consecutive frames of one movie."""
    found = [FRAME.fullmatch(image) for image in images]
    names = {match["name"] if match else "" for match in found}
    if len(names) != 1 or "" in names:
        raise InputError(
            f"{path}: expected frames of one movie such as 000001@movie.mrcs, "
            f"found {', '.join(sorted(set(images))[:3]):.200}"
        )
    matches = [match for match in found if match]
    numbers = [int(match["number"]) for match in matches]
    first = numbers[0] - 1
    if first < 0 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise InputError(f"{path}: expected consecutive frames from 1 on, found {numbers!s:.80}")
    return FrameList(
        Path(matches[0]["path"]),
        matches[0]["name"],
        FrameRange(first, first + len(numbers)),
        _eer_fractions(path, matches[0]["eer"]),
    )


def _images(path: Path) -> list[str]:
    """The column of images of the first table that has one."""
    for table in read_star(path).values():
        if table.get("image"):
            return table["image"]
    raise InputError(f"{path}: expected a list of frames with a column _image, found none")


def _eer_fractions(path: Path, words: str | None) -> int | None:
    """The number of fractions in what follows the ``#``."""
    if words is None:
        return None
    match = EER_FRACTIONS.fullmatch(words)
    if not match or int(match[1]) < 1:
        raise InputError(
            f"{path}: expected EER frames such as movie.eer#40,4K,uint16, found {words}"
        )
    return int(match[1])
