"""Who does the work: one small interface, and the executor that works in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from flexalign.batch.jobs import Job, Note, Outcome, Stage, run_job
from flexalign.batch.resources import core_count

Listener = Callable[[Stage | Note | Outcome], None]


class Executor(Protocol):
    """Takes jobs and tells how they go.

    A job that was submitted comes back as one `Outcome`, whatever happens to the process or the
    machine that worked on it.
    """

    @property
    def free_places(self) -> int:
        """How many more jobs it would take now."""
        ...

    @property
    def side_by_side(self) -> int:
        """How many movies are worked on at a time when there are enough."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job; when it starts is the executor's business."""
        ...

    def wait(self, listener: Listener, timeout_s: float) -> None:
        """Work, or listen to those who do, about so long; sooner when a job has ended."""
        ...

    def withdraw(self) -> list[Job]:
        """The jobs that nobody has begun with; they are forgotten here."""
        ...

    def close(self) -> None:
        """Give up whatever is under way and let go of everything."""
        ...


class InProcess:
    """Works on one movie at a time in this process: simplest to look into, least protected."""

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
        """Do the job, however long it takes."""
        if self._job is None:
            time.sleep(timeout_s)
            return
        job, self._job = self._job, None
        listener(run_job(job, self._threads, lambda *news: listener(Stage(job.movie, *news))))

    def withdraw(self) -> list[Job]:
        """The job that was not begun."""
        job, self._job = self._job, None
        return [job] if job else []

    def close(self) -> None:
        """Forget the job."""
        self._job = None
