"""``flexalign score`` on alignments of flexalign, in its own format and in those of others."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys

import pytest
from matplotlib.image import imread

from flexalign.simulate import simulate_movie

PIXEL_SIZE_A = 1.5
KNOWN = ("--pixel-size", PIXEL_SIZE_A, "--dose-per-frame", 2)
# With two movies enough for confidence intervals.
PATCHES = ("--patches", 2, 2)


@pytest.fixture(scope="session")
def aligned(tmp_path_factory):
    """A folder with the movies a and b, their run ``out`` and their ``truth``."""
    folder = tmp_path_factory.mktemp("score")
    (folder / "truth").mkdir()
    for seed, movie in enumerate(("a.tiff", "b.mrc")):
        name, file_format = movie.split(".")
        simulated = simulate_movie(
            shape_px=(384, 400), frame_count=6, seed=seed, pixel_size_A=PIXEL_SIZE_A,
            electrons_per_px=10.0, dose_per_frame_e_A2=2.0, global_motion_px=6.0,
            local_motion_px=1.0, gain=False,
        )  # fmt: skip
        files = simulated.save(folder, name, file_format)
        files["truth"].rename(folder / "truth" / files["truth"].name)
    words = ["align", "a.tiff", "b.mrc", *KNOWN, "--no-psd", "--no-report", "--out", "out"]
    command = [sys.executable, "-m", "flexalign", *map(str, words), "--write", "relion,motioncor"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def folder(aligned, tmp_path, monkeypatch):
    """A copy of it, in which commands run."""
    shutil.copytree(aligned, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_no_motion_has_less_signal_than_an_alignment(run, folder):
    found = run(
        "score", "out", "truth", "--movies", "*.tiff", "--movies", "b.mrc", *KNOWN, *PATCHES
    )

    assert found.code == 0, found.err
    assert max(map(len, found.out.partition("none has less")[0].splitlines())) <= 80
    assert "2 movies" in found.out
    assert "none has less signal than" in found.out
    assert "in 2 of 2 movies" in found.out


def test_every_alignment_of_every_movie_is_in_the_csv(run, folder):
    found = run(
        "score", "ours=out", "relion=out/*.star", "truth", "--with-global", "--csv",
        "--movies", ".", *KNOWN,
    )  # fmt: skip

    assert found.code == 0, found.err
    rows = list(csv.DictReader(io.StringIO(found.out)))
    by_name = {(row["movie"], row["alignment"]): row for row in rows}
    for movie in "ab":
        record = json.loads((folder / "out" / f"{movie}_record.json").read_text())
        ours, relion, truth, none = (
            by_name[movie, name] for name in ("ours", "relion", "truth", "none")
        )
        assert float(ours["log_likelihood"]) > float(none["log_likelihood"])
        fitted = record["decisions"]["fitted_parameters"]
        assert float(ours["fitted_parameters_low"]) == pytest.approx(fitted, rel=1e-5)
        assert float(ours["fitted_parameters_high"]) == pytest.approx(fitted, rel=1e-5)
        assert float(relion["fitted_parameters_low"]) == 0
        assert float(relion["fitted_parameters_high"]) >= 10
        assert float(truth["fitted_parameters_high"]) == 0
        assert float(truth["ssnr_45_15_A"]) > float(none["ssnr_45_15_A"])
        alone = by_name[movie, "ours global"]
        assert float(alone["fitted_parameters_high"]) <= float(ours["fitted_parameters_high"])


def test_independent_electrons_need_no_correction(run, folder):
    found = run("score", "ours=out", "--independent", "--json", "--movies", ".", *KNOWN, *PATCHES)

    assert found.code == 0, found.err
    plain = json.loads(found.out)
    assert {row["fitted_parameters_high"] for row in plain["movies"]} == {0.0}
    assert plain["best"] == "ours"
    assert plain["comparisons"][0]["b"] == "none"
    assert plain["comparisons"][0]["overall"]["high"] < 0
    assert plain["comparisons"][0]["verdict"].startswith("none has less signal than ours")
    texts = ("movie", "alignment")
    values = [value for row in plain["movies"] for name, value in row.items() if name not in texts]
    assert all(isinstance(value, int | float) for value in values)


def test_pixel_size_and_dose_are_taken_from_the_mdoc_beside_a_movie(run, folder):
    text = f"[FrameSet = 0]\nPixelSpacing = {PIXEL_SIZE_A}\nExposureDose = 12\nNumSubFrames = 6\n"
    (folder / "b.mrc.mdoc").write_text(text)

    found = run("score", "out", "--movies", "b.mrc", "--csv", *PATCHES)

    assert found.code == 0, found.err
    assert "dose 2 e/A2 per frame: from b.mrc.mdoc" in found.err
    assert found.out == run("score", "out", "--movies", "b.mrc", "--csv", *KNOWN, *PATCHES).out


def test_one_movie_is_scored_with_a_file_of_any_name(run, folder):
    shutil.copy("out/a_motion.json", "any.json")

    found = run("score", "any.json", "truth/a_truth.npz", "--csv", "--movies", "a.tiff", *KNOWN)

    assert found.code == 0, found.err
    names = {row["alignment"] for row in csv.DictReader(io.StringIO(found.out))}
    assert names == {"none", "any.json", "a_truth.npz"}


def test_a_plot_is_drawn_and_not_replaced_without_being_asked(run, folder):
    words = ("score", "ours=out", "truth", "--movies", ".", *KNOWN, "--plot", "scores.png")

    assert run(*words).code == 0
    assert imread("scores.png").std() > 0
    again = run(*words)
    assert again.code == 3
    assert "scores.png" in again.err
    assert run(*words, "--overwrite").code == 0


def test_a_page_shows_verdicts_and_the_sums_of_the_worst_and_the_best_movies(run, folder):
    words = ("score", "ours=out", "truth", "--movies", ".", *KNOWN, *PATCHES)

    found = run(*words, "--report", "pages/scores.html")

    assert found.code == 0, found.err
    text = (folder / "pages" / "scores.html").read_text()
    assert "none has less signal than" in text
    # Of two movies: two sums, down-sampled and in part, and the spectra.
    assert text.count("data:image/png;base64,") == 2 * 5
    assert 'href="../out/report.html"' not in text  # --no-report
    again = run(*words, "--report", "pages/scores.html")
    assert again.code == 3
    assert "--overwrite" in again.err


def test_a_movie_without_an_alignment_costs_no_other(run, folder):
    for file in folder.glob("out/b*"):
        file.unlink()

    found = run("score", "ours=out", "--csv", "--movies", ".", *KNOWN)

    assert found.code == 1
    assert "b.mrc: expected its alignment in out, found none" in found.err
    assert {row["movie"] for row in csv.DictReader(io.StringIO(found.out))} == {"a"}


@pytest.mark.parametrize("output", [(), ("--csv",)])
def test_nothing_that_can_be_scored_is_an_error(run, folder, output):
    found = run("score", "nowhere", "--movies", "a.tiff", *KNOWN, *output)

    assert found.code == 3
    assert found.err.startswith("error: ")
    assert "nowhere" in found.err
    assert found.out == ""


def test_movies_of_which_none_can_be_read_are_an_error_in_csv(run, folder):
    (folder / "a.tiff").write_bytes(b"II*\0 is no movie")

    found = run("score", "ours=out", "--movies", "a.tiff", *KNOWN, "--csv")

    assert found.code == 3
    assert "a.tiff" in found.err
    assert found.out == ""


def test_an_alignment_of_a_movie_of_another_size_is_an_error(run, folder):
    simulate_movie(shape_px=(384, 384), frame_count=6, gain=False).save(folder, "c", "mrc")

    found = run("score", "out/a_motion.star", "--movies", "c.mrc", *KNOWN)

    assert found.code == 3
    assert "found one of 400 x 384" in found.err


def test_the_folder_of_the_plot_is_checked_before_movies_are_read(run, folder):
    (folder / "plots").write_text("a file, no folder")

    found = run("score", "out", "--movies", ".", *KNOWN, "--plot", "plots/scores.png")

    assert found.code == 3
    assert "plots" in found.err
    assert found.out == ""


@pytest.mark.parametrize("option", ["--group-frames", "--sum-first", "--align-last", "--binning"])
def test_options_without_effect_on_a_score_are_not_offered(run, folder, option):
    found = run("score", "out", "--movies", "a.tiff", *KNOWN, option, "2")

    assert found.code == 2
    assert "No such option" in found.err


@pytest.mark.parametrize(
    ("alignments", "words"),
    [
        (("none=out",), "none: no motion is always scored"),
        (("x=out", "x=truth"), "found 'x' twice"),
        (("out", "out"), "expected each alignment once"),
        (("out", "b.tiff"), "b.tiff: expected an alignment, found the name of a movie: give each"),
        (("x=out", "x global=truth", "--with-global"), "x global: the trajectory of x has this"),
    ],
)
def test_names_that_are_no_alignments_or_do_not_tell_them_apart(run, folder, alignments, words):
    found = run("score", *alignments, "--movies", "a.tiff", *KNOWN)

    assert found.code == 2
    assert words in found.err


def test_movies_of_the_same_name_have_different_names_in_scores(run, folder):
    for day, movie in (("one", "a.tiff"), ("two", "b.mrc")):
        (folder / day).mkdir()
        shutil.move(movie, folder / day / f"m.{movie.split('.')[1]}")
    words = ("--movies", "one", "--movies", "two", *KNOWN)
    assert run("align", "one", "two", *KNOWN, "--no-psd", "--no-report", "--out", "both").code == 0

    found = run("score", "both", *words, "--csv", "--report", "scores.html")

    assert found.code == 0, found.err
    rows = list(csv.DictReader(io.StringIO(found.out)))
    signal = {row["movie"]: row["log_likelihood"] for row in rows if row["alignment"] == "both"}
    assert signal.keys() == {"m", "two_m"}
    assert len(set(signal.values())) == 2
    pictures = re.findall('data:image/png;base64,[^"]*', (folder / "scores.html").read_text())
    assert len(set(pictures)) == 2 * 5


def test_a_page_without_signal_is_not_written_and_says_so(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    movie = simulate_movie(
        shape_px=(256, 256), frame_count=6, particles=0, ice_thickness_A=0.0, gain=False
    )
    movie.save(tmp_path, "n", "mrc")

    found = run("score", "n_truth.npz", "--movies", "n.mrc", *KNOWN, "--report", "scores.html")

    assert found.code == 0, found.err
    assert "scores.html: not written, since the frames share no signal" in found.err
    assert not (tmp_path / "scores.html").exists()


def test_plot_and_page_in_one_file_are_refused(run, folder):
    words = ("--plot", "scores.png", "--report", "scores.png")

    found = run("score", "out", "--movies", "a.tiff", *KNOWN, *words)

    assert found.code == 2
    assert "expected two files, found scores.png twice" in found.err


def test_csv_and_json_together_are_refused(run, folder):
    assert run("score", "out", "--csv", "--json", "--movies", "a.tiff", *KNOWN).code == 2
