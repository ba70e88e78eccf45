"""Throughput of a run, and its bottleneck."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, ClassVar

from flexalign.batch.failures import Failure
from flexalign.batch.jobs import Outcome
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
    movies_per_hour : of this run; NaN if none was aligned
    busy_part : share of the time in which the places for movies were occupied
    computing_part : share of the movies' thread time spent computing; NaN = unknown
    stage_s : mean time of each stage of a movie
    limit : the bottleneck, in words
    incomplete : movies that were seen and never became complete
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

    @property
    def exit_code(self) -> int:
        """0 if all are done, the code of the failures if all failed with the same, else 1."""
        if not self.exit_codes:
            return 1 if self.incomplete else 0
        is_all = self.done + self.done_before == 0
        return self.exit_codes[0] if is_all and len(self.exit_codes) == 1 else 1


class Throughput:
    """Counts and times of a run in progress."""

    def __init__(self) -> None:
        self.done = self.failed = self.done_before = self.failed_before = 0
        self.failures: Counter[str] = Counter()
        self._exit_codes: set[int] = set()
        self._started_s = self._noted_s = time.monotonic()
        self._ends_s: deque[float] = deque(maxlen=RECENT_MOVIES)
        self._stage_s: dict[str, float] = {}
        self._place_s = self._taken_s = self._starved_s = 0.0
        self._thread_s = self._cpu_s = 0.0

    @property
    def elapsed_s(self) -> float:
        """Time since the start of the run."""
        return time.monotonic() - self._started_s

    @property
    def movies_per_hour(self) -> float:
        """Speed over the last movies; NaN before the first has ended."""
        if not self._ends_s:
            return math.nan
        first = self._started_s if len(self._ends_s) < RECENT_MOVIES else self._ends_s[0]
        return 3600 * len(self._ends_s) / max(time.monotonic() - first, 1e-9)

    @property
    def stage_s(self) -> dict[str, float]:
        """Mean time of each stage of a movie, in order."""
        return {stage: total / max(1, self.done) for stage, total in self._stage_s.items()}

    def skip(self, failure: Failure | None) -> None:
        """Count a movie that is not tried."""
        if failure is None:
            self.done_before += 1
        else:
            self.failed_before += 1
            self._exit_codes.add(failure.exit_code)

    def end(self, outcome: Outcome) -> None:
        """Count a movie that has ended."""
        self._ends_s.append(time.monotonic())
        if outcome.failure is not None:
            self.failed += 1
            self.failures[outcome.failure.kind] += 1
            self._exit_codes.add(outcome.failure.exit_code)
            return
        self.done += 1
        timings: dict[str, Any] = (outcome.record or {}).get("timings_s", {})
        for stage, seconds in timings.items():
            self._stage_s[stage] = self._stage_s.get(stage, 0.0) + seconds
        if not math.isnan(outcome.cpu_s):
            self._thread_s += outcome.wall_s * outcome.threads
            self._cpu_s += outcome.cpu_s

    def note(self, side_by_side: int, running: int, waiting: int) -> None:
        """Note the number of places, and of movies in progress, since the last call."""
        now = time.monotonic()
        passed, self._noted_s = now - self._noted_s, now
        self._place_s += passed * side_by_side
        self._taken_s += passed * min(running, side_by_side)
        if not waiting:
            self._starved_s += passed * max(0, side_by_side - running)

    def summary(self, unfinished: int = 0, incomplete: tuple[str, ...] = ()) -> RunSummary:
        """Summary of the run so far."""
        computing = self._cpu_s / self._thread_s if self._thread_s else math.nan
        ended = self.done + self.failed
        return RunSummary(
            done=self.done,
            failed=self.failed,
            done_before=self.done_before,
            failed_before=self.failed_before,
            unfinished=unfinished,
            failures=dict(self.failures),
            exit_codes=tuple(sorted(self._exit_codes)),
            elapsed_s=self.elapsed_s,
            movies_per_hour=3600 * ended / self.elapsed_s if ended else math.nan,
            busy_part=self._taken_s / self._place_s if self._place_s else math.nan,
            computing_part=computing,
            stage_s=self.stage_s,
            limit=self._limit(computing),
            incomplete=incomplete,
        )

    def _limit(self, computing: float) -> str:
        """The bottleneck of the run, in words."""
        if not self.done or not self._place_s:
            return ""
        if self._starved_s > self._place_s / 2:
            return "too few movies for the number of workers"
        if math.isnan(computing):
            return ""
        if computing >= BUSY_SHARE:
            return f"computing: the cores were busy {computing:.0%} of the time"
        longest = max(self._stage_s, key=self._stage_s.__getitem__)
        share = self._stage_s[longest] / max(sum(self._stage_s.values()), 1e-9)
        return (
            f"reading, writing and single-threaded steps: the cores were busy "
            f"{computing:.0%} of the time; the longest stage is '{longest}' with {share:.0%}"
        )
