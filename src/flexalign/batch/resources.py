"""Cores and memory available to this process, and read-ahead of files."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path

from flexalign.errors import InputError
from flexalign.files import check_regular_file
from flexalign.machine import physical_memory_bytes

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")
# Other programs may need free memory too, and the plan of a movie is an estimate.
USED_SHARE_OF_FREE = 0.8
MAX_READ_AHEAD_SHARE = 0.1
READ_AT_ONCE_BYTES = 4 << 20


def free_memory_bytes() -> int:
    """Memory available without swapping: of the machine, container or cluster job.

    Returns
    -------
    A large number if it is unknown.
    """
    free = [1 << 50]
    if MEMINFO.exists():
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        free.append(int(lines["MemAvailable"].split()[0]) * 1024)
    else:
        # Of a system that does not tell what is free, such as macOS, half may be used.
        free.append((physical_memory_bytes() or 1 << 50) // 2)
    for folder in _cgroups():
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is not None:
            # Cached file pages count as used, but are released when needed.
            free.append(limit - (used or 0) + _cached_bytes(folder))
    return max(0, min(free))


def memory_budget_bytes() -> int:
    """Default memory budget of a run."""
    return int(USED_SHARE_OF_FREE * free_memory_bytes())


class ReadAhead:
    """Reads files ahead of their use, one at a time, into the system's page cache.

    The system call for that (`posix_fadvise`) reads only some megabytes.
    """

    def __init__(self) -> None:
        self._files: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def request(self, path: str) -> None:
        """Queue the file for reading, unless memory is short."""
        self._files.put(path)

    def close(self) -> None:
        """Read no further file."""
        self._files.put(None)

    def _read(self) -> None:
        while (path := self._files.get()) is not None:
            with contextlib.suppress(InputError, OSError):
                fits = check_regular_file(path) < free_memory_bytes() * MAX_READ_AHEAD_SHARE
                with Path(path).open("rb", buffering=0) as file:
                    while fits and file.read(READ_AT_ONCE_BYTES):
                        pass


def _cgroups() -> list[Path]:
    """Control-group folders that may limit the memory of this process."""
    try:
        lines = CGROUP.read_text().splitlines()
    except OSError:
        return []
    folders = [CGROUP_ROOT, CGROUP_ROOT / "memory"]
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers in ("", "memory"):
            inner = CGROUP_ROOT / controllers / place.lstrip("/")
            folders += [inner, *(p for p in inner.parents if CGROUP_ROOT in p.parents)]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _number(path: Path) -> int | None:
    """The number in a system file, None if there is none or it means "no limit"."""
    try:
        number = int(path.read_text())
    except (OSError, ValueError):
        return None
    return number if number < 1 << 60 else None


def _cached_bytes(folder: Path) -> int:
    """Inactive cached file pages counted as used memory of a control group."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    words = dict(line.split()[:2] for line in lines)
    return int(words.get("total_inactive_file", words.get("inactive_file", 0)))
