"""Throughput of a run, and its bottleneck."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flexalign.batch.failures import Failure
from flexalign.batch.jobs import Outcome
from flexalign.batch.warning_counts import WarningCounts
from flexalign.errors import INTERRUPTED
from flexalign.model import JsonValue

RECENT_MOVIES = 50
# From this share of busy time on, the cores are the bottleneck.
BUSY_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class RunSummary(JsonValue):
    """Summary of a run.

    Attributes
    ----------
    done, failed : in this run
    done_before, failed_before : in earlier runs, not repeated
    unfinished : movies left when the run was stopped
    failures : number of each kind
    exit_codes : of the failures of this run and before
    elapsed_s : of the whole run
    movies_per_hour : movies that were aligned in the time in which there was work; NaN if none was
    busy_part : share of the time with work in which the places for movies were occupied
    computing_part : share of the movies' thread time spent computing; NaN = unknown
    stage_s : mean time of each stage of a movie
    limit : the bottleneck, in words
    incomplete : movies that were seen and never became complete
    warnings : number of movies with each warning, of this run
    is_stopped : whether it was stopped while movies were left, or more could come
    """

    schema: ClassVar[int] = 1

    done: int
    failed: int
    done_before: int
    failed_before: int
    unfinished: int
    failures: dict[str, int]
    exit_codes: tuple[int, ...]
    elapsed_s: float
    movies_per_hour: float
    busy_part: float
    computing_part: float
    stage_s: dict[str, float]
    limit: str
    incomplete: tuple[str, ...] = ()
    warnings: dict[str, int] = field(default_factory=dict)
    is_stopped: bool = False

    @property
    def exit_code(self) -> int:
        """130 if it was stopped, else 0 if all are done, else that of all failures or 1."""
        if self.is_stopped:
            return INTERRUPTED
        if not self.exit_codes:
            return 1 if self.incomplete else 0
        is_all = self.done + self.done_before == 0
        return self.exit_codes[0] if is_all and len(self.exit_codes) == 1 else 1


class Throughput:
    """Counts and times of a run in progress."""

    def __init__(self) -> None:
        # Of each movie, in this run and before: one that is read too early fails and is done later.
        self._ended: dict[str, Failure | None] = {}
        self._before: dict[str, Failure | None] = {}
        self._started_s = self._noted_s = time.monotonic()
        # Time with work, and that at which each of the last movies was done.
        self._active_s = 0.0
        self._ends_s: deque[float] = deque([0.0], maxlen=RECENT_MOVIES + 1)
        self._warnings = WarningCounts()
        self._stage_s: dict[str, float] = {}
        self._place_s = self._taken_s = self._starved_s = 0.0
        self._thread_s = self._cpu_s = 0.0

    @property
    def elapsed_s(self) -> float:
        """Time since the start of the run."""
        return time.monotonic() - self._started_s

    @property
    def movies_per_hour(self) -> float:
        """Speed over the last movies; NaN before the first is done.

        Time without work, as between the movies of a microscope, does not count.
        """
        passed_s = self._active_s - self._ends_s[0]
        return _per_hour(len(self._ends_s) - 1, passed_s)

    @property
    def stage_s(self) -> dict[str, float]:
        """Mean time of each stage of a movie, in order."""
        return {stage: total / max(1, self.done) for stage, total in self._stage_s.items()}

    @property
    def done(self) -> int:
        """Number of movies that were aligned."""
        return len(self._ended) - self.failed

    @property
    def failed(self) -> int:
        """Number of movies that failed, those left out that were done later."""
        return sum(failure is not None for failure in self._ended.values())

    @property
    def done_before(self) -> int:
        """Number of movies that were done in earlier runs, and not repeated."""
        return len(self._before) - self.failed_before

    @property
    def failed_before(self) -> int:
        """Number of movies that failed in earlier runs, and were not repeated."""
        return sum(failure is not None for failure in self._before.values())

    def skip(self, movie: str, failure: Failure | None) -> None:
        """Count a movie that is not tried."""
        if movie not in self._ended:
            self._before[movie] = failure

    def end(self, outcome: Outcome) -> None:
        """Count a movie that has ended, in place of what became of it before."""
        movie, failure = outcome.job.movie, outcome.failure
        self._before.pop(movie, None)
        is_again = self._ended.get(movie, failure) is None and movie in self._ended
        self._ended[movie] = failure
        if failure is not None or is_again:
            return
        self._ends_s.append(self._active_s + time.monotonic() - self._noted_s)
        self._warnings.add((outcome.record or {}).get("warnings", ()))
        timings: dict[str, Any] = (outcome.record or {}).get("timings_s", {})
        for stage, seconds in timings.items():
            self._stage_s[stage] = self._stage_s.get(stage, 0.0) + seconds
        if not math.isnan(outcome.cpu_s):
            self._thread_s += outcome.wall_s * outcome.threads
            self._cpu_s += outcome.cpu_s

    def note(self, side_by_side: int, running: int, waiting: int) -> None:
        """Note the number of places, and of movies in progress, since the last call.

        Time without work, as between the movies of a microscope, does not count.
        """
        now = time.monotonic()
        passed, self._noted_s = now - self._noted_s, now
        if not (running or waiting):
            return
        self._active_s += passed
        self._place_s += passed * side_by_side
        self._taken_s += passed * min(running, side_by_side)
        if not waiting:
            self._starved_s += passed * max(0, side_by_side - running)

    def summary(self, unfinished: int = 0, incomplete: tuple[str, ...] = ()) -> RunSummary:
        """Summary of the run so far."""
        computing = self._cpu_s / self._thread_s if self._thread_s else math.nan
        failed = [failure for failure in self._ended.values() if failure is not None]
        all_failed = [*failed, *(f for f in self._before.values() if f is not None)]
        return RunSummary(
            done=self.done,
            failed=self.failed,
            done_before=self.done_before,
            failed_before=self.failed_before,
            unfinished=unfinished,
            failures=dict(Counter(failure.kind for failure in failed)),
            exit_codes=tuple(sorted({failure.exit_code for failure in all_failed})),
            elapsed_s=self.elapsed_s,
            movies_per_hour=_per_hour(self.done, self._active_s),
            busy_part=self._taken_s / self._place_s if self._place_s else math.nan,
            computing_part=computing,
            stage_s=self.stage_s,
            limit=self._limit(computing),
            incomplete=incomplete,
            warnings=self._warnings.to_dict(),
        )

    def _limit(self, computing: float) -> str:
        """The bottleneck of the run, in words."""
        if not self.done or not self._place_s:
            return ""
        if self._starved_s > self._place_s / 2:
            return "too few movies at a time for all jobs"
        if computing >= BUSY_SHARE:
            return f"computing (CPU {computing:.0%} busy)"
        if not self._stage_s:
            return ""
        longest = max(self._stage_s, key=self._stage_s.__getitem__)
        share = self._stage_s[longest] / max(sum(self._stage_s.values()), 1e-9)
        stage = f"longest stage: {longest}, {share:.0%} of the time"
        if math.isnan(computing):  # where movies share a process
            return stage
        return f"reading and single-threaded steps (CPU {computing:.0%} busy); {stage}"


def _per_hour(count: int, seconds: float) -> float:
    """Movies per hour; NaN without movies."""
    return 3600 * count / max(seconds, 1e-9) if count else math.nan
