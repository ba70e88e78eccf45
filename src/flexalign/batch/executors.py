"""The interface of executors, and the executor that works in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from flexalign.batch.jobs import Job, Note, Outcome, Stage, run_job
from flexalign.machine import core_count

Listener = Callable[[Stage | Note | Outcome], None]


class Executor(Protocol):
    """Runs jobs and reports their progress.

    Every submitted job ends with exactly one `Outcome`, whatever happens to the process or machine
    that worked on it.
    """

    @property
    def free_places(self) -> int:
        """Number of further jobs that can be submitted now."""
        ...

    @property
    def side_by_side(self) -> int:
        """Number of movies processed in parallel if there are enough."""
        ...

    def submit(self, job: Job) -> None:
        """Queue a job; the executor decides when it starts."""
        ...

    def wait(self, listener: Listener, timeout_s: float) -> None:
        """Work, or wait for messages, for about this long; return early when a job has ended."""
        ...

    def withdraw(self) -> list[Job]:
        """Remove and return the jobs that have not begun."""
        ...

    def close(self) -> None:
        """Abort jobs in progress and release all resources."""
        ...


class InProcess:
    """Processes one movie at a time in this process: easiest to debug, least protected."""

    side_by_side = 1

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or core_count()
        self._job: Job | None = None

    @property
    def free_places(self) -> int:
        """One, unless there is a job."""
        return int(self._job is None)

    def submit(self, job: Job) -> None:
        """Keep the job until `wait` is called."""
        self._job = job

    def wait(self, listener: Listener, timeout_s: float) -> None:
        """Run the job to its end."""
        if self._job is None:
            time.sleep(timeout_s)
            return
        job, self._job = self._job, None
        listener(run_job(job, self._threads, lambda *stage: listener(Stage(job.movie, *stage))))

    def withdraw(self) -> list[Job]:
        """Remove and return the job that has not begun."""
        job, self._job = self._job, None
        return [job] if job else []

    def close(self) -> None:
        """Drop the job."""
        self._job = None
