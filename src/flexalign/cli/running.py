"""The options of a run over many movies, and the run itself."""

from __future__ import annotations

import dataclasses
import inspect
import signal
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.checks import check_run_outputs
from flexalign.cli.console import announce_compiling, announce_device
from flexalign.cli.reporting import Reporting
from flexalign.cli.run_display import view
from flexalign.errors import ParameterError
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.batch.clusters import Jobs
    from flexalign.batch.executors import Executor
    from flexalign.batch.run import Run, Source
    from flexalign.batch.throughput import RunSummary

PANEL = "Many movies"
CLUSTER_PANEL = "Many machines"
# More gigabytes, minutes or seconds than this are a typing error.
MAX_TYPED = 1e6
CLUSTERS = ("slurm", "pbs", "sge", "lsf")
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a run over many movies; each field is an option of the command line."""

    jobs: Annotated[
        int | None,
        typer.Option(
            help="Number of movies in parallel, each in its own process; 0 = one at a time, in "
            "this process. Default: depends on the number of cores. Each starts once there is "
            "memory for it.",
            metavar="N", min=0, show_default=False, rich_help_panel=PANEL,
        ),
    ] = None  # fmt: skip
    memory: Annotated[
        float | None,
        typer.Option(
            help="Memory for all movies together. Default: most of the memory free at the start.",
            metavar="GB", show_default=False, rich_help_panel=PANEL,
        ),
    ] = None  # fmt: skip
    timeout: Annotated[
        float,
        typer.Option(
            help="Give up a movie without progress for this long.",
            metavar="MINUTES", rich_help_panel=PANEL,
        ),
    ] = 30.0  # fmt: skip
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Retry movies that failed before.", rich_help_panel=PANEL
        ),
    ] = False
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report",
            help="Make report.html, a report on all movies, and keep it current.",
            rich_help_panel=PANEL,
        ),
    ] = True
    json_events: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print events for other programs, one JSON object per line, instead of text.",
            rich_help_panel=PANEL,
        ),
    ] = False

    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Use an existing Dask cluster, given by the address of its scheduler "
            "(tcp://host:8786). Every thread of its workers takes one movie.",
            metavar="ADDRESS", show_default=False, rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None  # fmt: skip
    cluster: Annotated[
        str | None,
        typer.Option(
            help=f"Use jobs of a cluster: one of {', '.join(CLUSTERS)}. Each job takes one "
            "movie at a time.",
            show_default=False, rich_help_panel=CLUSTER_PANEL,
            autocompletion=lambda: list(CLUSTERS),
        ),
    ] = None  # fmt: skip
    workers: Annotated[
        tuple[int, int],
        typer.Option(
            help="Minimum and maximum number of jobs; in between it follows the amount of work.",
            metavar="MIN MAX", rich_help_panel=CLUSTER_PANEL,
        ),
    ] = (1, 4)  # fmt: skip
    queue: Annotated[
        str | None,
        typer.Option(
            help="Queue or partition of the jobs.", show_default=False,
            rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None  # fmt: skip
    account: Annotated[
        str | None,
        typer.Option(
            help="Account or project of the jobs.", show_default=False,
            rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None  # fmt: skip
    walltime: Annotated[
        str | None,
        typer.Option(
            help="Walltime of each job; new jobs are submitted while there is work.",
            metavar="HH:MM:SS", show_default=False, rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None  # fmt: skip
    worker_cores: Annotated[
        int, typer.Option(help="Cores of each job.", min=1, rich_help_panel=CLUSTER_PANEL)
    ] = 4
    worker_memory: Annotated[
        float,
        typer.Option(help="Memory of each job.", metavar="GB", rich_help_panel=CLUSTER_PANEL),
    ] = 16.0
    worker_gpus: Annotated[
        int, typer.Option(help="GPUs of each job.", min=0, rich_help_panel=CLUSTER_PANEL)
    ] = 0
    interface: Annotated[
        str | None,
        typer.Option(
            help="Network over which the jobs reach this machine, such as ib0.",
            metavar="NAME", show_default=False, rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None  # fmt: skip
    cluster_option: Annotated[
        list[str] | None,
        typer.Option(
            help="Additional line for the job scripts, such as '--constraint=avx2'; may be "
            "repeated.",
            metavar="LINE", show_default=False, rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("memory", "timeout", "worker_memory"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= MAX_TYPED:
                option = name.replace("_", "-")
                raise ParameterError(
                    f"--{option}: expected more than 0, at most {MAX_TYPED:g}, found {value:g}"
                )
        places = {"--jobs": self.jobs, "--scheduler": self.scheduler, "--cluster": self.cluster}
        given = [name for name, value in places.items() if value is not None]
        if len(given) > 1:
            raise ParameterError(f"{' and '.join(given)}: expected only one of them")
        if self.cluster is not None and self.cluster not in CLUSTERS:
            known = ", ".join(CLUSTERS)
            raise ParameterError(f"--cluster: expected one of {known}, found {self.cluster}")
        if not 0 <= self.workers[0] <= self.workers[1] or not self.workers[1]:
            raise ParameterError(
                "--workers: expected the fewest and the most, one or more, found "
                f"{self.workers[0]} {self.workers[1]}"
            )


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with one option per field of `RunOptions`, which arrive among its ``**values``."""
    signature = inspect.signature(command)
    hints = typing.get_type_hints(command, include_extras=True)
    fields = typing.get_type_hints(RunOptions, include_extras=True)
    added = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=fields[field.name],
        )
        for field in dataclasses.fields(RunOptions)
    ]
    *own, values = signature.parameters.values()
    command.__signature__ = signature.replace(parameters=[*own, *added, values])  # type: ignore[attr-defined]
    command.__annotations__ = {**hints, **{p.name: p.annotation for p in added}}
    return command


def pop_run_options(values: dict[str, Any]) -> RunOptions:
    """Remove the run options from `values` and return them."""
    names = [field.name for field in dataclasses.fields(RunOptions)]
    return RunOptions(**{name: values.pop(name) for name in names})


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
) -> RunSummary:
    """Align all movies of `source` into the folder `out`.

    Parameters
    ----------
    movie_count : number of movies, if known
    redo : align movies that are done again
    debug : print tracebacks of unexpected errors
    own : parameters of single movies, by their resolved paths
    inputs : files read beside movies and references: settings, lists

    Raises
    ------
    FlexAlignError
        If the run cannot begin, or cannot go on.
    """
    from flexalign.batch.folder import RunFolder
    from flexalign.batch.gain_gate import gain_gate
    from flexalign.batch.jobs import Note
    from flexalign.batch.lock import only_run
    from flexalign.batch.run import Choices, Run, with_absolute_references
    from flexalign.io.results import make_folder

    if options.scheduler is None and options.cluster is None:
        announce_device(params.device)
    if options.jobs == 0:
        announce_compiling()
    make_folder(out)
    with only_run(out) as is_held, view(options.json_events, debug) as observe:
        if not is_held:
            observe(Note(f"{out}: the file system knows no locks; start no second run there"))
        if options.report:
            observe = Reporting(out, observe)
        params = with_absolute_references(params)
        folder = RunFolder(out, params)
        movies = [str(path.absolute()) for path in source.movies]
        names = {movie: folder.names.give(movie) for movie in movies}
        check_run_outputs(out, names, params, inputs)
        gate = gain_gate(params, out, observe)
        executor = make_executor(options, params, out, movie_count)
        choices = Choices(retry_failed=options.retry_failed, redo=redo)
        read = [str(path.absolute()) for path in inputs]
        run = Run(folder, executor, source, observe, choices, gate, own, read)
        with stopped_by_signals(run, lambda text: observe(Note(text))):
            summary = run.go()
        write_project_files(out, params)
        return summary


def write_project_files(out: Path, params: AlignParams) -> None:
    """Update what RELION and Warp expect in a folder beside the files of each movie."""
    if not {"relion", "warp"} & set(params.formats):
        return
    from flexalign.io.motion_formats.exports import read_records
    from flexalign.io.relion_project import write_relion_table
    from flexalign.io.warp_project import link_averages

    found = read_records(out, lambda text: typer.echo(text, err=True))
    records = {root: record for root, record in found.items() if "relion" in record.outputs}
    if records and "relion" in params.formats:
        write_relion_table(out, records)
    if "warp" in params.formats:
        link_averages(out, found)


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
        say("stopping: movies under way are finished; Ctrl-C again stops at once")
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
