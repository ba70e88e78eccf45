"""The main loop of a run: movies from a source, through an executor, to the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexalign.batch.events import Ended, Finished, Measured, Observer, Queued, Skipped, Tick
from flexalign.batch.executors import Executor
from flexalign.batch.failures import explain
from flexalign.batch.folder import Entry, RunFolder
from flexalign.batch.jobs import Job, Note, Outcome, Stage, movie_key, reference_states
from flexalign.batch.sources import Listed as Listed
from flexalign.batch.sources import Source
from flexalign.batch.throughput import RunSummary, Throughput
from flexalign.errors import OutputError, ParameterError
from flexalign.files import displayed
from flexalign.io.writing.ownership import resolved
from flexalign.params import REFERENCE_FILES, AlignParams

if TYPE_CHECKING:
    from flexalign.batch.first_movies import FirstMovies

TICK_S = 0.5
# After this many consecutive write failures the folder is at fault, not the movies.
MAX_OUTPUT_FAILURES = 3
LATE_VALUES = (
    "a movie that was aligned before the file with its pixel size, voltage or dose came stays as "
    "it is; 'align --overwrite' aligns it again"
)


@dataclass(frozen=True, slots=True)
class Choices:
    """Which movies of a run are repeated.

    Attributes
    ----------
    retry_failed : those that failed
    redo : all of them
    """

    retry_failed: bool = False
    redo: bool = False


class Run:
    """A run over all movies of a source; `go` executes it.

    `stop` may be called from a signal handler: no further movie starts, and `go` returns once
    those in progress have ended.

    Parameters
    ----------
    own : gives parameters of single movies, by their resolved paths; None = there are none
    own_at_first : the same without values of files that may come after a movie was aligned, which
        is then not aligned again; None = there are no such files
    first_movies : checks of pixel size, dose and gain; None = nothing is checked
    inputs : further input files, which must not be replaced
    of_series : properties of the job of a movie, by its resolved path, from its tilt series
    """

    def __init__(
        self,
        folder: RunFolder,
        executor: Executor,
        source: Source,
        observer: Observer,
        choices: Choices | None = None,
        first_movies: FirstMovies | None = None,
        own: Callable[[Path], Mapping[str, Any]] | None = None,
        inputs: Sequence[str] = (),
        of_series: Callable[[Path], Mapping[str, Any]] | None = None,
        own_at_first: Callable[[Path], Mapping[str, Any]] | None = None,
    ) -> None:
        self._own_at_first, self._is_late_noted = own_at_first, False
        self._of_series = of_series or (lambda movie: {})
        self._own, self._inputs = own or (lambda movie: {}), tuple(inputs)
        self._folder, self._executor = folder, executor
        self._source, self._observe = source, observer
        self._choices, self._first_movies = choices or Choices(), first_movies
        self._references = reference_states(folder.params)
        self._waiting: dict[str, Job] = {}
        self._running: dict[str, Job] = {}
        # Entries of the folder before the movies were submitted.
        self._before: dict[str, Entry | None] = {}
        self._changed: set[str] = set()
        self._throughput = Throughput()
        self._output_failures = 0
        self._is_stopped = False

    def stop(self) -> None:
        """Start no further movie."""
        self._is_stopped = True

    def go(self) -> RunSummary:
        """Process movies until the source is exhausted; return the summary.

        Raises
        ------
        OutputError
            If the folder cannot be written to any more; finished movies remain.
        InputError
            If the gain reference certainly does not fit the first movies.
        ParameterError
            If their pixel size or dose cannot be right.
        """
        is_complete = False
        try:
            while self._is_running():
                if self._is_stopped:
                    self._withdraw()
                self._take()
                self._hand_out()
                running = len(self._running)
                self._executor.wait(self._listen, TICK_S)
                self._folder.write()
                self._throughput.note(self._executor.side_by_side, running, len(self._waiting))
                left = len(self._waiting) + len(self._running)
                is_open = self._source.is_open and not self._is_stopped
                self._observe(Tick(self._throughput, left, self._source.backlog, is_open))
            is_complete = not self._is_stopped
        finally:
            self._executor.close()
            # After a stop no further movie is checked; the next run will.
            movies = () if self._is_stopped else self._source.incomplete
            incomplete = tuple(displayed(path) for path in movies)
            summary = self._throughput.summary(self._unfinished(), incomplete)
            is_cut = self._is_stopped and (self._source.is_open or summary.unfinished > 0)
            summary = replace(summary, is_stopped=is_cut)
            # A run that ends before any movie has leaves no empty tables.
            if is_complete or not self._folder.is_empty:
                self._folder.write(summary.to_dict(), at_once=True)
        self._observe(Finished(summary, self._folder.path))
        return summary

    def _unfinished(self) -> int:
        """Number of movies left, consistent even if a signal interrupted the bookkeeping."""
        in_progress = (movie for movie in self._running if movie not in self._waiting)
        known = (self._folder.get(movie) is not self._before.get(movie) for movie in in_progress)
        return len(self._waiting) + sum(not is_known for is_known in known)

    def _is_running(self) -> bool:
        if self._is_stopped:
            return bool(self._running)
        return bool(self._source.is_open or self._waiting or self._running)

    def _withdraw(self) -> None:
        """Withdraw the jobs that the executor has not begun."""
        for job in self._executor.withdraw():
            self._waiting[job.movie] = self._running[job.movie]
            del self._running[job.movie]

    def _take(self) -> None:
        """Queue the movies that are ready and not done."""
        if self._is_stopped:
            return
        movies = self._source.take()
        if self._first_movies is not None:
            self._folder.params = self._first_movies.admit(movies)
        for movie in movies:
            self._consider(str(movie.absolute()))

    def _consider(self, movie: str) -> None:
        """Queue one movie, or report why not."""
        movie = self._folder.names.spelling(movie)
        if movie in self._running:
            self._changed.add(movie)
            return
        name = self._folder.names.give(movie)
        place = resolved(movie)
        own, of_series = self._own(place), self._of_series(place)
        folder = str(self._folder.path.absolute())
        try:
            params = replace(self._folder.params, **own)
        except ParameterError as error:
            values = self._folder.params.to_dict()
            job = Job(movie, name, folder, values, "", inputs=self._inputs, **of_series)
            self._listen(Outcome(job, None, explain(error)))
            return
        series_key = of_series.get("series_key", "")
        key = self._key(movie, params, series_key)
        known = self._folder.get(movie)
        if of_series.get("only_measures") and known is not None and known.failure is None:
            known = None  # it is aligned, and measured for the others
        if known is not None and self._is_ended(known) and self._is_same(known, key, series_key):
            self._throughput.skip(movie, known.failure)
            self._observe(Skipped(movie, known.failure))
            return
        job = Job(movie, name, folder, params.to_dict(), key, inputs=self._inputs, **of_series)
        self._waiting[movie] = job
        self._observe(Queued(movie, len(self._waiting)))

    def _key(self, movie: str, params: AlignParams, series_key: str) -> str:
        """The key of the job of a movie; the references of the run are looked up only once."""
        common = self._folder.params
        is_same = all(getattr(params, role) == getattr(common, role) for role in REFERENCE_FILES)
        return movie_key(movie, params, series_key, self._references if is_same else None)

    def _is_same(self, known: Entry, key: str, series_key: str) -> bool:
        """Whether a job was tried before, or done before a file with values of the movie came."""
        if known.key == key:
            return True
        if self._own_at_first is None or known.failure is not None or not key:
            return False
        values = self._own_at_first(resolved(known.movie))
        params = replace(self._folder.params, **values)
        if known.key != self._key(known.movie, params, series_key):
            return False
        if not self._is_late_noted:
            self._is_late_noted = True
            self._observe(Note(LATE_VALUES))
        return True

    def _is_ended(self, known: Entry) -> bool:
        """Whether a movie was finished or failed before and is not repeated."""
        if self._choices.redo:
            return False
        failure = known.failure
        return failure is None or (failure.is_of_movie and not self._choices.retry_failed)

    def _hand_out(self) -> None:
        """Submit jobs while the executor has free places."""
        while self._waiting and self._executor.free_places > 0 and not self._is_stopped:
            movie, job = next(iter(self._waiting.items()))
            self._folder.clear(job.name)
            self._before[movie] = self._folder.get(movie)
            self._running[movie] = job
            del self._waiting[movie]
            self._executor.submit(job)

    def _listen(self, message: Stage | Note | Outcome) -> None:
        """Handle the messages of the executor."""
        if not isinstance(message, Outcome):
            self._observe(message)
            return
        job, failure = message.job, message.failure
        if job.only_measures and failure is None:
            self._running.pop(job.movie, None)
            self._before.pop(job.movie, None)
            self._observe(Measured(message))
            self._consider_again(job.movie)
            return
        is_final = failure is None or not failure.may_pass or job.runs_alone
        if is_final:
            self._folder.add(message)
            self._throughput.end(message)
        else:
            self._waiting[job.movie] = replace(job, runs_alone=True)
        self._running.pop(job.movie, None)
        self._before.pop(job.movie, None)
        self._observe(Ended(message, is_final))
        self._consider_again(job.movie)
        is_output = failure is not None and failure.kind == "output"
        self._output_failures = self._output_failures + 1 if is_output else 0
        if failure is not None and self._output_failures >= MAX_OUTPUT_FAILURES:
            raise OutputError(failure.message)

    def _consider_again(self, movie: str) -> None:
        """Queue a movie that was taken again while it was in progress."""
        if movie in self._changed:
            self._changed.remove(movie)
            self._consider(movie)


def with_absolute_references(params: AlignParams) -> AlignParams:
    """`params` with absolute paths, since workers may have another current folder."""
    paths = {role: getattr(params, role) for role in REFERENCE_FILES}
    absolute: dict[str, Any] = {r: str(Path(p).absolute()) for r, p in paths.items() if p}
    return replace(params, **absolute)
