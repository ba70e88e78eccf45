"""The help of a command: the options that most people need first, then groups."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

# Parameters that stand with the command's own options, before the groups.
FIRST_PARAMETERS = ("pixel_size_A", "voltage_kV", "dose_per_frame_e_A2", "gain")
# Options about a run and not about the movies.
PANEL = "Running"
# Placeholders of options that have none of their own, by the type that Typer prints.
_TYPE_WORDS = {
    "<str>": "WORD", "<int>": "N", "<int range>": "N", "<float>": "NUMBER", "<path>": "FILE",
}  # fmt: skip


class Command(TyperCommand):
    """A command whose help fills its lines and names no types of Python.

    Without any word it prints the arguments and the first options only, and where the others are.
    """

    _is_short = False

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.help = filled(self.help or "")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; without any, the help that is printed is the short one."""
        self._is_short = self.no_args_is_help and not args
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def get_params(self, ctx: Any) -> list[Any]:
        """Arguments and options, as help prints them."""
        params: list[Any] = super().get_params(ctx)
        _hide_types(ctx, params)
        if not self._is_short:
            return params
        first = [param for param in params if getattr(param, "rich_help_panel", None) is None]
        if len(first) < len(params):
            count = len(params) - len(first)
            self.epilog = f"{count} more options, in groups: {ctx.command_path} --help"
        return first


class Group(TyperGroup):
    """The program, whose help names no types of Python."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Options, as help prints them."""
        params: list[Any] = super().get_params(ctx)
        _hide_types(ctx, params)
        return params


def filled(text: str) -> str:
    r"""A help text with each paragraph in one line, which is wrapped when it is printed.

    Examples
    --------
    >>> filled("Align movies.\n\nOne line\nof text.\nExit code: 0.")
    'Align movies.\n\nOne line of text.\n\nExit code: 0.'
    """
    paragraphs = text.replace("\nExit code:", "\n\nExit code:").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _hide_types(ctx: Any, params: list[Any]) -> None:
    """Give arguments and options a placeholder in place of their type."""
    for param in params:
        if isinstance(param, TyperArgument):
            param.display_type_rich = _no_type  # type: ignore[method-assign]
        elif getattr(param, "is_flag", False):
            param.metavar = ""
        elif param.metavar is None:
            param.metavar = _TYPE_WORDS.get(param.display_type(ctx))


def _no_type(ctx: Any) -> None:
    """What the column of types shows for an argument, whose name says what it is."""
