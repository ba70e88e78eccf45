"""A run over tilt series: their movies go through a run, and each series is put together after.

A tilt is a movie like any other, with its own dose and pre-exposure, so that whatever happens to it
happens to it alone.  All tilts of a series are measured first, which gives each a prior of its
motion by the others.  When the last movie of a series has ended, its stacks are written, and the
files of the single movies are removed unless they are wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexalign.batch import events
from flexalign.batch.events import Event, Observer
from flexalign.batch.failures import Failure, explain
from flexalign.batch.folder import RunFolder
from flexalign.batch.jobs import Note, reference_states
from flexalign.batch.series_folder import SeriesFolder, movies_of, series_lines
from flexalign.batch.series_priors import priors_by_movie, result_or_none
from flexalign.errors import FlexAlignError, InputError
from flexalign.estimate.series import MIN_NEIGHBOURS
from flexalign.io.record import read_record
from flexalign.io.writing.ownership import resolved
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX, TiltFiles
from flexalign.params import AlignParams
from flexalign.tilts.model import TiltSeries
from flexalign.tilts.record import SeriesRecord, finished_series, series_key
from flexalign.tilts.understanding import without_shared_movies
from flexalign.tilts.writing import write_series

if TYPE_CHECKING:
    from flexalign.estimate.series_prior import SeriesPrior, TiltStatistics

# Tilts are measured without neighbours, and again by what these said.
MEASURING_ROUNDS = 2
# While so many movies are under way, no further series is begun.
MAX_AWAITED = 256


@dataclass(slots=True, eq=False)
class _Pending:
    """A series under way: which of its movies have not ended, and why some failed.

    Movies in `unmeasured` are to be measured in this of the `rounds`; what they say is in
    `statistics`, and `priors` are by what they said in the round before.
    """

    series: TiltSeries
    key: str
    awaited: set[Path]
    unmeasured: set[Path]
    failures: dict[Path, Failure] = field(default_factory=dict)
    statistics: dict[Path, TiltStatistics | None] = field(default_factory=dict)
    priors: dict[Path, SeriesPrior | None] = field(default_factory=dict)
    rounds: int = 0


class SeriesWork:
    """What is to be done on series, and what is done; an observer of the run on their movies.

    Parameters
    ----------
    folder : of the results
    tilts : of the run on the movies, whose `params` hold for all of them
    observe : receives all events, and a note for each series
    keep_tilts : the files of single movies stay
    redo : also series that are done
    retry_failed : also those of which tilts failed
    shares_prior : the tilts of a series are measured, and each has a prior by the others
    files : names of the files of single movies, and whether there are stacks

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
        retry_failed: bool = False,
        shares_prior: bool = True,
        files: TiltFiles | None = None,
    ) -> None:
        self._files = files or TiltFiles()
        self._shares_prior = shares_prior and tilts.params.refine
        # The check of the gain may change those of the folder.
        self._asked = tilts.params
        self._folder, self._tilts, self._observe = folder, tilts, observe
        self._keep_tilts, self._redo, self._retry_failed = keep_tilts, redo, retry_failed
        self.own: dict[Path, Mapping[str, Any]] = {}
        self._pending: dict[str, _Pending] = {}
        self._of_movie: dict[Path, str] = {}
        self._pool = ThreadPoolExecutor(1)
        self._writing: deque[tuple[_Pending, Future[SeriesRecord]]] = deque()
        self._thinking: deque[tuple[_Pending, Future[dict[Path, SeriesPrior | None]]]] = deque()
        self._released: list[Path] = []

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
        if self._files.root is not None:
            for path in movies:
                self._tilts.names.give(str(path), self._files.root(path))
        params = replace(self._asked, **series.parameters)
        kind = f"{params.hash()}{' with a shared prior' * self._shares_prior}"
        key = series_key(series, kind, reference_states(params))
        self._of_movie |= {resolved(movie): name for movie in movies}
        images = None if self._files.has_stacks else self._tilts.path
        done = finished_series(self._folder.path, name, key, images)
        has_failed = done is not None and any(t.left_out == "failed" for t in done.series.tilts)
        if done is not None and not self._redo and not (self._retry_failed and has_failed):
            self.say(f"{name}: done before")
            return []
        for note in series.notes:
            self.say(f"{name}: {note}")
        for movie, values in series.own.items():
            self.own[resolved(movie)] = {**series.parameters, **values}
        places = {resolved(movie) for movie in movies}
        needs_prior = self._shares_prior and len(movies) > MIN_NEIGHBOURS
        needs_prior = needs_prior and (self._redo or not self._are_aligned(movies, key))
        pending = _Pending(series, key, places, set(places) if needs_prior else set())
        self._pending[name] = pending
        if not movies:
            self._put_together(pending)
        return movies

    def _are_aligned(self, movies: Sequence[Path], key: str) -> bool:
        """Whether all movies were aligned by an earlier start of the same work."""
        return all(
            (record := self._record_of(str(movie))) is not None
            and record.decisions.get("series_key") == key
            for movie in movies
        )

    def _record_of(self, movie: str) -> MovieRecord | None:
        """The record of a movie; None where there is none to read."""
        name = self._tilts.names.give(movie)
        try:
            return read_record(self._tilts.path / f"{name}{RECORD_SUFFIX}")
        except InputError:
            return None

    def of_series(self, movie: Path) -> dict[str, Any]:
        """What the job of a movie, by its resolved path, has of its series."""
        pending = self._pending.get(self._of_movie.get(movie, ""))
        if pending is None:
            return {}
        return {
            "series_key": pending.key,
            "only_measures": bool(pending.unmeasured),
            "prior": pending.priors.get(movie),
            "suffixes": self._files.suffixes,
        }

    @property
    def failed(self) -> Mapping[str, Failure]:
        """The series that failed, by what describes them."""
        return self._folder.failed

    @property
    def awaited_count(self) -> int:
        """Movies of series under way that have not ended."""
        return sum(len(one.awaited) for one in self._pending.values())

    @property
    def is_unfinished(self) -> bool:
        """Whether there are series under way."""
        return bool(self._pending)

    @property
    def is_measuring(self) -> bool:
        """Whether movies will be released that are measured."""
        measuring = any(one.unmeasured for one in self._pending.values())
        return bool(self._released or self._thinking) or measuring

    def take_released(self) -> list[Path]:
        """The movies that are to be measured again or aligned, with priors, since the last call."""
        while self._thinking and self._thinking[0][1].done():
            pending, future = self._thinking.popleft()
            pending.rounds += 1
            if pending.rounds < MEASURING_ROUNDS:
                pending.unmeasured, pending.statistics = set(pending.awaited), {}
            pending.priors = result_or_none(future, self.say, pending.series.name)
            movies = movies_of(pending.series)
            self._released += [movie for movie in movies if resolved(movie) in pending.awaited]
        released, self._released = self._released, []
        return released

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
            case events.Measured(outcome):
                self._measure(outcome.job.movie, outcome.statistics)
            case events.Skipped(movie, failure):
                self._end(movie, failure)
            case events.Tick():
                self._take_written(wait=False)
            case _:
                pass

    def say(self, text: str) -> None:
        """Pass a note to the observer."""
        self._observe(Note(text))

    def finish(self) -> None:
        """Wait for what is being written, and bring the tables up to date."""
        self._take_written(wait=True)
        self._pool.shutdown()
        self._folder.write()
        self._tilts.write(at_once=True)

    def _measure(self, movie: str, statistics: TiltStatistics | None) -> None:
        """Take in what a tilt says about the others; the last of a series gives the priors."""
        place = resolved(movie)
        pending = self._pending.get(self._of_movie.get(place, ""))
        if pending is None or place not in pending.unmeasured:
            return
        pending.unmeasured.remove(place)
        pending.statistics[place] = statistics
        if not pending.unmeasured:
            self._think(pending)

    def _think(self, pending: _Pending) -> None:
        """Have the priors of a series estimated, beside the alignment of others."""
        angles = {resolved(tilt.movie): tilt.angle_deg for tilt in pending.series.used}
        future = self._pool.submit(priors_by_movie, angles, dict(pending.statistics))
        self._thinking.append((pending, future))

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
            pending.unmeasured.clear()
            self._put_together(pending)
        elif place in pending.unmeasured:
            self._measure(movie, None)

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
                record = self._record_of(tilt.movie)
                if record is None:
                    tilt = tilt.without("failed", "its record cannot be read")
                else:
                    records[tilt.movie] = record
            tilts.append(tilt)
        series = replace(series, tilts=tuple(tilts))
        written = self._pool.submit(
            write_series, series, records, self._tilts.path, self._folder.path, pending.key,
            has_stacks=self._files.has_stacks,
        )  # fmt: skip
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


class ListedSeries:
    """A source of the movies of series that are all known from the start.

    Parameters
    ----------
    series : each is made when there is need of it, as the headers of its movies are read for that
    """

    backlog = 0
    incomplete: Sequence[Path] = ()
    movies: Sequence[Path] = ()

    def __init__(self, series: Iterable[TiltSeries], work: SeriesWork) -> None:
        self._series, self._work = iter(series), work
        self._has_more = True

    @property
    def is_open(self) -> bool:
        """Whether they have not all been taken yet."""
        return self._has_more or self._work.is_measuring

    def take(self) -> Sequence[Path]:
        """The movies that are measured, and those of one more series where few are under way.

        Those near zero tilt come first within each series.
        """
        movies = self._work.take_released()
        while self._has_more and not movies and self._work.awaited_count < MAX_AWAITED:
            series = next(self._series, None)
            if series is None:
                self._has_more = False
            else:
                movies += self._work.begin(series)
        return movies


def without_doses(params: AlignParams) -> AlignParams:
    """`params` without what each movie of a series has of its own."""
    return replace(
        params, dose_per_frame_e_A2=None, eer_dose_per_frame_e_A2=None, eer_total_dose_e_A2=None
    )
