"""Executor on worker processes of this machine, with shares of cores and memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait

from flexalign.batch.executors import Listener
from flexalign.batch.failures import Failure
from flexalign.batch.gpus import Gpus
from flexalign.batch.jobs import Job, Note, Outcome, Planned, Stage
from flexalign.batch.resources import ReadAhead, memory_budget_bytes
from flexalign.batch.worker_process import Task, Worker, exit_failure, start_worker
from flexalign.machine import core_count

DEFAULT_TIMEOUT_S = 1800.0
MAX_SINGLE_THREAD_CORES = 4
THREADS_PER_MOVIE = 2
# In the process of a GPU one movie is read, one is computed and one is written.
MOVIES_PER_GPU = 3


def default_jobs(threads: int | None) -> int:
    """Movies side by side on the cores there are: movies side by side keep them busier than many
    threads on one movie do.
    """  # noqa: D205
    cores = core_count()
    if threads is not None:
        return max(1, cores // threads)
    return cores if cores <= MAX_SINGLE_THREAD_CORES else cores // THREADS_PER_MOVIE


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process of this machine that works on movies.

    Attributes
    ----------
    device : that it has to use, see `flexalign.arrays.device.PROCESS_VARIABLE`
    pid : of the operating system
    movies : what it works on
    """

    device: str
    pid: int
    movies: tuple[str, ...]


class LocalProcesses:
    """Works in several processes; one that dies or hangs is replaced, its movies reported.

    A movie starts once the memory of its plan is free, so movies of any size share the machine.
    On the CPU, each process has one movie, and cores are divided among as many movies as fit.
    There is one process for each GPU, with several movies, see `flexalign.batch.session`; each
    takes the next movie when it has a free place.

    Parameters
    ----------
    jobs : maximum number of movies in parallel; on GPUs, of each
    threads : number of threads per movie; None = divide the cores
    memory_bytes : for all movies together; None = most of the free memory
    timeout_s : a process without a message for this long is given up
    gpus : that are used; None = none
    device : of the processes without `gpus`; "" = by the parameters of the movie
    """

    def __init__(
        self,
        jobs: int,
        *,
        threads: int | None = None,
        memory_bytes: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        gpus: Gpus | None = None,
        device: str = "",
    ) -> None:
        self._jobs, self._threads = jobs, threads
        self._memory_bytes = memory_budget_bytes() if memory_bytes is None else memory_bytes
        self._timeout_s = timeout_s
        self._gpus, self._device = gpus, device
        self._workers: list[Worker] = []
        self._queue: deque[Job] = deque()
        self._read_ahead = ReadAhead()
        self._has_sent_note = False

    @property
    def processes(self) -> list[WorkerProcess]:
        """The processes that there are now."""
        return [WorkerProcess(w.device, w.process.pid, tuple(w.tasks)) for w in self._workers]

    @property
    def side_by_side(self) -> int:
        """Number of movies in progress if there are enough."""
        return self._jobs * (1 if self._gpus is None else max(1, len(self._gpus.good)))

    @property
    def free_places(self) -> int:
        """Number of free places in processes, and one for the movie that is read ahead."""
        return self.side_by_side + 1 - len(self._queue) - len(list(self._tasks()))

    def submit(self, job: Job) -> None:
        """Queue the job for the next free place in a process; if there is none, read it ahead."""
        self._queue.append(job)
        if len(self._queue) + len(list(self._tasks())) > self.side_by_side:
            self._read_ahead.request(job.movie)

    def wait(self, listener: Listener, timeout_s: float) -> None:
        """Assign jobs, and wait for messages of the processes."""
        has_jobs = bool(self._queue)
        self._hand_out(listener)
        connections = {worker.connection: worker for worker in self._workers}
        if not connections:
            if not has_jobs:
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

    def _tasks(self) -> Iterator[tuple[Worker, Task]]:
        """All movies that processes have, with their processes."""
        for worker in self._workers:
            for task in worker.tasks.values():
                yield worker, task

    def _hand_out(self, listener: Listener) -> None:
        """Give queued jobs to processes with a free place, starting new ones if needed."""
        if self._gpus is not None and not self._gpus.good:
            self._go_on_without(self._gpus, listener)
        while self._queue and (worker := self._with_free_place()) is not None:
            worker.give(self._queue.popleft())

    def _with_free_place(self) -> Worker | None:
        """A process with a free place for a movie; None = there is none."""
        if self._gpus is None:
            idle = next((worker for worker in self._workers if not worker.tasks), None)
            has_place = len(self._workers) < self._jobs
            return idle or (self._new_worker(1, self._device) if has_place else None)
        known = {worker.device: worker for worker in self._workers}
        movies = {gpu: len(known[gpu].tasks) if gpu in known else 0 for gpu in self._gpus.good}
        gpu = min(movies, key=movies.__getitem__, default=None)
        if gpu is None or movies[gpu] >= self._jobs:
            return None
        return known[gpu] if gpu in known else self._new_worker(self._jobs, gpu)

    def _new_worker(self, places: int, device: str) -> Worker:
        worker = start_worker(places, device)
        self._workers.append(worker)
        return worker

    def _go_on_without(self, gpus: Gpus, listener: Listener) -> None:
        """Go on on the CPU when no GPU is left, or report that the queued movies have failed."""
        if gpus.falls_back:
            self._gpus, self._device = None, f"cpu {gpus.reason}"
            self._jobs = default_jobs(self._threads)
            return
        jobs, failure = self.withdraw(), gpus.none_left()
        for job in jobs:
            listener(Outcome(job, None, failure))

    def _listen(self, worker: Worker, listener: Listener) -> None:
        """Handle one message, or the end, of a process."""
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            error_output = self._remove(worker)
            failure = exit_failure(worker.process.returncode, error_output)
            self._report_lost(worker, failure, error_output, listener)
            return
        worker.last_message_s = time.monotonic()
        if isinstance(message, Outcome):
            self._end(worker, message, listener)
        elif isinstance(message, Note):
            if not self._has_sent_note:
                listener(message)
            self._has_sent_note = True
        elif isinstance(message, Planned):
            worker.tasks[message.movie].needs = message.needs
        elif isinstance(message, Stage):
            listener(message)

    def _end(self, worker: Worker, outcome: Outcome, listener: Listener) -> None:
        """Take the outcome of a movie, unless another device is to try it."""
        job, failure = worker.tasks.pop(outcome.job.movie).job, outcome.failure
        if self._gpus is None or failure is None or failure.kind not in ("device", "gpu"):
            if self._gpus is not None and failure is None:
                self._gpus.succeeded(worker.device)
            listener(outcome)
            return
        is_given_on, note = self._gpus.failed(
            worker.device, [job.movie], failure.message, is_of_device=True
        )
        self._say(note, listener)
        others = [task.job for task in worker.tasks.values()]
        if failure.kind == "gpu" or worker.device not in self._gpus.good:
            # Nothing works any more in a process after an error of its GPU.
            self._remove(worker)
            self._put_back(others)
        if is_given_on:
            self._put_back([job])
        else:
            listener(outcome)

    def _report_lost(
        self, worker: Worker, failure: Failure, trace: str, listener: Listener
    ) -> None:
        """Report the movies of a process that is gone, unless another GPU is to try them."""
        tasks, is_given_on = list(worker.tasks.values()), False
        if self._gpus is not None and tasks:
            is_given_on, note = self._gpus.failed(
                worker.device, [task.job.movie for task in tasks], failure.message,
                is_of_device=False,
            )  # fmt: skip
            self._say(note, listener)
        if is_given_on:
            self._put_back([task.job for task in tasks])
            return
        for task in tasks:
            listener(task.lost(failure, trace))

    def _put_back(self, jobs: Sequence[Job]) -> None:
        """Let other processes take these jobs first."""
        self._queue.extendleft(reversed(jobs))

    def _say(self, note: str, listener: Listener) -> None:
        for line in note.splitlines():
            listener(Note(line))

    def _stop_hung(self, listener: Listener) -> None:
        """Kill processes without a message for too long."""
        for worker in list(self._workers):
            silent_s = worker.silent_s()
            if silent_s > self._timeout_s:
                trace = self._remove(worker, dumps=True)
                failure = Failure(
                    "stalled", f"nothing was heard of its worker for {silent_s:.0f} s"
                )
                self._report_lost(worker, failure, trace, listener)

    def _start_fitting(self) -> None:
        """Start movies that fit into the free memory, in order.

        A movie that never fits is processed alone with one thread, or refused if even that does not
        fit.
        """
        for worker, task in sorted(self._tasks(), key=lambda item: item[1].started_s):
            if not task.is_waiting or task.needs is None:
                continue
            needs = task.needs
            if needs.normal_bytes > self._memory_bytes:
                task.job = replace(task.job, runs_alone=True)
            if needs.min_bytes > self._memory_bytes:
                worker.start(task, 0)
            elif self._fits(task.job, needs.normal_bytes):
                self._start(worker, task, needs.normal_bytes, needs.frames_bytes)
            else:
                return  # later ones wait too, otherwise a large movie would never start

    def _start(self, worker: Worker, task: Task, needed_bytes: int, frames_bytes: int) -> None:
        """Start a movie that fits; its frames are read ahead if they fit too."""
        ahead_bytes = needed_bytes + frames_bytes
        reads_ahead = self._gpus is not None and self._jobs > 1 and not task.job.runs_alone
        reads_ahead = reads_ahead and self._used_bytes() + ahead_bytes <= self._memory_bytes
        task.reserved_bytes = ahead_bytes if reads_ahead else needed_bytes
        threads = 1 if task.job.runs_alone else self._share(needed_bytes)
        worker.start(task, threads, reads_ahead=reads_ahead)

    def _used_bytes(self) -> int:
        """Memory of the movies in progress."""
        return sum(task.reserved_bytes for _, task in self._tasks())

    def _fits(self, job: Job, needed_bytes: int) -> bool:
        """Whether a movie fits beside those in progress."""
        running = [task for _, task in self._tasks() if task.threads]
        runs_alone = any(task.job.runs_alone for task in running) or job.runs_alone
        fits = self._used_bytes() + needed_bytes <= self._memory_bytes
        return not running or (fits and not runs_alone)

    def _share(self, needed_bytes: int) -> int:
        """Threads of a movie if the machine is filled with movies of this size.

        One movie at a time is computed on each GPU, with the threads of all that are there.
        """
        if self._threads:
            return self._threads
        places = self._jobs if self._gpus is None else len(self._gpus.good)
        fitting = max(1, min(places, self._memory_bytes // max(1, needed_bytes)))
        return max(1, core_count() // fitting)

    def _remove(self, worker: Worker, *, dumps: bool = False) -> str:
        """Kill a process; return the end of its error output."""
        self._workers.remove(worker)
        return worker.end(dumps=dumps)
