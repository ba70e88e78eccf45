"""Values with arrays: a short text instead of their numbers, and comparison by content."""

from __future__ import annotations

import dataclasses
from collections.abc import Sized
from typing import Any

import numpy as np

# Longer texts and collections are replaced by their type and length.
_MAX_SHOWN_CHARACTERS = 80


class ShortRepr:
    """A dataclass whose `repr` has the dtype and shape of arrays instead of their numbers.

    Use it with ``@dataclass(repr=False)``.

    Examples
    --------
    >>> @dataclasses.dataclass(repr=False)
    ... class Image(ShortRepr):
    ...     pixels: np.ndarray
    ...     size_A: float
    >>> Image(np.zeros((2, 3)), 1.5)
    Image(pixels=<float64 (2, 3)>, size_A=1.5)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """The fields, without the content of arrays and of long values."""
        fields = [f for f in dataclasses.fields(self) if f.repr]  # type: ignore[arg-type]
        items = (f"{field.name}={_brief(getattr(self, field.name))}" for field in fields)
        return f"{type(self).__name__}({', '.join(items)})"


class EqualByValue:
    """A dataclass that equals another one of its type with the same content, arrays included.

    Use it with ``@dataclass(eq=False)``.

    Examples
    --------
    >>> @dataclasses.dataclass(eq=False)
    ... class Image(EqualByValue):
    ...     pixels: np.ndarray
    >>> Image(np.array([1, np.nan])) == Image(np.array([1, np.nan])), Image(np.zeros(2)) == 1
    (True, False)
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal; NaN equals NaN."""
        if type(other) is not type(self):
            return NotImplemented
        names = (field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return all(_is_same(getattr(self, name), getattr(other, name)) for name in names)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal, element by element where both are arrays."""
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return bool(one is other or (type(one) is type(other) and one == other))
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _brief(value: Any) -> str:
    """A value as text; an array, or what is long, as its type and size."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {value.shape}>"
    text = repr(value)
    if len(text) <= _MAX_SHOWN_CHARACTERS or isinstance(value, ShortRepr):
        return text
    length = f" of {len(value)}" if isinstance(value, Sized) else ""
    return f"<{type(value).__name__}{length}>"
