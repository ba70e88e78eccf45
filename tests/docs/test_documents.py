"""The documents agree with the code, and what they show can be typed."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from flexalign import __version__
from flexalign.cli import app, main
from flexalign.naming import SUFFIXES
from flexalign.params import AlignParams
from flexalign.settings import load_settings
from flexalign.simulate import simulate_movie

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "flexalign"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _blocks(language: str) -> Iterator[tuple[str, str]]:
    """Name of the page and content of every block of code in `language`."""
    for page in PAGES:
        for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL):
            yield str(page.relative_to(ROOT)), block


COMMAND_LINES = [
    (page, line)
    for page, block in _blocks("sh")
    for line in block.splitlines()
    if re.match(r"flexalign (align|plan|info) ", line)
]

WATCH_LINES = [
    line
    for page, block in _blocks("sh")
    for line in block.splitlines()
    if line.startswith("flexalign watch ")
]


def _generator():
    """The module docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_those_on_disk():
    for path, text in _generator().pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make docs`"


def test_every_option_of_every_command_is_on_a_page_with_help():
    pages = _text("docs/reference/commands.md") + _text("docs/reference/parameters.md")
    for name, command in typer.main.get_command(app).commands.items():
        assert f"## flexalign {name}" in pages
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}"
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert f"`{parameter.opts[0]}" in pages, f"{name} {parameter.opts[0]}"


def test_every_output_is_described():
    for page in ("docs/reference/outputs.md", "README.md"):
        missing = [
            suffix
            for suffix in SUFFIXES.values()
            if suffix not in _text(page) and suffix.rpartition("_mic")[2] not in _text(page)
        ]
        assert not missing, page


def test_every_folder_and_every_module_of_the_top_has_its_place_in_the_architecture():
    page = _text("ARCHITECTURE.md")
    folders = [path.parent.relative_to(SOURCE) for path in SOURCE.rglob("__init__.py")]
    names = {f"{folder}/" for folder in folders if folder.parts}
    names |= {path.name for path in SOURCE.glob("*.py")}
    named = set(re.findall(r"`((?:\w+/)+|__main__\.py|__init__\.py|\w+\.py)`", page))

    assert named - {"scipion-em-flexalign/"} == names


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in SOURCE.rglob("*/__init__.py")), ids=lambda f: f.name
)
def test_every_module_of_a_folder_is_named_in_the_docstring_of_the_folder(folder):
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    missing = modules - set(re.findall(r"`(\w+)`", docstring))

    assert not missing


def test_every_dependency_has_its_reason():
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    needed = {re.split(r"[<>=\[]", line)[0] for line in project["dependencies"]}
    table = _text("ARCHITECTURE.md").split("## Dependencies")[1]

    assert set(re.findall(r"^\| (\w+) \|", table, flags=re.MULTILINE)) - {"package"} == needed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_version_is_in_the_list_of_changes():
    assert f"## {__version__}" in _text("CHANGELOG.md")


def test_the_citation_agrees_with_the_metadata_of_the_package():
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    lines = [line.strip().removeprefix("- ") for line in _text("CITATION.cff").splitlines()]

    assert f"version: {__version__}" in lines
    assert f"license: {project['license']}" in lines
    assert f'abstract: "{project["description"]}"' in lines
    assert f'name: "{project["authors"][0]["name"]}"' in lines
    assert project["authors"][0]["name"].lower() in _text("LICENSE")
    assert [line for line in lines if line in project["keywords"]] == project["keywords"]


def test_every_target_of_make_is_declared_as_no_file():
    targets = re.search(r"^\.PHONY: (.*)$", _text("Makefile"), flags=re.MULTILINE)

    assert set(targets[1].split()) == set(
        re.findall(r"^([a-z]+):", _text("Makefile"), re.MULTILINE)
    )


@pytest.fixture(scope="module")
def example_folder(tmp_path_factory) -> Path:
    """A folder in which the examples of the documents can be typed."""
    folder = tmp_path_factory.mktemp("examples")
    settings = {"shape_px": (160, 192), "frame_count": 24, "pixel_size_A": 1.5}
    for name, file_format in [("movie", "tiff"), ("movie", "mrc"), ("movie", "eer")]:
        simulate_movie(**settings, electrons_per_px=0.8).save(folder, name, file_format, 4)
    shutil.copy(folder / "movie_gain.mrc", folder / "gain.mrc")
    (folder / "tutorial").mkdir()
    shutil.copy(folder / "movie.tiff", folder / "tutorial" / "simulated.tiff")
    for name in ("movies", "halves/a"):
        shutil.copytree(folder / "tutorial", folder / name)
    shutil.copy(folder / "gain.mrc", folder / "tutorial" / "simulated_gain.mrc")
    (folder / "Movies").mkdir()
    for name in ("movie.tiff", "gain.mrc"):
        shutil.copy(folder / name, folder / "Movies")
    (folder / "groups.txt").write_text("24  2  0.04\n72  6  0.04\n")
    (folder / "run.toml").write_text("pixel-size = 0.83\ngain = 'gain.mrc'\n")
    return folder


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES)
def test_command_lines_of_the_documents_are_understood(
    page, line, example_folder, monkeypatch, capsys
):
    monkeypatch.chdir(example_folder)
    words = shlex.split(line.split(" 2> ")[0], comments=True)
    if words[1] == "align":
        words.append("--dry-run")
    monkeypatch.setattr(sys, "argv", words)

    with pytest.raises(SystemExit) as stop:
        main()

    assert not stop.value.code, capsys.readouterr().err
    assert re.search("^movies? +", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("line", WATCH_LINES)
def test_watching_as_the_documents_show_it_is_understood(line, example_folder, monkeypatch, capsys):
    monkeypatch.chdir(example_folder)
    (example_folder / "empty").mkdir(exist_ok=True)
    words = shlex.split(line.replace(" movies ", " empty "))
    monkeypatch.setattr(sys, "argv", [*words, "--idle", "0.001"])

    with pytest.raises(SystemExit) as stop:
        main()

    assert not stop.value.code, capsys.readouterr().err


def test_the_documents_show_the_common_cases():
    cases = " ".join(line for page, line in COMMAND_LINES if page == "README.md")

    assert all(movie in cases for movie in ("movie.tiff", "movie.eer", "movie.mrc"))


@pytest.mark.parametrize(("page", "block"), list(_blocks("toml")))
def test_settings_of_the_documents_are_understood(page, block, tmp_path):
    (tmp_path / "run.toml").write_text(block)

    assert AlignParams.from_dict(load_settings(tmp_path / "run.toml")) != AlignParams()


def test_the_python_of_the_readme_runs(example_folder, monkeypatch, capsys):
    (block,) = [block for page, block in _blocks("python") if page == "README.md"]
    monkeypatch.chdir(example_folder)
    names: dict[str, object] = {}

    exec(block, names)

    assert names["micrograph"].shape == (160, 192)
    assert capsys.readouterr().out


def test_every_equation_of_the_method_is_named_where_it_is_computed():
    page = _text("docs/explanation/estimation.md")
    numbers = set(re.findall(r"^ {4}.* \((\d+)\)$", page, flags=re.M))
    code = "".join(path.read_text() for path in (SOURCE / "estimate").glob("*.py"))

    assert numbers == set(re.findall(r"[Ee]q\. \((\d+)\)", code))
    assert len(numbers) > 10


def test_the_page_on_outputs_names_every_stage_whose_time_is_measured():
    source = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    row = next(
        line for line in _text("docs/reference/outputs.md").splitlines() if "timings_s" in line
    )

    stages = set(re.findall(r'clock\("([^"]+)"\)', source))

    assert "quality" in stages
    assert stages <= set(re.findall(r"`([^`]+)`", row))
