"""Events of a run, for observers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flexalign.batch.failures import Failure
from flexalign.batch.jobs import Note, Outcome, Stage
from flexalign.batch.throughput import RunSummary, Throughput
from flexalign.gain.verdict import GainCheck

if TYPE_CHECKING:
    from flexalign.tilts.record import SeriesRecord


@dataclass(frozen=True, slots=True)
class Queued:
    """A movie was queued; `waiting` is the length of the queue."""

    movie: str
    waiting: int


@dataclass(frozen=True, slots=True)
class GainChecked:
    """The first movies were compared with the gain reference.

    Attributes
    ----------
    check : the result
    text : the result in words
    stops : whether the run ends because of it, with an error that repeats the text
    """

    check: GainCheck
    text: str
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A movie was done before, or failed before and is not tried again."""

    movie: str
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A movie is done or has failed; if not final, it is retried."""

    outcome: Outcome
    is_final: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """A tilt was measured for the priors of its series; it is aligned later."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class SeriesDone:
    """The stack of a tilt series is written."""

    record: SeriesRecord


@dataclass(frozen=True, slots=True)
class SeriesSkipped:
    """A tilt series was done before; `source` describes it, and `lost` tilts are lacking."""

    name: str
    source: str
    lost: int = 0


@dataclass(frozen=True, slots=True)
class SeriesFailed:
    """A tilt series cannot be processed; `source` describes it."""

    source: str
    failure: Failure


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """The state of the run, sent at least every half second.

    Attributes
    ----------
    left : number of movies that are ready and not done
    backlog : number of movies that are seen and not ready
    is_open : whether further movies may come
    """

    throughput: Throughput
    left: int
    backlog: int
    is_open: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over."""

    summary: RunSummary
    folder: Path


OfMovies = Note | GainChecked | Queued | Skipped | Stage | Measured | Ended | Tick | Finished
OfSeries = SeriesDone | SeriesSkipped | SeriesFailed
Event = OfMovies | OfSeries
Observer = Callable[[Event], None]
