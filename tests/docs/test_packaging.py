"""What is installed: the archives, and recipes that agree with the metadata of the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

from flexalign import __version__

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA_NAMES = {"matplotlib": "matplotlib-base"}


def conda_lines(requirements: list[str]) -> set[str]:
    """Requirements as conda writes them, such as `numpy >=2.0`."""
    pairs = (re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in requirements)
    return {f"{CONDA_NAMES.get(name, name)} {limits}" for name, limits in pairs}


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """A folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def metadata(archives) -> Message:
    (wheel,) = archives.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return Parser().parsestr(archive.read(name).decode("utf-8"))


@pytest.fixture(scope="module")
def recipe() -> dict:
    return yaml.safe_load((PACKAGING / "conda" / "recipe.yaml").read_text(encoding="utf-8"))


def test_the_description_on_the_package_index_has_no_relative_link(metadata):
    description = metadata.get_payload()
    targets = re.findall(r"\]\(([^)]*)\)", description)

    assert not [target for target in targets if not target.startswith(("https://", "#"))]
    assert "![" not in description
    assert "flexalign align movie.tiff" in description


def test_the_wheel_has_the_version_of_the_module(metadata):
    assert metadata["Version"] == __version__


def test_the_source_archive_has_tests_documents_changes_and_recipes(archives):
    (path,) = archives.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {
        "tests/unit/test_motion.py",
        "docs/tutorial/first-movie.md",
        "docs/images/demo.png",
        "CHANGELOG.md",
        "mkdocs.yml",
        "packaging/conda/recipe.yaml",
    } <= names


def test_the_wheel_has_every_file_of_the_package(archives):
    (wheel,) = archives.glob("*.whl")
    source = ROOT / "src"
    files = [path for path in (source / "flexalign").rglob("*") if path.is_file()]
    names = {p.relative_to(source).as_posix() for p in files if "__pycache__" not in p.parts}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("flexalign/")}

    assert packed == names


def test_the_conda_recipe_requires_what_the_package_requires(recipe):
    needed = {"python " + PROJECT["project"]["requires-python"]}
    needed |= conda_lines(PROJECT["project"]["dependencies"])

    assert set(recipe["requirements"]["run"]) == needed


def test_the_conda_recipe_builds_with_what_the_package_builds_with(recipe):
    needed = conda_lines(PROJECT["build-system"]["requires"])

    assert needed <= set(recipe["requirements"]["host"])


def test_the_conda_recipe_describes_the_package(recipe):
    project = PROJECT["project"]

    assert recipe["context"]["version"] == __version__
    assert recipe["about"]["license"] == project["license"]
    assert recipe["about"]["summary"] == project["description"]
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {function}" for name, function in project["scripts"].items()
    ]


def test_the_easyconfig_installs_this_version():
    (path,) = (PACKAGING / "easybuild").glob("*.eb")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}

    assert ast.literal_eval(values["version"]) == __version__
    assert path.name == f"flexalign-{__version__}-foss-2025b.eb"


def test_the_module_file_has_this_version():
    assert [path.name for path in (PACKAGING / "modules" / "flexalign").iterdir()] == [__version__]


@pytest.mark.parametrize("name", ["container/Containerfile", "apptainer/flexalign.def"])
def test_images_are_built_from_files_that_exist(name):
    text = (PACKAGING / name).read_text(encoding="utf-8")
    lines = re.findall(r"^(?:COPY| {4})([\w. ]+) /source/.*$", text, flags=re.MULTILINE)
    files = [word for line in lines for word in line.split()]

    assert {"pyproject.toml", "README.md", "LICENSE", "src"} == set(files)
    assert all((ROOT / word).exists() for word in files)


def test_every_command_of_the_page_on_installing_names_files_that_exist():
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    named = re.findall(r"packaging/[\w./-]+\w", page)

    assert named
    assert not [name for name in named if not (ROOT / name).exists()]
