"""The runs of benchmarks/gpu.py, with the CPU in the place of a GPU."""

from __future__ import annotations

import shutil
import sys

import mrcfile
import pytest
from scripts import benchmarks

from flexalign import AlignParams, FlexAlignError
from flexalign.batch.gpus import Gpus
from flexalign.batch.local_processes import LocalProcesses
from flexalign.simulate import simulate_movie

PARAMS = AlignParams(pixel_size_A=1.5, psd=False, local=False, refine=False)
ENDS = ["m0", "m3"]


@pytest.fixture(scope="module")
def script():
    """The script, which is no package."""
    with benchmarks("gpu", "gpu_session") as scripts:
        yield scripts


@pytest.fixture(scope="module")
def runs(script, tmp_path_factory):
    """A folder with runs of one process and of stages that overlap, and what was measured."""
    folder = tmp_path_factory.mktemp("runs")
    simulated = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    movie = simulated.save(folder, "movie", "mrc")["movie"]
    executors = {
        "alone": LocalProcesses(1, threads=1),
        "overlap": LocalProcesses(3, threads=1, gpus=Gpus(["cpu as a GPU"])),
    }
    found = {
        name: script["gpu_session"].run(movie, PARAMS, folder / name, 4, executor)
        for name, executor in executors.items()
    }
    return folder, found


def test_every_movie_is_measured_and_the_results_agree(script, runs):
    folder, found = runs

    assert [len(session.ends_s) for session in found.values()] == [4, 4]
    assert all(min(session.host_bytes) > 0 for session in found.values())
    assert "reading" in found["overlap"].stages_s
    assert "reading" not in found["alone"].stages_s
    assert script["gpu_session"].deviation(folder / "alone", folder / "overlap", ENDS) == 0


def test_only_the_first_and_the_last_results_are_kept(runs):
    names = {path.name.partition("_")[0] for path in (runs[0] / "alone").glob("*_aligned_mic.mrc")}

    assert names == set(ENDS)


def test_another_micrograph_is_found_out(script, runs, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(runs[0] / "alone", folder, symlinks=True)
    with mrcfile.open(folder / "m3_aligned_mic.mrc", "r+") as file:
        file.data[3, 5] += 0.01 * file.data.max()

    with pytest.raises(FlexAlignError, match="micrographs differ by"):
        script["gpu_session"].deviation(runs[0] / "alone", folder, ENDS)


def test_the_table_has_the_time_between_the_ends_and_the_memory_at_the_end(script):
    session = script["gpu_session"].Session(
        [9.0, 10.0, 11.0, 12.0, 20.0, 22.0, 24.0], list(range(0, 7_000_000_000, 1_000_000_000)),
        [2_000_000_000] * 7, {"first pass": [1.0, 2.0], "spectra": [0.5]},
    )  # fmt: skip

    line = script["gpu_session"].table({"overlap": session}).splitlines()[-1]

    assert line == (
        "| overlap | 7 | 2.00 | first pass 1.50, spectra 0.50 | 4.00, 6.00 | 2.00, 2.00 |"
    )


def test_a_movie_that_fails_ends_the_benchmark(script, tmp_path):
    bad = tmp_path / "bad.mrc"
    bad.write_bytes(b"no movie")

    with pytest.raises(FlexAlignError, match=r"m0.mrc: expected an MRC header"):
        script["gpu_session"].run(bad, PARAMS, tmp_path / "out", 2, LocalProcesses(1, threads=1))


def test_help_names_the_runs(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--help"])

    with pytest.raises(SystemExit, match="0"):
        script["gpu"].main()
    assert "--session MOVIES" in capsys.readouterr().out
