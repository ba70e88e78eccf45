"""Watch a folder for tilt series, and detect when each is complete."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from flexalign.batch.inputs import is_movie_name
from flexalign.batch.series import SeriesWork
from flexalign.batch.watching import MIN_CHECK_INTERVAL_S, files_below
from flexalign.errors import FlexAlignError
from flexalign.files import check_folder
from flexalign.io.mdoc import base_name
from flexalign.tilts.model import Source, TiltSeries
from flexalign.tilts.reading import MDOC_SUFFIX, is_series_mdoc, mdoc_source, named_sources

# Size and time of a file.
_State = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SeriesWatch:
    """Settings of the watch.

    Attributes
    ----------
    quiet_s : time without changes after which a series is complete
    tilts : number of exposures of a complete series; None = not known
    settle_s : time without changes after which the movies of such a series are complete
    pattern : for paths of mdoc files relative to the folder; "" = all
    name_pattern : of movies, if there are no mdoc files
    poll_s : maximum interval between listings of the folder
    idle_s : time without changes after which the watch ends; None = never
    """

    quiet_s: float = 600.0
    tilts: int | None = None
    settle_s: float = 15.0
    pattern: str = ""
    name_pattern: str | None = None
    poll_s: float = 10.0
    idle_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """State of a series when the folder was last listed."""

    source: Source
    states: tuple[_State, ...]
    since_s: float


class WatchedSeries:
    """A source of the movies of series that appear in `folder` and below.

    Parameters
    ----------
    understand : function that interprets a source as a series
    work : on which the series are started
    others : folders to exclude
    clock : monotonic time in seconds

    Raises
    ------
    InputError
        If there is no such folder.
    """

    movies: Sequence[Path] = ()

    def __init__(
        self,
        folder: Path,
        choices: SeriesWatch,
        understand: Callable[[Source], TiltSeries],
        work: SeriesWork,
        others: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_folder(folder, "to watch")
        self._folder, self._choices = folder.absolute(), choices
        self._understand, self.work, self._clock = understand, work, clock
        self._others = {str(path.absolute()) for path in others}
        self._pending: dict[str, _Seen] = {}
        self._taken: dict[str, tuple[_State, ...]] = {}
        self._read: dict[Path, tuple[_State, Source | None]] = {}
        self._next_update_s = 0.0
        # Of the first listing, or of the last change since; None = not listed yet.
        self._last_change_s: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits for more series."""
        idle_s = self._choices.idle_s
        if idle_s is None or self._pending or self.work.is_measuring:
            return True
        if self._last_change_s is None:
            return True
        return self._clock() - self._last_change_s <= idle_s

    @property
    def backlog(self) -> int:
        """Number of incomplete series."""
        return len(self._pending)

    @property
    def incomplete(self) -> Sequence[Path]:
        """Nothing: a series without changes is taken as it is."""
        return ()

    def take(self) -> Sequence[Path]:
        """The movies of newly completed series, and the released ones."""
        now, movies = self._clock(), self.work.take_released()
        if now < self._next_update_s:
            return movies
        self._next_update_s = now + min(
            self._choices.poll_s, max(MIN_CHECK_INTERVAL_S, self._choices.settle_s / 4)
        )
        if self._last_change_s is None:
            self._last_change_s = now
        files = self._listing()
        self._update(files, now)
        ready = [key for key, seen in self._pending.items() if self._is_complete(seen, now)]
        for key in ready:
            seen = self._pending.pop(key)
            self._taken[key] = seen.states
            movies += self.work.begin(self._understand(seen.source))
        return movies

    def _listing(self) -> dict[Path, _State]:
        """All files below the folder; if it becomes unavailable, those found so far."""
        found: dict[Path, _State] = {}
        with contextlib.suppress(OSError):
            for item in files_below(str(self._folder), self._others):
                if item.name.endswith(MDOC_SUFFIX) or is_movie_name(Path(item.name)):
                    state = item.stat()
                    found[Path(item.path)] = (state.st_size, state.st_mtime_ns)
        return found

    def _update(self, files: Mapping[Path, _State], now: float) -> None:
        """Update which series exist, and which of them have changed."""
        by_name: dict[str, list[Path]] = {}
        for path in files:
            by_name.setdefault(path.name, []).append(path)
        for key, source in self._sources(files):
            names = [base_name(exposure.movie_name) for exposure in source.exposures]
            paths = [path for name in names for path in by_name.get(name, [])]
            own = [files[source.path]] if source.path in files else []
            states = (*own, *(files[path] for path in paths))
            if self._taken.get(key) == states:
                continue
            before = self._pending.get(key)
            if before is None or before.states != states:
                self._pending[key] = _Seen(source, states, now)
                self._last_change_s = now

    def _sources(self, files: Mapping[Path, _State]) -> Iterator[tuple[str, Source]]:
        """The current series, each with a unique key."""
        pattern = self._choices.name_pattern
        if pattern is not None:
            movies = [path for path in files if path.suffix != MDOC_SUFFIX]
            for source in named_sources(sorted(movies), pattern):
                yield str(source.path / source.name), source
            return
        for path, state in files.items():
            if path.suffix != MDOC_SUFFIX or not self._is_wanted(path):
                continue
            if path not in self._read or self._read[path][0] != state:
                self._read[path] = (state, _series_of(path))
            found = self._read[path][1]
            if found is not None:
                yield str(path), found

    def _is_wanted(self, path: Path) -> bool:
        """Whether an mdoc file matches the pattern."""
        pattern = self._choices.pattern
        return not pattern or fnmatch(os.path.relpath(path, self._folder), pattern)

    def _is_complete(self, seen: _Seen, now: float) -> bool:
        """Whether a series is complete by the criteria of `SeriesWatch`."""
        choices, unchanged_s = self._choices, now - seen.since_s
        newest_ns = max((state[1] for state in seen.states), default=0)
        age_s = time.time() - newest_ns / 1e9
        if unchanged_s >= choices.quiet_s:
            return True
        if age_s >= choices.quiet_s and unchanged_s >= MIN_CHECK_INTERVAL_S:
            return True
        count = len(seen.source.exposures)
        # The mdoc itself is one of the files.
        has_all = len(seen.states) >= count + (choices.name_pattern is None) and all(
            size for size, _ in seen.states
        )
        is_whole = choices.tilts is not None and count >= choices.tilts and has_all
        return is_whole and unchanged_s >= choices.settle_s


def _series_of(path: Path) -> Source | None:
    """The series of an mdoc file; None if it is of another kind or incomplete."""
    try:
        return mdoc_source(path) if is_series_mdoc(path) else None
    except FlexAlignError:
        return None
