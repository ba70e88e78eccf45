"""The job of one movie, and its outcome, as they are sent between processes."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexalign.batch.failures import Failure, explain
from flexalign.errors import InputError, ParameterError
from flexalign.io.record import file_state, read_record
from flexalign.model import MovieRecord
from flexalign.naming import SUFFIXES
from flexalign.params import REFERENCE_FILES, AlignParams
from flexalign.progress import Progress
from flexalign.stages import AT_ONCE, Stages

if TYPE_CHECKING:
    from flexalign.estimate.series_prior import SeriesPrior, TiltStatistics


@dataclass(frozen=True, slots=True)
class Job:
    """One movie to align.

    Attributes
    ----------
    movie : absolute path
    name : common beginning of its output names
    folder : of the run, absolute
    parameters : all of them, from `AlignParams.to_dict`
    key : identity of the work, see `job_key`
    runs_alone : second try after a failure for lack of memory or time: alone, with one thread
    inputs : other input files of the run, such as settings and lists
    series_key : identity of the tilt series that the movie belongs to; "" = none
    only_measures : the statistics for the priors of other tilts are wanted; nothing is written
    prior : of the motion, from the other tilts of its series
    suffixes : ends of the names of its files, by kind
    """

    movie: str
    name: str
    folder: str
    parameters: dict[str, Any]
    key: str
    runs_alone: bool = False
    inputs: tuple[str, ...] = ()
    series_key: str = ""
    only_measures: bool = False
    prior: SeriesPrior | None = None
    suffixes: Mapping[str, str] = field(default_factory=lambda: SUFFIXES)


@dataclass(frozen=True, slots=True)
class Stage:
    """Progress of a movie; also a sign of life of its worker."""

    movie: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Needs:
    """Memory that a movie needs.

    Attributes
    ----------
    normal_bytes, min_bytes : of its plan, with the given number of threads and with one
    frames_bytes : in addition, to read all frames before it is computed
    """

    normal_bytes: int
    min_bytes: int
    frames_bytes: int


@dataclass(frozen=True, slots=True)
class Planned:
    """A worker has planned a movie, and waits for `Start`."""

    movie: str
    needs: Needs


@dataclass(frozen=True, slots=True)
class Start:
    """The permission to align a movie.

    Attributes
    ----------
    threads : number of threads; 0 = it is refused
    reads_ahead : whether its frames may be decoded while another movie is computed
    """

    job: Job
    threads: int
    reads_ahead: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A message for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one job.

    Attributes
    ----------
    job : the job
    record : of the movie as plain JSON, without the motion; None after a failure
    failure : None after success
    wall_s, cpu_s : elapsed and processor time; cpu_s is NaN if the process did other work too
    threads : number of threads
    where : machine and process
    trace : traceback of an unexpected error
    statistics : of a tilt that was only measured; None if it has none
    """

    job: Job
    record: dict[str, Any] | None
    failure: Failure | None
    wall_s: float = 0.0
    cpu_s: float = float("nan")
    threads: int = 1
    where: str = ""
    trace: str = ""
    statistics: TiltStatistics | None = None


def job_key(parameters_hash: str, states: dict[str, dict[str, int]], series_key: str = "") -> str:
    """Identity of a job: parameters, and size and time of each input.

    Parameters
    ----------
    states : `file_state` of "movie", "gain", "dark" and "defects"
    series_key : identity of the tilt series that the movie belongs to
    """
    facts = {role: [s["size_bytes"], s["modified_ns"]] for role, s in states.items()}
    all_facts = [parameters_hash, facts, *([series_key] if series_key else [])]
    return hashlib.sha256(json.dumps(all_facts, sort_keys=True).encode()).hexdigest()[:16]


def key_of_record(record: MovieRecord) -> str:
    """The key of the job that gave `record`, "" if the record is too old to have one.

    The hash is recomputed, so that parameters added since then count with their defaults.
    """
    values = {name: value for name, value in record.parameters.items() if name != "hash"}
    try:
        series_key = str(record.decisions.get("series_key", ""))
        return job_key(AlignParams.from_dict(values).hash(), record.inputs, series_key)
    except (KeyError, ParameterError):
        return ""


def movie_key(
    movie: str | Path,
    params: AlignParams,
    series_key: str = "",
    references: Mapping[str, dict[str, int]] | None = None,
) -> str:
    """The key of the job of a movie; "" if a file cannot be found, which opening it reports.

    Parameters
    ----------
    series_key : identity of the tilt series that the movie belongs to; "" = none
    references : `reference_states` of the parameters; None = they are looked up
    """
    try:
        states = reference_states(params) if references is None else references
        return job_key(params.hash(), {"movie": file_state(movie), **states}, series_key)
    except (OSError, InputError):
        return ""


def finished_movie(
    folder: Path, root: str, movie: str | Path, params: AlignParams
) -> MovieRecord | None:
    """The record of a movie that is finished with these parameters, else None."""
    key = movie_key(movie, params)
    return finished(folder, root, key) if key else None


def reference_states(params: AlignParams) -> dict[str, dict[str, int]]:
    """Size and time of each detector reference.

    Raises
    ------
    InputError
        If one is missing.
    """
    states = {}
    for role in REFERENCE_FILES:
        path = getattr(params, role)
        if path is not None:
            try:
                states[role] = file_state(path)
            except OSError as error:
                message = f"{path}: expected a readable {role} reference: {error.strerror}"
                raise InputError(message) from error
    return states


def run_job(job: Job, threads: int, progress: Progress, stages: Stages = AT_ONCE) -> Outcome:
    """Align one movie; errors are returned, not raised.

    A movie with valid results is not repeated: the scheduler may have been lost after the job was
    finished.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    record, statistics, failure, trace = None, None, None, ""
    if not job.only_measures:
        record = finished(Path(job.folder), job.name, job.key)
    if record is None:
        try:
            record, statistics = _process(job, 1 if job.runs_alone else threads, progress, stages)
        except Exception as error:
            failure, trace = explain(error), traceback.format_exc()
    plain = None if record is None else {**record.to_dict(), "motion": {}}
    return Outcome(
        job=job,
        record=plain,
        failure=failure,
        wall_s=time.perf_counter() - started,
        cpu_s=time.process_time() - cpu_started if stages is AT_ONCE else math.nan,
        threads=threads,
        where=f"{os.uname().nodename} {os.getpid()}",
        trace=trace,
        statistics=statistics,
    )


def _process(
    job: Job, threads: int, progress: Progress, stages: Stages
) -> tuple[MovieRecord | None, TiltStatistics | None]:
    """The record of an aligned movie, or the statistics of a tilt that was only measured."""
    from flexalign.align import align_and_write
    from flexalign.measure_tilt import measure_tilt

    params = replace(AlignParams.from_dict(job.parameters), threads=threads)
    if job.only_measures:
        return None, measure_tilt(
            job.movie, params, series_prior=job.prior, progress=progress, stages=stages
        ).statistics
    record = align_and_write(
        job.movie, params, job.folder, root=job.name, overwrite=True, series_prior=job.prior,
        series_key=job.series_key, suffixes=job.suffixes, inputs=job.inputs, progress=progress,
        stages=stages,
    )  # fmt: skip
    return record, None


def throttled(send: Progress, interval_s: float) -> Progress:
    """`send`, called at each change of the stage and otherwise at most once per interval."""
    last = ("", 0.0)

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if stage != last[0] or now > last[1] + interval_s:
            last = (stage, now)
            send(stage, done, total)

    return report


def needs_of(job: Job) -> Needs:
    """Memory that the movie needs, by its plan; no pixel is read for that."""
    from flexalign.io.movies.open_movie import plan_movie
    from flexalign.plan_memory import ahead_bytes, frames_bytes

    params = AlignParams.from_dict(job.parameters)
    normal, smallest = (
        plan_movie(job.movie, replace(params, threads=threads)) for threads in (params.threads, 1)
    )
    # The memory of the plan may include frames that are kept.
    kept = frames_bytes(normal.movie, normal.align) if normal.keeps_frames else 0
    frames = max(0, ahead_bytes(normal.movie, normal.align) - kept)
    return Needs(normal.memory_bytes, smallest.memory_bytes, frames)


def refused(job: Job, min_bytes: int) -> Outcome:
    """The outcome of a job that needs more memory than there can be."""
    needed = f"its plan asks for {min_bytes / 1e9:.1f} GB in the smallest pieces"
    return Outcome(job, None, Failure("memory", f"{needed}, more than the run may use", 4))


def finished(folder: Path, root: str, key: str) -> MovieRecord | None:
    """The record of the job `key`, if it is finished and no file is missing."""
    path = folder / f"{root}_record.json"
    try:
        record = read_record(path)
    except InputError:
        return None
    is_whole = all((folder / name).exists() for name in record.outputs.values())
    return record if is_whole and key_of_record(record) == key else None
