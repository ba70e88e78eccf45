"""``flexalign compare`` on results of flexalign in its own format and in those of others."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from flexalign.io.star import read_star
from flexalign.motion import Motion, Trajectory
from flexalign.plain import write_json
from flexalign.simulate import simulate_movie

PIXEL_SIZE_A = 1.5
OPTIONS = ("--pixel-size", PIXEL_SIZE_A, "--no-local", "--no-psd")


@pytest.fixture(scope="session")
def aligned(tmp_path_factory):
    """A folder with the run ``out`` of a.tiff and b.mrc, and the truth of both in ``truth``."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "truth").mkdir()
    for seed, movie in enumerate(("a.tiff", "b.mrc")):
        name, file_format = movie.split(".")
        simulated = simulate_movie(
            shape_px=(400, 480), frame_count=6, seed=seed, pixel_size_A=PIXEL_SIZE_A,
            electrons_per_px=15.0, global_motion_px=6.0, local_motion_px=0.0,
        )  # fmt: skip
        files = simulated.save(folder, name, file_format)
        words = ["align", movie, "--gain", files["gain"], *OPTIONS, "--out", "out"]
        command = [sys.executable, "-m", "flexalign", *map(str, words)]
        command += ["--write", "relion,motioncor,warp"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        files["truth"].rename(folder / "truth" / files["truth"].name)
    return folder


@pytest.fixture
def folder(aligned, tmp_path, monkeypatch):
    """A copy of it, in which commands run."""
    shutil.copytree(aligned, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def rows(found):
    return list(csv.DictReader(io.StringIO(found.out)))


def with_jump(name, size_px, frame=2):
    """Put a jump into the motion of one movie; the folder of it alone."""
    motion = Motion.load(f"out/{name}_motion.json")
    path = np.array(motion.trajectory.displacement_px)
    path[frame, 1] += size_px
    write_json(
        f"out/{name}_motion.json",
        Motion(Trajectory(path, motion.trajectory.is_measured, motion.reference_frame)),
    )


def test_a_run_is_compared_with_the_truth(run, folder):
    found = run("compare", "out", "truth", "--csv")

    assert found.code == 0, found.err
    table = rows(found)
    assert {row["movie"] for row in table} == {"a", "b"}
    for row in table:
        assert float(row["rms_px"]) < 0.5
        assert float(row["rms_A"]) == pytest.approx(PIXEL_SIZE_A * float(row["rms_px"]), rel=1e-4)
        assert float(row["motion_rms_px"]) > 1
        assert row["a"] == f"out/{row['movie']}_record.json"


def test_the_movie_that_differs_most_comes_first(run, folder):
    with_jump("b", 6.0)

    found = run("compare", "out/*_motion.json", "out/*.aln")

    assert found.code == 0, found.err
    lines = [line.split() for line in found.out.splitlines() if line.strip()[:1] in "ab"]
    shown = [words for words in lines if words and words[0] in ("a", "b")]
    assert [words[0] for words in shown] == ["b", "a"]
    assert float(shown[0][3]) == pytest.approx(6 * np.sqrt(5) / 6, abs=0.01)  # px, of 6 frames
    assert shown[0][7] == "3"  # the worst frame, counted from one
    assert float(shown[1][3]) < 0.001
    assert "2 movies compared" in found.err


def test_fewer_movies_are_shown_on_request(run, folder):
    with_jump("b", 6.0)

    found = run("compare", "out/*_motion.json", "out/*.aln", "--worst", 1)

    assert "\n  b " in found.out
    assert "\n  a " not in found.out
    assert "2 movies compared" in found.err


def test_everything_is_in_the_json(run, folder):
    with_jump("b", 6.0)
    (folder / "out" / "a.aln").rename(folder / "out" / "z.aln")

    found = run("compare", "out/*_motion.json", "out/*.aln", "--json")

    assert found.code == 0, found.err
    plain = json.loads(found.out)
    (movie,) = plain["movies"]
    assert movie["worst_frame"] == 2
    assert np.argmax(movie["per_frame_px"]) == 2
    assert np.shape(movie["per_place_px"]) == (9, 9)
    assert [item["movie"] for item in plain["only_a"]] == ["a"]
    assert [item["movie"] for item in plain["only_b"]] == ["z"]
    assert "only in A (1): a" in found.err
    assert "only in B (1): z" in found.err


def test_csv_and_json_exclude_each_other(run, folder):
    assert run("compare", "out", "truth", "--csv", "--json").code == 2


@pytest.mark.parametrize(
    "name", ["a.aln", "a-Full.log", "a_motioncor.log", "a.xml", "a_shifts.xmd", "a_motion.star"]
)
def test_all_formats_hold_the_same_motion(run, folder, name):
    found = run("compare", "out/a_record.json", f"out/{name}", "--csv")

    assert found.code == 0, found.err
    (row,) = rows(found)
    assert float(row["rms_px"]) < 0.01
    assert float(row["motion_rms_px"]) > 1


def test_a_movie_that_does_not_fit_has_its_error_and_the_others_go_on(run, folder):
    general = folder / "out" / "b_motion.star"
    assert read_star(general)["general"]["rlnImageSizeX"] == ["480"]
    general.write_text(general.read_text().replace(" 480\n", " 470\n"))

    found = run("compare", "out/*_record.json", "out/*_motion.star", "--csv")

    assert found.code == 1
    assert [row["movie"] for row in rows(found)] == ["a"]
    assert "error: b: expected movies of one size, found 480 x 400 in A and 470 x 400" in found.err


@pytest.mark.parametrize("what", ["frames", "pixel size", "broken"])
def test_a_single_pair_that_does_not_fit_is_an_input_error(run, folder, what):
    path = folder / "out" / "a_motion.star"
    text = path.read_text()
    if what == "frames":
        write_json("out/a_motion.json", Motion.still(5))
    elif what == "pixel size":
        path.write_text(text.replace("1.500000", "0.750000"))
    else:
        path.write_text(text[: len(text) // 2])
    first = "out/a_motion.json" if what == "frames" else "out/a_record.json"

    found = run("compare", first, "out/a_motion.star")

    assert found.code == 3
    words = {"frames": "5 in A and 6 in B", "pixel size": "1.5 A in A and 0.75 A in B"}
    assert words.get(what, "a_motion.star") in found.err
    assert "Traceback" not in found.err
    assert found.out == ""


def test_what_has_nothing_in_common_exits_3(run, folder):
    for name in "ab":
        (folder / "out" / f"{name}.aln").rename(folder / "out" / f"other_{name}.aln")

    found = run("compare", "truth", "out/*.aln")

    assert found.code == 3
    assert "none of one name: a, b in truth, other_a, other_b in out/*.aln" in found.err


def test_a_movie_that_is_there_twice_is_not_guessed(run, folder):
    shutil.copytree(folder / "out", folder / "both" / "again")
    shutil.copy(folder / "out" / "a_record.json", folder / "both")

    found = run("compare", "both", "out", "--csv")

    assert found.code == 1
    assert [row["movie"] for row in rows(found)] == ["b"]
    assert "both/again/a_record.json" in found.err


def test_rows_in_the_other_order_are_named_and_turned_over(run, folder):
    motion = Motion.load("out/a_motion.json")
    path = motion.trajectory.displacement_px * [-1, 1]
    write_json("turned.json", Motion(Trajectory(path, motion.trajectory.is_measured, 0)))

    named = run("compare", "out/a_record.json", "turned.json")
    turned = run("compare", "out/a_record.json", "turned.json", "--turn-rows", "--csv")

    assert "as if the rows of B are in reverse order; compare with --turn-rows" in named.err
    assert float(rows(turned)[0]["rms_px"]) < 1e-6


def test_the_worst_movies_are_drawn(run, folder):
    with_jump("b", 6.0)

    found = run("compare", "out/*_motion.json", "truth", "--plot", "pictures", "--worst", 1)

    assert found.code == 0, found.err
    assert [path.name for path in (folder / "pictures").iterdir()] == ["b_comparison.png"]
    picture = imread(folder / "pictures" / "b_comparison.png")
    assert picture.shape[1] > 1500
    assert np.unique(picture.reshape(-1, picture.shape[2]), axis=0).shape[0] > 100
