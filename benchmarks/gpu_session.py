"""A run over many movies on one device: time of a movie, memory, agreement; for gpu.py.

Nothing here knows what the device is, so that tests run it on the CPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mrcfile
import numpy as np

from flexalign import AlignParams, FlexAlignError
from flexalign.batch.jobs import Job, Outcome
from flexalign.batch.local_processes import LocalProcesses
from flexalign.naming import SUFFIXES

# Movies until all stages are busy and memory has been allocated.
FIRST_MOVIES = 5
SUMS_LIMIT = 1e-4
STATUS = "/proc/{}/status"


@dataclass(slots=True)
class Session:
    """A run over copies of one movie.

    Attributes
    ----------
    ends_s : when each movie was done, after the start
    device_bytes, host_bytes : memory in use on the device and by the processes at each of these
        times
    stages_s : time of each stage of the movies, by name
    """

    ends_s: list[float] = field(default_factory=list)
    device_bytes: list[int] = field(default_factory=list)
    host_bytes: list[int] = field(default_factory=list)
    stages_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def movie_s(self) -> float:
        """Time of a movie once all stages are busy."""
        first = min(FIRST_MOVIES, len(self.ends_s) - 1) - 1
        return (self.ends_s[-1] - self.ends_s[first]) / (len(self.ends_s) - 1 - first)


def run(
    movie: Path,
    params: AlignParams,
    folder: Path,
    count: int,
    executor: LocalProcesses,
    device_bytes: Callable[[], int] = lambda: 0,
) -> Session:
    """Align links to the movie in `folder`; the results of the first and last of them remain.

    Parameters
    ----------
    device_bytes : memory in use on the device

    Raises
    ------
    FlexAlignError
        If a movie fails.
    """
    folder.mkdir(parents=True)
    links = [folder / f"m{n}{movie.suffix}" for n in range(count)]
    for link in links:
        link.symlink_to(movie.absolute())
    session, waiting, started_s = Session(), list(links), time.perf_counter()

    def listen(message: object) -> None:
        if not isinstance(message, Outcome):
            return
        if message.record is None:
            raise FlexAlignError(message.failure.message if message.failure else "no record")
        session.ends_s.append(time.perf_counter() - started_s)
        session.device_bytes.append(device_bytes())
        session.host_bytes.append(sum(_resident(p.pid) for p in executor.processes))
        for stage, seconds in message.record["timings_s"].items():
            session.stages_s.setdefault(stage, []).append(seconds)
        if message.job.name not in ("m0", f"m{count - 1}"):
            for name in message.record["outputs"].values():
                (folder / name).unlink()

    try:
        while len(session.ends_s) < count:
            while waiting and executor.free_places:
                link = waiting.pop(0)
                executor.submit(Job(str(link), link.stem, str(folder), params.to_dict(), "key"))
            executor.wait(listen, 0.1)
    finally:
        executor.close()
    return session


def _resident(pid: int) -> int:
    """Resident memory of a process; 0 if it has ended."""
    try:
        lines = Path(STATUS.format(pid)).read_text().splitlines()
    except OSError:
        return 0
    words = next((line.split() for line in lines if line.startswith("VmRSS:")), ["", "0"])
    return 1024 * int(words[1])


def deviation(expected: Path, found: Path, names: list[str]) -> float:
    """Largest deviation of micrographs of two runs, relative to their maximum.

    Raises
    ------
    FlexAlignError
        If it is larger than it may be.
    """
    relative = 0.0
    for name in names:
        a, b = (mrcfile.read(f / f"{name}{SUFFIXES['micrograph']}") for f in (expected, found))
        relative = max(relative, float(np.abs(a - b).max() / np.abs(a).max()))
    if relative > SUMS_LIMIT:
        raise FlexAlignError(f"micrographs differ by {relative:.1e} of their maximum")
    return relative


def table(sessions: dict[str, Session]) -> str:
    """Time and memory of runs, in Markdown."""
    lines = [
        "| run | movies | s per movie | longest stages, s | device GB after "
        f"{FIRST_MOVIES}, at the end | processes GB after {FIRST_MOVIES}, at the end |",
        "| --- | --: | --: | --- | --: | --: |",
    ]
    for name, session in sessions.items():
        means = {stage: statistics.mean(s) for stage, s in session.stages_s.items()}
        longest = sorted(means, key=means.__getitem__, reverse=True)[:3]
        early = min(FIRST_MOVIES, len(session.ends_s)) - 1
        memory = (
            f"{bytes_[early] / 1e9:.2f}, {bytes_[-1] / 1e9:.2f}"
            for bytes_ in (session.device_bytes, session.host_bytes)
        )
        stages = ", ".join(f"{stage} {means[stage]:.2f}" for stage in longest)
        lines.append(
            f"| {name} | {len(session.ends_s)} | {session.movie_s:.2f} | {stages} | "
            f"{' | '.join(memory)} |"
        )
    return "\n".join(lines)
