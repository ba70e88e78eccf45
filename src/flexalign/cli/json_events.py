"""The events of a run as JSON, for other programs."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from flexalign.files import displayed
from flexalign.option_messages import with_options

if TYPE_CHECKING:
    from flexalign.batch.events import Event, OfSeries
    from flexalign.batch.jobs import Outcome


def write_event(event: Event) -> None:
    """Write the event as a JSON object in one line of the standard output stream."""
    from flexalign.batch import events

    if isinstance(event, events.Tick | events.Measured):
        return
    sys.stdout.write(event_line(event) + "\n")
    sys.stdout.flush()


def event_line(event: Event) -> str:
    """An event as a JSON object in one line, with the options of the command line."""
    return with_options(json.dumps(_facts(event)))


def _facts(event: Event) -> dict[str, Any]:
    """The fields of an event."""
    from flexalign.batch import events

    match event:
        case events.Ended(outcome, is_final):
            kind, facts = _end_facts(outcome, is_final)
        case events.GainChecked(check, text, stops):
            kind, facts = "gain", {**check.to_dict(), "text": text, "stops": stops}
        case events.SeriesDone() | events.SeriesSkipped() | events.SeriesFailed():
            kind, facts = _series_facts(event)
        case events.Skipped(movie, failure):
            state = "failed" if failure else "done"
            kind, facts = "skipped", {"movie": displayed(movie), "state": state}
        case events.Finished(summary, folder):
            kind, facts = "finished", {"folder": displayed(folder), **summary.to_dict()}
        case _:
            kind, facts = type(event).__name__.lower(), dataclasses.asdict(event)
            facts |= {"movie": displayed(facts["movie"])} if "movie" in facts else {}
    return {"event": kind, "time": round(time.time(), 3), **facts}


def _end_facts(outcome: Outcome, is_final: bool) -> tuple[str, dict[str, Any]]:
    """Name and fields of the event that a movie has ended."""
    job, failure = outcome.job, outcome.failure
    facts: dict[str, Any] = {"movie": displayed(job.movie), "name": displayed(job.name)}
    if failure is not None:
        words = {"type": failure.kind, "reason": failure.message, "advice": failure.advice}
        return "failed" if is_final else "retried", {**facts, **words}
    from flexalign.model import MovieRecord

    plain = outcome.record or {}
    seconds = MovieRecord.from_dict(plain).seconds
    parts = {name: plain[name] for name in ("quality", "outputs", "warnings")}
    return "done", {**facts, "seconds": round(seconds, 2), **parts}


def _series_facts(event: OfSeries) -> tuple[str, dict[str, Any]]:
    """Name and fields of an event of a tilt series."""
    from flexalign.batch import events
    from flexalign.batch.series_folder import left_out_rows, row_of

    match event:
        case events.SeriesDone(record):
            row = row_of(record)
            facts = {
                name: row[name] for name in ("series", "source", "images", "exposures", "lost")
            }
            rows = [
                {k: v for k, v in row.items() if k != "series"} for row in left_out_rows(record)
            ]
            return "series-done", {**facts, "left_out": rows, "outputs": record.outputs}
        case events.SeriesSkipped(name, source, lost):
            words = {"series": displayed(name), "source": displayed(source)}
            return "series-skipped", {**words, "lost": lost}
        case events.SeriesFailed(source, failure):
            words = {"type": failure.kind, "reason": failure.message, "advice": failure.advice}
            return "series-failed", {"source": displayed(source), **words}
