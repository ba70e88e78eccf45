"""benchmarks/real.py compares the programs that are there on movies of a user."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import BENCHMARKS

from flexalign.simulate import simulate_movie

OURS = ("flexalign", "flexalign global")
RELION = ("RELION 5x5", "RELION global")
PIXEL_SIZE_A, DOSE_E_A2 = 1.5, 2.0
needs_relion = pytest.mark.skipif(
    shutil.which("relion_run_motioncorr") is None, reason="RELION is not installed"
)


def started(folder: Path, *more: object) -> subprocess.CompletedProcess[str]:
    """The script on the movies in `folder`, ended."""
    words = [
        sys.executable, f"{BENCHMARKS}/real.py", "movies", "--pixel-size", PIXEL_SIZE_A,
        "--dose-per-frame", DOSE_E_A2, "--out", "results", "--alignment", "truth=truth", *more,
    ]  # fmt: skip
    return subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False
    )


def compare(folder: Path, *more: object) -> str:
    """What the script prints about the movies in `folder`."""
    done = started(folder, *more)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A folder with a movie, its true motion, and the results of all programs."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "truth").mkdir()
    movie = simulate_movie(
        shape_px=(384, 400), frame_count=6, seed=1, pixel_size_A=PIXEL_SIZE_A,
        electrons_per_px=10.0, dose_per_frame_e_A2=DOSE_E_A2, global_motion_px=6.0,
        local_motion_px=1.0, gain=False,
    )  # fmt: skip
    files = movie.save(folder / "movies", "a", "tiff")
    files["truth"].rename(folder / "truth" / files["truth"].name)
    compare(folder)
    return folder


@pytest.mark.parametrize(
    "name", [*OURS, *(pytest.param(one, marks=needs_relion) for one in RELION)]
)
def test_every_program_has_its_cost_and_scores(session, name):
    with (session / "results" / "comparison.csv").open() as file:
        (row,) = (row for row in csv.DictReader(file) if row["alignment"] == name)

    assert row["movie"] == "a"
    assert float(row["seconds"]) > 0
    assert float(row["cpu_s"]) > 0
    assert float(row["peak_memory_bytes"]) > 1e6
    assert float(row["ssnr_45_15_A"]) > 0


def test_the_signal_of_a_program_is_that_of_the_truth_rather_than_that_of_no_motion(session):
    scores = json.loads((session / "results" / "scores.json").read_text())
    found = {row["alignment"]: float(row["ssnr_45_15_A"]) for row in scores["movies"]}

    assert abs(found["flexalign"] - found["truth"]) < 0.2 * (found["truth"] - found["none"])


def test_the_table_has_a_row_for_each_alignment_and_a_verdict(session):
    text = (session / "results" / "comparison.md").read_text()

    for name in (*OURS, "truth", "none"):
        assert f"\n| {name} | " in text
    comparisons = json.loads((session / "results" / "scores.json").read_text())["comparisons"]
    assert comparisons
    for comparison in comparisons:
        assert f"\n- {comparison['verdict']}\n" in f"{text}\n"


def test_finished_runs_are_not_repeated_and_missing_ones_are(session):
    shutil.rmtree(session / "results" / "flexalign_global" / "a")

    printed = compare(session)

    runs = [line for line in printed.splitlines() if line.startswith("a.tiff:")]
    assert [run.rsplit(maxsplit=2)[0] for run in runs] == ["a.tiff: flexalign global"]


def test_other_options_are_other_runs(session):
    printed = compare(
        session, "--programs", "flexalign global", "--options", "flexalign=--voltage 200"
    )

    assert "a.tiff: flexalign global" in printed


def test_other_electrons_score_without_a_correction(session):
    compare(session, "--programs", "flexalign", "--score-on", "movies", "--out", "on_others")

    scores = json.loads((session / "on_others" / "scores.json").read_text())
    fitted = {row["fitted_parameters_high"] for row in scores["movies"]}
    assert set(map(float, fitted)) == {0.0}


def test_movies_of_the_same_name_are_refused(tmp_path):
    (tmp_path / "movies").mkdir()
    for name in ("a.tiff", "a.mrc"):
        (tmp_path / "movies" / name).write_text("")

    done = started(tmp_path)

    assert done.returncode == 1
    assert done.stderr == "expected movies of different names, found a twice\n"


def test_motioncor_is_run_with_gain_dose_and_pixel_size(tmp_path, monkeypatch):
    program = tmp_path / "MotionCor3"
    program.write_text("")  # only its name is used
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "movies").mkdir()
    (tmp_path / "movies" / "a.tiff").write_text("")

    printed = compare(tmp_path, "--gain", "gain.mrc", "--list")

    assert (
        f"MotionCor3 5x5: MotionCor3 -InTiff {tmp_path}/movies/a.tiff -OutMrc a.mrc -Patch 5 5 "
        f"-PixSize 1.5 -kV 300 -FmDose 2 -Gain {tmp_path}/gain.mrc -OutAln ./\n"
    ) in printed
