"""A run over tilt series: their movies go through a run, and each series is put together after.

A tilt is a movie like any other, with its own dose and pre-exposure, so that whatever happens to it
happens to it alone.  When the last movie of a series has ended, its stacks are written, and the
files of the single movies are removed unless they are wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flexalign.batch import events
from flexalign.batch.events import Event, Observer
from flexalign.batch.failures import Failure, explain
from flexalign.batch.folder import RunFolder
from flexalign.batch.jobs import Note, reference_states
from flexalign.batch.series_folder import SeriesFolder, movies_of
from flexalign.errors import FlexAlignError, InputError
from flexalign.io.record import read_record
from flexalign.io.writing.ownership import RECORD_SUFFIX, resolved
from flexalign.model import MovieRecord
from flexalign.params import AlignParams
from flexalign.tilts.model import TiltSeries
from flexalign.tilts.record import SeriesRecord, finished_series, series_key
from flexalign.tilts.understanding import without_shared_movies
from flexalign.tilts.writing import write_series


@dataclass(slots=True, eq=False)
class _Pending:
    """A series under way: which of its movies have not ended, and why some failed."""

    series: TiltSeries
    key: str
    awaited: set[Path]
    failures: dict[Path, Failure] = field(default_factory=dict)


class SeriesWork:
    """What is to be done on series, and what is done; an observer of the run on their movies.

    Parameters
    ----------
    folder : of the results
    tilts : of the run on the movies, whose `params` hold for all of them
    observe : is told of all events, and of each series in a note
    keep_tilts : the files of single movies stay
    redo : also series that are done

    Attributes
    ----------
    own : parameters of single movies, by their resolved paths, for the run
    """

    def __init__(
        self,
        folder: SeriesFolder,
        tilts: RunFolder,
        observe: Observer,
        *,
        keep_tilts: bool = False,
        redo: bool = False,
    ) -> None:
        self._folder, self._tilts, self._observe = folder, tilts, observe
        self._keep_tilts, self._redo = keep_tilts, redo
        self.own: dict[Path, Mapping[str, Any]] = {}
        self._pending: dict[str, _Pending] = {}
        self._of_movie: dict[Path, str] = {}
        self._pool = ThreadPoolExecutor(1)
        self._writing: deque[tuple[_Pending, Future[SeriesRecord]]] = deque()

    def begin(self, series: TiltSeries) -> list[Path]:
        """The movies of `series` to be aligned; none where it is done or cannot be."""
        try:
            return self._begin(series)
        except FlexAlignError as error:
            self.fail(series.source, error)
            return []

    def _begin(self, series: TiltSeries) -> list[Path]:
        """As `begin`; errors are of this series."""
        name = self._folder.name_of(series)
        self._folder.check(name)
        others = {movie: of for movie, of in self._of_movie.items() if of != name}
        series = without_shared_movies(replace(series, name=name), others)
        movies = movies_of(series)
        params = replace(self._tilts.params, **series.parameters)
        key = series_key(series, params.hash(), reference_states(params))
        self._of_movie |= {resolved(movie): name for movie in movies}
        if not self._redo and finished_series(self._folder.path, name, key) is not None:
            self.say(f"{name}: done before")
            return []
        for note in series.notes:
            self.say(f"{name}: {note}")
        for movie, values in series.own.items():
            self.own[resolved(movie)] = {**series.parameters, **values}
        pending = _Pending(series, key, {resolved(movie) for movie in movies})
        self._pending[name] = pending
        if not movies:
            self._put_together(pending)
        return movies

    def fail(self, source: str, error: BaseException) -> None:
        """Take in that a series cannot be processed, which costs no other one."""
        failure = explain(error)
        self._folder.fail(source, failure)
        self.say(f"error: {source.rsplit('/', 1)[-1]}: {failure.message}")

    def __call__(self, event: Event) -> None:
        """Take in what happened to a movie."""
        self._observe(event)
        match event:
            case events.Ended(outcome, True):
                self._end(outcome.job.movie, outcome.failure)
            case events.Skipped(movie, failure):
                self._end(movie, failure)
            case events.Tick():
                self._take_written(wait=False)
            case _:
                pass

    def say(self, text: str) -> None:
        """Tell whoever watches."""
        self._observe(Note(text))

    def finish(self) -> None:
        """Wait for what is being written, and bring the tables up to date."""
        self._take_written(wait=True)
        self._pool.shutdown()
        self._folder.write()
        self._tilts.write(at_once=True)

    def _end(self, movie: str, failure: Failure | None) -> None:
        """Take in how a movie ended; the last of a series lets it be put together."""
        place = resolved(movie)
        pending = self._pending.get(self._of_movie.get(place, ""))
        if pending is None or place not in pending.awaited:
            return
        pending.awaited.remove(place)
        if failure is not None:
            pending.failures[place] = failure
        if not pending.awaited:
            self._put_together(pending)

    def _put_together(self, pending: _Pending) -> None:
        """Have the results of a series written, beside the alignment of others."""
        series = pending.series
        tilts = []
        records: dict[str, MovieRecord] = {}
        for tilt in series.tilts:
            failure = pending.failures.get(resolved(tilt.movie)) if tilt.is_used else None
            if failure is not None:
                tilt = tilt.without("failed", failure.message)
            elif tilt.is_used:
                name = self._tilts.names.give(tilt.movie)
                try:
                    records[tilt.movie] = read_record(self._tilts.path / f"{name}{RECORD_SUFFIX}")
                except InputError as error:
                    tilt = tilt.without("failed", str(error))
            tilts.append(tilt)
        series = replace(series, tilts=tuple(tilts))
        written = self._pool.submit(
            write_series, series, records, self._tilts.path, self._folder.path, pending.key
        )
        self._writing.append((pending, written))

    def _take_written(self, *, wait: bool) -> None:
        """Take in the series that are written."""
        while self._writing and (wait or self._writing[0][1].done()):
            pending, written = self._writing.popleft()
            self._pending.pop(pending.series.name, None)
            try:
                record = written.result()
            except Exception as error:
                self.fail(pending.series.source, error)
                continue
            self._folder.add(record)
            if not self._keep_tilts:
                for tilt in pending.series.used:
                    self._tilts.forget(tilt.movie)
            for line in series_lines(record):
                self.say(line)
            self._folder.write()


def series_lines(record: SeriesRecord) -> list[str]:
    """How a series went, with a line for each exposure that is left out."""
    series, angles = record.series, [tilt.angle_deg for tilt in record.stacked]
    head = (
        f"{series.name}: {len(angles)} images from {min(angles):g} to {max(angles):g} degrees, of "
        f"{len(series.tilts)} exposures"
    )
    return [head, *(f"  {left_out_line(tilt)}" for tilt in series.left_out)]


def left_out_line(tilt: Any) -> str:
    """What is said of an exposure that is left out."""
    named = f" ({tilt.movie_name})" if tilt.movie_name and tilt.movie_name not in tilt.why else ""
    return (
        f"left out, {tilt.left_out}: exposure {tilt.order} at {tilt.angle_deg:g} degrees{named}: "
        f"{tilt.why}"
    )


class ListedSeries:
    """A source of the movies of series that are all known from the start."""

    backlog = 0
    incomplete: Sequence[Path] = ()

    def __init__(self, series: Sequence[TiltSeries], work: SeriesWork) -> None:
        self._movies = [movie for one in series for movie in work.begin(one)]

    @property
    def is_open(self) -> bool:
        """Whether they have not been taken yet."""
        return bool(self._movies)

    def take(self) -> Sequence[Path]:
        """All of them, once; those near zero tilt first within each series."""
        movies, self._movies = self._movies, []
        return movies

    @property
    def movies(self) -> Sequence[Path]:
        """Those that have not been taken yet."""
        return self._movies


def without_doses(params: AlignParams) -> AlignParams:
    """`params` without what each movie of a series has of its own."""
    return replace(
        params, dose_per_frame_e_A2=None, eer_dose_per_frame_e_A2=None, eer_total_dose_e_A2=None
    )
