"""Checks of numbers in motion files, before memory is allocated for them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from flexalign.model import FloatArray

# More than any camera writes: a long EER exposure has some thousands of raw frames.
MAX_FRAMES = 10_000
MAX_SIZE_PX = 1_000_000
MAX_SHIFT = 1e6  # pixels or Angstrom


def whole_number(word: str, what: str, minimum: int, maximum: int) -> int:
    """Parse `word` as an integer.

    Raises
    ------
    ValueError
        If it is none, or outside `minimum` to `maximum`.

    Examples
    --------
    >>> whole_number("7", "frames", 1, 10)
    7
    """
    # int() refuses thousands of digits with an error of its own
    if len(word) > 20 or not minimum <= (number := int(word)) <= maximum:
        raise ValueError(f"expected {what} from {minimum} to {maximum}, found {word:.40}")
    return number


def frame_count(word: str) -> int:
    """A number of frames.

    Raises
    ------
    ValueError
        If it is none, or larger than that of any movie.
    """
    return whole_number(word, "a number of frames", 1, MAX_FRAMES)


def size_px(word: str) -> int:
    """Height or width of a movie.

    Raises
    ------
    ValueError
        If it is none.
    """
    return whole_number(word, "a size in pixels", 1, MAX_SIZE_PX)


def shifts(values: Iterable[str] | npt.ArrayLike, what: str = "shifts") -> FloatArray:
    """Shifts or places, from words or numbers.

    Raises
    ------
    ValueError
        If one is no number, is not finite, or is larger than any movie.

    Examples
    --------
    >>> shifts(["1", "-2.5"])
    array([ 1. , -2.5])
    """
    numbers = np.array(values, dtype=np.float64)
    if not (np.abs(numbers) <= MAX_SHIFT).all():
        raise ValueError(f"expected {what} up to {MAX_SHIFT:g}, found larger ones or none")
    return numbers
