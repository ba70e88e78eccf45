"""What benchmarks/gpu.py says where no GPU is needed to say it."""

from __future__ import annotations

import sys

import pytest
from scripts import benchmarks

from flexalign import AlignParams, FlexAlignError, align_movie
from flexalign.simulate import simulate_movie


@pytest.fixture(scope="module")
def gpu():
    """The script, which is no package."""
    with benchmarks("gpu") as scripts:
        yield scripts["gpu"]


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    simulated = simulate_movie(
        shape_px=(192, 224), frame_count=5, electrons_per_px=20.0, local_motion_px=0.0
    )
    return simulated.save(tmp_path_factory.mktemp("movie"), "movie", "mrc")["movie"]


def test_without_such_a_gpu_it_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cuda:99"])

    assert gpu.main() == 4
    assert "`device` cpu" in capsys.readouterr().err


@pytest.fixture(scope="module")
def result(movie):
    return align_movie(movie, AlignParams(pixel_size_A=1.0, psd=False, threads=1))


def test_the_same_device_differs_by_nothing(gpu, movie, result):
    again = align_movie(movie, AlignParams(pixel_size_A=1.0, psd=False, threads=1))

    assert "at most 0.0e+00 px, sums by 0.0e+00" in gpu.deviation(result, again)


def test_other_sums_are_found_out(gpu, movie, result):
    params = AlignParams(pixel_size_A=1.0, psd=False, threads=1, sum_last=4)

    with pytest.raises(FlexAlignError, match=r"sums by \S+e-0[12] of their maximum"):
        gpu.deviation(result, align_movie(movie, params))


def test_the_sum_of_the_stages_is_beside_the_larger_bound(gpu):
    stages = [gpu.Stage("upload", 1.0, 1e9), gpu.Stage("a", 0.2, 1e9), gpu.Stage("b", 0.4, 2e9)]

    table = gpu.stage_table(stages, 0.1, 1e10, 10)

    assert "| b | 4000.0 | 2000.0 | 2.0 |" in table
    assert "Computing 6.000 s; bytes 3.000 s at 10 GB/s; cuFFT 1.000 s: 2.00 x" in table
    assert "4.00 x" not in table
    assert "6.00 x the larger" in gpu.stage_table(stages[1:], 0.1, 1e11, 10)
