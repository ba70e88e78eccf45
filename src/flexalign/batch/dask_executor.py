"""Executor on the workers of a Dask cluster.

Workers write results directly to the run folder, which all machines must share; only jobs,
progress and records are sent over the network.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from flexalign.batch.executors import Listener
from flexalign.batch.failures import Failure, explain
from flexalign.batch.jobs import (
    Job,
    Note,
    Outcome,
    Stage,
    needs_of,
    refused,
    run_job,
    throttled,
)
from flexalign.errors import InputError
from flexalign.machine import core_count

# Jobs queued at the scheduler per place, so that no worker idles and an adaptive cluster sees the
# amount of work.
JOBS_PER_PLACE = 2
MIN_MESSAGE_INTERVAL_S = 1.0
PLACE_COUNT_INTERVAL_S = 5.0
CONNECT_S = 20.0
# Time to wait for a lost scheduler.
SCHEDULER_TIMEOUT_S = 600.0


@dataclass(slots=True, eq=False)
class _Task:
    """A job at the scheduler; `last_message_s` is 0 until a worker has begun with it.

    It `is_lost` if it ended and the scheduler was lost before reporting it.
    """

    job: Job
    future: Any
    worker: str = ""
    last_message_s: float = 0.0
    is_lost: bool = False


class DaskExecutor:
    """Works on a Dask cluster.

    Movies of a worker that dies are repeated by others, as often as the scheduler allows. One that
    hangs is restarted. If the scheduler is lost, the executor waits for it and submits all
    unfinished jobs again; results finished in the meantime are on disk and not repeated.

    Parameters
    ----------
    connect : opens a new connection to the scheduler
    max_places : maximum number of places that the cluster can grow to
    threads : number of threads per movie; None = the cores of a worker divided by its places
    timeout_s : a movie without a message for this long is given up
    close_cluster : called at the end
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        max_places: int = 1,
        threads: int | None = None,
        timeout_s: float = 1800.0,
        close_cluster: Callable[[], None] = lambda: None,
    ) -> None:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._connect, self._close_cluster = connect, close_cluster
        self._max_places, self._threads, self._timeout_s = max_places, threads, timeout_s
        self._topic = f"flexalign-{uuid4().hex}"
        self._tasks: dict[str, _Task] = {}
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._places, self._counted_s = 0, 0.0
        self._client = self._new_client()

    @property
    def side_by_side(self) -> int:
        """Number of movies that the present workers process in parallel."""
        now = time.monotonic()
        if now > self._counted_s + PLACE_COUNT_INTERVAL_S:
            with contextlib.suppress(OSError, ValueError):
                self._places = sum(self._client.nthreads().values())
            self._counted_s = now
        return self._places

    @property
    def free_places(self) -> int:
        """Number of further jobs that the scheduler should queue."""
        places = max(self.side_by_side, self._max_places)
        return JOBS_PER_PLACE * places - len(self._tasks)

    def submit(self, job: Job) -> None:
        """Give the job to the scheduler."""
        self._tasks[job.movie] = _Task(job, self._send(job))

    def wait(self, listener: Listener, timeout_s: float) -> None:
        """Listen to the scheduler until a movie has ended, but not for long."""
        until = time.monotonic() + timeout_s
        self._check_scheduler(listener)
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(message, dict):
                self._receive(message, listener)
            elif self._end(message, listener):
                break
        self._stop_hung(listener)

    def withdraw(self) -> list[Job]:
        """Withdraw the jobs that no worker has reported; one that has begun is given up."""
        tasks = [task for task in self._tasks.values() if not task.last_message_s]
        with contextlib.suppress(OSError, TimeoutError):  # a lost scheduler has forgotten them
            self._client.cancel([task.future for task in tasks], force=True)
        for task in tasks:
            del self._tasks[task.job.movie]
        return [task.job for task in tasks]

    def close(self) -> None:
        """Give up jobs in progress and disconnect; close the cluster if it is ours."""
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            self._client.cancel([task.future for task in self._tasks.values()], force=True)
        self._client.close(timeout=5)
        self._close_cluster()

    def _new_client(self) -> Any:
        """A connection to the scheduler, subscribed to progress messages."""
        client = self._connect()
        client.subscribe_topic(self._topic, lambda event: self._messages.put(event[1]))
        return client

    def _send(self, job: Job) -> Any:
        """Submit a job; return its future."""
        future = self._client.submit(
            work, job, self._threads, self._topic, key=f"{job.name}-{uuid4().hex}", pure=False
        )
        future.add_done_callback(self._messages.put)
        return future

    def _receive(self, message: dict[str, Any], listener: Listener) -> None:
        """Handle a progress message."""
        task = self._tasks.get(message["movie"])
        if task is not None:
            task.worker, task.last_message_s = message["worker"], time.monotonic()
            if message["stage"]:
                listener(
                    Stage(message["movie"], message["stage"], message["done"], message["total"])
                )

    def _end(self, future: Any, listener: Listener) -> bool:
        """Handle the end of a future; return whether a job ended with it."""
        task = next((task for task in self._tasks.values() if task.future is future), None)
        if task is None or future.status not in ("finished", "error"):
            return False  # given up, or lost with the scheduler
        try:
            is_error = future.status == "error"
            outcome = _failed(task.job, future.exception()) if is_error else future.result()
        except (OSError, CancelledError):
            task.is_lost = True
            return False
        del self._tasks[task.job.movie]
        listener(outcome)
        return True

    def _check_scheduler(self, listener: Listener) -> None:
        """Submit jobs again that a lost scheduler has forgotten, once it is back."""
        if self._client.status == "closed":
            listener(Note("the scheduler is lost: waiting for it"))
            self._client = self._wait_for_scheduler()
        if self._client.status != "running":
            return
        lost = [
            task
            for task in self._tasks.values()
            if task.is_lost or task.future.status in ("cancelled", "lost")
        ]
        for task in lost:
            task.future, task.last_message_s, task.is_lost = self._send(task.job), 0.0, False
        if lost:
            listener(Note(f"the scheduler is back and has {len(lost)} movies again"))

    def _wait_for_scheduler(self) -> Any:
        """A new connection, as soon as the scheduler answers.

        Raises
        ------
        InputError
            If it does not answer in time.
        """
        until = time.monotonic() + SCHEDULER_TIMEOUT_S
        while True:
            try:
                return self._new_client()
            except (OSError, InputError):
                if time.monotonic() > until:
                    raise
                time.sleep(1.0)

    def _stop_hung(self, listener: Listener) -> None:
        """Restart workers without a message for too long."""
        now = time.monotonic()
        for task in list(self._tasks.values()):
            if not task.last_message_s or now < task.last_message_s + self._timeout_s:
                continue
            del self._tasks[task.job.movie]
            with contextlib.suppress(Exception):  # it may be gone, or have no nanny to restart it
                self._client.cancel([task.future], force=True)
                self._client.restart_workers([task.worker], timeout=30, raise_for_error=False)
            message = (
                f"nothing was heard of worker {task.worker} for {now - task.last_message_s:.0f} s"
            )
            listener(Outcome(task.job, None, Failure("stalled", message)))


def work(job: Job, threads: int | None, topic: str) -> Outcome:
    """Run a job in a Dask worker and report its stages under `topic`."""
    from distributed import get_worker

    worker = get_worker()

    def send(stage: str, done: int, total: int) -> None:
        message = {"movie": job.movie, "stage": stage, "done": done, "total": total}
        worker.log_event(topic, {**message, "worker": worker.address})

    send("", 0, 0)
    places = max(1, worker.state.nthreads)
    limit_bytes = (worker.memory_manager.memory_limit or 1 << 50) // places
    try:
        needs = needs_of(job)
    except Exception as error:
        return Outcome(job, None, explain(error))
    if needs.min_bytes > limit_bytes:
        return refused(job, needs.min_bytes)
    if needs.normal_bytes > limit_bytes:
        job = replace(job, runs_alone=True)
    outcome = run_job(
        job, threads or max(1, core_count() // places), throttled(send, MIN_MESSAGE_INTERVAL_S)
    )
    # The process time includes that of other movies in the same process.
    return replace(outcome, cpu_s=float("nan")) if places > 1 else outcome


def _failed(job: Job, error: BaseException) -> Outcome:
    """The outcome of a job that the scheduler has given up."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        message = f"{error.allowed_failures + 1} workers died while processing it"
        return Outcome(replace(job, runs_alone=True), None, Failure("worker-died", message))
    if isinstance(error, ImportError):
        message = f"the workers cannot load flexalign of the same version: {error}"
        return Outcome(job, None, Failure("device", message, 4))
    return Outcome(job, None, explain(error), trace=repr(error))
