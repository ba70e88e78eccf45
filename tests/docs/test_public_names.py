"""Every public name of the package is documented completely, with an example that runs."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import flexalign

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import api_page

NAMES = [name for name in flexalign.__all__ if name != "__version__"]
ERRORS = {
    name
    for name in NAMES
    if inspect.isclass(value := getattr(flexalign, name)) and issubclass(value, Exception)
}
# Values that functions return or take: their examples show them.
RETURNED = {
    "AlignedMovies", "AlignmentResult", "FrameSums", "GainCheck", "GainEstimate", "MovieInfo",
    "MovieReader", "MovieRecord", "Quality", "RawFrame", "References", "SimulatedMovie",
    "Trajectory", "MotionField", "FrameRange",
}  # fmt: skip
# The page on parameters and that on quality have their fields.
GENERATED = {"AlignParams", "Quality"}


def functions():
    """Every public function and method with its name."""
    for name in NAMES:
        value = getattr(flexalign, name)
        if inspect.isfunction(value):
            yield name, value
        for member, item in api_page.methods(value).items():
            if not isinstance(item, property):
                yield f"{name}.{member}", getattr(item, "__func__", item)


FUNCTIONS = dict(functions())


def documented(text: str) -> set[str]:
    """The names in a section of parameters or attributes."""
    heads = re.findall(r"^(\w[\w, *]*) :", text, flags=re.MULTILINE)
    return {word.strip("* ") for head in heads for word in head.split(",")}


def test_the_page_has_all_public_names():
    assert sorted(n for names in api_page.GROUPS.values() for n in names) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_described(name):
    assert vars(getattr(flexalign, name)).get("__doc__") or getattr(flexalign, name).__doc__


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "." not in name])
def test_a_function_documents_each_parameter_and_what_it_returns(name):
    function = FUNCTIONS[name]
    found = api_page.sections(inspect.getdoc(function))

    assert documented(found["Parameters"]) == set(inspect.signature(function).parameters)
    assert found["Returns"]


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "." in name])
def test_a_method_documents_the_parameters_that_its_name_does_not_explain(name):
    function = FUNCTIONS[name]
    found = api_page.sections(inspect.getdoc(function))
    known = documented(found.get("Parameters", ""))

    assert known <= set(inspect.signature(function).parameters)
    assert found[""]


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if dataclasses.is_dataclass(getattr(flexalign, n)) and n not in GENERATED],
)
def test_a_dataclass_documents_each_field(name):
    value = getattr(flexalign, name)
    text = inspect.getdoc(value)
    found = api_page.sections(text)
    fields = {field.name for field in dataclasses.fields(value)}
    attributes = documented(found.get("Attributes", ""))

    assert all(field in attributes or f"`{field}`" in text for field in fields)


@pytest.mark.parametrize("name", sorted(set(NAMES) - ERRORS - RETURNED))
def test_a_name_has_an_example(name):
    # The doctests of the package run it.
    examples = doctest.DocTestFinder(recurse=False).find(getattr(flexalign, name), name)

    assert any(test.examples for test in examples)


EXAMPLES = re.findall(r"```pycon\n(.*?)```", api_page.api_page(), flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_as_it_is_on_the_page(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("work").mkdir()
    names = {name: getattr(flexalign, name) for name in flexalign.__all__}
    test = doctest.DocTestParser().get_doctest(
        example, {**names, "np": np, "Path": Path}, "page", None, None
    )

    assert doctest.DocTestRunner().run(test).failed == 0


def test_a_long_signature_has_one_argument_per_line():
    blocks = re.findall(r"```text\n(.*?)```", api_page.api_page(), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("    ")]

    assert lines
    assert all(re.fullmatch(r"    [*\w]+(=[^,]+)?,", line) for line in lines)


def test_every_public_name_is_the_one_of_its_module():
    for name, module in flexalign._HOME.items():
        home = importlib.import_module(f"flexalign.{module}")
        assert getattr(home, name) is getattr(flexalign, name)
