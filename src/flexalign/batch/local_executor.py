"""The executor of a run on this machine: how many processes, and on which devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from flexalign.arrays.device import Hardware, find_hardware, gpu_number, gpus_named, resolve
from flexalign.batch.executors import Executor, InProcess
from flexalign.batch.gpus import Gpus
from flexalign.batch.local_processes import (
    DEFAULT_TIMEOUT_S,
    MOVIES_PER_GPU,
    LocalProcesses,
    default_jobs,
)
from flexalign.device_choice import USUAL_PIXELS, why_cpu
from flexalign.errors import FlexAlignError
from flexalign.io.movies.open_movie import plan_movie
from flexalign.machine import core_count
from flexalign.params import AlignParams

# Number of movies of which one has to be planned to choose the device.
PLANNED_MOVIES = 5


def local_executor(
    params: AlignParams,
    jobs: int | None,
    movies: Iterable[Path],
    say: Callable[[str], None],
    *,
    movie_count: int | None = None,
    memory_bytes: int | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Executor:
    """The executor for movies of which the first are `movies`.

    Parameters
    ----------
    jobs : movies in parallel, on a GPU in its process; 0 = one at a time, in this process; None =
        by the cores, or three per GPU
    say : is told which device `auto` takes, where there is a choice
    movie_count : number of movies; None = not known

    Raises
    ------
    DeviceError
        If a requested GPU cannot be used.
    ParameterError
        If several GPUs are requested for this process.
    """
    if jobs == 0:
        gpu_number(params.device)
        return InProcess(params.threads)
    max_jobs = movie_count or jobs
    gpus, device = _devices(params, movies, say)
    count = jobs or (default_jobs(params.threads) if gpus is None else MOVIES_PER_GPU)
    return LocalProcesses(
        count if max_jobs is None else max(1, min(count, max_jobs)),
        threads=params.threads, memory_bytes=memory_bytes, timeout_s=timeout_s, gpus=gpus,
        device=device,
    )  # fmt: skip


def check_gpus(word: str) -> None:
    """Raise an error if one of the GPUs of a run that `word` names cannot be used."""
    for number in gpus_named(word) if word.startswith("cuda") else ():
        resolve(f"cuda:{number}")


def _devices(
    params: AlignParams, movies: Iterable[Path], say: Callable[[str], None]
) -> tuple[Gpus | None, str]:
    """The GPUs; if there are none, the device of the processes."""
    word = params.device
    if word == "cpu":
        return None, ""
    if word != "auto":
        check_gpus(word)
        return Gpus([f"cuda:{number}" for number in gpus_named(word)]), ""
    hardware = find_hardware()
    reason = why_cpu(_pixels(params, movies), core_count(), many=True)
    device = resolve(word, hardware=hardware, cpu_is_faster=reason)
    if hardware != Hardware():
        say(device.announcement)
    if device.is_gpu:
        return Gpus([device.name], falls_back=True), ""
    return None, f"cpu {device.note}"


def _pixels(params: AlignParams, movies: Iterable[Path]) -> int:
    """Pixels of all frames of the first movie that can be planned, else of a usual movie."""
    for movie, _ in zip(movies, range(PLANNED_MOVIES), strict=False):
        try:
            # The size does not depend on that of the pixels, which may be in a file beside it.
            plan = plan_movie(movie, replace(params, pixel_size_A=params.pixel_size_A or 1.0))
        except (FlexAlignError, OSError):
            continue
        return plan.align.count * plan.movie.height_px * plan.movie.width_px
    return USUAL_PIXELS
