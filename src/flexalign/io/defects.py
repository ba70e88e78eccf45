"""Lists of bad pixels: rectangles, one a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexalign.errors import InputError
from flexalign.files import read_text
from flexalign.model import MaskArray

# First words of lines in SerialEM's lists.
SERIALEM_WORDS = ("CameraSize", "BadColumns", "BadRows", "BadPixels", "PartialBad", "K2Type")
# More pixels along a side than any detector has.
MAX_SIDE_PX = 1 << 20


def bad_pixels_in(path: Path, shape: tuple[int, int], upsampling: int) -> MaskArray:
    """The bad pixels (h, w) of a text with lines ``x y width height``."""
    bad = np.zeros(shape, np.bool_)
    height_px, width_px = shape[0] // upsampling, shape[1] // upsampling
    rectangles = read_rectangles(path)
    area_px = sum(w * h for _, _, _, w, h in rectangles)
    if area_px > height_px * width_px:
        raise InputError(
            f"{path}: expected bad pixels within {width_px} x {height_px} pixels, found {area_px} "
            f"in {len(rectangles)} rectangles; is it the list of another detector?"
        )
    for number, x, y, w, h in rectangles:
        if x + w > width_px or y + h > height_px:
            raise InputError(
                f"{path}, line {number}: expected a rectangle within {width_px} x {height_px} "
                f"pixels, found x {x}, y {y}, width {w}, height {h}"
            )
        top, left = upsampling * y, upsampling * x
        bad[top : top + upsampling * h, left : left + upsampling * w] = True
    return bad


def is_rectangle_list(head: str) -> bool:
    """Whether a text that starts with `head` is a list of bad pixels and no other text.

    Examples
    --------
    >>> is_rectangle_list("100 0 1 4096"), is_rectangle_list("1 0.5 0.25")
    (True, False)
    """
    lines = (line.split("#")[0].replace(",", " ").split() for line in head.splitlines())
    words = next(filter(None, lines), [""])
    is_rectangle = len(words) == 4 and all(word.isdigit() for word in words)
    return is_rectangle or words[0].startswith(SERIALEM_WORDS)


def read_rectangles(path: Path) -> list[tuple[int, int, int, int, int]]:
    """Number of the line, x, y, width and height of each rectangle in a text.

    Raises
    ------
    InputError
        If a line is none, or the file is a list of SerialEM.
    """
    found = []
    for number, line in enumerate(read_text(path, errors="replace").splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        if words[0].startswith(SERIALEM_WORDS):
            raise InputError(
                f"{path}, line {number}: expected lines 'x y width height', found SerialEM's list; "
                "make a map of it with IMOD: clip defect -D <this file> <movie> <map.mrc>"
            )
        try:
            x, y, w, h = (int(word) for word in words)
        except ValueError:
            x = y = w = h = -1
        if min(x, y) < 0 or min(w, h) < 1 or max(x, y, w, h) > MAX_SIDE_PX:
            raise InputError(
                f"{path}, line {number}: expected four whole numbers 'x y width height' of pixels, "
                f"zero-based, found '{line.strip()[:80]}'"
            )
        found.append((number, x, y, w, h))
    return found
