"""Simulated movies from the command line, and the demo."""

from __future__ import annotations

import json
import shlex

import mrcfile
import numpy as np
import pytest

import flexalign.simulate
from flexalign.simulate import SimulationSettings

SMALL = ("--size", "160", "128", "--frames", "5", "--pixel-size", "1.5")


@pytest.mark.parametrize("file_format", flexalign.simulate.FORMATS)
def test_what_is_printed_is_there_and_can_be_planned_as_it_says(run, tmp_path, file_format):
    outcome = run("simulate", "--out", tmp_path / "new", "--format", file_format, *SMALL)

    files = dict(line.split(maxsplit=1) for line in outcome.out.splitlines()[:-1])
    command = outcome.out.splitlines()[-1].removeprefix("to align it").strip()
    plan = run(*shlex.split(command)[1:], "--dry-run")
    assert outcome.code == plan.code == 0
    assert files.keys() >= {"movie", "truth", "gain"}
    assert "160 x 128 px, 5 frames" in plan.out
    assert "1.5 A" in plan.out


def test_options_reach_the_simulator(run, tmp_path):
    run("simulate", "--out", tmp_path, "--name", "x", "--motion", "none", "--electrons", "4",
        "--seed", "3", *SMALL)  # fmt: skip

    with np.load(tmp_path / "x_truth.npz") as truth:
        assert not truth["displacement_px"].any()
        assert truth["seed"] == 3
    with mrcfile.open(tmp_path / "x.mrc") as mrc:
        assert mrc.data.shape == (5, 128, 160)
        assert mrc.data.mean() == pytest.approx(4, rel=0.1)


def test_specimen_objects_and_faults_reach_the_simulator(run, tmp_path):
    run("simulate", "--out", tmp_path, "--name", "x", "--specimen", "negative-stain",
        "--object", "gold-foil", "--object", "shadow", "--fault", "dead-quadrant",
        "--contrast", "0.5", "--ice", "0", "--tilt", "30", "--gain-error", "0.1",
        *SMALL)  # fmt: skip

    with np.load(tmp_path / "x_truth.npz") as truth:
        settings = SimulationSettings.from_dict(json.loads(str(truth["settings"])))
    assert settings.specimen == "negative-stain"
    assert settings.objects == ("gold-foil", "shadow")
    assert settings.faults == ("dead-quadrant",)
    assert (settings.contrast, settings.ice_thickness_A) == (0.5, 0.0)
    assert (settings.tilt_deg, settings.gain_error) == (30.0, 0.1)


def test_a_micrograph_that_is_no_image_is_an_input_error(run, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    outcome = run(
        "simulate", "--out", tmp_path / "new", "--specimen", tmp_path / "notes.txt", *SMALL
    )

    assert outcome.code == 3
    assert "notes.txt: expected an image" in outcome.err


def test_files_are_replaced_only_when_asked_for(run, tmp_path):
    words = ("simulate", "--out", tmp_path, *SMALL)
    run(*words)

    refused = run(*words)

    assert refused.code == 3
    assert "--overwrite" in refused.err
    assert run(*words, "--overwrite").code == 0


SERIES = ("--tilt-series", "--tilts", "3", "--tilt-step", "20", "--frames", "2", "--size", "160",
          "128", "--pixel-size", "2", "--format", "tiff", "--name", "ts")  # fmt: skip


@pytest.mark.parametrize(
    "words", [("simulate", "--size", 64, 64), ("divide", "m.mrc"), ("demo",)], ids=lambda w: w[0]
)
def test_a_file_in_place_of_the_folder_is_refused_in_one_line(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    run("simulate", "--size", 64, 64, "--frames", 2, "--out", ".", "--name", "m")
    (tmp_path / "taken").write_text("of the user")

    found = run(*words, "--out", "taken")

    assert found.code == 3
    assert found.err == "error: taken: expected a folder for the results, found a file\n"
    assert (tmp_path / "taken").read_text() == "of the user"


def test_a_tilt_series_is_one_movie_for_each_angle_and_an_mdoc(run, tmp_path):
    outcome = run("simulate", "--out", tmp_path, *SERIES, "--dose-per-tilt", "4", "--fiducials",
                  "--tilt-axis", "10")  # fmt: skip

    files = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    mdoc = (tmp_path / "ts.mdoc").read_text()
    movies = sorted(path.name for path in (tmp_path / "frames").glob("*.tiff"))
    assert outcome.code == 0
    assert files["mdoc"] == str(tmp_path / "ts.mdoc")
    assert files.keys() == {"mdoc", "movies", "gain"}
    assert movies == ["ts_001_0.0.tiff", "ts_002_20.0.tiff", "ts_003_-20.0.tiff"]
    assert mdoc.count("ExposureDose = 4\n") == mdoc.count("FrameDosesAndNumber = 2 2\n") == 3
    assert "Tilt axis angle = 10.0" in mdoc
    with np.load(tmp_path / "frames" / "ts_003_-20.0_truth.npz") as truth:
        settings = SimulationSettings.from_dict(json.loads(str(truth["settings"])))
    assert (settings.tilt_deg, settings.pre_exposure_e_A2) == (-20.0, 8.0)


def test_the_movie_of_a_tilt_is_planned_as_its_mdoc_says(run, tmp_path):
    run("simulate", "--out", tmp_path, *SERIES)

    movie, gain = tmp_path / "frames" / "ts_002_20.0.tiff", tmp_path / "ts_gain.mrc"
    plan = run("plan", movie, "--gain", gain, "--dose-per-frame", "1.5", "--pre-exposure", "3")

    assert plan.code == 0
    assert "160 x 128 px, 2 frames" in plan.out


def test_movies_of_a_tilt_series_are_replaced_only_when_asked_for(run, tmp_path):
    run("simulate", "--out", tmp_path, *SERIES)
    (tmp_path / "ts.mdoc").unlink()
    (tmp_path / "ts_gain.mrc").unlink()

    assert run("simulate", "--out", tmp_path, *SERIES).code == 3
    assert run("simulate", "--out", tmp_path, *SERIES, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tilts", "5"), "--tilts: expected with --tilt-series only"),
        (("--fiducials",), "--fiducials: expected with --tilt-series only"),
        (("--tilt-series", "--tilt", "5"), "expected for one movie only"),
        (("--tilt-series", "--electrons", "5"), "expected for one movie only"),
        (("--tilt-series", "--tilts", "99"), "expected angles of at most 80"),
        (
            ("--tilt-series", "--object", "carbon"),
            "--object: expected protein and no object in a tilt series",
        ),
        (("--tilt-series", "--frames", "0"), "--frames: expected at least 2, found 0"),
    ],
)
def test_a_wrong_setting_of_a_series_is_a_parameter_error(run, tmp_path, words, said):
    outcome = run("simulate", "--out", tmp_path / "new", *words)

    assert outcome.code == 2
    assert said in outcome.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "dm4"), "--format: expected one of mrc, tiff, eer, found dm4"),
        (("--motion", "sideways"), "--motion: expected one of bumps, "),
        (("--specimen", "soup"), "--specimen: expected one of"),
        (("--object", "hair"), "--object: expected some of"),
        (("--fault", "smoke"), "--fault: expected some of"),
        (("--tilt", "90"), "--tilt: expected at most 80 degrees, found 90"),
        (("--frames", "1"), "--frames: expected at least 2"),
        (("--size", "8", "8"), "--size: expected at least 64"),
    ],
)
def test_a_wrong_setting_is_a_parameter_error(run, tmp_path, words, said):
    outcome = run("simulate", "--out", tmp_path, *words)

    assert outcome.code == 2
    assert said in outcome.err
    assert not list(tmp_path.iterdir())


def test_the_demo_finds_the_motion_and_names_its_files(run, tmp_path):
    outcome = run("demo", "--out", tmp_path)

    numbers = [float(w) for w in outcome.out.splitlines()[1].split() if w[0].isdigit()]
    named = [line.split()[-1] for line in outcome.out.splitlines() if line.startswith("  ")]
    assert outcome.code == 0
    assert numbers[1] < 0.25 * numbers[0]
    assert {"demo_aligned_mic.mrc", "demo_plot_cart.png", "demo_record.json"} <= set(named)
    assert all((tmp_path / name).exists() for name in named)


def test_the_demo_fails_when_the_motion_is_not_found(run, tmp_path, monkeypatch):
    still = flexalign.Motion.still(24)
    monkeypatch.setattr("flexalign.motion.Motion.load", lambda _path: still)

    outcome = run("demo", "--out", tmp_path)

    assert outcome.code == 1
    assert "the residual motion is too large" in outcome.err
