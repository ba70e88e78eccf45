"""``flexalign plan`` for many movies: groups, and what all of them take."""

from __future__ import annotations

import re
import shutil

import pytest

from flexalign.align import align_and_write
from flexalign.batch.session_plan import SMALL_FILES_BYTES, PlannedMovie
from flexalign.io.movies.open_movie import plan_movie
from flexalign.params import AlignParams
from flexalign.simulate import simulate_movie


def test_movies_that_are_aligned_alike_are_planned_together_with_totals(run, tmp_path):
    movie = simulate_movie(
        shape_px=(96, 128), frame_count=4, pixel_size_A=1.5, particles=0, threads=1
    )
    saved = movie.save(tmp_path, "m", "tiff")["movie"]
    (tmp_path / "in").mkdir()
    for number in range(4):
        shutil.copy(saved, tmp_path / "in" / f"m{number}.tiff")
    (tmp_path / "in" / "broken.mrc").write_bytes(b"no movie")

    found = run("plan", tmp_path / "in", "--pixel-size", "1.5")

    assert found.code == 1
    assert re.search(r"^movies +4 alike, m0.tiff to m3.tiff$", found.out, re.MULTILINE)
    assert found.out.count("128 x 96 px, 4 frames") == 1
    assert re.search(r"^all movies +4$", found.out, re.MULTILINE)
    assert all(re.search(f"^{label} +", found.out, re.MULTILINE) for label in ("disk", "time"))
    assert "broken.mrc" in found.err
    assert "1 of 5 movies failed" in found.err


def test_the_disk_space_of_the_plan_is_that_of_the_results(run, tmp_path):
    movie = simulate_movie(shape_px=(512, 640), frame_count=3, pixel_size_A=1.5, particles=0)
    movie.save(tmp_path, "m", "tiff")
    params = AlignParams(
        pixel_size_A=1.5, dose_per_frame_e_A2=1.0, local=False, refine=False, odd_even=True,
        save_movie=True,
    )  # fmt: skip
    planned = PlannedMovie(tmp_path, plan_movie(tmp_path / "m.tiff", params), params)

    align_and_write(tmp_path / "m.tiff", params, tmp_path / "out")

    images = [p for p in (tmp_path / "out").iterdir() if p.suffix in (".mrc", ".mrcs")]
    found = sum(path.stat().st_size for path in images)
    assert found == pytest.approx(planned.written_bytes - SMALL_FILES_BYTES, rel=0.02)


def test_gain_references_in_a_folder_are_no_movies(run, movie_folder):
    found = run("plan", movie_folder, "--pixel-size", "1.5")

    assert found.code == 0
    assert "gain" not in found.err
    assert re.search(r"^all movies +2$", found.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "option"),
    [(("--pixel-size", "15"), "--pixel-size"), (("--dose-per-frame", "90"), "--dose-per-frame")],
)
def test_a_plan_warns_of_what_stops_a_run(run, movie_folder, words, option):
    found = run("plan", movie_folder / "a.tiff", *words)
    off = run("plan", movie_folder / "a.tiff", *words, "--dose-check", "off")

    assert found.code == 0
    assert f"warning: {option}: expected" in found.err
    assert "warning" not in off.err
