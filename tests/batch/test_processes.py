"""Local processes: killed, hung, out of memory; memory and cores shared out."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from flexalign.batch.executors import InProcess
from flexalign.batch.jobs import Job, Outcome, Stage
from flexalign.batch.local_processes import LocalProcesses
from flexalign.io.movies.open_movie import plan_movie
from flexalign.params import AlignParams

PARAMS = AlignParams(pixel_size_A=1.5, psd=False)


def job(movie: Path, out: Path, **changes: object) -> Job:
    out.mkdir(exist_ok=True)
    return Job(str(movie), movie.stem, str(out), PARAMS.to_dict(), "key", **changes)


def work(executor, jobs, act=None, timeout_s=900.0) -> list[Outcome]:
    """Submit all jobs; their outcomes. `act` is called with each stage that is heard of."""
    ended: list[Outcome] = []

    def listen(news):
        if isinstance(news, Outcome):
            ended.append(news)
        elif act is not None:
            act(news)

    waiting, until = list(jobs), time.monotonic() + timeout_s
    while len(ended) < len(jobs):
        assert time.monotonic() < until
        while waiting and executor.free_places:
            executor.submit(waiting.pop(0))
        executor.wait(listen, 0.2)
    return ended


@pytest.fixture
def executor():
    made = LocalProcesses(2, timeout_s=60)
    yield made
    made.close()


def only_worker(executor, movie: str) -> int:
    """Number of the process that works on `movie`."""
    (pid,) = [process.pid for process in executor.processes if movie in process.movies]
    return pid


@pytest.mark.parametrize("make", [InProcess, lambda: LocalProcesses(2)], ids=["here", "processes"])
def test_every_executor_does_all_jobs_and_tells_the_stages(make, movies, tmp_path):
    executor, stages = make(), set()

    ended = work(
        executor, [job(p, tmp_path / "out") for p in movies.iterdir()],
        lambda news: stages.add(news.stage),
    )  # fmt: skip
    executor.close()

    assert all(outcome.failure is None for outcome in ended)
    assert len(list((tmp_path / "out").glob("*_record.json"))) == 3
    assert "estimate" in stages


def test_a_job_that_cannot_be_done_has_its_type_and_the_next_goes_on(executor, movies, tmp_path):
    bad = movies / "bad.mrcs"
    bad.write_bytes(b"no movie")

    ended = work(executor, [job(bad, tmp_path / "o"), job(movies / "m0.mrcs", tmp_path / "o")])

    kinds = {Path(o.job.movie).name: o.failure and o.failure.kind for o in ended}
    assert kinds == {"bad.mrcs": "input", "m0.mrcs": None}


def test_a_worker_that_is_killed_costs_its_movie_only(executor, movies, tmp_path):
    victim = str(movies / "m0.mrcs")

    def kill(news: Stage) -> None:
        if news.movie == victim and only_worker(executor, victim):
            os.kill(only_worker(executor, victim), signal.SIGKILL)

    ended = work(executor, [job(p, tmp_path / "out") for p in sorted(movies.iterdir())], kill)

    failures = {o.job.movie: o.failure for o in ended if o.failure}
    assert list(failures) == [victim]
    assert failures[victim].kind == "worker-died"
    assert "SIGKILL" in failures[victim].message


def test_a_worker_that_hangs_is_found_and_replaced(movies, tmp_path):
    executor, stopped = LocalProcesses(1, timeout_s=12.0), []

    def stop(news: Stage) -> None:
        if not stopped:
            stopped.append(only_worker(executor, news.movie))
            os.kill(stopped[0], signal.SIGSTOP)

    first, second = work(
        executor, [job(movies / f"m{i}.mrcs", tmp_path / "out") for i in (0, 1)], stop
    )
    executor.close()

    assert first.failure.kind == "stalled"
    assert second.failure is None, second.trace
    assert not Path(f"/proc/{stopped[0]}").exists()


def test_a_movie_without_memory_fails_and_its_worker_lives(movies, tmp_path, write_movie):
    executor = LocalProcesses(1)
    work(executor, [job(movies / "m0.mrcs", tmp_path / "out")])  # all libraries are loaded now
    large = write_movie(movies / "large.mrcs", shape_px=(1024, 1024))
    (worker,) = executor.processes
    used = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[0]) * 4096
    for_all = resource.RLIM_INFINITY
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (used + 10_000_000, for_all))

    (first,) = work(executor, [job(large, tmp_path / "out")])
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (for_all, for_all))
    (second,) = work(executor, [job(movies / "m1.mrcs", tmp_path / "out")])
    is_alive = worker.pid in [process.pid for process in executor.processes]
    executor.close()

    assert first.failure.kind == "memory", first.trace
    assert second.failure is None, second.trace
    assert is_alive


def test_movies_that_do_not_fit_side_by_side_come_one_after_the_other(movies, tmp_path):
    needed_bytes = plan_movie(movies / "m0.mrcs", PARAMS).memory_bytes
    executor = LocalProcesses(2, memory_bytes=int(1.5 * needed_bytes))
    running: list[str] = []

    ended = work(
        executor, [job(movies / f"m{i}.mrcs", tmp_path / "out") for i in (0, 1)],
        lambda news: running.append(news.movie),
    )  # fmt: skip
    executor.close()

    assert not any(outcome.failure for outcome in ended)
    assert sum(a != b for a, b in pairwise(running)) == 1


def test_a_movie_that_needs_too_much_is_done_in_the_smallest_pieces(tmp_path, write_movie):
    movie = write_movie(tmp_path / "m.mrcs", shape_px=(512, 512))
    min_bytes, normal_bytes = (
        plan_movie(movie, replace(PARAMS, threads=threads)).memory_bytes for threads in (1, None)
    )
    executor = LocalProcesses(1, memory_bytes=(min_bytes + normal_bytes) // 2, threads=4)

    (outcome,) = work(executor, [job(movie, tmp_path / "out")])
    executor.close()

    assert min_bytes < normal_bytes
    assert outcome.failure is None
    assert outcome.threads == 1


def test_a_movie_that_needs_more_than_there_is_is_refused(movies, tmp_path):
    executor = LocalProcesses(1, memory_bytes=1_000_000)

    (outcome,) = work(executor, [job(movies / "m0.mrcs", tmp_path / "out")])
    executor.close()

    assert outcome.failure.kind == "memory"
    assert "in the smallest pieces, more than the run may use" in outcome.failure.message


def test_a_careful_job_has_one_thread_and_nobody_beside_it(movies, tmp_path):
    executor, running = LocalProcesses(2, threads=2), []
    jobs = [job(movies / f"m{i}.mrcs", tmp_path / "out", runs_alone=i == 0) for i in (0, 1)]

    work(executor, jobs, lambda news: running.append(news.movie))
    executor.close()

    changes = sum(a != b for a, b in pairwise(running))
    assert changes == 1


def test_workers_end_when_the_run_is_killed(start, movies, tmp_path):
    run = start("align", movies, "--out", tmp_path / "out", "--pixel-size", "1.5", "--jobs", "2")
    until = time.monotonic() + 60
    while len(children := _children(run.pid)) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)

    run.kill()
    run.wait()

    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < until
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    """Numbers of the processes that a process has started."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]
