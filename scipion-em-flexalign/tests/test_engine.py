"""The engine's command line and files, as the plugin spells and reads them."""

import doctest
import os
import subprocess

import pytest

from scipion_flexalign import engine


def test_the_examples_are_true():
    assert doctest.testmod(engine).attempted >= 4
    assert doctest.testmod(engine).failed == 0


def help_of(command):
    """What the engine says of the options of a command."""
    return subprocess.run(
        [os.path.join(os.environ["FLEXALIGN_HOME"], "bin", "flexalign"), command, "--help"],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, COLUMNS="300"),
    ).stdout


def test_every_option_that_is_used_is_one_of_the_engine(project):
    """Also the options that only other movies or other values would need."""
    import pyworkflow as pw

    said = help_of("align")
    protocol = project.newProtocol(pw.Config.getDomain().getProtocols()["ProtFlexAlign"])
    options = {"align-first", "align-last", "sum-first", "sum-last", "eer-fractions"}
    options |= {"eer-dose-per-frame", "eer-total-dose"}
    options |= {"dose-weight", "dose-per-frame", "pre-exposure", "voltage", "control-points"}
    options |= {"patches", "min-patch", "group-frames", "max-shift", "max-resolution", "refine"}
    options |= {"local", "binning", "odd-even", "save-movie", "psd", "device", "threads"}
    options |= {"gain", "gain-rotate", "gain-flip", "gain-sense", "gain-check"}
    options |= {"dark", "defects", "pixel-size"}
    # of the wizard
    options |= {"save-unaligned", "hot-pixels"}

    assert protocol._getDevice() == "cuda"
    assert [name for name in sorted(options) if "--" + name not in said] == []


def test_every_option_for_tilt_series_is_one_of_the_engine():
    said = help_of("tilt-series")
    options = {"movies", "shared-prior", "no-shared-prior", "save-tilts", "jobs", "threads"}
    options |= {"eer-dose-per-frame", "eer-fractions", "pre-exposure", "retry-failed", "no-report"}

    assert [name for name in sorted(options) if "--" + name not in said] == []


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("x.mrc.bz2", "x"),
        ("a.0012.tif", "a.0012"),
        ("FoilHole_1_fractions.eer", "FoilHole_1_fractions"),
    ],
)
def test_roots_are_those_of_the_engine(name, root):
    assert engine.movie_root("/some/where/" + name) == root


@pytest.mark.parametrize("missing", ["", "\n\n"])
def test_silence_of_the_engine_is_told(missing):
    assert "without a message" in engine.last_error(missing)
