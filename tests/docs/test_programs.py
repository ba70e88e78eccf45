"""The short programs of the documents run as they are."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from flexalign import Motion
from flexalign.simulate import simulate_movie

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "docs" / "programs"
PAGE = ROOT / "docs" / "how-to" / "use-from-python.md"


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """A folder with the files that the programs read."""
    folder = tmp_path_factory.mktemp("programs")
    movie = simulate_movie(
        shape_px=(96, 128), frame_count=8, pixel_size_A=1.5, electrons_per_px=3.0, threads=1
    )
    paths = movie.save(folder, "movie")
    shutil.copy(paths["gain"], folder / "gain.mrc")
    np.save(folder / "frames.npy", movie.counts)
    np.save(folder / "gain.npy", movie.gain)
    (folder / "frames").mkdir()
    for index, frame in enumerate(movie.counts):
        np.save(folder / "frames" / f"{index:03}.npy", frame)
    (folder / "movies").mkdir()
    shutil.copy(paths["movie"], folder / "movies" / "a.mrc")
    (folder / "movies" / "b.mrc").write_bytes(b"no movie")
    return folder


@pytest.fixture
def run(example, monkeypatch, capsys):
    """Run a program in that folder; the names that it defines and its output."""
    monkeypatch.chdir(example)

    def call(name: str) -> tuple[dict, str]:
        return runpy.run_path(str(PROGRAMS / name)), capsys.readouterr().out

    return call


def test_an_array_is_aligned_and_written(run, example):
    names, out = run("array_in.py")

    assert "<AlignmentResult: array, 8 frames of 96 x 128 px" in out
    assert names["micrograph"].shape == (96, 128)
    assert (example / "aligned" / "stack_1_aligned_mic_DW.mrc").exists()


def test_a_format_of_ones_own_is_aligned(run):
    names, _ = run("own_reader.py")

    assert names["result"].motion.frame_count == 8


def test_a_batch_lists_what_is_done_and_what_failed(run, example):
    names, out = run("batch.py")

    assert repr(names["run"]).startswith("<AlignedMovies: 1 done, 1 failed, in aligned")
    assert [path.name for path in names["run"].failures] == ["b.mrc"]
    assert (example / "aligned" / "micrographs.csv").exists()
    assert "Traceback" not in out


def test_a_motion_is_applied_at_another_binning_and_put_on_a_grid(run, example):
    names, _ = run("other_binning.py")

    assert names["result"].sums.plain.shape == (48, 64)
    assert names["result"].motion == Motion.load(example / "binned" / "movie_motion.json")

    names, _ = run("motion_on_a_grid.py")

    assert names["dy"].shape == (8, 5, 7)
    assert not names["dy"][names["motion"].reference_frame].any()


def test_every_program_is_on_the_page_and_what_the_page_shows_is_in_a_program():
    programs = {path.name: path.read_text() for path in PROGRAMS.glob("*.py")}
    page = PAGE.read_text()

    assert set(re.findall(r"\.\./programs/(\w+\.py)", page)) == set(programs)
    lines = {line.strip() for text in programs.values() for line in text.splitlines()}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        for line in filter(None, block.splitlines()):
            code = line.split("  #")[0].strip()
            assert any(known.startswith(code) for known in lines), line
