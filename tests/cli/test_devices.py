"""Devices that are asked for and cannot be used are refused before a movie is read."""

from __future__ import annotations

import pytest

from flexalign import read_record, simulate_movie
from flexalign.device_choice import why_cpu
from flexalign.machine import core_count


def test_several_gpus_are_refused_for_one_movie(run, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    path = movie.save(tmp_path, "m")["movie"]

    outcome = run("align", path, "--out", tmp_path / "out", "--device", "cuda:0-1")

    assert outcome.code == 2
    assert "--device cuda:0-1: expected one GPU for one movie, found 2" in outcome.err
    assert not list((tmp_path / "out").glob("*.mrc"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--device", "cuda:0-1"), 4, "expected a GPU from 0 to 0, found 1"),
        (("--device", "cuda:3-1"), 2, "expected GPUs such as '0 1', '0,1' or '0-3', found '3-1'"),
        (("--device", "cuda:0,0"), 2, "expected each GPU once, found '0,0'"),
        (("--device", "cuda:0-1", "--jobs", "0"), 2, "expected one GPU for one movie"),
        (("--device", "cuda:x"), 2, "expected auto, cpu, cuda or such as cuda:1"),
    ],
)
def test_gpus_of_a_run_that_cannot_be_used_are_refused_first(
    run, tmp_path, monkeypatch, words, code, message
):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    for name in ("a", "b"):
        movie.save(tmp_path / "movies", name)

    outcome = run("align", tmp_path / "movies", "--out", tmp_path / "out", *words)

    assert outcome.code == code
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


def test_auto_says_why_a_run_is_not_on_the_gpu(run, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    reason = why_cpu(4 * 64 * 64, core_count(), many=True)
    if not reason:
        pytest.skip("on one core, the GPU is expected to be faster")
    movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    for name in ("a", "b"):
        movie.save(tmp_path / "movies", name)
    log = tmp_path / "run.log"

    outcome = run("align", tmp_path / "movies", "--out", tmp_path / "out", "--pixel-size", "1.5",
                  "--no-local", "--no-refine", "--no-psd", "--log", log)  # fmt: skip

    assert outcome.code == 0, outcome.err
    assert outcome.err.count(f"computing on cpu: {reason}") == 1
    assert f"computing on cpu: {reason}" in log.read_text()
    for name in ("a", "b"):
        decisions = read_record(tmp_path / "out" / f"{name}_record.json").decisions
        assert (decisions["device"], decisions["device_note"]) == ("cpu", reason)
