"""The page on the Python interface, from the docstrings of the public names."""

from __future__ import annotations

import inspect
import re
from typing import Any

import flexalign

HEAD = """\
# Python

<!-- written by docs/generate.py; edit the docstrings in src/flexalign instead -->

The public names of the package `flexalign`; what is not here may change.
[Use flexalign from Python](../how-to/use-from-python.md) has complete programs,
[conventions](../explanation/conventions.md) axes, units and signs. Arrays are in the order
(t, y, x). Each example runs after `from pathlib import Path`, `import numpy as np` and
`from flexalign import *`, beside an empty folder `work`.
"""
GROUPS = {
    "Align": ("align_movie", "align_movies", "AlignmentResult", "AlignedMovies"),
    "Parameters": ("AlignParams",),
    "Results": (
        "Motion", "Trajectory", "MotionField", "FrameSums", "Quality", "MovieRecord",
        "read_motion", "read_record",
    ),
    "Movies": (
        "open_movie", "ArrayMovie", "MovieReader", "SeekableMovie", "MovieInfo", "RawFrame",
        "FrameRange",
    ),
    "References": (
        "load_references", "References", "check_gain", "GainCheck", "estimate_gain",
        "GainEstimate",
    ),
    "Simulation": ("simulate_movie", "SimulatedMovie"),
    "Errors": (
        "FlexAlignError", "ParameterError", "InputError", "OutputError", "DeviceError",
    ),
}  # fmt: skip
_SECTION = re.compile(r"^(\w[\w ]*)\n-+$", re.MULTILINE)
# Sections that list names; the others are text, or code.
_LISTS = ("Parameters", "Attributes", "Raises")
# Inherited members that are part of the interface, and one that only `from_dict` calls.
_INHERITED, _INTERNAL = ("frames", "close", "to_dict", "from_dict"), "upgraded"
# Their attributes have a page of their own.
_ELSEWHERE = {
    "AlignParams": "Its fields are on the page [parameters](parameters.md).",
    "Quality": "Its fields are on the page [quality](quality.md).",
}


def api_page() -> str:
    """The page, group by group."""
    parts = [HEAD]
    for group, names in GROUPS.items():
        parts.append(f"## {group}\n")
        parts += [_entry(name, getattr(flexalign, name)) for name in names]
    return "\n".join(parts)


def sections(docstring: str) -> dict[str, str]:
    """The sections of a numpydoc docstring by title; what is before the first has the title ""."""
    parts = ["", *_SECTION.split(docstring)]
    return {title: text.strip("\n") for title, text in zip(parts[::2], parts[1::2], strict=True)}


def methods(value: Any) -> dict[str, Any]:
    """The public methods and properties of a class, by name."""
    if not inspect.isclass(value) or issubclass(value, Exception):
        return {}
    own = [name for name in vars(value) if not name.startswith("_") and name != _INTERNAL]
    inherited = [name for name in _INHERITED if hasattr(value, name)]
    found = {name: inspect.getattr_static(value, name) for name in (*own, *inherited)}
    return {name: item for name, item in found.items() if _is_member(item)}


def _is_member(item: Any) -> bool:
    """Whether an attribute of a class is a method or a property."""
    return inspect.isfunction(item) or isinstance(item, property | classmethod)


def signature(name: str, value: Any) -> str:
    """A name with its arguments, one on each line if they are many."""
    function = value.__func__ if isinstance(value, classmethod) else value
    found = inspect.signature(function)
    left_out = [p for p in found.parameters.values() if p.name not in ("self", "cls")]
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in left_out]
    text = str(found.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return name + re.sub(r"<[^>]*>", "...", text)  # defaults without a text of their own


def _entry(name: str, value: Any) -> str:
    """One public name: signature, text and members."""
    docstring = inspect.getdoc(value) or ""
    lines = [f"### {name}\n"]
    is_plain = inspect.isclass(value) and (issubclass(value, Exception) or name in _ELSEWHERE)
    if not is_plain and not getattr(value, "_is_protocol", False):
        lines.append(f"```text\n{_wrapped(signature(name, value))}\n```\n")
    lines.append(_formatted(docstring))
    if name in _ELSEWHERE:
        lines.append(_ELSEWHERE[name] + "\n")
    for member, item in methods(value).items():
        if isinstance(item, property):
            lines.append(f"**`{member}`**: {_formatted(inspect.getdoc(item) or '')}")
        else:
            call = signature(member, item)
            lines.append(f"**`{name}.{call}`**: {_formatted(inspect.getdoc(item) or '')}")
    return "\n".join(lines)


def _wrapped(call: str) -> str:
    """A signature with one argument per line, if it is longer than one line."""
    if len(call) <= 100:
        return call
    name, arguments = call.split("(", 1)
    items = ",\n    ".join(re.split(r", (?=[*\w]+(?:=|,|$))", arguments[:-1]))
    return f"{name}(\n    {items},\n)"


def _formatted(docstring: str) -> str:
    """A numpydoc docstring as Markdown."""
    parts = []
    for title, text in sections(docstring).items():
        if title == "Examples":
            code = text.replace('getfixture("tmp_path")', 'Path("work")')
            parts.append(f"```pycon\n{code}\n```\n")
        elif title in _LISTS:
            parts.append(f"*{title}*\n\n{_items(text)}\n")
        elif title:
            parts.append(f"*{title}*\n\n{unwrapped(_code(text))}\n")
        else:
            parts.append(unwrapped(_code(text)) + "\n")
    return "\n".join(parts)


def _items(text: str) -> str:
    """The names of a section with their texts, as a list."""
    lines = []
    for item in re.split(r"\n(?=\S)", text):
        name, _, about = item.partition(" : ") if " : " in item else item.partition("\n")
        names = ", ".join(f"`{word}`" for word in name.split(", "))
        lines.append(f"- {names}: {' '.join(_code(about).split())}")
    return "\n".join(lines)


def unwrapped(text: str) -> str:
    """Paragraphs without the line breaks that they have in a docstring."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _code(text: str) -> str:
    """Double backticks as Markdown has them."""
    return text.replace("``", "`")
