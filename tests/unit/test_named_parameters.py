"""Errors name the parameter in Python, and the option on the command line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from flexalign import AlignParams, ParameterError, align_movie, simulate_movie
from flexalign.batch.failures import ADVICE, explain
from flexalign.cli.console import record_line
from flexalign.option_messages import with_options, with_parameters
from flexalign.params import option_name, parameters, quoted
from flexalign.quality.flags import DEFINITIONS

SOURCE = Path(__file__).parents[2] / "src" / "flexalign"


def texts() -> list[tuple[str, str]]:
    """Module and text of every string outside the command line, except docstrings."""
    found = []
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE)
        # The table of parameters is the help of the command line.
        if {"cli", "compat"} & set(module.parts) or module.name == "params.py":
            continue
        tree = ast.parse(path.read_text())
        docs = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        found += [
            (str(module), node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if id(node) not in docs
        ]
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


def test_no_message_outside_the_command_line_names_the_option_of_a_parameter():
    options = {option_name(name) for name in parameters()}
    wrong = [
        (module, text)
        for module, text in texts()
        if options & set(re.findall(r"--[a-z][a-z-]*", text))
    ]

    assert not wrong


@pytest.mark.parametrize("flag", DEFINITIONS.values(), ids=lambda flag: flag.name)
def test_advice_of_flags_names_parameters_that_the_command_line_shows_as_options(flag):
    assert "`" not in with_options(flag.remedy)
    assert "--" not in flag.remedy


@pytest.mark.parametrize("kind", ADVICE)
def test_advice_on_failures_names_parameters_that_the_command_line_shows_as_options(kind):
    assert "`" not in with_options(ADVICE[kind])


def test_a_warning_names_the_parameter_in_python_and_the_option_on_the_command_line(tmp_path):
    movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)

    record = align_movie(movie.counts, AlignParams(pixel_size_A=1.5, local=False)).record

    assert "(`dose_per_frame_e_A2`)" in record.warnings[0]
    assert "(--dose-per-frame)" in record_line(Path("m.mrc"), record)
