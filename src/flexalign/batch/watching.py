"""Movies as they come: a folder that is watched, and when a movie in it is complete.

The listing of the folder is the truth; the system's news of changes only say when to look sooner.
Where there are none, as on network file systems, it is looked at from time to time.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import TracebackType
from typing import Self

from flexalign.batch.inputs import is_movie_name, is_result
from flexalign.errors import InputError
from flexalign.files import is_folder

SIDECAR_SUFFIXES = (".mdoc", ".xml")
# What programs for data collection add to the name of a movie, and not to that of its sidecar.
MOVIE_ENDINGS = re.compile(r"_(fractions|EER)$", re.IGNORECASE)
MIN_CHECK_INTERVAL_S = 1.0
# Listing a folder may take this part of the time: on a network file system it is slow.
MAX_LISTING_SHARE = 0.1
# A movie that was changed so long ago is complete when it is seen for the second time.
OLD_S = 60.0
# A movie that was taken is looked at for so long, in case its writer had only paused.
LATE_CHANGE_S = 3600.0


@dataclass(frozen=True, slots=True)
class WatchChoices:
    """What is watched for.

    Attributes
    ----------
    pattern : that paths from the folder must match; "" = every movie, in folders below too
    settle_s : a movie that has not changed for so long is complete
    poll_s : the folder is listed at least so often
    idle_s : no more movies are waited for when so long none came; None = wait for ever
    sidecars : suffixes of files that appear beside a movie when it is complete
    """

    pattern: str = ""
    settle_s: float = 15.0
    poll_s: float = 10.0
    idle_s: float | None = None
    sidecars: tuple[str, ...] = SIDECAR_SUFFIXES


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was at a look."""

    size_bytes: int
    modified_ns: int
    since_s: float  # when it was first seen so
    is_renamed: bool = False


class Watched:
    """A source of the movies that appear in `folder`; use it in a ``with`` block.

    Parameters
    ----------
    others : files that are no movies, and folders that are not looked into

    Raises
    ------
    InputError
        If there is no such folder.
    """

    def __init__(self, folder: Path, choices: WatchChoices, others: Sequence[Path] = ()) -> None:
        if not is_folder(folder):
            raise InputError(f"{folder}: expected a folder to watch, found none of that name")
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
        self._is_over = threading.Event()
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
        self._is_over.set()
        self._thread.join()

    @property
    def movies(self) -> Sequence[Path]:
        """None are known beforehand."""
        return ()

    @property
    def backlog(self) -> int:
        """Movies that are seen and not complete."""
        return len(self._pending)

    @property
    def is_open(self) -> bool:
        """Whether more movies are waited for; an empty file is no longer than others."""
        idle_s, pending = self._choices.idle_s, self._pending.values()
        if idle_s is None or any(seen.size_bytes for seen in pending):
            return True
        latest_s = max([self._last_new_s, *(seen.since_s for seen in pending)])
        return time.monotonic() - latest_s <= idle_s

    @property
    def incomplete(self) -> Sequence[Path]:
        """Movies that have not become complete although nobody writes to them any more."""
        settled_s = time.monotonic() - self._choices.settle_s
        pending = self._pending.items()
        return [Path(path) for path, seen in pending if seen.since_s <= settled_s]

    def take(self) -> Sequence[Path]:
        """The movies that have become complete since the last call, the oldest first."""
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
        """Find the movies that are new; on a folder that does not answer, none."""
        self._is_woken.clear()
        started, started_ns = time.monotonic(), time.time_ns()
        inodes: set[int] = set()
        with contextlib.suppress(OSError):
            for item in _files(str(self._folder), self._others):
                if self._is_wanted(item.path):
                    if item.path not in self._taken and item.path not in self._pending:
                        state = item.stat()
                        size, modified = state.st_size, state.st_mtime_ns
                        # The number of a deleted file may be that of a new one, which is younger.
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
        """Whether nobody writes to a movie that was seen before, as far as one can tell."""
        before = self._pending[path]
        if is_result(Path(path)):  # of a run into the folder that is watched
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
            or (unchanged_s >= MIN_CHECK_INTERVAL_S and age_s >= OLD_S)
            or self._has_sidecar(Path(path), modified)
        )

    def _has_sidecar(self, movie: Path, modified_ns: int) -> bool:
        """Whether a file that is written after the movie is there, and is not older."""
        stem = MOVIE_ENDINGS.sub("", movie.stem)
        for suffix in self._choices.sidecars:
            for name in (movie.name + suffix, movie.stem + suffix, stem + suffix):
                with contextlib.suppress(OSError):
                    if movie.with_name(name).stat().st_mtime_ns >= modified_ns:
                        return True
        return False

    def _recheck_recent(self, now: float) -> None:
        """Wait once more for movies that were taken and have changed since."""
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
        """Wake `take` when the system tells of a change."""
        import watchfiles

        with contextlib.suppress(OSError):  # too many folders to be told of: polling goes on
            for _ in watchfiles.watch(
                self._folder,
                watch_filter=None,
                stop_event=self._is_over,
                rust_timeout=500,
                raise_interrupt=False,
            ):
                self._is_woken.set()


def _files(folder: str, others: set[str]) -> Iterator[os.DirEntry[str]]:
    """All files in a folder and below, but not in hidden folders and those among `others`."""
    with os.scandir(folder) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                if not item.name.startswith(".") and item.path not in others:
                    yield from _files(item.path, others)
            elif item.is_file():
                yield item
