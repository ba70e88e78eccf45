"""A run over many movies, as the options of the command line describe it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexalign.cli.checks import check_run_outputs
from flexalign.cli.console import announce_compiling, print_message
from flexalign.cli.hooks import Hooks
from flexalign.cli.reporting import Reporting
from flexalign.cli.run_display import view
from flexalign.cli.run_options import RunOptions
from flexalign.cli.signals import ended_by_signals, stopped_by_ctrl_c
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.batch.clusters import Jobs
    from flexalign.batch.events import Observer
    from flexalign.batch.executors import Executor
    from flexalign.batch.first_movies import FirstMovies
    from flexalign.batch.folder import RunFolder
    from flexalign.batch.sources import Source
    from flexalign.batch.throughput import RunSummary


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be run, beside the movies and their parameters.

    Attributes
    ----------
    out : folder of the results
    options : of the command line
    movie_count : number of movies, if known
    redo : process again what is done
    debug : print tracebacks of unexpected errors
    inputs : files read beside movies and references: settings, lists
    opening : what is said first; with it, lines have the time
    """

    out: Path
    options: RunOptions
    movie_count: int | None = None
    redo: bool = False
    debug: bool = False
    inputs: Sequence[Path] = ()
    opening: str = ""


def run_movies(
    source: Source,
    params: AlignParams,
    request: Request,
    *,
    own: Mapping[Path, Mapping[str, Any]] | None = None,
    given: Collection[str] = (),
) -> RunSummary:
    """Align all movies of `source`.

    Parameters
    ----------
    own : parameters of single movies, by their resolved paths
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
    from flexalign.batch.run import with_absolute_references
    from flexalign.batch.sidecars import SidecarParameters
    from flexalign.io.results import make_folder

    out = request.out
    announce(params, request.options)
    make_folder(out)
    with observed(out, request) as observe:
        if request.options.report:
            observe = Reporting(out, observe)
        folder = RunFolder(out, with_absolute_references(params))
        of_movie = SidecarParameters(
            folder.params, given, own_values(own or {}), lambda text: observe(Note(text))
        )
        checks = first_movies(
            folder.params, out, observe, params_by(of_movie), check_beside=of_movie.check
        )
        summary = go(
            folder, source, observe, request, checks, of_movie, own_at_first=of_movie.without_files
        )
        write_project_files(out, folder.params)
        return summary


def announce(params: AlignParams, options: RunOptions) -> None:
    """Check the device, and print that loops are compiled, where this machine does the work.

    Raises
    ------
    DeviceError
        If a requested GPU cannot be used, before any movie is read.
    """
    from flexalign.arrays.device import gpu_number
    from flexalign.batch.local_executor import check_gpus

    if options.scheduler is not None or options.cluster is not None or options.jobs == 0:
        gpu_number(params.device)
    if options.scheduler is None and options.cluster is None:
        check_gpus(params.device)
    if options.jobs == 0:
        announce_compiling()


@contextmanager
def observed(folder: Path, request: Request, display: Observer | None = None) -> Iterator[Observer]:
    """The observer of a run in `folder`, which is locked: display, log and commands of the user.

    Parameters
    ----------
    display : who sees the events; None = what the options say
    """
    from flexalign.batch.jobs import Note
    from flexalign.batch.lock import only_run

    options, opening = request.options, request.opening
    shown: AbstractContextManager[Observer] = nullcontext(display) if display else view(
        options.json_events, request.debug, log=options.log, is_stamped=bool(opening)
    )  # fmt: skip
    with (
        ended_by_signals(),
        only_run(folder) as is_held,
        shown as observe,
        Hooks(options.after_movie, options.at_end, observe) as hooks,
    ):
        if opening:
            hooks(Note(opening))
        if not is_held:
            advice = "do not start a second run there"
            hooks(Note(f"{folder}: the file system does not support locks; {advice}"))
        yield hooks


def go(
    folder: RunFolder,
    source: Source,
    observe: Observer,
    request: Request,
    checks: FirstMovies,
    own: Callable[[Path], Mapping[str, Any]],
    **of_run: Any,
) -> RunSummary:
    """Run all movies of a source, until it ends or Ctrl-C stops it.

    Parameters
    ----------
    checks : of the first movies
    own : parameters of single movies
    of_run : further arguments of `Run`
    """
    from flexalign.batch.jobs import Note
    from flexalign.batch.run import Choices, Run

    def say(text: str) -> None:
        observe(Note(text))

    options = request.options
    movies = [str(path.absolute()) for path in source.movies]
    names = {movie: folder.names.give(movie) for movie in movies}
    check_run_outputs(folder.path, names, folder.params, request.inputs, options.log)
    run = Run(
        folder,
        make_executor(options, folder.params, request, source.movies, say),
        source,
        observe,
        Choices(retry_failed=options.retry_failed, redo=request.redo),
        checks,
        own,
        [str(path.absolute()) for path in request.inputs],
        **of_run,
    )
    with stopped_by_ctrl_c(run, say):
        return run.go()


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

    project_files.write_project_files(out, params, print_message)


def make_executor(
    options: RunOptions,
    params: AlignParams,
    request: Request,
    movies: Sequence[Path],
    say: Callable[[str], None],
) -> Executor:
    """The executor that the options select, for a run of which `movies` are known."""
    threads, timeout_s = params.threads, 60 * options.timeout
    if options.scheduler is not None:
        from flexalign.batch.clusters import on_scheduler

        return on_scheduler(options.scheduler, threads=threads, timeout_s=timeout_s)
    if options.cluster is not None:
        from flexalign.batch.clusters import on_cluster

        log_folder = request.out / "cluster-logs"
        return on_cluster(_cluster_jobs(options), log_folder, threads=threads, timeout_s=timeout_s)
    from flexalign.batch.local_executor import local_executor

    return local_executor(
        params, options.jobs, movies, say,
        movie_count=request.movie_count,
        memory_bytes=None if options.memory is None else int(options.memory * 1e9),
        timeout_s=timeout_s,
    )  # fmt: skip


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
