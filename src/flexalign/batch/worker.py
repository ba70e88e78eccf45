"""The worker process of `flexalign.batch.local_processes`, one movie at a time.

It is started as ``python -m flexalign.batch.worker CONNECTION LIFE``, two file descriptors: a
connection for jobs and progress, and a pipe that closes when the parent process ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flexalign.batch.failures import explain
from flexalign.batch.jobs import Job, Note, Outcome, needed_bytes, refused, run_job, throttled

# Minimum interval of progress messages within a stage.
MIN_MESSAGE_INTERVAL_S = 0.2
# When memory runs out, the system should kill a worker rather than the run.
OOM_SCORE = 500


def main(connection_number: int, lifeline_number: int) -> None:
    """Work until the parent process closes the connection or ends."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    threading.Thread(target=_end_with_parent, args=(lifeline_number,), daemon=True).start()
    _prefer_as_oom_victim()
    connection: Connection[Any, Any] = Connection(connection_number)
    try:
        while True:
            connection.send(_work(connection, connection.recv()))
    except (EOFError, BrokenPipeError):
        return


def _work(connection: Connection[Any, Any], job: Job) -> Outcome:
    """Report the needs of a job, wait for permission, run it."""
    from flexalign.arrays.kernels.warp import compiling_note

    try:
        needed = needed_bytes(job)
    except Exception as error:
        return Outcome(job, None, explain(error))
    note = compiling_note()
    if note:
        connection.send(Note(note))
    connection.send(needed)
    job, threads = connection.recv()
    if not threads:
        return refused(job, needed[1])

    def send(stage: str, done: int, total: int) -> None:
        connection.send((stage, done, total))

    return run_job(job, threads, throttled(send, MIN_MESSAGE_INTERVAL_S))


def _end_with_parent(lifeline_number: int) -> None:
    """End this process when the other end of the pipe closes."""
    os.read(lifeline_number, 1)
    os._exit(1)


def _prefer_as_oom_victim() -> None:
    """Make this process the first to be killed when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
