"""A worker process as its parent sees it: its device, its movies, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from flexalign.arrays.device import PROCESS_VARIABLE
from flexalign.batch.failures import Failure
from flexalign.batch.jobs import Job, Needs, Outcome, Start

MAX_STDERR_CHARACTERS = 600
TRACEBACK_WAIT_S = 0.2
# Limit of the C library's memory arenas, which would grow over weeks; BLAS threads would only spin
# for small matrices, and several movies of a process must not change their number for each other.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(slots=True, eq=False)
class Task:
    """A job that a process has.

    Attributes
    ----------
    needs : None until the process has planned the movie
    threads : 0 until it may start
    reserved_bytes : memory that it may use
    """

    job: Job
    started_s: float
    needs: Needs | None = None
    threads: int = 0
    reserved_bytes: int = 0

    @property
    def is_waiting(self) -> bool:
        """Whether its needs are known and it has not been started."""
        return self.needs is not None and not self.threads

    def lost(self, failure: Failure, trace: str) -> Outcome:
        """The outcome when its process is gone."""
        return Outcome(self.job, None, failure, time.monotonic() - self.started_s, trace=trace)


@dataclass(slots=True, eq=False)
class Worker:
    """A process and its movies.

    Attributes
    ----------
    device : that it has to use, see `flexalign.arrays.device.PROCESS_VARIABLE`
    tasks : what it works on, by movie
    """

    process: subprocess.Popen[bytes]
    device: str
    connection: Connection[Any, Any]
    lifeline: int
    output: IO[bytes]
    tasks: dict[str, Task] = field(default_factory=dict)
    last_message_s: float = 0.0

    def give(self, job: Job) -> None:
        """Let it plan a movie."""
        now = time.monotonic()
        if not self.tasks:
            self.output.truncate(0)
        self.tasks[job.movie] = Task(job, now)
        self._send(job)

    def start(self, task: Task, threads: int, *, reads_ahead: bool = False) -> None:
        """Let it align a movie that it has planned, or with zero threads refuse it."""
        task.threads = threads or 1
        self._send(Start(task.job, threads, reads_ahead))

    def _send(self, message: object) -> None:
        self.last_message_s = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # its end is noticed where it is listened to
            self.connection.send(message)

    def silent_s(self) -> float:
        """Seconds without a message while it has work to do."""
        has_work = any(not task.is_waiting for task in self.tasks.values())
        return time.monotonic() - self.last_message_s if has_work else 0.0

    def end(self, *, dumps: bool = False) -> str:
        """Kill it; the end of its error output, with `dumps` its traceback if it can write one."""
        if dumps:
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(TRACEBACK_WAIT_S)
        self.process.kill()
        self.process.wait()
        self.connection.close()
        os.close(self.lifeline)
        with self.output as output:
            output.seek(0)
            return output.read().decode(errors="replace").strip()


def start_worker(places: int, device: str) -> Worker:
    """A new process for `places` movies at a time, with a connection to it."""
    ours, theirs = Pipe()
    their_lifeline, our_lifeline = os.pipe()
    output = tempfile.TemporaryFile()  # noqa: SIM115
    numbers = (theirs.fileno(), their_lifeline)
    environment = {**ENVIRONMENT, **os.environ, PROCESS_VARIABLE: device}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "flexalign.batch.worker", *map(str, (*numbers, places))],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=numbers,
        env=environment,
        process_group=0,  # Ctrl-C is handled by the run, which ends its workers
    )
    theirs.close()
    os.close(their_lifeline)
    return Worker(process, device, ours, our_lifeline, output)


def exit_failure(code: int, error_output: str) -> Failure:
    """Why a worker ended."""
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
    if code == -signal.SIGKILL:
        how += ", as the system does when memory runs out"
    output = " ".join(error_output.split())[-MAX_STDERR_CHARACTERS:]
    quoted = f"; its last output: {output}" if output else ""
    return Failure("worker-died", f"its worker {how}{quoted}")
