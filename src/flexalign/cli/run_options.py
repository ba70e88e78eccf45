"""The options of a run over many movies, shared by all commands that start one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from flexalign.errors import ParameterError

PANEL = "Many movies"
CLUSTER_PANEL = "Many machines"
# More gigabytes, minutes or seconds than this are a typing error.
MAX_TYPED = 1e6
CLUSTERS = ("slurm", "pbs", "sge", "lsf")


def check_positive(name: str, value: float | None) -> None:
    """Raise `ParameterError` unless the value of an option is above 0 and not a typing error."""
    if value is not None and not 0 < value <= MAX_TYPED:
        raise ParameterError(
            f"--{name}: expected more than 0, at most {MAX_TYPED:g}, found {value:g}"
        )


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a run over many movies; each field is an option of the command line."""

    jobs: Annotated[
        int | None,
        typer.Option(
            help="Number of movies in parallel, each in its own process; 0 = one at a time, in "
            "this process. With GPUs: number of movies in the process of each GPU, of which one is "
            "read, one computed and one written. Default: depends on the number of cores; 3 with "
            "GPUs. Each starts once there is memory for it.",
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
            help="Abort a movie after this long without progress.",
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
            help="Make report.html, a report on all movies, and keep it up to date.",
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

    log: Annotated[
        Path | None,
        typer.Option(
            help="Append what is printed to this file too, each line with the time. From 10 MB on "
            "it is renamed to FILE.1, and so on to FILE.5.",
            metavar="FILE", show_default=False, rich_help_panel=PANEL,
        ),
    ] = None  # fmt: skip
    after_movie: Annotated[
        str | None,
        typer.Option(
            help="Run this command after each movie that is done or has failed. It reads the event "
            "that --json prints, in JSON, from its standard input; what it prints on its standard "
            "error is shown.",
            metavar="COMMAND", show_default=False, rich_help_panel=PANEL,
        ),
    ] = None  # fmt: skip
    at_end: Annotated[
        str | None,
        typer.Option(
            help="Run this command when all is written. It reads the event 'finished', in JSON, "
            "from its standard input.",
            metavar="COMMAND", show_default=False, rich_help_panel=PANEL,
        ),
    ] = None  # fmt: skip

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
            help="Submit jobs to the batch system of a cluster, which align one movie at a "
            f"time each. One of: {', '.join(CLUSTERS)}.",
            show_default=False, rich_help_panel=CLUSTER_PANEL,
            autocompletion=lambda: list(CLUSTERS),
        ),
    ] = None  # fmt: skip
    workers: Annotated[
        tuple[int, int],
        typer.Option(
            help="Minimum and maximum number of jobs; between them it follows the number of "
            "movies to do.",
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
            help="Network interface over which the jobs reach this machine, such as ib0.",
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
            check_positive(name.replace("_", "-"), getattr(self, name))
        places = {"--jobs": self.jobs, "--scheduler": self.scheduler, "--cluster": self.cluster}
        given = [name for name, value in places.items() if value is not None]
        if len(given) > 1:
            raise ParameterError(f"{' and '.join(given)}: expected only one of them")
        if self.cluster is not None and self.cluster not in CLUSTERS:
            known = ", ".join(CLUSTERS)
            raise ParameterError(f"--cluster: expected one of {known}, found {self.cluster}")
        if not 0 <= self.workers[0] <= self.workers[1] or not self.workers[1]:
            raise ParameterError(
                "--workers: expected the minimum and the maximum, one or more, found "
                f"{self.workers[0]} {self.workers[1]}"
            )
