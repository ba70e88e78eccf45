"""Rename finished files to their places as one transaction that survives a killed process.

Files are made in a hidden folder beside their place.  The last one is the record, which lists
the others with their sizes and times: until it is renamed, it tells from the hidden folder which
files of an incomplete publication are ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from flexalign.atomic import explained, sync
from flexalign.io.record import file_state
from flexalign.io.writing.ownership import is_record, refuse_occupied, results_listed
from flexalign.naming import RECORD_SUFFIX

HIDDEN = re.compile(r"\.flexalign-(?P<root>.+)-[a-z0-9_]{8}")
MARK = ".flexalign"
# The record of the earlier files while they are replaced.
EARLIER = ".earlier"


@contextmanager
def hidden_folder(folder: Path, root: str) -> Iterator[Path]:
    """A temporary folder inside `folder`, hence on the same file system.

    A file in it marks it as ours and is locked while a process works in the folder.
    """
    with explained(folder):
        hidden = Path(tempfile.mkdtemp(prefix=f".flexalign-{root}-", dir=folder))
        mark = os.open(hidden / MARK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _is_locked_elsewhere(mark)
        yield hidden
    finally:
        os.close(mark)
        shutil.rmtree(hidden, ignore_errors=True)


def _is_locked_elsewhere(descriptor: int) -> bool:
    """Try to lock an open file; False too on file systems without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    return False


def leftover_root(path: Path) -> str | None:
    """The root of the results in the hidden folder `path`; None if it is not ours."""
    found = HIDDEN.fullmatch(path.name)
    if found is None or path.is_symlink() or not path.is_dir():
        return None
    is_ours = (path / MARK).is_file() or not any(path.iterdir())
    return found["root"] if is_ours else None


def leftovers(folder: Path) -> list[Path]:
    """Hidden folders that killed processes left in `folder`."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as listing:
        names = [item.name for item in listing if HIDDEN.fullmatch(item.name)]
    return [folder / name for name in names if leftover_root(folder / name) is not None]


def results_of(folder: Path, root: str) -> set[str]:
    """Names of the unchanged results of `root` in `folder`, from its record."""
    record = folder / f"{root}{RECORD_SUFFIX}"
    own = results_listed(record, folder, root)
    return own | ({record.name} if is_record(record) else set())


def roll_back(hidden: Path) -> None:
    """Remove the leftovers of a killed process, and the files that it had published.

    Does nothing if the process is alive.
    """
    root, folder = leftover_root(hidden), hidden.parent
    if root is None or _is_in_use(hidden):
        return
    kept = results_listed(folder / f"{root}{RECORD_SUFFIX}", folder, root)
    records = (hidden / f"{root}{RECORD_SUFFIX}", hidden / EARLIER)
    listed = set[str]().union(*(results_listed(record, folder, root) for record in records))
    for name in listed - kept:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(hidden, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove leftovers of killed processes in `folder`, for commands that do not lock it."""
    for hidden in leftovers(folder):
        roll_back(hidden)


def _is_in_use(hidden: Path) -> bool:
    """Whether a process works in a hidden folder."""
    try:
        mark = os.open(hidden / MARK, os.O_RDWR)
    except OSError:
        return False
    try:
        return _is_locked_elsewhere(mark)
    finally:
        os.close(mark)


def states_of(folder: Path, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Flush the files to disk; return size and time of each."""
    found = list(names)
    with explained(folder):
        # In parallel, since the disk flushes them together.
        with ThreadPoolExecutor(max(1, len(found))) as pool:
            list(pool.map(sync, (folder / name for name in found)))
        return {name: file_state(folder / name) for name in found}


def publish(
    hidden: Path, folder: Path, names: Iterable[str], record: str, *, replaces: bool = True
) -> None:
    """Rename finished files to their places, the record last.

    All files are flushed to disk before the record, so that a power failure leaves no record
    without its files. On failure, the files already renamed are removed.

    Parameters
    ----------
    hidden : holds the files and the record, which lists them
    names : of the new files, without the record
    replaces : remove all earlier results, also those without a successor; else the new files are
        added to them

    Raises
    ------
    OccupiedError
        If a file that is not ours has one of the names.
    OutputError
        If they cannot be written.
    """
    root, new = record.removesuffix(RECORD_SUFFIX), list(names)
    own = results_of(folder, root)
    refuse_occupied(folder, [*new, record], own)
    published: list[Path] = []
    with explained(folder):
        sync(hidden / record)
        if replaces and (folder / record).exists():
            (folder / record).replace(hidden / EARLIER)
        try:
            for name in new:
                (hidden / name).replace(folder / name)
                published.append(folder / name)
            for name in own - {*new, record} if replaces else ():
                (folder / name).unlink(missing_ok=True)
            sync(folder)
            (hidden / record).replace(folder / record)
        except BaseException:
            for path in published:
                path.unlink(missing_ok=True)
            if (hidden / EARLIER).exists():
                (hidden / EARLIER).replace(folder / record)
            raise
