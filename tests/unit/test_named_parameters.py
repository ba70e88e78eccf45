"""Errors name the parameter in Python, and the option on the command line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from flexalign import AlignParams, ParameterError
from flexalign.batch.failures import explain
from flexalign.params import option_name, parameters, quoted, with_options, with_parameters

SOURCE = Path(__file__).parents[2] / "src" / "flexalign"


def raised_texts() -> list[tuple[str, str]]:
    """Module and text of every string in a `raise` statement outside the command line."""
    found = []
    for path in SOURCE.rglob("*.py"):
        if "cli" in path.relative_to(SOURCE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise):
                constants = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
                found += [(path.name, text) for text in constants if isinstance(text, str)]
    return found


def test_in_python_an_error_names_the_parameter():
    with pytest.raises(ParameterError, match=r"^`pixel_size_A`: expected at least 0\.05 A"):
        AlignParams(pixel_size_A=-1)


def test_on_the_command_line_an_error_names_the_option():
    with pytest.raises(ParameterError) as error:
        AlignParams(pixel_size_A=-1)

    assert explain(error.value).message.startswith("--pixel-size: expected at least 0.05 A")


@pytest.mark.parametrize("name", parameters())
def test_options_and_parameters_are_translated_both_ways(name):
    message = f"a.mrc: give {quoted(name)} 3, and `other`"

    assert with_options(message) == f"a.mrc: give {option_name(name)} 3, and `other`"
    assert with_parameters(with_options(message)) == message


def test_no_error_outside_the_command_line_names_the_option_of_a_parameter():
    options = [f"{option_name(name)}" for name in parameters()]
    wrong = [
        (module, text)
        for module, text in raised_texts()
        if any(option in text.replace(",", " ").replace(":", " ").split() for option in options)
    ]

    assert not wrong
