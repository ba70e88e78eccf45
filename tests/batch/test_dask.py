"""A real Dask cluster on this machine, and the job scripts for real clusters."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="Dask is not installed: pip install flexalign[cluster]")

import psutil

from flexalign.batch.clusters import Jobs, make_cluster, on_scheduler, walltime_s
from flexalign.batch.jobs import Job, Outcome
from flexalign.errors import ParameterError
from flexalign.params import AlignParams

IS_FULL = bool(os.environ.get("FLEXALIGN_FULL_TESTS"))
OPTIONS = ("--pixel-size", "1.5", "--no-psd", "--no-refine")


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._folder = folder
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self.scheduler = self._start("dask_scheduler", *words)

    def start_worker(self) -> None:
        words = [self.address, "--nthreads", "1", "--memory-limit", "3GB", "--no-dashboard"]
        self.workers.append(
            self._start("dask_worker", *words, "--local-directory", str(self._folder))
        )

    def _start(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        log = (self._folder / f"{program}.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{program}", *words],
                stdout=log, stderr=log, process_group=0,
            )  # fmt: skip

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and those it started."""
        os.killpg(process.pid, 9)
        process.wait()

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            if process is not None and process.poll() is None:
                self.kill(process)


@pytest.fixture
def cluster(tmp_path) -> Cluster:
    (tmp_path / "dask").mkdir()
    made = Cluster(tmp_path / "dask")
    made.start_scheduler()
    for _ in range(2):
        made.start_worker()
    yield made
    made.close()


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def records(run: Path) -> set[str]:
    return {path.name for path in run.glob("*_record.json")}


@pytest.mark.slow
def test_workers_and_scheduler_are_lost_and_each_movie_is_done_once(
    cluster, tmp_path, write_movie, start
):
    count, run = 190 if IS_FULL else 14, tmp_path / "run"
    for number in range(count):
        write_movie(tmp_path / "movies" / f"m{number:03}.mrcs", number)
    for number in range(10 if IS_FULL else 2):
        (tmp_path / "movies" / f"bad{number}.mrcs").write_bytes(b"bad" * number)

    words = ("align", tmp_path / "movies", "--out", run, *OPTIONS)
    process = start(*words, "--scheduler", cluster.address, "--json")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    wait_for(lambda: len(records(run)) >= count // 7)
    cluster.kill(cluster.workers[0])
    cluster.start_worker()
    wait_for(lambda: len(records(run)) >= count // 3)
    cluster.kill(cluster.scheduler)
    finished = records(run)
    times = {name: (run / name).stat().st_mtime_ns for name in finished}
    for worker in cluster.workers[1:]:
        cluster.kill(worker)
    cluster.start_scheduler()
    cluster.start_worker()
    cluster.start_worker()
    process.wait(timeout=1200)
    reader.join()

    events = [json.loads(line) for line in lines]
    done = [event["movie"] for event in events if event["event"] == "done"]
    assert process.returncode == 1, process.stderr.read()
    assert len(done) == len(set(done)) == count
    assert len(records(run)) == count
    failures = (run / "failed.tsv").read_text().splitlines()[1:]
    assert len(failures) == (10 if IS_FULL else 2)
    assert all(line.split("\t")[1] == "input" for line in failures)
    assert times == {name: (run / name).stat().st_mtime_ns for name in times}
    assert any(event["event"] == "note" and "again" in event["text"] for event in events)


@pytest.mark.slow
def test_a_scheduler_that_goes_with_a_result_gets_the_job_again(cluster, tmp_path, write_movie):
    """The movie has ended, and the scheduler goes while it is asked how."""
    movie, run = write_movie(tmp_path / "m.mrcs"), tmp_path / "run"
    run.mkdir()
    told: list[object] = []
    executor = on_scheduler(cluster.address)
    params = AlignParams(pixel_size_A=1.5, psd=False, refine=False)
    executor.submit(Job(str(movie), "m", str(run), params.to_dict(), "key"))
    wait_for(lambda: records(run))
    time.sleep(1.0)  # until the scheduler has said that it is done

    os.killpg(cluster.scheduler.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(executor.wait, told.append, 0.0)
        time.sleep(1.0)
        for process in (cluster.scheduler, *cluster.workers):
            cluster.kill(process)
        waiting.result()
    assert not any(isinstance(event, Outcome) for event in told)
    cluster.start_scheduler()
    cluster.start_worker()
    outcomes: list[Outcome] = []

    def has_ended() -> bool:
        executor.wait(told.append, 1.0)
        outcomes[:] = [event for event in told if isinstance(event, Outcome)]
        return bool(outcomes)

    wait_for(has_ended)
    executor.close()

    assert [outcome.job.movie for outcome in outcomes] == [str(movie)]
    assert outcomes[0].failure is None
    assert outcomes[0].record is not None


@pytest.mark.slow
def test_a_worker_that_hangs_is_restarted_and_its_movie_done(cluster, movies, tmp_path, start):
    cluster.kill(cluster.workers[1])
    process = start(
        "align", movies, "--out", tmp_path / "run", *OPTIONS, "--json",
        "--scheduler", cluster.address, "--timeout", "0.3",
    )  # fmt: skip
    told = []
    for line in process.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] == "stage" and told[-1]["stage"] == "estimate":
            break
    for child in psutil.Process(cluster.workers[0].pid).children(recursive=True):
        if any("spawn_main" in word for word in child.cmdline()):
            child.suspend()
    out, err = process.communicate(timeout=240)
    told += [json.loads(line) for line in out.splitlines()]

    kinds = [event["event"] for event in told]
    assert process.returncode == 0, err
    assert kinds.count("done") == 3
    assert [event["type"] for event in told if event["event"] == "retried"] == ["stalled"]


def test_a_scheduler_that_does_not_answer_is_an_error(movies, tmp_path, flexalign):
    nobody = "tcp://127.0.0.1:9"

    code, _, err = flexalign("align", movies, "--out", tmp_path / "run", "--scheduler", nobody)

    assert code == 3
    assert f"{nobody}: expected a Dask scheduler that answers" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("slurm", ["#SBATCH -p short", "#SBATCH -A em", "#SBATCH --cpus-per-task=8",
                   "#SBATCH --mem=30G", "#SBATCH -t 12:00:00", "#SBATCH --gres=gpu:2",
                   "#SBATCH --constraint=avx2"]),
        ("pbs", ["#PBS -q short", "#PBS -A em", "#PBS -l select=1:ncpus=8:mem=32GB:ngpus=2",
                 "#PBS -l walltime=12:00:00", "#PBS --constraint=avx2"]),
        ("sge", ["#$ -q short", "#$ -P em", "#$ -pe smp 8", "#$ -l h_vmem=4G", "#$ -l gpu=2",
                 "#$ -l h_rt=12:00:00"]),
        ("lsf", ["#BSUB -q short", '#BSUB -P "em"', "#BSUB -n 8", '#BSUB -gpu "num=2"',
                 "#BSUB -W 12:00:00"]),
    ],
)  # fmt: skip
def test_the_job_script_asks_for_what_was_asked_for(kind, expected, tmp_path):
    jobs = Jobs(
        kind=kind, min_jobs=1, max_jobs=2, queue="short", account="em", walltime="12:00:00",
        cores=8, memory_GB=32, gpus=2, options=("--constraint=avx2",),
    )  # fmt: skip
    with make_cluster(jobs, tmp_path) as cluster:
        script = cluster.job_script()

    lines = script.splitlines()
    assert [line for line in expected if line not in lines] == [], script
    assert "--nthreads 1 --lifetime 38880s" in script


def test_a_cluster_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="expected one of slurm, pbs, sge, lsf, found nqs"):
        make_cluster(Jobs("nqs", 1, 1), tmp_path)


@pytest.mark.parametrize("text", ["soon", "12", "1:2:3:4"])
def test_a_walltime_that_is_none_is_refused(text):
    with pytest.raises(ParameterError, match="--walltime: expected HH:MM:SS"):
        walltime_s(text)
