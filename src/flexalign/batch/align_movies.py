"""Align many movies from Python, in a run folder as the command line makes it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flexalign.batch.events import Event
from flexalign.batch.executors import Executor
from flexalign.batch.failures import Failure
from flexalign.batch.first_movies import first_movies
from flexalign.batch.folder import RunFolder
from flexalign.batch.inputs import find_movies, list_files, listed_parameters
from flexalign.batch.jobs import Note
from flexalign.batch.local_executor import local_executor
from flexalign.batch.lock import only_run
from flexalign.batch.project_files import check_run_outputs, write_project_files
from flexalign.batch.run import Choices, Listed, Run, with_absolute_references
from flexalign.batch.sidecars import SidecarParameters
from flexalign.batch.throughput import RunSummary
from flexalign.errors import InputError, ParameterError
from flexalign.files import paths_of
from flexalign.io.record import read_record
from flexalign.io.results import make_folder
from flexalign.io.writing.ownership import resolved
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX
from flexalign.option_messages import with_parameters
from flexalign.params import AlignParams, given_params, parameters

LOG = logging.getLogger("flexalign")


@dataclass(frozen=True, slots=True, repr=False)
class AlignedMovies:
    """The result of `align_movies`.

    Attributes
    ----------
    folder : run folder with the files of each movie
    record_paths : path of the record of each movie that is aligned, by the movie's path
    failures : why movies failed, by path: ``message``, ``kind`` and ``advice``
    summary : numbers of movies and their time, as in ``run.json``
    """

    folder: Path
    record_paths: dict[Path, Path]
    failures: dict[Path, Failure]
    summary: RunSummary

    def __repr__(self) -> str:
        """Numbers of movies and the folder."""
        done, failed = len(self.record_paths), len(self.failures)
        left = f", {self.summary.unfinished} left" if self.summary.unfinished else ""
        return f"<AlignedMovies: {done} done, {failed} failed{left}, in {self.folder}>"

    def records(self) -> Iterator[MovieRecord]:
        """The record of each movie that is aligned, read one after the other.

        Yields
        ------
        Parameters, decisions, quality and names of the files of one movie
        """
        for path in self.record_paths.values():
            yield read_record(path)


def align_movies(
    movies: str | Path | Sequence[str | Path],
    folder: str | Path,
    params: AlignParams | None = None,
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    stop: threading.Event | None = None,
) -> AlignedMovies:
    """Align many movies in parallel and write the files of each, as ``flexalign align`` does.

    A movie that fails does not stop the others, and is listed in the result. Called again, it
    aligns what is missing or has changed. Nothing is printed: notes are logged by the logger
    ``flexalign``.

    Parameters
    ----------
    movies : paths, patterns such as ``"*.tiff"``, folders of movies, text files with one movie per
        line, or RELION's ``movies.star``; or one of these
    folder : of the run; made if it is missing. The same folder can be used by the command line
    params : default: `AlignParams()`; the movies are compared with pixel size, dose and gain first
    jobs : number of movies in parallel, each in a process, on GPUs of each; default: by the cores,
        or three per GPU; 0 = in this process, one movie at a time
    executor : runs the jobs elsewhere, such as ``flexalign.batch.clusters.on_scheduler(address)``
        for a Dask cluster; instead of `jobs`
    retry_failed : try movies again that failed
    overwrite : align movies that are done again
    stop : when it is set, from another thread or a signal handler, no further movie is started,
        and the call returns when those in progress are done

    Returns
    -------
    The records of all these movies in the folder and the failures

    Raises
    ------
    InputError
        If there is no movie, a reference cannot be read or certainly does not fit, another run is
        using the folder, or an output is an input.
    OutputError
        If the folder cannot be written to.
    ParameterError
        If pixel size or dose of the first movies cannot be right, `movies` are no paths, or `jobs`
        is negative.

    Examples
    --------
    >>> from flexalign import simulate_movie
    >>> folder = getfixture("tmp_path")
    >>> movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    >>> paths = [movie.save(folder, "good")["movie"], folder / "missing.mrc"]
    >>> params = AlignParams(pixel_size_A=1.5, local=False)
    >>> result = align_movies(paths, folder / "aligned", params, jobs=0)
    >>> [record.outputs["micrograph"] for record in result.records()]
    ['good_aligned_mic.mrc']
    >>> [(movie.name, failure.kind) for movie, failure in result.failures.items()]
    [('missing.mrc', 'input')]
    """
    if jobs is not None and jobs < 0:
        raise ParameterError(f"`jobs`: expected a number of processes from 0 on, found {jobs}")
    arguments = [str(movie) for movie in paths_of(movies)]
    params, stop = given_params(params), stop or threading.Event()
    paths = find_movies(arguments, (params.gain, params.dark, params.defects))
    if not paths:
        raise InputError("expected at least one movie, found none")
    params, given, of_movies = _with_listed(params, arguments, paths)
    out, lists = make_folder(folder), list_files(arguments)
    with only_run(out):
        run_folder = RunFolder(out, params)
        names = {str(p.absolute()): run_folder.names.give(str(p.absolute())) for p in paths}
        check_run_outputs(out, names, params, lists)
        own = SidecarParameters(params, given, lambda movie: of_movies.get(movie, {}), LOG.info)
        observe = _Observer(stop)
        checks = first_movies(
            params, out, observe,
            lambda movie, of_run: replace(of_run, **own(resolved(movie))), check_beside=own.check,
        )  # fmt: skip
        run = Run(
            run_folder,
            executor or local_executor(params, jobs, paths, LOG.info, movie_count=len(paths)),
            Listed(paths), observe, Choices(retry_failed, overwrite), checks, own,
            [str(path.absolute()) for path in lists],
        )  # fmt: skip
        observe.run = run
        summary = run.go()
        write_project_files(out, params, LOG.warning)
    return _result(run_folder, paths, summary)


def _with_listed(
    params: AlignParams, arguments: Sequence[str], movies: Sequence[Path]
) -> tuple[AlignParams, set[str], dict[Path, dict[str, Any]]]:
    """The parameters of a run, with those that RELION's lists give for all its movies.

    Then the names of those that were given, and the parameters that lists give for single movies.
    """
    defaults = AlignParams()
    given = {name for name in parameters() if getattr(params, name) != getattr(defaults, name)}
    listed = listed_parameters(arguments, movies, params, given)
    params = with_absolute_references(replace(params, **listed.common))
    return params, given | listed.common.keys(), listed.own


class _Observer:
    """Logs the notes of a run, and stops it when `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.run: Run | None = None

    def __call__(self, event: Event) -> None:
        """Take an event; there is one at least every half second unless this process computes."""
        if isinstance(event, Note):
            LOG.info(event.text)
        if self._stop.is_set() and self.run is not None:
            self.run.stop()


def _result(folder: RunFolder, movies: Sequence[Path], summary: RunSummary) -> AlignedMovies:
    """The entries of `movies` in the folder."""
    entries = {m: folder.get(folder.names.spelling(str(m.absolute()))) for m in movies}
    known = {movie: entry for movie, entry in entries.items() if entry is not None}
    return AlignedMovies(
        folder.path,
        {m: folder.path / f"{e.name}{RECORD_SUFFIX}" for m, e in known.items() if not e.failure},
        {
            m: replace(e.failure, message=with_parameters(e.failure.message))
            for m, e in known.items()
            if e.failure is not None
        },
        summary,
    )
