"""Executor on worker processes of this machine, with shares of cores and memory."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any

from flexalign.arrays.device import PROCESS_VARIABLE
from flexalign.batch.executors import Listener
from flexalign.batch.failures import Failure
from flexalign.batch.jobs import Job, Note, Outcome, Stage
from flexalign.batch.resources import ReadAhead, memory_budget_bytes
from flexalign.machine import core_count

DEFAULT_TIMEOUT_S = 1800.0
MAX_STDERR_CHARACTERS = 600
TRACEBACK_WAIT_S = 0.2
# Limit of the C library's memory arenas, which would grow over weeks.
MALLOC_ARENA_MAX = "2"
MAX_SINGLE_THREAD_CORES = 4
THREADS_PER_MOVIE = 2


def default_jobs(threads: int | None) -> int:
    """Movies side by side on the cores there are: movies side by side keep them busier than many
    threads on one movie do.
    """  # noqa: D205
    cores = core_count()
    if threads is not None:
        return max(1, cores // threads)
    return cores if cores <= MAX_SINGLE_THREAD_CORES else cores // THREADS_PER_MOVIE


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, and how far it is with its job.

    `needed_bytes`, with all threads and with one, is None until the process has planned the movie;
    `threads` is 0 until it may start.
    """

    process: subprocess.Popen[bytes]
    number: int
    connection: Connection[Any, Any]
    lifeline: int
    output: IO[bytes]
    job: Job | None = None
    needed_bytes: tuple[int, int] | None = None
    threads: int = 0
    started_s: float = 0.0
    last_message_s: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether the needs of its job are known and it has not been started."""
        return self.job is not None and self.needed_bytes is not None and not self.threads

    def free(self) -> None:
        """Note that it has no job."""
        self.job, self.needed_bytes, self.threads = None, None, 0


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process of this machine that works on movies.

    Attributes
    ----------
    number : counted from 0; see `flexalign.arrays.device.PROCESS_VARIABLE`
    pid : of the operating system
    movie : what it works on; None = it waits for a job
    """

    number: int
    pid: int
    movie: str | None


class LocalProcesses:
    """Works in several processes; one that dies or hangs is replaced, its movie reported.

    A movie starts once the memory of its plan is free, so movies of any size share the machine.
    Cores are divided among as many movies as fit.

    Parameters
    ----------
    jobs : maximum number of movies in parallel
    threads : number of threads per movie; None = divide the cores
    memory_bytes : for all movies together; None = most of the free memory
    timeout_s : a movie without a message for this long is given up
    """

    def __init__(
        self,
        jobs: int,
        *,
        threads: int | None = None,
        memory_bytes: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self.side_by_side = jobs
        self._threads = threads
        self._memory_bytes = memory_budget_bytes() if memory_bytes is None else memory_bytes
        self._timeout_s = timeout_s
        self._workers: list[_Worker] = []
        self._queue: deque[Job] = deque()
        self._read_ahead = ReadAhead()
        self._has_sent_note = False

    @property
    def processes(self) -> list[WorkerProcess]:
        """The processes that there are now."""
        return [
            WorkerProcess(w.number, w.process.pid, w.job.movie if w.job else None)
            for w in self._workers
        ]

    @property
    def free_places(self) -> int:
        """Number of idle processes, and one for the movie that is read ahead."""
        return self.side_by_side + 1 - len(self._queue) - len(self._busy())

    def submit(self, job: Job) -> None:
        """Queue the job for the next idle process; if there is none, read its movie ahead."""
        self._queue.append(job)
        if len(self._queue) + len(self._busy()) > self.side_by_side:
            self._read_ahead.request(job.movie)

    def wait(self, listener: Listener, timeout_s: float) -> None:
        """Assign jobs, and wait for messages of the processes."""
        self._hand_out()
        connections = {worker.connection: worker for worker in self._workers}
        if not connections:
            time.sleep(timeout_s)
            return
        for connection in wait(list(connections), timeout_s):
            self._listen(connections[connection], listener)  # type: ignore[index]
        self._stop_hung(listener)
        self._start_fitting()

    def withdraw(self) -> list[Job]:
        """Remove and return the jobs that no process has."""
        jobs = list(self._queue)
        self._queue.clear()
        return jobs

    def close(self) -> None:
        """End all processes."""
        self._read_ahead.close()
        self._queue.clear()
        for worker in list(self._workers):
            self._remove(worker)

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job is not None]

    def _hand_out(self) -> None:
        """Assign queued jobs to idle workers, starting new ones if needed."""
        while self._queue and len(self._busy()) < self.side_by_side:
            idle = next((worker for worker in self._workers if worker.job is None), None)
            if idle is None:
                taken = {worker.number for worker in self._workers}
                idle = _start(next(n for n in itertools.count() if n not in taken))
                self._workers.append(idle)
            idle.job = self._queue.popleft()
            idle.started_s = idle.last_message_s = time.monotonic()
            idle.output.truncate(0)
            with contextlib.suppress(BrokenPipeError):  # `_listen` detects and reports its end
                idle.connection.send(idle.job)

    def _listen(self, worker: _Worker, listener: Listener) -> None:
        """Handle one message, or the end, of a worker."""
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            error_output = self._remove(worker)
            if worker.job is not None:
                failure = _exit_failure(worker.process.returncode, error_output)
                listener(_lost(worker, failure, error_output))
            return
        worker.last_message_s = time.monotonic()
        if isinstance(message, Outcome):
            worker.free()
            listener(message)
        elif isinstance(message, Note):
            if not self._has_sent_note:
                listener(message)
            self._has_sent_note = True
        elif worker.needed_bytes is None:
            worker.needed_bytes = message
        elif worker.job is not None:
            listener(Stage(worker.job.movie, *message))

    def _stop_hung(self, listener: Listener) -> None:
        """Kill workers without a message for too long."""
        for worker in self._busy():
            silent_s = time.monotonic() - worker.last_message_s
            if silent_s > self._timeout_s and not worker.is_waiting:
                worker.process.send_signal(signal.SIGUSR1)  # it dumps its traceback, if it can
                time.sleep(TRACEBACK_WAIT_S)
                trace = self._remove(worker)
                message = f"nothing was heard of its worker for {silent_s:.0f} s"
                listener(_lost(worker, Failure("stalled", message), trace))

    def _start_fitting(self) -> None:
        """Start workers whose movies fit into the free memory, in order.

        A movie that never fits is processed alone with one thread, or refused if even that does not
        fit.
        """
        for worker in sorted(self._busy(), key=lambda worker: worker.started_s):
            if not worker.is_waiting or worker.job is None or worker.needed_bytes is None:
                continue
            normal_bytes, min_bytes = worker.needed_bytes
            if normal_bytes > self._memory_bytes:
                worker.job = replace(worker.job, runs_alone=True)
            if min_bytes > self._memory_bytes:
                self._reply(worker, 0)
            elif self._fits(worker.job, normal_bytes):
                self._reply(worker, 1 if worker.job.runs_alone else self._share(normal_bytes))
            else:
                return  # later ones wait too, otherwise a large movie would never start

    def _fits(self, job: Job, needed_bytes: int) -> bool:
        """Whether a movie fits beside those in progress."""
        running = [worker for worker in self._busy() if worker.threads]
        used = sum(worker.needed_bytes[0] for worker in running if worker.needed_bytes)
        runs_alone = any(w.job.runs_alone for w in running if w.job) or job.runs_alone
        return not running or (used + needed_bytes <= self._memory_bytes and not runs_alone)

    def _reply(self, worker: _Worker, threads: int) -> None:
        """Start a worker's movie, or with zero threads refuse it."""
        worker.threads = threads or 1
        worker.last_message_s = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            worker.connection.send((worker.job, threads))

    def _share(self, needed_bytes: int) -> int:
        """Threads of a movie if the machine is filled with movies of this size."""
        if self._threads:
            return self._threads
        fitting = max(1, min(self.side_by_side, self._memory_bytes // max(1, needed_bytes)))
        return max(1, core_count() // fitting)

    def _remove(self, worker: _Worker) -> str:
        """Kill a worker; return the end of its error output."""
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.wait()
        worker.connection.close()
        os.close(worker.lifeline)
        with worker.output as output:
            output.seek(0)
            return output.read().decode(errors="replace").strip()


def _start(number: int) -> _Worker:
    """A new process, the one of this `number` from 0 on, with a connection to it."""
    ours, theirs = Pipe()
    their_lifeline, our_lifeline = os.pipe()
    output = tempfile.TemporaryFile()  # noqa: SIM115
    numbers = (theirs.fileno(), their_lifeline)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "flexalign.batch.worker", *map(str, numbers)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=numbers,
        env={"MALLOC_ARENA_MAX": MALLOC_ARENA_MAX, **os.environ, PROCESS_VARIABLE: str(number)},
        process_group=0,  # Ctrl-C is handled by the run, which ends its workers
    )
    theirs.close()
    os.close(their_lifeline)
    return _Worker(process, number, ours, our_lifeline, output)


def _exit_failure(code: int, error_output: str) -> Failure:
    """Why a worker ended."""
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
    if code == -signal.SIGKILL:
        how += ", as the system does when memory runs out"
    output = " ".join(error_output.split())[-MAX_STDERR_CHARACTERS:]
    quoted = f"; its last output: {output}" if output else ""
    return Failure("worker-died", f"its worker {how}{quoted}")


def _lost(worker: _Worker, failure: Failure, trace: str) -> Outcome:
    """The outcome of the job of a dead worker."""
    assert worker.job is not None
    return Outcome(worker.job, None, failure, time.monotonic() - worker.started_s, trace=trace)
