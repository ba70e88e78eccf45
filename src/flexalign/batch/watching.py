"""Watch a folder for movies, and detect when each is complete.

The folder listing is authoritative; the system's change notifications only trigger it earlier.
Without them, as on network file systems, the folder is polled.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import TracebackType
from typing import Self

from flexalign.batch.inputs import is_movie_name, is_result
from flexalign.files import check_folder
from flexalign.io.inspect.sidecars import SIDECAR_SUFFIXES, sidecars_of

MIN_CHECK_INTERVAL_S = 1.0
# Maximum share of the time for listing, which is slow on network file systems.
MAX_LISTING_SHARE = 0.1
# A movie last modified this long ago is complete when seen for the second time.
SETTLED_AGE_S = 60.0
# Movies are re-checked for this long after they were taken, in case their writer only paused.
LATE_CHANGE_S = 3600.0


@dataclass(frozen=True, slots=True)
class WatchChoices:
    """Options of watching.

    Attributes
    ----------
    pattern : pattern for paths relative to the folder; "" = every movie, in subfolders too
    settle_s : a movie unchanged for this long is complete
    poll_s : maximum interval between listings
    idle_s : stop after this long without new movies; None = never
    sidecars : suffixes of files that appear beside a complete movie
    """

    pattern: str = ""
    settle_s: float = 15.0
    poll_s: float = 10.0
    idle_s: float | None = None
    sidecars: tuple[str, ...] = SIDECAR_SUFFIXES


@dataclass(frozen=True, slots=True)
class _Seen:
    """State of a file at a check."""

    size_bytes: int
    modified_ns: int
    since_s: float  # when this state was first seen
    is_renamed: bool = False


class Watched:
    """Source of the movies that appear in `folder`; use it in a ``with`` block.

    Parameters
    ----------
    others : files and folders to ignore

    Raises
    ------
    InputError
        If there is no such folder.
    """

    def __init__(self, folder: Path, choices: WatchChoices, others: Sequence[Path] = ()) -> None:
        check_folder(folder, "to watch")
        self._folder, self._choices = folder.absolute(), choices
        self._others = {str(path.absolute()) for path in others}
        self._pending: dict[str, _Seen] = {}
        self._taken: set[str] = set()
        self._recent: dict[str, _Seen] = {}
        self._inodes: set[int] = set()
        self._listed_ns = 0
        self._next_listing_s = self._earliest_listing_s = self._next_check_s = 0.0
        self._last_new_s = time.monotonic()
        self._is_woken = threading.Event()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed.set()
        self._thread.join()

    @property
    def movies(self) -> Sequence[Path]:
        """None are known beforehand."""
        return ()

    @property
    def backlog(self) -> int:
        """Number of movies that are seen and not complete."""
        return len(self._pending)

    @property
    def is_open(self) -> bool:
        """Whether to wait for more movies; an empty file does not extend the wait."""
        idle_s, pending = self._choices.idle_s, self._pending.values()
        if idle_s is None or any(seen.size_bytes for seen in pending):
            return True
        if not self._listed_ns:
            return True  # the idle time counts from the first listing
        latest_s = max([self._last_new_s, *(seen.since_s for seen in pending)])
        return time.monotonic() - latest_s <= idle_s

    @property
    def incomplete(self) -> Sequence[Path]:
        """Movies that are incomplete although no longer written to."""
        settled_s = time.monotonic() - self._choices.settle_s
        pending = self._pending.items()
        return [Path(path) for path, seen in pending if seen.since_s <= settled_s]

    def take(self) -> Sequence[Path]:
        """Return the movies that have become complete since the last call, oldest first."""
        now = time.monotonic()
        is_due = now >= self._next_listing_s or self._is_woken.is_set()
        if is_due and now >= self._earliest_listing_s:
            self._list()
        if now < self._next_check_s:
            return ()
        self._next_check_s = now + MIN_CHECK_INTERVAL_S
        self._recheck_recent(now)
        ready = [path for path in list(self._pending) if self._is_complete(path, now)]
        ready.sort(key=lambda path: self._pending[path].modified_ns)
        for path in ready:
            self._taken.add(path)
            self._recent[path] = self._pending.pop(path)
        return [Path(path) for path in ready]

    def _list(self) -> None:
        """Find new movies; none if the folder does not answer."""
        self._is_woken.clear()
        started, started_ns = time.monotonic(), time.time_ns()
        if not self._listed_ns:
            self._last_new_s = started
        inodes: set[int] = set()
        with contextlib.suppress(OSError):
            for item in files_below(str(self._folder), self._others):
                if self._is_wanted(item.path):
                    if item.path not in self._taken and item.path not in self._pending:
                        state = item.stat()
                        size, modified = state.st_size, state.st_mtime_ns
                        # The inode number of a deleted file may be reused by a newer file.
                        is_renamed = item.inode() in self._inodes and modified < self._listed_ns
                        self._pending[item.path] = _Seen(size, modified, started, is_renamed)
                        self._last_new_s = started
                else:
                    inodes.add(item.inode())
        self._inodes, self._listed_ns = inodes, started_ns
        ended = time.monotonic()
        self._next_listing_s = ended + self._choices.poll_s
        pause_s = (ended - started) / MAX_LISTING_SHARE
        self._earliest_listing_s = ended + max(MIN_CHECK_INTERVAL_S, pause_s)

    def _is_wanted(self, path: str) -> bool:
        """Whether the file is a movie, by its name."""
        if path in self._others or not is_movie_name(Path(path)):
            return False
        pattern = self._choices.pattern
        return not pattern or fnmatch(os.path.relpath(path, self._folder), pattern)

    def _is_complete(self, path: str, now: float) -> bool:
        """Whether a movie seen before is probably complete."""
        before = self._pending[path]
        if is_result(Path(path)):  # results of a run into the watched folder
            del self._pending[path]
            self._taken.add(path)
            return False
        try:
            state = Path(path).stat()
        except OSError:
            del self._pending[path]
            return False
        size, modified = state.st_size, state.st_mtime_ns
        if (size, modified) != (before.size_bytes, before.modified_ns):
            self._pending[path] = _Seen(size, modified, now)
            return False
        if not size:
            return False
        unchanged_s, age_s = now - before.since_s, time.time() - modified / 1e9
        return (
            before.is_renamed
            or unchanged_s >= self._choices.settle_s
            or (unchanged_s >= MIN_CHECK_INTERVAL_S and age_s >= SETTLED_AGE_S)
            or self._has_sidecar(Path(path), modified)
        )

    def _has_sidecar(self, movie: Path, modified_ns: int) -> bool:
        """Whether a sidecar file exists that is not older than the movie."""
        for sidecar in sidecars_of(movie, self._choices.sidecars):
            with contextlib.suppress(OSError):
                if sidecar.stat().st_mtime_ns >= modified_ns:
                    return True
        return False

    def _recheck_recent(self, now: float) -> None:
        """Queue movies again that have changed since they were taken."""
        for path, seen in list(self._recent.items()):
            if now - seen.since_s > LATE_CHANGE_S:
                del self._recent[path]
                continue
            with contextlib.suppress(OSError):
                state = Path(path).stat()
                size, modified = state.st_size, state.st_mtime_ns
                if (size, modified) != (seen.size_bytes, seen.modified_ns):
                    self._pending[path] = _Seen(size, modified, now)
                    del self._recent[path]

    def _listen(self) -> None:
        """Wake `take` on change notifications of the system."""
        import watchfiles

        with contextlib.suppress(OSError):  # too many folders for notifications: polling continues
            for _ in watchfiles.watch(
                self._folder,
                watch_filter=None,
                stop_event=self._is_closed,
                rust_timeout=500,
                raise_interrupt=False,
            ):
                self._is_woken.set()


def files_below(folder: str, others: set[str]) -> Iterator[os.DirEntry[str]]:
    """All files in a folder and below, but not in hidden folders and those among `others`."""
    with os.scandir(folder) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                if not item.name.startswith(".") and item.path not in others:
                    yield from files_below(item.path, others)
            elif item.is_file():
                yield item
