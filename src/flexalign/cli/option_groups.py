"""Options of a command as fields of a dataclass, which its function takes as one argument."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with one option per field in place of each argument that is a dataclass.

    The fields are annotated as the parameters of a command are, with `typer.Option`.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Size:
    ...     height: int
    ...     width: int = 4
    >>> @takes_options
    ... def show(name: str, size: Size) -> None:
    ...     print(name, size)
    >>> list(inspect.signature(show).parameters)
    ['name', 'height', 'width']
    >>> show(name="field", height=2, width=3)
    field Size(height=2, width=3)
    """
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {
        n: hint for n, hint in hints.items() if dataclasses.is_dataclass(hint)
    }

    def expanded() -> Iterator[inspect.Parameter]:
        for name, parameter in inspect.signature(command).parameters.items():
            if name in groups:
                yield from _options_of(groups[name])
            else:
                is_variadic = parameter.kind is inspect.Parameter.VAR_KEYWORD
                kind = parameter.kind if is_variadic else inspect.Parameter.KEYWORD_ONLY
                yield parameter.replace(kind=kind, annotation=hints[name])

    @functools.wraps(command)
    def with_groups(**values: Any) -> None:
        for name, group in groups.items():
            fields = dataclasses.fields(group)
            values[name] = group(**{field.name: values.pop(field.name) for field in fields})
        command(**values)

    parameters = list(expanded())
    with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_groups.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_groups


def _options_of(group: Any) -> Iterator[inspect.Parameter]:
    """A keyword-only parameter for each field of a dataclass."""
    hints = typing.get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        missing = field.default is dataclasses.MISSING
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if missing else field.default,
            annotation=hints[field.name],
        )
