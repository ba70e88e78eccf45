"""The help of a command: the options that most people need first, then groups."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

# Parameters that stand with the command's own options, before the groups.
FIRST_PARAMETERS = ("pixel_size_A", "voltage_kV", "dose_per_frame_e_A2", "gain")
# Options about a run and not about the movies.
PANEL = "Running"


class Command(TyperCommand):
    """A command whose help names no types of switches.

    Without any word it prints the arguments and the first options only, and where the others are.
    """

    _is_short = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; without any, the help that is printed is the short one."""
        self._is_short = self.no_args_is_help and not args
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def get_params(self, ctx: Any) -> list[Any]:
        """Arguments and options, as help prints them."""
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        if not self._is_short:
            return params
        first = [param for param in params if getattr(param, "rich_help_panel", None) is None]
        if len(first) < len(params):
            count = len(params) - len(first)
            self.epilog = f"{count} more options, in groups: {ctx.command_path} --help"
        return first
