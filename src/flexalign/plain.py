"""Convert values to plain JSON and back, with checks of types."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np

from flexalign.atomic import replacing
from flexalign.errors import InputError

# Longer values are cut in messages.
_MAX_SHOWN_LENGTH = 60
_MAX_INT = 1 << 63
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def to_plain(value: Any) -> Any:
    """Convert `value` to plain JSON: NaN becomes None, arrays become nested lists."""
    # Most values are of these types, and the checks below are slow.
    if type(value) in (int, str, bool):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        schema = getattr(type(value), "schema", None)
        return plain if schema is None else {"schema": schema, **plain}
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` (a dataclass of the model, or plain values) as JSON, atomically.

    NaN and infinity become null.  Rows of numbers stay on one line.

    Raises
    ------
    OutputError
        If the file cannot be written; nothing is left behind.
    """
    text = _layout(to_plain(value), "") + "\n"
    with replacing(path) as temporary:
        # Bytes of file names that are not UTF-8 are written as JSON escapes.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _layout(value: Any, indent: str) -> str:
    """`value` as JSON, one item per line except in lists of plain values."""
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    deeper = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(k)}: {_layout(v, deeper)}" for k, v in value.items()]
        opening, closing = "{", "}"
    elif any(isinstance(item, dict | list) for item in value):
        items = [_layout(item, deeper) for item in value]
        opening, closing = "[", "]"
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return f"{opening}\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}{closing}"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether `value`, read from JSON, is a finite number within range.

    Examples
    --------
    >>> is_number(1), is_number(0.5), is_number(True), is_number("1"), is_number(10**400)
    (True, True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def typed(hint: Any, value: Any, place: str) -> Any:
    """`value`, read from JSON, converted to the type `hint`.

    Parameters
    ----------
    hint : a type as dataclasses have it; any value for `typing.Any`
    place : where the value stands, such as "quality.chosen", for messages

    Raises
    ------
    InputError
        If it is of another type; the message names the place.

    Examples
    --------
    >>> typed(tuple[int, ...], [1, 2], "frames")
    (1, 2)
    """
    # Most values are numbers, and the checks below are slow.
    if hint is float and (value is None or is_number(value)):
        return np.nan if value is None else value
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, value, place)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise InputError(f"{place}: expected {len(kinds)} values, found {len(value)}")
        items = enumerate(zip(kinds, value, strict=True))
        return tuple(typed(kind, item, f"{place}.{i}") for i, (kind, item) in items)
    if origin is dict and isinstance(value, dict):
        return {key: typed(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if origin is list and isinstance(value, list):
        return [typed(arguments[0], item, f"{place}.{i}") for i, item in enumerate(value)]
    if origin is np.ndarray and isinstance(value, list):
        return _array(value, place)
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type[Any], hint), value, place)
    is_right = hint in (int, str, bool) and isinstance(value, hint)
    if hint is int and is_right:
        is_right = not isinstance(value, bool) and abs(value) < _MAX_INT
    if not is_right:
        raise InputError(f"{place}: expected {_words(hint)}, found {_shown(value)}")
    return value


def _one_of(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    """`value` as the first of several types that it has."""
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        try:
            return typed(kind, value, place)
        except InputError:
            continue
    return typed(others[-1], value, place)


def _array(value: list[Any], place: str) -> Any:
    """Numbers, or truth values, in nested lists as an array; None becomes NaN."""
    try:
        array = np.array(value, dtype=object if value == [] else None)
        return array if array.dtype == np.bool_ else array.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{place}: expected rows of numbers: {error}") from error


def _words(hint: Any) -> str:
    """A type in words."""
    origin = typing.get_origin(hint)
    if origin in (tuple, list, np.ndarray):
        return "a list"
    return "a JSON object" if origin is dict else _WORDS.get(hint, str(hint))


def _shown(value: Any) -> str:
    """A value that is wrong, in a message."""
    if isinstance(value, int) and abs(value) >= _MAX_INT:
        return "one that is too large"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_LENGTH else f"{text[:_MAX_SHOWN_LENGTH]}..."


def typed_items(hints: Mapping[str, Any], values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """As `typed`, for the items of a mapping that `hints` know; the others stay as they are."""
    return {
        name: typed(hints.get(name, Any), value, f"{place}.{name}".lstrip("."))
        for name, value in values.items()
    }


def from_plain(kind: type[Any], plain: Any, place: str = "") -> Any:
    """The dataclass `kind` read back from what `to_plain` made of it.

    Parameters
    ----------
    place : position of `plain` within a larger value, for messages

    Raises
    ------
    InputError
        If the schema number is newer than this version knows, a field is missing, or one is of
        another type, which the message names.
    """
    subject = place or kind.__name__
    if not isinstance(plain, dict):
        raise InputError(f"{subject}: expected a JSON object, found {_shown(plain)}")
    known = getattr(kind, "schema", None)
    found = typed(int | None, plain.get("schema", known), f"{place}.schema".lstrip("."))
    if known is not None and found is not None and found > known:
        raise InputError(
            f"{subject}: expected schema {known} or older, found {found}: "
            "read it with a newer flexalign"
        )
    plain = kind.upgraded(plain) if issubclass(kind, JsonValue) else plain
    fields = {f.name: f for f in dataclasses.fields(kind)}
    missing = [name for name, f in fields.items() if name not in plain and not _has_default(f)]
    if missing:
        raise InputError(f"{subject}: expected the fields {', '.join(missing)}, which are missing")
    given = {name: plain[name] for name in fields if name in plain}
    values = typed_items(field_types(kind), given, place)  # type: ignore[arg-type]
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(f"{subject}: {error}") from error


@functools.cache
def field_types(kind: type[Any]) -> dict[str, Any]:
    """The types of the fields of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _has_default(field: dataclasses.Field[Any]) -> bool:
    """Whether a field may be missing."""
    return (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )


class EqualAsJson:
    """A `JsonValue` that equals another one of its type with the same plain JSON, NaN included.

    Use it with ``@dataclass(eq=False)``. What was read from a file equals what was written.

    Examples
    --------
    >>> @dataclasses.dataclass(eq=False)
    ... class Spectrum(EqualAsJson, JsonValue):
    ...     power: np.ndarray
    >>> Spectrum(np.array([1, np.nan])) == Spectrum([1, np.nan]), Spectrum(np.zeros(2)) == 1
    (True, False)
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Whether both are the same JSON."""
        if type(other) is not type(self):
            return NotImplemented
        return bool(to_plain(self) == to_plain(other))


class JsonValue:
    """A dataclass that becomes plain JSON and comes back."""

    __slots__ = ()
    schema: ClassVar[int] = 1

    def to_dict(self) -> dict[str, Any]:
        """The value as JSON can hold it, with its schema number."""
        return typing.cast(dict[str, Any], to_plain(self))

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The value that `to_dict` was called on.

        Raises
        ------
        InputError
            As `from_plain`.
        """
        return typing.cast(Self, from_plain(cls, plain))

    @classmethod
    def upgraded(cls, plain: dict[str, Any]) -> dict[str, Any]:
        """Convert the `to_dict` of an earlier version to that of this version."""
        return plain
