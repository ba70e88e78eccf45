"""``flexalign align`` with RELION's list of movies: what it says of each movie is used for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flexalign.io.star import read_star

LIST = """
data_optics

loop_
_rlnOpticsGroupName
_rlnOpticsGroup
_rlnMicrographOriginalPixelSize
_rlnVoltage
one 1 1.5 300
two 2 1.5 200
unused 3 word word

data_movies

loop_
_rlnMicrographMovieName
_rlnOpticsGroup
_rlnMicrographPreExposure
_rlnMicrographGainName
a.tiff 1 0 a_gain.mrc
b.mrc 2 3.5 b_gain.mrc
"""
OPTIONS = ("--no-local", "--no-psd", "--dose-per-frame", 1, "--out", "out", "--jobs", 0)


@pytest.fixture
def folder(movie_folder, tmp_path, monkeypatch):
    shutil.copytree(movie_folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "movies.star").write_text(LIST)
    return tmp_path / "work"


def record(name):
    return json.loads(Path(f"out/{name}_record.json").read_text())


def test_each_movie_is_aligned_with_what_the_list_says_of_it(run, folder):
    found = run("align", "movies.star", *OPTIONS, "--write", "relion")

    assert found.code == 0, found.err
    for name, kV, before_e_A2 in (("a", 300, 0), ("b", 200, 3.5)):
        parameters = record(name)["parameters"]
        assert (parameters["voltage_kV"], parameters["pre_exposure_e_A2"]) == (kV, before_e_A2)
        assert parameters["gain"] == str(folder / f"{name}_gain.mrc")
        assert parameters["pixel_size_A"] == 1.5
    for table in ("micrographs.star", "corrected_micrographs.star"):
        blocks = read_star(folder / "out" / table)
        groups = dict(
            zip(blocks["optics"]["rlnOpticsGroup"], blocks["optics"]["rlnVoltage"], strict=True)
        )
        kVs = [float(groups[group]) for group in blocks["micrographs"]["rlnOpticsGroup"]]
        assert kVs == [300, 200], table


def test_a_column_that_changed_makes_that_movie_stale(run, folder):
    run("align", "movies.star", *OPTIONS)
    (folder / "movies.star").write_text(LIST.replace("2 3.5", "2 7"))

    found = run("align", "movies.star", *OPTIONS, "--json")

    kinds = [json.loads(line) for line in found.out.splitlines() if line.startswith("{")]
    ended = {event["movie"]: event["event"] for event in kinds if "movie" in event}
    assert ended[str(folder / "a.tiff")] == "skipped"
    assert ended[str(folder / "b.mrc")] == "done"
    assert record("b")["parameters"]["pre_exposure_e_A2"] == 7


def test_what_is_typed_wins_over_the_list(run, folder):
    found = run("align", "movies.star", *OPTIONS, "--gain", "a_gain.mrc")

    assert found.code == 0, found.err
    for name in "ab":
        assert record(name)["parameters"]["gain"] == str(folder / "a_gain.mrc")


@pytest.mark.parametrize(
    ("command", "exposures"),
    [
        ("align", (0, 3.5)),
        ("align", (3.5, 3.5)),
        ("align, settings", (0, 3.5)),
        ("relion-job", (0, 3.5)),
    ],
)
def test_a_typed_pre_exposure_is_added_to_that_of_each_movie(run, folder, command, exposures):
    text = LIST.replace("a.tiff 1 0", f"a.tiff 1 {exposures[0]}")
    (folder / "movies.star").write_text(text)
    (folder / "settings.toml").write_text("pre_exposure_e_A2 = 2\n")
    words = {
        "align": ("align", "movies.star", *OPTIONS, "--write", "relion", "--pre-exposure", 2),
        "align, settings": (
            "align", "movies.star", *OPTIONS, "--write", "relion", "--settings", "settings.toml",
        ),
        "relion-job": (
            "relion-job", "--in_movies", "movies.star", "--o", "out/", "--no-local",
            "--dose-per-frame", 1, "--pre-exposure", 2,
        ),
    }[command]  # fmt: skip

    found = run(*words)

    assert found.code == 0, found.err
    for name, listed in zip("ab", exposures, strict=True):
        assert record(name)["parameters"]["pre_exposure_e_A2"] == listed + 2
        star = folder / "out" / f"{name}{'' if command == 'relion-job' else '_motion'}.star"
        said = read_star(star)["general"]["rlnMicrographPreExposure"]
        assert [float(word) for word in said] == [listed + 2]


def test_the_plan_of_each_movie_is_its_own(run, folder):
    (folder / "movies.star").write_text(LIST.replace("two 2 1.5", "two 2 1.7"))

    found = run("plan", "movies.star", "--no-local")

    assert found.code == 0, found.err
    assert "1.5 A" in found.out
    assert "1.7 A" in found.out


def test_a_gain_of_one_movie_that_is_missing_costs_that_movie(run, folder):
    (folder / "b_gain.mrc").unlink()

    found = run("align", "movies.star", *OPTIONS)

    assert found.code == 1
    assert (folder / "out" / "a_record.json").exists()
    assert "b_gain.mrc" in found.err


def test_a_word_for_the_pixel_size_is_named(run, folder):
    (folder / "movies.star").write_text(LIST.replace("one 1 1.5", "one 1 abc"))

    found = run("align", "movies.star", *OPTIONS)

    assert found.code == 3
    assert "numbers in the column _rlnMicrographOriginalPixelSize, found abc" in found.err


def test_a_job_of_relion_uses_the_same_columns(run, folder):
    found = run("relion-job", "--in_movies", "movies.star", "--o", "job/", "--no-local")

    assert found.code == 0, found.err
    for name in "ab":
        general = read_star(folder / "job" / f"{name}.star")["general"]
        assert general["rlnMicrographGainName"] == [str(folder / f"{name}_gain.mrc")]
    assert read_star(folder / "job" / "b.star")["general"]["rlnMicrographPreExposure"] == [
        "3.500000"
    ]
