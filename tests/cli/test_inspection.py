"""``flexalign info`` says what files are, and has the exit code of what is wrong with them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

LOADED = """
import sys
from flexalign.cli import main
sys.argv = ["flexalign", "info", *{words}]
try:
    main()
finally:
    sys.stderr.write("loaded: " + " ".join(sys.modules))
"""


@pytest.fixture
def folder(movie_folder, tmp_path, monkeypatch):
    """A folder with the movies, in which commands run."""
    shutil.copytree(movie_folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_movies_and_references_are_described_one_after_the_other(run, folder):
    found = run("info", "a.tiff", "a_gain.mrc", "--dose-per-frame", 1.25)

    assert (found.code, found.err) == (0, "")
    movie, image = found.out.strip().split("\n\n")
    assert movie.startswith("movie           a.tiff\n")
    assert "192 x 160 px, 6 frames" in movie
    assert "dose per frame  1.25 e/A2" in movie
    assert "memory          about" in movie
    assert image.startswith("image           a_gain.mrc\n")
    assert "as a gain       mean 1" in image


def test_it_says_what_plan_says(run, folder):
    planned = run("plan", "a.tiff", "--binning", 2).out.strip().splitlines()

    told = run("info", "a.tiff", "--binning", 2).out

    assert len(planned) > 8
    assert all(line in told for line in planned)


def test_json_is_a_list_with_units_in_the_names(run, folder):
    found = run("info", "a.tiff", "b_gain.mrc", "--json")

    movie, gain = json.loads(found.out)
    assert movie["movie"]["pixel_size_A"] == 1.5
    assert movie["plan"]["memory_bytes"] > 1e8
    assert (gain["kind"], gain["width_px"]) == ("image", 192)


def test_a_broken_file_does_not_stop_the_others(run, folder):
    data = (folder / "b.mrc").read_bytes()
    (folder / "cut.mrc").write_bytes(data[: len(data) // 2])

    found = run("info", "cut.mrc", "a.tiff", "gone.tiff")
    as_json = run("info", "cut.mrc", "a.tiff", "gone.tiff", "--json")

    assert found.code == as_json.code == 1
    assert "2 of 6 frames are there" in found.out
    assert "a.tiff" in found.out
    assert "error: cut.mrc: expected" in found.err
    assert "error: gone.tiff: no such file" in found.err
    assert "2 of 3 files failed" in found.err
    cut, whole, gone = json.loads(as_json.out)
    assert (cut["whole_frames"], cut["expected"]) == (2, 6)
    assert whole["problem"] == ""
    assert (gone["kind"], "no such file" in gone["problem"]) == ("unknown", True)


@pytest.mark.parametrize(
    ("name", "content"), [("empty.mrc", b""), ("text.tiff", b"II*\0 no tiff"), ("x", b"hello\n")]
)
def test_a_file_of_no_kind_exits_3_in_one_line(run, folder, name, content):
    (folder / name).write_bytes(content)

    found = run("info", name)

    assert found.code == 3
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
    assert name in found.err


def test_a_run_a_record_and_its_motion(run, folder):
    (folder / "c.mrc").write_bytes(b"no movie")
    aligned = run("align", "a.tiff", "b.mrc", "c.mrc", "--no-local", "--no-psd", "--out", "out",
                  "--write", "relion")  # fmt: skip
    assert aligned.code == 1
    (folder / "out" / "b_plot_cart.png").unlink()

    found = run("info", "out", "out/a_record.json", "out/b_record.json", "out/a_motion.star")
    (values,) = json.loads(run("info", "out", "--json").out)

    assert found.code == 0, found.err
    of_run, a, b, motion = found.out.strip().split("\n\n")
    assert "failed          1 input" in of_run
    assert (values["kind"], values["done"], values["failed"]) == ("run", 2, {"input": 1})
    assert sum(values["flags"].values()) >= values["flagged"]
    assert "all present" in a
    assert "missing: b_plot_cart.png" in b
    assert "format          RELION" in motion
    assert "pixel size      1.5 A" in motion


@pytest.mark.parametrize("name", ["a.tiff", "b.mrc", "e.eer", "a_gain.mrc"])
def test_nothing_heavy_is_loaded_for_a_movie(folder, name):
    from flexalign.io.movies.eer_writer import write_eer

    write_eer(folder / "e.eer", [[[9, 9]]] * 40, height_px=64, width_px=64, pixel_size_A=1.1)

    script = LOADED.format(words=[name])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == 0
    loaded = done.stderr.partition("loaded: ")[2].split()
    assert "flexalign.io.inspect.inspection" in loaded
    assert {"numba", "cupy", "matplotlib"}.isdisjoint(loaded)


def test_planning_loads_nothing_heavy_either(folder):
    script = LOADED.replace('"info"', '"plan"').format(words=["a.tiff"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.startswith("movie ")
    loaded = done.stderr.partition("loaded: ")[2].split()
    assert {"numba", "cupy", "matplotlib", "scipy"}.isdisjoint(loaded)


def test_a_motion_without_local_part_has_no_size_of_it(run, folder):
    aligned = run("align", "a.tiff", "--no-local", "--no-psd", "--out", "out")

    assert "model: none" in aligned.err
    assert "local up to" not in aligned.err + run("info", "out/a_record.json").out


def test_a_record_names_the_model_in_the_words_of_the_result_line(run, folder):
    aligned = run("align", "a.tiff", "--no-local", "--no-psd", "--out", "out")
    model = aligned.err.partition("model: ")[2].partition(",")[0]

    assert model
    assert f"model           {model}\n" in run("info", "out/a_record.json").out
