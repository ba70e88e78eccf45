"""The worker process of `flexalign.batch.local_processes`.

It is started as ``python -m flexalign.batch.worker CONNECTION LIFE PLACES``: the file descriptors
of a connection for jobs and progress and of a pipe that closes when the parent process ends, and
the number of movies at a time.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from flexalign.batch.failures import explain
from flexalign.batch.jobs import (
    Job,
    Note,
    Outcome,
    Planned,
    Stage,
    Start,
    needs_of,
    refused,
    run_job,
    throttled,
)
from flexalign.batch.session import Session

# Minimum interval of progress messages within a stage.
MIN_MESSAGE_INTERVAL_S = 0.2
# When memory runs out, the system should kill a worker rather than the run.
OOM_SCORE = 500


class _Worker:
    """Answers the messages of the parent process: jobs, and the permission to start them."""

    def __init__(self, connection: Connection[Any, Any], places: int) -> None:
        self._connection, self._sending = connection, threading.Lock()
        self._session = Session(places)
        self._permissions: dict[str, SimpleQueue[Start]] = {}

    def work(self) -> None:
        """Work until the parent process closes the connection or ends."""
        while True:
            message = self._connection.recv()
            if isinstance(message, Start):
                self._permissions[message.job.movie].put(message)
            else:
                self._permissions[message.movie] = SimpleQueue()
                self._session.begin(partial(self._work_on, message))

    def _work_on(self, job: Job) -> None:
        self._send(self._outcome(job))

    def _outcome(self, job: Job) -> Outcome:
        """Report the needs of a job, wait for permission, run it."""
        from flexalign.arrays.kernels.warp import compiling_note

        try:
            needs = needs_of(job)
        except Exception as error:
            return Outcome(job, None, explain(error))
        if note := compiling_note():
            self._send(Note(note))
        self._send(Planned(job.movie, needs))
        start = self._permissions[job.movie].get()
        del self._permissions[job.movie]
        if not start.threads:
            return refused(start.job, needs.min_bytes)

        def send(stage: str, done: int, total: int) -> None:
            self._send(Stage(job.movie, stage, done, total))

        return run_job(
            start.job, start.threads, throttled(send, MIN_MESSAGE_INTERVAL_S),
            self._session.stages(reads_ahead=start.reads_ahead),
        )  # fmt: skip

    def _send(self, message: object) -> None:
        with self._sending:
            self._connection.send(message)


def main(connection_number: int, lifeline_number: int, places: int) -> None:
    """Work until the parent process closes the connection or ends."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    threading.Thread(target=_end_with_parent, args=(lifeline_number,), daemon=True).start()
    _prefer_as_oom_victim()
    with contextlib.suppress(EOFError):
        _Worker(Connection(connection_number), places).work()


def _end_with_parent(lifeline_number: int) -> None:
    """End this process when the other end of the pipe closes."""
    os.read(lifeline_number, 1)
    os._exit(1)


def _prefer_as_oom_victim() -> None:
    """Make this process the first to be killed when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
