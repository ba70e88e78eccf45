"""Write the pages of docs/reference that follow from the code: parameters, commands and others.

Run it after a change of `params.py`, `quality/table.py`, `quality/flags.py`, the command line or
the docstrings of public names (``make docs``); a test compares.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import typer

from flexalign.cli import app
from flexalign.cli.options import default_words, placeholder
from flexalign.option_messages import with_options
from flexalign.params import AlignParams, Parameter, option_name, parameters
from flexalign.quality.flags import DEFINITIONS, FlagDefinition
from flexalign.quality.table import GROUPS, NUMBERS, QualityNumber

REFERENCE = Path(__file__).parent / "reference"
sys.path.insert(0, str(Path(__file__).parent))

from api_page import api_page, unwrapped  # noqa: E402

PARAMETERS_HEAD = """\
# Parameters

<!-- written by docs/generate.py; edit src/flexalign/params.py instead -->

Every parameter of an alignment. On the command line it is an option of `flexalign align` and
`flexalign plan`. In a settings file (`--settings run.toml`) it has the name of the option without
the leading dashes (`pixel-size = 0.83`); `-` and `_` mean the same there. In Python it is the
field of `flexalign.AlignParams` that is given in brackets.

A parameter without a default is chosen automatically, or has no effect unless it is given; the
plan (`flexalign plan`) and the record of the movie have the chosen value. Frames are counted
from 1. Where two or three numbers are expected, X (the width) comes first.
"""

COMMANDS_HEAD = """\
# Commands

<!-- written by docs/generate.py; edit src/flexalign/cli instead -->

`flexalign COMMAND --help` prints the same. `flexalign --version` prints the version,
`flexalign --install-completion` installs shell completion.

| exit code | meaning |
| --- | --- |
| 0 | all done |
| 1 | some of the movies failed, or a defect in flexalign |
| 2 | a parameter is wrong (if every movie failed with this code) |
| 3 | a file is missing, broken or does not fit (if every movie failed with this code) |
| 4 | the device cannot be used, or too little memory (if every movie failed with this code) |
| 130 | a run was stopped by Ctrl-C |
"""

FLAGS_HEAD = """\
# Flags

<!-- written by docs/generate.py; edit src/flexalign/quality/flags.py instead -->

Findings about a movie that the user should check, worst first. A flag is in `quality.flags` of the
[record](outputs.md) with its severity, a sentence, what to do, and the number that raised it with
its limit. A *problem* makes the result doubtful or wrong, a *warning* should be checked, a *note*
is for information. A number that was not measured raises no flag. [Quality](quality.md) has the
definitions of the numbers.
"""

QUALITY_HEAD = """\
# Quality

<!-- written by docs/generate.py; edit src/flexalign/quality/table.py instead -->

The numbers by which to judge one movie: `quality` in its [record](outputs.md), `result.quality` in
Python. `null` (NaN or None in Python) means not measured. *CSV* marks the columns of
`micrographs.csv`, *report* those of the report, with their titles. The last column has the
[flags](flags.md) that a number raises, with their limits. The formulas are in
[how the quality numbers are measured](../explanation/quality.md).
"""


def parameters_page() -> str:
    """The page on all parameters, group by group."""
    parts = [PARAMETERS_HEAD]
    for group, items in itertools.groupby(parameters().items(), lambda item: item[1].group):
        parts.append(f"\n## {group}\n")
        parts += [_parameter_text(name, parameter) for name, parameter in items]
    return "\n".join(parts)


def _parameter_text(name: str, parameter: Parameter) -> str:
    """One parameter: name, facts, help."""
    default = default_words(name)
    facts = [f"default {default}" if default else "no default"]
    if parameter.choices:
        facts.append("one of " + ", ".join(parameter.choices))
    if parameter.minimum is not None:
        facts.append(f"at least {parameter.minimum:g}")
    if parameter.maximum is not None:
        facts.append(f"at most {parameter.maximum:.7g}")
    if parameter.scipion:
        names = (parameter.scipion,) if isinstance(parameter.scipion, str) else parameter.scipion
        facts.append("in Scipion " + ", ".join(f"`{name}`" for name in names))
    option = option_name(name)
    if isinstance(getattr(AlignParams(), name), bool):
        option += f" / --no-{option.removeprefix('--')}"
    elif placeholder(name):
        option += f" {placeholder(name)}"
    return f"**`{option}`** (`{name}`): {'; '.join(facts)}.\\\n{parameter.help}\n"


def flags_page() -> str:
    """The page on all flags, in the order of their table."""
    return FLAGS_HEAD + "\n" + "\n".join(_flag_text(flag) for flag in DEFINITIONS.values())


def _flag_text(flag: FlagDefinition) -> str:
    """One flag: meaning, threshold, cause, remedy."""
    limits = [
        f"`{name}` = {value:g}{f' {known.unit}' if known.unit else ''} ({known.help.rstrip('.')})"
        for name, (value, known) in flag.thresholds().items()
    ]
    parts = [
        f"## {flag.name}\n",
        f"*{flag.severity.capitalize()}*: {flag.meaning}.\n",
        f"- number: `{flag.quantity}`" + (f"; {'; '.join(limits)}" if limits else ""),
        f"- likely cause: {flag.cause}",
        f"- what to do: {with_options(flag.remedy)}",
    ]
    return "\n".join(parts) + "\n"


def quality_page() -> str:
    """The page on all quality numbers, group by group."""
    parts = [QUALITY_HEAD]
    for group, about in GROUPS.items():
        parts.append(f"## {group}\n\n{about}\n")
        parts.append("| number | unit | definition | shown in | flags |")
        parts.append("| --- | --- | --- | --- | --- |")
        parts += [_number_row(number) for number in NUMBERS.values() if number.group == group]
        parts.append("")
    return "\n".join(parts)


def _number_row(number: QualityNumber) -> str:
    """One quality number: name, unit, definition, tables, flags."""
    tables = ["CSV"] * number.in_csv
    if number.report is not None:
        tables.append(f"report: {number.report.title}")
    flags = [_flag_link(flag) for flag in DEFINITIONS.values() if number.name == flag.quantity]
    cells = (
        f"`{number.name}`",
        number.unit,
        number.definition,
        "; ".join(tables),
        ", ".join(flags),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _flag_link(flag: FlagDefinition) -> str:
    """The name of a flag as a link, with its limits."""
    limits = [f"{value:g} {known.unit}".rstrip() for value, known in flag.thresholds().values()]
    return f"[{flag.name}](flags.md#{flag.name})" + (f" ({', '.join(limits)})" if limits else "")


def commands_page() -> str:
    """The page on all commands; the parameters have their own page."""
    parts = [COMMANDS_HEAD]
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        parts.append(f"\n## flexalign {name}\n")
        parts.append(unwrapped(command.help) + "\n")
        # A command in place of another program spells some of them in its own way.
        known = {p.name for p in command.params if _is_common(p)}
        own = [p for p in command.params if p.name not in known and p.name != "help"]
        parts += [_option_line(parameter) for parameter in own]
        left_out = [option_name(name) for name in parameters() if name not in known]
        if not left_out:
            parts.append("- and all [parameters](parameters.md) as options.")
        elif len(left_out) < len(parameters()):
            names = ", ".join(f"`{option}`" for option in left_out)
            parts.append(f"- and all [parameters](parameters.md) as options, but not {names}.")
    return "\n".join(parts) + "\n"


def _is_common(parameter: Any) -> bool:
    """Whether an option is one of the parameters, spelled as everywhere."""
    name = parameter.name
    return name in parameters() and any(o.startswith(option_name(name)) for o in parameter.opts)


def _option_line(parameter: Any) -> str:
    """One option or argument of a command."""
    is_argument = parameter.param_type_name == "argument"
    spelled = ", ".join(parameter.opts)
    if is_argument:
        spelled = parameter.metavar or parameter.name.upper() + "..." * (parameter.nargs == -1)
    if parameter.metavar and not is_argument:
        spelled += f" {parameter.metavar}"
    default = parameter.default
    if isinstance(default, tuple | list):
        default = " ".join(map(str, default))
    known = default is not None and default is not False and not parameter.required
    return f"- `{spelled}`: {parameter.help}" + (f" Default: {default}." if known else "")


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    return {
        REFERENCE / "parameters.md": parameters_page(),
        REFERENCE / "commands.md": commands_page(),
        REFERENCE / "quality.md": quality_page(),
        REFERENCE / "flags.md": flags_page(),
        REFERENCE / "api.md": api_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
