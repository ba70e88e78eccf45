"""The plugin as Scipion's own command sees it: tree, tests, references, installation."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCIPION = str(pathlib.Path(sys.executable).with_name("scipion"))


def scipion(*words, **environment):
    """What ``scipion`` says."""
    path = "%s%s%s" % (os.path.dirname(sys.executable), os.pathsep, os.environ["PATH"])
    done = subprocess.run(
        [SCIPION] + list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        universal_newlines=True, env=dict(os.environ, PATH=path, **environment),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(autouse=True, scope="module")
def home():
    os.makedirs(os.environ["SCIPION_HOME"], exist_ok=True)


def test_the_protocols_are_in_the_list():
    listed = scipion("protocols")

    assert "ProtFlexAlign" in listed and "ProtTsFlexAlign" in listed


def test_versions_are_filled_in():
    import pyworkflow as pw

    import scipion_flexalign
    from scipion_flexalign import Plugin

    places = (
        ROOT / "src" / "flexalign" / "__init__.py",
        ROOT / "scipion-em-flexalign" / "pyproject.toml",
    )
    declared = [
        line.split('"')[1]
        for place in places
        for line in place.read_text().splitlines()
        if line.startswith(("version = ", "__version__ = "))
    ]
    assert declared == [scipion_flexalign.__version__] * 2
    pw.Config.getDomain().getProtocols()  # defines the variables of the plugin
    assert Plugin.getActiveVersion() == scipion_flexalign.__version__


def test_the_address_is_that_of_the_method_and_not_of_scipion():
    import pwem

    from scipion_flexalign import Plugin, bibtex

    assert Plugin.getUrl() != pwem.Plugin.getUrl()
    assert Plugin.getUrl().replace("https://doi.org/", "") in bibtex.__doc__
    assert "found at '%s'" % Plugin.getUrl() in scipion("config", "-p", "scipion_flexalign")


def test_the_plugin_manager_finds_summary_and_authors():
    """Where it looks for them: in the metadata of the package."""
    import importlib_metadata

    metadata = importlib_metadata.distribution("scipion-em-flexalign").metadata.json

    assert metadata["summary"].startswith("Scipion plugin for flexalign")
    assert metadata["author"] == "The flexalign authors"
    assert "scipion-3.0" in ",".join(metadata["keywords"])


def test_without_the_plugin_for_tomography_the_others_are_there():
    code = (
        "import sys; sys.modules['tomo'] = None\n"
        "from scipion_flexalign import protocols, viewers, wizards\n"
        "print(protocols.__all__, viewers.__all__, len(wizards.FlexAlignGainWizard._targets))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, universal_newlines=True
    ).stdout

    assert said.splitlines()[-1] == "['ProtFlexAlign'] ['FlexAlignViewer'] 1"


def test_the_tests_are_found_and_pass():
    assert "TestProtFlexAlign" in scipion("tests", "--grep", "scipion_flexalign", "--show")

    said = scipion("tests", "scipion_flexalign.tests.test_protocol_flexalign")

    assert "[  PASSED  ]" in said or "OK" in said, said
    assert "FAILED" not in said, said


def test_references_and_logo_are_there():
    import pyworkflow as pw

    import scipion_flexalign
    from scipion_flexalign import bibtex

    protocol = pw.Config.getDomain().getProtocols()["ProtFlexAlign"]()
    assert all("{%s," % key in bibtex.__doc__ for key in scipion_flexalign._references)
    assert protocol.citations()
    assert pathlib.Path(scipion_flexalign.__file__).with_name(scipion_flexalign._logo).exists()


def test_the_protocol_is_in_the_tree():
    import pyworkflow as pw
    from pyworkflow.gui.project.viewprotocols_extra import ProtocolTreeConfig

    trees = ProtocolTreeConfig.load(pw.Config.getDomain(), "")
    (movies,) = [branch for branch in trees["Protocols SPA"] if str(branch.text) == "Movies"]

    assert "ProtFlexAlign" in [str(leaf.value) for leaf in movies]
    (series,) = [
        branch for branch in trees["Tomography"] if str(branch.text) == "Tilt-series movies"
    ]
    assert "ProtTsFlexAlign" in [str(leaf.value) for leaf in series]


@pytest.mark.slow
def test_installb_makes_an_environment_of_its_own(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(str(ROOT / name), str(source / name))
    shutil.copytree(
        str(ROOT / "src"), str(source / "src"), ignore=shutil.ignore_patterns("*.egg-info")
    )
    em = tmp_path / "em"

    said = scipion(
        "installb", "flexalign", EM_ROOT=str(em), FLEXALIGN_PACKAGE=str(source), FLEXALIGN_HOME=""
    )

    program = em / "flexalign-0.1.0" / "env" / "bin" / "flexalign"
    assert program.exists(), said
    version = subprocess.run([str(program), "--version"], stdout=subprocess.PIPE, check=True)
    assert version.stdout.strip() == b"flexalign 0.1.0"
