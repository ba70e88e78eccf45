"""Dask clusters: an existing scheduler, or workers submitted as cluster jobs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexalign.batch.dask_executor import CONNECT_S, DaskExecutor
from flexalign.errors import InputError, ParameterError

KINDS = ("slurm", "pbs", "sge", "lsf")
# A worker stops taking movies this fraction of its walltime before the end, slightly staggered.
WALLTIME_RESERVE_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class Jobs:
    """Resources of each cluster job; each is one worker, with one movie at a time.

    Attributes
    ----------
    kind : one of `KINDS`
    min_jobs, max_jobs : limits of the number of jobs, which follows the number of waiting movies
    queue, account, walltime : in the cluster's terms; None = its default
    cores, memory_GB, gpus : of each job
    interface : network interface of the scheduler, None = default
    options : further lines for the job script, without the ``#SBATCH``
    """

    kind: str
    min_jobs: int
    max_jobs: int
    queue: str | None = None
    account: str | None = None
    walltime: str | None = None
    cores: int = 4
    memory_GB: float = 16.0
    gpus: int = 0
    interface: str | None = None
    options: tuple[str, ...] = ()


def on_scheduler(address: str, **choices: Any) -> DaskExecutor:
    """An executor on the workers of the scheduler at `address`.

    Parameters
    ----------
    choices : of `DaskExecutor`

    Raises
    ------
    InputError
        If there is no scheduler, or Dask is not installed.
    """
    return DaskExecutor(_connector(address), **choices)


def on_cluster(jobs: Jobs, log_folder: Path, **choices: Any) -> DaskExecutor:
    """An executor on workers submitted as cluster jobs, which end with the run.

    Parameters
    ----------
    log_folder : folder for the logs of the jobs
    choices : of `DaskExecutor`

    Raises
    ------
    InputError
        If Dask is not installed.
    """
    log_folder.mkdir(parents=True, exist_ok=True)
    cluster = make_cluster(jobs, log_folder)
    if jobs.min_jobs == jobs.max_jobs:
        cluster.scale(jobs=jobs.max_jobs)
    else:
        cluster.adapt(minimum_jobs=jobs.min_jobs, maximum_jobs=jobs.max_jobs)
    return DaskExecutor(
        _connector(cluster),
        max_places=jobs.max_jobs,
        close_cluster=cluster.close,
        **{**choices, "threads": choices.get("threads") or jobs.cores},
    )


def make_cluster(jobs: Jobs, log_folder: Path) -> Any:
    """The dask-jobqueue cluster described by `jobs`, without any job yet.

    Raises
    ------
    InputError
        If Dask is not installed.
    """
    dask_jobqueue = _module("dask_jobqueue")
    memory = f"{jobs.memory_GB:g}GB"
    common: dict[str, Any] = {
        "queue": jobs.queue,
        "walltime": jobs.walltime,
        "cores": jobs.cores,
        "processes": 1,
        "memory": memory,
        "interface": jobs.interface,
        "log_directory": str(log_folder.absolute()),
        "local_directory": "/tmp",
        "job_name": "flexalign",
        # A worker uses all cores of its job for one movie.
        "worker_extra_args": ["--nthreads", "1", *_lifetime(jobs.walltime)],
        "scheduler_options": {"dashboard": False},
    }
    extra = list(jobs.options)
    cores, gpus, account = jobs.cores, jobs.gpus, jobs.account
    if jobs.kind == "slurm":
        extra += [f"--gres=gpu:{gpus}"] if gpus else []
        return dask_jobqueue.SLURMCluster(account=account, job_extra_directives=extra, **common)
    if jobs.kind == "pbs":
        resources = f"select=1:ncpus={cores}:mem={memory}" + (f":ngpus={gpus}" if gpus else "")
        return dask_jobqueue.PBSCluster(
            account=account, resource_spec=resources, job_extra_directives=extra, **common
        )
    if jobs.kind == "sge":
        extra += [f"-pe smp {cores}"] + ([f"-l gpu={gpus}"] if gpus else [])
        resources = f"h_vmem={jobs.memory_GB / cores:g}G"
        return dask_jobqueue.SGECluster(
            project=account, resource_spec=resources, job_extra_directives=extra, **common
        )
    if jobs.kind == "lsf":
        extra += [f'-gpu "num={gpus}"'] if gpus else []
        return dask_jobqueue.LSFCluster(project=account, job_extra_directives=extra, **common)
    raise ParameterError(f"--cluster: expected one of {', '.join(KINDS)}, found {jobs.kind}")


def _connector(target: Any) -> Callable[[], Any]:
    """A function that connects to a scheduler by its address, or to a cluster."""
    distributed = _module("distributed")

    def connect() -> Any:
        try:
            return distributed.Client(target, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{target}: expected a Dask scheduler that answers, found none: {error}"
            ) from error

    return connect


def _lifetime(walltime: str | None) -> list[str]:
    """Options with which a worker ends cleanly before its walltime is over."""
    if walltime is None:
        return []
    seconds = walltime_s(walltime)
    last_s = max(1, round(WALLTIME_RESERVE_RATIO * seconds))
    return ["--lifetime", f"{seconds - last_s}s", "--lifetime-stagger", f"{last_s // 2}s"]


def walltime_s(text: str) -> int:
    """Seconds in a walltime such as ``12:00:00``, ``2-12:00:00`` or ``12:00`` (hours, minutes).

    Examples
    --------
    >>> walltime_s("1-02:00:30")
    93630

    Raises
    ------
    ParameterError
        If it is something else.
    """
    days, _, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        if not 2 <= len(parts) <= 3:
            raise ValueError
        hours, minutes, seconds = [*parts, 0][:3]
        return 86400 * int(days or 0) + 3600 * hours + 60 * minutes + seconds
    except ValueError as error:
        raise ParameterError(f"--walltime: expected HH:MM:SS, found {text}") from error


def _module(name: str) -> Any:
    """Import a module of Dask, which is optional."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"expected {name}, which is not installed: pip install 'flexalign[cluster]'"
        raise InputError(message) from error
