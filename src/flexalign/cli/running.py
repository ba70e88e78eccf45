"""A run over many movies, as the options of the command line describe it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flexalign.cli.checks import check_run_outputs
from flexalign.cli.console import announce_compiling, announce_device
from flexalign.cli.hooks import Hooks
from flexalign.cli.reporting import Reporting
from flexalign.cli.run_display import view
from flexalign.cli.run_options import RunOptions
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.batch.clusters import Jobs
    from flexalign.batch.events import Observer
    from flexalign.batch.executors import Executor
    from flexalign.batch.run import Run, Source
    from flexalign.batch.throughput import RunSummary

INTERRUPTED = 130


def run_movies(
    source: Source,
    params: AlignParams,
    out: Path,
    options: RunOptions,
    *,
    movie_count: int | None = None,
    redo: bool = False,
    debug: bool = False,
    own: Mapping[Path, Mapping[str, Any]] | None = None,
    inputs: Sequence[Path] = (),
    opening: str = "",
    given: Collection[str] = (),
) -> RunSummary:
    """Align all movies of `source` into the folder `out`.

    Parameters
    ----------
    movie_count : number of movies, if known
    redo : align movies that are done again
    debug : print tracebacks of unexpected errors
    own : parameters of single movies, by their resolved paths
    inputs : files read beside movies and references: settings, lists
    opening : what is said first; with it, lines have the time
    given : names of the parameters that were given for all movies, which files beside them do not
        change

    Raises
    ------
    FlexAlignError
        If the run cannot begin, or cannot go on.
    """
    from flexalign.batch.first_movies import first_movies
    from flexalign.batch.folder import RunFolder
    from flexalign.batch.jobs import Note
    from flexalign.batch.lock import only_run
    from flexalign.batch.run import Choices, Run, with_absolute_references
    from flexalign.batch.sidecars import SidecarParameters
    from flexalign.io.results import make_folder

    if options.scheduler is None and options.cluster is None:
        announce_device(params.device)
    if options.jobs == 0:
        announce_compiling()
    make_folder(out)
    shown = view(options.json_events, debug, log=options.log, is_stamped=bool(opening))
    with (
        only_run(out) as is_held,
        shown as display,
        Hooks(options.after_movie, options.at_end, display) as hooks,
    ):
        observe: Observer = hooks
        if opening:
            observe(Note(opening))
        if not is_held:
            advice = "do not start a second run there"
            observe(Note(f"{out}: the file system does not support locks; {advice}"))
        if options.report:
            observe = Reporting(out, observe)
        params = with_absolute_references(params)
        folder = RunFolder(out, params)
        movies = [str(path.absolute()) for path in source.movies]
        names = {movie: folder.names.give(movie) for movie in movies}
        check_run_outputs(out, names, params, inputs, options.log)
        of_movie = SidecarParameters(
            params, given, own_values(own or {}), lambda text: observe(Note(text))
        )
        checks = first_movies(
            params, out, observe, params_by(of_movie), check_beside=of_movie.check
        )
        executor = make_executor(options, params, out, movie_count)
        choices = Choices(retry_failed=options.retry_failed, redo=redo)
        read = [str(path.absolute()) for path in inputs]
        run = Run(folder, executor, source, observe, choices, checks, of_movie, read)
        with stopped_by_signals(run, lambda text: observe(Note(text))):
            summary = run.go()
        write_project_files(out, params)
        return summary


def own_values(
    own: Mapping[Path, Mapping[str, Any]],
) -> Callable[[Path], Mapping[str, Any]]:
    """A function that gives the values of a movie; `own`, by resolved path, may get more later."""
    return lambda movie: own.get(movie, {})


def params_by(
    own: Callable[[Path], Mapping[str, Any]],
) -> Callable[[Path, AlignParams], AlignParams]:
    """A function that gives the parameters of a movie, by the values of its `own`.

    Parameters
    ----------
    own : gives the values of a movie by its resolved path
    """
    from flexalign.io.writing.ownership import resolved

    return lambda movie, params: replace(params, **own(resolved(movie)))


def write_project_files(out: Path, params: AlignParams) -> None:
    """Update what RELION and Warp expect in a folder beside the files of each movie."""
    from flexalign.batch import project_files

    project_files.write_project_files(out, params, lambda text: typer.echo(text, err=True))


def make_executor(
    options: RunOptions, params: AlignParams, out: Path, movie_count: int | None
) -> Executor:
    """The executor that the options select."""
    from flexalign.batch.executors import InProcess
    from flexalign.batch.local_processes import LocalProcesses, default_jobs

    threads, timeout_s = params.threads, 60 * options.timeout
    if options.scheduler is not None:
        from flexalign.batch.clusters import on_scheduler

        return on_scheduler(options.scheduler, threads=threads, timeout_s=timeout_s)
    if options.cluster is not None:
        from flexalign.batch.clusters import on_cluster

        log_folder = out / "cluster-logs"
        return on_cluster(_cluster_jobs(options), log_folder, threads=threads, timeout_s=timeout_s)
    if options.jobs == 0:
        return InProcess(threads)
    jobs = options.jobs or default_jobs(threads)
    return LocalProcesses(
        jobs if movie_count is None else max(1, min(jobs, movie_count)),
        threads=threads,
        memory_bytes=None if options.memory is None else int(options.memory * 1e9),
        timeout_s=timeout_s,
    )


def _cluster_jobs(options: RunOptions) -> Jobs:
    """The cluster jobs that the options describe."""
    from flexalign.batch.clusters import Jobs

    min_jobs, max_jobs = options.workers
    return Jobs(
        kind=options.cluster or "",
        min_jobs=min_jobs,
        max_jobs=max_jobs,
        queue=options.queue,
        account=options.account,
        walltime=options.walltime,
        cores=options.worker_cores,
        memory_GB=options.worker_memory,
        gpus=options.worker_gpus,
        interface=options.interface,
        options=tuple(options.cluster_option or ()),
    )


@contextmanager
def stopped_by_signals(run: Run, say: Callable[[str], None]) -> Iterator[None]:
    """Stop after the movies in progress on Ctrl-C; at once on a second one or SIGTERM."""

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping after the movies in progress; Ctrl-C again stops at once")
        run.stop()

    def terminate(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: terminate}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
