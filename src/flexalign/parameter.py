"""What a parameter is: its metadata, its limits, and how a value that is given becomes one."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flexalign.errors import ParameterError

WRITTEN_FORMATS = ("relion", "motioncor", "warp")
# Types of values that are taken for a parameter of a type.
_ACCEPTED = {
    float: int | float, int: int, bool: bool, str: str | os.PathLike,
}  # fmt: skip
# Longer values are cut in messages.
_MAX_SHOWN_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Parameter:
    """Metadata of one parameter beside its name, type and default.

    Attributes
    ----------
    help : one or two sentences, as a user reads them
    group : heading under which it is listed
    unit : of the number typed, "" for none
    minimum : smallest value allowed
    maximum : largest value allowed
    choices : the words allowed
    metavar : placeholder on the command line
    scipion : name in Scipion's official form, where it has one
    """

    help: str
    group: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    scipion: str | tuple[str, ...] | None = None


def parameter(default: Any, help: str, group: str, **facts: Any) -> Any:  # noqa: A002
    """A field of a dataclass with its default and the metadata of `Parameter`."""
    return dataclasses.field(
        default=default, metadata={"parameter": Parameter(help, group, **facts)}
    )


def option_name(name: str) -> str:
    """The command line's spelling of a parameter, without its unit.

    Examples
    --------
    >>> option_name("dose_per_frame_e_A2")
    '--dose-per-frame'
    """
    for unit in ("_e_A2", "_A", "_kV", "_GB"):
        name = name.removesuffix(unit)
    return "--" + name.replace("_", "-")


def quoted(name: str) -> str:
    """A parameter in the message of an error; the command line has its option there instead."""
    return f"`{name}`"


def check_limits(name: str, value: Any, parameter: Parameter, option: str = "") -> None:
    """Raise `ParameterError` unless `value` is within what `parameter` allows.

    Parameters
    ----------
    option : that was typed; "" = the parameter is named
    """
    if value is None:
        return
    option = option or quoted(name)
    if parameter.choices and shortened(value) not in parameter.choices:
        expected = ", ".join(parameter.choices)
        raise ParameterError(f"{option}: expected one of {expected}; found {shortened(value)}")
    if value == ():
        raise ParameterError(f"{option}: expected at least one number, found none")
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool | str):
            continue
        found = f"found {shortened(number)}"
        if number != number or number in (float("inf"), float("-inf")):
            raise ParameterError(f"{option}: expected a finite number, {found}")
        low, high, unit = parameter.minimum, parameter.maximum, f" {parameter.unit}".rstrip()
        if low is not None and number < low:
            raise ParameterError(f"{option}: expected at least {low:g}{unit}, {found}")
        if high is not None and number > high:
            raise ParameterError(f"{option}: expected at most {high:.7g}{unit}, {found}")


def shortened(value: Any, written: Callable[[Any], str] = str) -> str:
    """`value` as text for messages, truncated if long.

    Examples
    --------
    >>> shortened(1.5), shortened([7] * 99, repr)[-9:]
    ('1.5', ', 7, 7...')
    """
    try:
        text = written(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN_LENGTH else text[: _MAX_SHOWN_LENGTH - 3] + "..."


def formats_in(words: str, option: str) -> tuple[str, ...]:
    """The formats of other programs in a comma-separated list.

    Raises
    ------
    ParameterError
        For an unknown word, naming the `option` that it was given to.

    Examples
    --------
    >>> formats_in("relion, warp", "--write")
    ('relion', 'warp')
    """
    found = tuple(word.strip() for word in words.split(",") if word.strip())
    for word in found:
        if word not in WRITTEN_FORMATS:
            raise ParameterError(
                f"{option}: expected some of {', '.join(WRITTEN_FORMATS)}, "
                f"found '{shortened(word)}'"
            )
    return found


def numbers_in(text: str) -> tuple[float, ...] | None:
    """The numbers that `text` lists, with commas between them; None when it is something else.

    Examples
    --------
    >>> numbers_in("1.2, 0.6,1"), numbers_in("dose.txt")
    ((1.2, 0.6, 1.0), None)
    """
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        return None


def coerced(name: str, hint: Any, value: Any) -> Any:
    """`value`, from Python or a settings file, as the type of the parameter `name`.

    Numbers and arrays of NumPy become those of Python, lists become tuples, and paths text.
    """
    if hasattr(value, "tolist"):  # without an import of NumPy, which is slow
        value = value.tolist()
    kinds = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if value is None:
            return None
    if len(kinds) > 1:
        return _number_or_list(name, value)
    kind = kinds[0]
    wrong = ParameterError(
        f"{quoted(name)}: expected {_type_words(kind)}, found {shortened(value, repr)}"
    )
    if typing.get_origin(kind) is tuple:
        count = len(typing.get_args(kind))
        if not isinstance(value, list | tuple) or len(value) != count:
            raise wrong
        return tuple(coerced(name, int, item) for item in value)
    if kind is str and name == "reference_frame" and isinstance(value, int):
        return shortened(value)
    accepted: Any = _ACCEPTED[kind]
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise wrong
    try:
        return os.fspath(value) if kind is str else kind(value)
    except OverflowError:
        raise wrong from None


def _number_or_list(name: str, value: Any) -> float | tuple[float, ...]:
    """`value`, a number, a list or a text of numbers, as one number or several."""
    if isinstance(value, str):
        numbers = numbers_in(value)
        if numbers is None:
            raise ParameterError(
                f"{quoted(name)}: expected a number, numbers with commas between them, or a "
                f"file with them; found {shortened(value, repr)}"
            )
        value = numbers[0] if len(numbers) == 1 else numbers
    if isinstance(value, list | tuple):
        return tuple(coerced(name, float, item) for item in value)
    return float(coerced(name, float, value))


def _type_words(kind: Any) -> str:
    """`kind` as a user would say it."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if typing.get_origin(kind) is tuple:
        return f"{len(typing.get_args(kind))} whole numbers"
    return words[kind]
