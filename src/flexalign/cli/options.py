"""Command-line options generated from the table of parameters."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from flexalign.cli.help import FIRST_PARAMETERS
from flexalign.files import check_regular_file
from flexalign.io.doses import read_doses
from flexalign.parameter import numbers_in
from flexalign.params import REFERENCE_FILES, AlignParams, Parameter, option_name, parameters
from flexalign.settings import load_settings

_TYPE_WORDS = {int: "N", float: "NUMBER", str: "WORD"}


def _without_none(hint: Any) -> Any:
    """The type that a hint such as ``float | None`` allows beside None; text for several."""
    kinds = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    if len(kinds) > 1:
        return str
    return kinds[0] if typing.get_origin(hint) is types.UnionType else hint


_KINDS = {name: _without_none(hint) for name, hint in typing.get_type_hints(AlignParams).items()}


def takes_parameters(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with one option per parameter in place of its ``**values``.

    Every option is None unless it was typed, so that a settings file can fill in the rest.
    """
    return takes_parameters_without()(command)


def takes_parameters_without(
    *without: str,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator that gives a command one option per parameter, except those it does not use.

    Parameters
    ----------
    without : names of parameters, and headings of groups of them
    """
    return partial(_with_options, without=without)


def takes_only_parameters(
    *wanted: str,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator that gives a command one option for each of these parameters."""
    return takes_parameters_without(*(name for name in parameters() if name not in wanted))


def _with_options(command: Callable[..., None], *, without: Collection[str]) -> Callable[..., None]:
    """`command` with the options of the table in place of its ``**values``."""
    hints = typing.get_type_hints(command, include_extras=True)
    hints.pop("values")
    signature = inspect.signature(command)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature.parameters.items()
        if name in hints
    ]
    table = _options(without)
    command.__signature__ = signature.replace(parameters=[*own, *table])  # type: ignore[attr-defined]
    command.__annotations__ = {**hints, **{p.name: p.annotation for p in table}}
    return command


def collect_parameters(
    values: dict[str, Any], settings: Path | None, listed: dict[str, Any] | None = None
) -> AlignParams:
    """The parameters of this run.

    Options take precedence over the settings file, which does over parameters `listed` with the
    movies, which do over the defaults.

    Raises
    ------
    InputError
        If the settings file or that of the doses cannot be read, or a reference is no file.
    ParameterError
        For an unknown name in it or a value outside its limits.
    """
    chosen = {**(listed or {}), **(load_settings(settings) if settings else {})}
    chosen.update({name: value for name, value in values.items() if value is not None})
    doses = chosen.get("dose_per_frame_e_A2")
    if isinstance(doses, str) and numbers_in(doses) is None:
        chosen["dose_per_frame_e_A2"] = read_doses(doses)
    params = AlignParams.from_dict(chosen)
    for role in REFERENCE_FILES:
        if (path := getattr(params, role)) is not None:
            check_regular_file(path)
    return params


def given_parameters(values: dict[str, Any], settings: Path | None) -> set[str]:
    """Names of the parameters given as options or in the settings file."""
    typed = {name for name, value in values.items() if value is not None}
    return typed | set(load_settings(settings) if settings else {})


def default_words(name: str) -> str | None:
    """The default of the parameter `name` as help shows it, None when it is "decide for me".

    Examples
    --------
    >>> default_words("max_resolution_A"), default_words("local")
    ('30', 'local')
    """
    default = getattr(AlignParams(), name)
    flag = option_name(name).removeprefix("--")
    if isinstance(default, bool):
        return flag if default else f"no-{flag}"
    if default is None:
        return None
    return f"{default:g}" if isinstance(default, float) else str(default)


def placeholder(name: str) -> str | None:
    """Metavar of the parameter `name` in the help: its unit, where it has one.

    Examples
    --------
    >>> placeholder("voltage_kV"), placeholder("control_points"), placeholder("local")
    ('kV', 'X Y T', None)
    """
    parameter, kind = parameters()[name], _KINDS[name]
    if kind is bool:
        return None
    return parameter.metavar or parameter.unit or _TYPE_WORDS[kind]


def _options(without: Collection[str]) -> list[inspect.Parameter]:
    """A keyword-only parameter with a Typer option for each field of `AlignParams` except some."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_KINDS[name] | None, _option(name, parameter)],
        )
        for name, parameter in parameters().items()
        if name not in without and parameter.group not in without
    ]


def _option(name: str, parameter: Parameter) -> Any:
    flag = option_name(name)
    declaration = f"{flag}/--no-{flag.removeprefix('--')}" if _KINDS[name] is bool else flag
    choices = f" One of: {', '.join(parameter.choices)}." if parameter.choices else ""
    words = default_words(name)
    default = f" Default: {words}." if words else ""
    return typer.Option(
        declaration,
        help=parameter.help + choices + default,
        metavar=placeholder(name),
        show_default=False,
        rich_help_panel=None if name in FIRST_PARAMETERS else parameter.group,
        autocompletion=(lambda: list(parameter.choices)) if parameter.choices else None,
    )
