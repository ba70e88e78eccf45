"""One process for each GPU with several movies at a time.

The CPU stands for the GPUs: a process is told its device by its parent, whichever that is.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from flexalign.batch import events
from flexalign.batch.executors import InProcess
from flexalign.batch.folder import RunFolder
from flexalign.batch.gpus import Gpus
from flexalign.batch.jobs import Job, Note, Outcome, Stage
from flexalign.batch.local_processes import LocalProcesses
from flexalign.batch.run import Run
from flexalign.batch.sources import Listed
from flexalign.io.movies.open_movie import plan_movie
from flexalign.params import AlignParams

PARAMS = AlignParams(pixel_size_A=1.5, psd=False, local=False, refine=False)
ONE, TWO = ["cpu of A"], ["cpu of A", "cpu of B"]
# Of these the simulator has the first only.
SIMULATED = ["cuda:0", "cuda:1"]


def work(executor, movies, out, act=lambda message: None):
    """Align all movies; the messages of the executor."""
    heard, waiting = [], list(movies)
    out.mkdir(exist_ok=True)

    def listen(message):
        heard.append(message)
        act(message)

    try:
        while sum(isinstance(message, Outcome) for message in heard) < len(movies):
            while waiting and executor.free_places:
                movie = waiting.pop(0)
                executor.submit(Job(str(movie), movie.stem, str(out), PARAMS.to_dict(), "key"))
            executor.wait(listen, 0.2)
    finally:
        executor.close()
    return heard


def kill_all(executor):
    """Kill the processes of the executor."""
    for process in executor.processes:
        os.kill(process.pid, signal.SIGKILL)


def outcomes(heard):
    """The outcomes by the name of the movie."""
    return {Path(m.job.movie).stem: m for m in heard if isinstance(m, Outcome)}


def assert_close(found, expected):
    """Assert that two quality records are the same but for rounding errors of sums."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-9), name
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for one, other in zip(found[name], value, strict=True):
                assert_close(one, other)
        else:
            assert found[name] == value, name


def notes(heard):
    """What was said."""
    return [m.text for m in heard if isinstance(m, Note) and "compil" not in m.text]


@pytest.fixture
def many(tmp_path, write_movie):
    """Five movies."""
    return [write_movie(tmp_path / "movies" / f"m{n}.mrcs", n) for n in range(5)]


def test_movies_that_overlap_give_what_movies_alone_give(many, tmp_path):
    alone = outcomes(work(InProcess(1), many, tmp_path / "alone"))
    heard = work(LocalProcesses(3, threads=1, gpus=Gpus(ONE)), many, tmp_path / "out")

    overlapping = outcomes(heard)
    assert not any(outcome.failure for outcome in overlapping.values())
    assert {m.stage for m in heard if isinstance(m, Stage)} >= {"read", "measure", "sum"}
    for name, outcome in overlapping.items():
        expected, found = (
            mrcfile.read(tmp_path / folder / f"{name}_aligned_mic.mrc")
            for folder in ("alone", "out")
        )
        np.testing.assert_array_equal(found, expected)
        assert outcome.record["decisions"]["device"] == "cpu"
        assert outcome.record["decisions"]["device_note"] == "of A"
        assert_close(outcome.record["quality"], alone[name].record["quality"])


def test_each_gpu_has_one_process_and_as_many_movies_as_are_asked_for(many, tmp_path):
    executor, seen = LocalProcesses(2, threads=1, gpus=Gpus(TWO)), []

    heard = work(executor, many, tmp_path / "out", lambda _: seen.append(executor.processes))

    assert not any(outcome.failure for outcome in outcomes(heard).values())
    assert {process.device for processes in seen for process in processes} == set(TWO)
    assert max(len(processes) for processes in seen) == 2
    assert max(len(p.movies) for processes in seen for p in processes) == 2


def test_without_memory_for_its_frames_a_movie_is_read_when_it_is_computed(many, tmp_path):
    needed_bytes = plan_movie(many[0], PARAMS).memory_bytes
    executor = LocalProcesses(3, threads=1, memory_bytes=needed_bytes, gpus=Gpus(ONE))

    heard = work(executor, many[:2], tmp_path / "out")

    assert not any(outcome.failure for outcome in outcomes(heard).values())
    assert "read" not in {m.stage for m in heard if isinstance(m, Stage)}


def run_over(folder, movies, observe=lambda event: None):
    """A run over the movies on one GPU; it can be stopped by `observe`."""
    folder.mkdir(exist_ok=True)
    executor = LocalProcesses(3, threads=1, gpus=Gpus(ONE))
    made = Run(RunFolder(folder, PARAMS), executor, Listed(movies), observe)
    return made, executor


def test_a_run_that_is_stopped_finishes_the_movies_in_progress_and_is_resumed(many, tmp_path):
    ended = []

    def stop(event):
        if isinstance(event, events.Ended):
            ended.append(event)
            first.stop()

    first, _ = run_over(tmp_path / "run", many, stop)
    stopped = first.go()
    second, _ = run_over(tmp_path / "run", many)
    resumed = second.go()

    assert stopped.is_stopped
    assert stopped.done == len(ended) == 5 - stopped.unfinished
    assert stopped.failed == resumed.failed == 0
    assert (resumed.done, resumed.done_before) == (stopped.unfinished, stopped.done)


def test_movies_of_a_process_that_is_killed_are_tried_again_alone(many, tmp_path):
    lost, alone = [], []

    def observe(event):
        if isinstance(event, Stage) and not lost:
            kill_all(executor)
        if isinstance(event, events.Ended):
            movies = alone if event.outcome.job.runs_alone else lost
            if event.outcome.job.runs_alone or not event.is_final:
                movies.append(event.outcome.job.movie)

    run, executor = run_over(tmp_path / "run", many, observe)
    summary = run.go()

    assert (summary.done, summary.failed) == (5, 0)
    assert sorted(alone) == sorted(lost) != []


def test_blas_has_one_thread_for_all_movies_of_a_process(many, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    executor, seen = LocalProcesses(1, threads=1, gpus=Gpus(ONE)), set()

    def look(_):
        for process in executor.processes:
            seen.update(Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"))

    work(executor, many[:1], tmp_path / "out", look)

    assert b"OPENBLAS_NUM_THREADS=1" in seen


def test_a_movie_that_cannot_be_aligned_costs_no_other(many, tmp_path):
    many[1].write_bytes(b"no movie")

    heard = work(LocalProcesses(3, threads=1, gpus=Gpus(ONE)), many, tmp_path / "out")

    kinds = {name: o.failure and o.failure.kind for name, o in outcomes(heard).items()}
    assert kinds == {name: "input" if name == "m1" else None for name in kinds}
    assert len(kinds) == 5
    assert notes(heard) == []


def test_a_process_that_is_killed_gives_its_movies_to_another_gpu(many, tmp_path):
    executor = LocalProcesses(2, threads=1, gpus=Gpus(TWO))

    def kill_a(message):
        for process in executor.processes:
            if isinstance(message, Stage) and process.device == TWO[0]:
                os.kill(process.pid, signal.SIGKILL)

    heard = work(executor, many, tmp_path / "out", kill_a)

    assert not any(outcome.failure for outcome in outcomes(heard).values())
    (note,) = notes(heard)
    assert note.startswith(
        "cpu of A failed and takes no more movies, its own go to other GPUs: its worker was killed "
        "by signal 9 (SIGKILL)"
    )


def test_of_one_gpu_a_process_that_is_killed_is_replaced(many, tmp_path):
    executor, lost = LocalProcesses(2, threads=1, gpus=Gpus(ONE)), []

    def kill_once(message):
        if isinstance(message, Outcome) and message.failure:
            lost.append(message)
        if isinstance(message, Stage) and not lost:
            kill_all(executor)

    heard = work(executor, many, tmp_path / "out", kill_once)

    assert {outcome.failure.kind for outcome in lost} == {"worker-died"}
    assert 1 <= len(lost) <= 2
    assert len(outcomes(heard)) == 5
    assert notes(heard) == []


@pytest.mark.slow
def test_a_gpu_that_cannot_be_used_gives_its_movies_to_another(many, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")

    heard = work(LocalProcesses(2, threads=1, gpus=Gpus(SIMULATED)), many[:2], tmp_path / "out")

    devices = {name: o.record["decisions"]["device"] for name, o in outcomes(heard).items()}
    assert devices == dict.fromkeys(("m0", "m1"), "cuda:0 (simulated)")
    (note,) = notes(heard)
    assert note.startswith("cuda:1 failed and takes no more movies, its own go to other GPUs: ")
    assert "expected a GPU from 0 to 0, found 1" in note


@pytest.mark.parametrize("falls_back", [False, True])
def test_with_no_gpu_left_movies_fail_or_go_on_on_the_cpu(many, tmp_path, monkeypatch, falls_back):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    gpus = Gpus(SIMULATED[1:], falls_back=falls_back)

    heard = work(LocalProcesses(1, threads=1, gpus=gpus), many[:4], tmp_path / "out")

    ends, lost = outcomes(heard).values(), "expected a GPU from 0 to 0, found 1"
    if falls_back:
        assert {o.record["decisions"]["device"] for o in ends} == {"cpu"}
        assert all(lost in o.record["decisions"]["device_note"] for o in ends)
    else:
        assert sorted(o.failure.kind for o in ends) == ["device", "device", "gpu", "gpu"]
        assert all(lost in o.failure.message for o in ends)
        assert sum("none left" in o.failure.message for o in ends) == 2
    assert len(notes(heard)) == 1
