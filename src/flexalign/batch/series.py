"""A run over tilt series: their movies are processed in a run, then each series is assembled.

A tilt is a movie like any other, with its own dose and pre-exposure, so that a failure affects
only that tilt.  All tilts of a series are measured first, which gives each a prior of its motion
from the others.  When the last movie of a series has ended, its stacks are written, and the files
of the single movies are removed unless they are to be kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexalign.batch import events
from flexalign.batch.events import Event, Observer
from flexalign.batch.failures import Failure, explain
from flexalign.batch.folder import RunFolder
from flexalign.batch.jobs import Job, Note, reference_states
from flexalign.batch.pending_series import PendingSeries, Priors
from flexalign.batch.series_folder import SeriesFolder, movies_of
from flexalign.batch.series_priors import result_or_none
from flexalign.errors import FlexAlignError, InputError
from flexalign.estimate.series import MIN_NEIGHBOURS
from flexalign.io.record import read_record
from flexalign.io.writing.ownership import resolved
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX, TiltFiles
from flexalign.tilts.model import TiltSeries
from flexalign.tilts.record import SeriesRecord, finished_series, series_key
from flexalign.tilts.understanding import without_shared_movies
from flexalign.tilts.unfit import unfit
from flexalign.tilts.writing import write_series

if TYPE_CHECKING:
    from flexalign.estimate.series_prior import TiltStatistics


class SeriesWork:
    """State of the work on all series; an observer of the run over their movies.

    Parameters
    ----------
    folder : of the results
    tilts : of the run over the movies, with `params` common to all of them
    observe : receives all events, including those of series
    keep_tilts : whether to keep the files of single movies; series finished without them are
        processed again
    redo : whether to process finished series again
    retry_failed : whether to process series with failed tilts again
    shares_prior : whether each tilt has a prior from the others, which are measured first
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
        self._requested = tilts.params
        self._folder, self._tilts, self._observe = folder, tilts, observe
        for movie, root in folder.roots:  # also where its files are removed
            tilts.names.give(movie, root)
        self._keep_tilts, self._redo, self._retry_failed = keep_tilts, redo, retry_failed
        self.own: dict[Path, Mapping[str, Any]] = {}
        self._pending: dict[str, PendingSeries] = {}
        self._of_movie: dict[Path, str] = {}
        # One background thread estimates priors and writes stacks.
        self._pool = ThreadPoolExecutor(1)
        self._estimating: deque[tuple[PendingSeries, Future[Priors]]] = deque()
        self._writing: deque[tuple[PendingSeries, Future[SeriesRecord]]] = deque()
        self._released: list[Path] = []
        self._finished: events.Finished | None = None

    def begin(self, series: TiltSeries) -> list[Path]:
        """The movies of `series` to be aligned; none if it is finished or has an error."""
        try:
            return self._begin(series)
        except FlexAlignError as error:
            self.fail(series.source, error)
            return []

    def _begin(self, series: TiltSeries) -> list[Path]:
        """As `begin`; may raise errors of this series."""
        name = self._folder.name_of(series)
        self._folder.check(name)
        others = {movie: of for movie, of in self._of_movie.items() if of != name}
        series = without_shared_movies(replace(series, name=name), others)
        if self._files.root is not None:
            for movie in series.own:
                self._tilts.names.give(movie, self._files.root(Path(movie)))
        params = replace(self._requested, **series.parameters)
        kind = f"{params.hash()}{' with a shared prior' * self._shares_prior}"
        key = series_key(series, kind, reference_states(params))
        self._of_movie |= {resolved(movie): name for movie in series.own}
        if self._is_done(name, key):
            self._observe(events.SeriesSkipped(name, series.source, self._folder.lost_of(name)))
            return []
        for note in series.notes:
            self.say(f"{name}: {note}")
        for movie, values in series.own.items():
            self.own[resolved(movie)] = {**series.parameters, **values}
        movies = movies_of(series)
        needs_prior = self._shares_prior and len(movies) > MIN_NEIGHBOURS
        needs_prior = needs_prior and (self._redo or not self._are_aligned(movies, key))
        pending = PendingSeries(series, key, needs_prior=needs_prior)
        self._pending[name] = pending
        if not movies:
            self._start_writing(pending)
        return movies

    def _is_done(self, name: str, key: str) -> bool:
        """Whether a series was finished by an earlier run, with all requested outputs."""
        images = None if self._files.has_stacks else self._tilts.path
        done = finished_series(self._folder.path, name, key, images)
        if done is None or self._redo:
            return False
        if self._retry_failed and any(tilt.left_out == "failed" for tilt in done.series.tilts):
            return False
        return not self._keep_tilts or self._are_aligned(movies_of(done.series), key)

    def _are_aligned(self, movies: Iterable[Path], key: str) -> bool:
        """Whether the files of all these movies exist, from the same work on their series."""
        return all(
            (record := self._record_of(str(movie))) is not None
            and record.decisions.get("series_key") == key
            for movie in movies
        )

    def _record_of(self, movie: str) -> MovieRecord | None:
        """The record of a movie; None if there is no readable one."""
        name = self._tilts.names.give(movie)
        try:
            return read_record(self._tilts.path / f"{name}{RECORD_SUFFIX}")
        except InputError:
            return None

    def of_series(self, movie: Path) -> dict[str, Any]:
        """Fields of the job of a movie (resolved path) that come from its series."""
        pending = self._pending_of(movie)
        if pending is None:
            return {}
        return {**pending.job_facts(movie), "suffixes": self._files.suffixes}

    def _pending_of(self, movie: Path) -> PendingSeries | None:
        """The series in progress that waits for a movie (resolved path)."""
        pending = self._pending.get(self._of_movie.get(movie, ""))
        return pending if pending is not None and movie in pending.awaited else None

    def _is_current(self, job: Job) -> bool:
        """Whether a job belongs to the current work on its series, which may be restarted."""
        pending = self._pending_of(resolved(job.movie))
        return pending is not None and pending.key == job.series_key

    @property
    def failed(self) -> Mapping[str, Failure]:
        """The series that failed, by source."""
        return self._folder.failed

    @property
    def awaited_count(self) -> int:
        """Number of unfinished movies of series in progress."""
        return sum(len(one.awaited) for one in self._pending.values())

    @property
    def is_unfinished(self) -> bool:
        """Whether there are series in progress."""
        return bool(self._pending)

    @property
    def is_measuring(self) -> bool:
        """Whether more movies may be released."""
        measuring = any(one.unmeasured for one in self._pending.values())
        return bool(self._released or self._estimating) or measuring

    def take_released(self) -> list[Path]:
        """The movies released since the last call: to be measured again or aligned, with priors.

        They include earlier exposures that replace lost tilts.
        """
        while self._estimating and self._estimating[0][1].done():
            pending, future = self._estimating.popleft()
            priors = result_or_none(future, self.say, pending.series.name)
            self._released += pending.begin_round(priors)
        released, self._released = self._released, []
        return released

    def fail(self, source: str, error: BaseException) -> None:
        """Note that a series cannot be processed; the others continue."""
        failure = explain(error)
        self._folder.fail(source, failure)
        self._observe(events.SeriesFailed(source, failure))

    def __call__(self, event: Event) -> None:
        """Process an event of a movie; `finish` is called at the end of the run."""
        if isinstance(event, events.Finished):
            self._finished = event
            return
        self._observe(event)
        match event:
            case events.Ended(outcome, True) if self._is_current(outcome.job):
                self._end(outcome.job.movie, outcome.failure)
            case events.Measured(outcome) if self._is_current(outcome.job):
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

    @property
    def _is_stopped(self) -> bool:
        """Whether the run over the movies was stopped before its end."""
        return self._finished is None or self._finished.summary.is_stopped

    def finish(self) -> None:
        """Wait for pending writes, and update the tables."""
        self._take_written(wait=True)
        self._pool.shutdown()
        if not self._folder.is_empty or not self._tilts.is_empty or not self._is_stopped:
            self._folder.write()
            self._tilts.write(at_once=True)
        if self._finished is not None:
            self._observe(self._finished)

    def _measure(self, movie: str, statistics: TiltStatistics | None) -> None:
        """Store the statistics of a tilt; after the last one of a series, estimate the priors."""
        place = resolved(movie)
        pending = self._pending_of(place)
        if pending is not None and pending.measure(place, statistics):
            self._estimate_priors(pending)

    def _estimate_priors(self, pending: PendingSeries) -> None:
        """Start to estimate the priors of a series in the background."""
        self._estimating.append((pending, self._pool.submit(pending.priors_task())))

    def _end(self, movie: str, failure: Failure | None) -> None:
        """Store the result of a movie; after the last one of a series, assemble the series."""
        place = resolved(movie)
        pending = self._pending_of(place)
        if pending is None:
            return
        if failure is not None:
            tilts = [tilt for tilt in pending.series.used if resolved(tilt.movie) == place]
            self._leave_out(pending, {tilt.order: ("failed", failure.message) for tilt in tilts})
        is_round_over = pending.measure(place, None)
        pending.awaited.remove(place)
        if not pending.awaited:
            self._start_writing(pending)
        elif is_round_over:
            self._estimate_priors(pending)

    def _leave_out(self, pending: PendingSeries, losses: Mapping[int, tuple[str, str]]) -> None:
        """Leave out tilts of a series, and start earlier exposures of the same angles instead."""
        self._released += pending.leave_out(losses)
        for tilt in pending.series.left_out:
            if tilt.order in losses and tilt.replaced_by:
                self.say(f"{pending.series.name}: exposure {tilt.order}: {tilt.reason}")

    def _start_writing(self, pending: PendingSeries) -> None:
        """Start to write the results of a series in the background.

        If an image is dark or of another size and an earlier exposure can replace it, wait for
        that.
        """
        found = {tilt.movie: self._record_of(tilt.movie) for tilt in pending.series.used}
        records = {movie: record for movie, record in found.items() if record is not None}
        aligned = [tilt for tilt in pending.series.used if tilt.movie in records]
        losses = {
            tilt.order: ("failed", "its record cannot be read")
            for tilt in pending.series.used
            if tilt.movie not in records
        }
        self._leave_out(pending, {**losses, **unfit(aligned, records)})
        if pending.awaited:
            return
        written = self._pool.submit(
            write_series,
            pending.series, records, self._tilts.path, self._folder.path, pending.key,
            has_stacks=self._files.has_stacks,
        )  # fmt: skip
        self._writing.append((pending, written))

    def _take_written(self, *, wait: bool) -> None:
        """Process the series that have been written."""
        while self._writing and (wait or self._writing[0][1].done()):
            pending, written = self._writing.popleft()
            is_restarted = self._pending.get(pending.series.name) is not pending
            if not is_restarted:
                del self._pending[pending.series.name]
            try:
                record = written.result()
            except Exception as error:
                self.fail(pending.series.source, error)
                continue
            self._folder.add(record)
            if not self._keep_tilts and not is_restarted:
                for movie in pending.series.own:
                    self._tilts.forget(movie)
            self._observe(events.SeriesDone(record))
            self._folder.write()
