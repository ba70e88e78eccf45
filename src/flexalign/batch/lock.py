"""Lock of a run folder: one run at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexalign.atomic import explained
from flexalign.errors import InputError

LOCK_NAME = ".flexalign-run.lock"


@contextmanager
def only_run(folder: Path) -> Iterator[bool]:
    """Lock `folder` for one run; the system releases the lock however the process ends.

    Yields
    ------
    Whether the folder is locked: False on file systems without locks.

    Raises
    ------
    InputError
        If another run has locked it; the message names its machine and process.
    """
    path = folder / LOCK_NAME
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        is_held = _lock(descriptor, folder)
        if is_held:
            os.ftruncate(descriptor, 0)
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            text = f"process {os.getpid()} on {os.uname().nodename}, started {started}"
            os.pwrite(descriptor, text.encode(), 0)
        yield is_held
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> bool:
    """Lock the open file, or raise with the owner of the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        raise InputError(
            f"{folder}: expected a folder that no other run uses, found one in use by "
            f"{holder}: wait for it, stop it, or choose another folder"
        ) from error
    return True
