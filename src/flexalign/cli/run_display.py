"""Display of a run over many movies: a live view, plain lines, or JSON events."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flexalign.cli.console import result_line
from flexalign.files import displayed

if TYPE_CHECKING:
    from rich.console import Group

    from flexalign.batch.events import Event, Observer, OfSeries, Tick
    from flexalign.batch.jobs import Outcome, Stage
    from flexalign.batch.throughput import RunSummary, Throughput


def view(as_json: bool, debug: bool) -> AbstractContextManager[Observer]:
    """The observer that displays a run: JSON on request, else what suits the terminal."""
    if as_json:
        return nullcontext(json_events)
    if sys.stderr.isatty():
        return _live(debug)
    return nullcontext(Lines(debug))


class Lines:
    """One line for each movie that ends, on the standard error stream.

    Parameters
    ----------
    debug : show where an unexpected error arose
    write : what writes a line
    """

    def __init__(self, debug: bool, write: Callable[[str], None] | None = None) -> None:
        self._debug = debug
        self._write = write or (lambda line: typer.echo(line, err=True))

    def __call__(self, event: Event) -> None:
        """Show the event."""
        from flexalign.batch import events, jobs

        match event:
            case jobs.Note(text) | events.GainChecked(_, text, False):
                self._write(text)
            case events.Ended(outcome, is_final):
                self._print_end(outcome, is_final)
            case events.SeriesDone() | events.SeriesSkipped() | events.SeriesFailed():
                for line in series_lines(event):
                    self._write(line)
            case events.Finished(summary, folder):
                for line in summary_lines(summary, folder):
                    self._write(line)
            case _:
                pass

    def _print_end(self, outcome: Outcome, is_final: bool) -> None:
        """The line of a movie that is done or has failed."""
        movie, failure = Path(displayed(outcome.job.movie)), outcome.failure
        if outcome.record is not None:
            from flexalign.model import Quality

            quality = Quality.from_dict(outcome.record["quality"])
            warnings = len(outcome.record["warnings"])
            self._write(result_line(movie.name, quality, warnings, outcome.wall_s))
        elif failure is not None:
            if self._debug and outcome.trace and failure.kind in ("defect", "stalled"):
                self._write(outcome.trace.rstrip())
            named = "" if str(movie) in failure.message else f"{movie}: "
            head = "error" if is_final else "will be retried alone"
            self._write(f"{head}: {named}{failure.message}")


class Live(Lines):
    """A live view at the bottom of the terminal, with result lines above it."""

    def __init__(self, debug: bool, live: Any) -> None:
        super().__init__(debug, lambda line: live.console.print(line, markup=False, soft_wrap=True))
        self._live = live
        self._stages: dict[str, Stage] = {}

    def __call__(self, event: Event) -> None:
        """Show the event."""
        from flexalign.batch import events, jobs

        super().__call__(event)
        match event:
            case jobs.Stage():
                self._stages[event.movie] = event
            case events.Ended() | events.Measured():
                self._stages.pop(event.outcome.job.movie, None)
            case events.Tick():
                self._live.update(self._picture(event), refresh=True)
            case _:
                pass

    def _picture(self, tick: Tick) -> Group:
        """Counts, movies in progress, and time by stage."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        rows = Table.grid(padding=(0, 2))
        for stage in self._stages.values():
            bar = ProgressBar(total=max(1, stage.total), completed=stage.done, width=24)
            rows.add_row(displayed(Path(stage.movie).name), bar, stage.stage)
        throughput = tick.throughput
        lines = [counts_line(throughput, tick.left, tick.backlog)]
        if throughput.stage_s:
            parts = (f"{stage} {seconds:.1f}" for stage, seconds in throughput.stage_s.items())
            lines.append(f"seconds per movie: {', '.join(parts)}")
        return Group(rows, *lines)


def json_events(event: Event) -> None:
    """Write the event as a JSON object in one line of the standard output stream."""
    from flexalign.batch import events

    match event:
        case events.Tick() | events.Measured():
            return
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
    line = json.dumps({"event": kind, "time": round(time.time(), 3), **facts})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _end_facts(outcome: Outcome, is_final: bool) -> tuple[str, dict[str, Any]]:
    """Name and fields of the event that a movie has ended."""
    job, failure = outcome.job, outcome.failure
    facts: dict[str, Any] = {"movie": displayed(job.movie), "name": displayed(job.name)}
    if failure is not None:
        words = {"type": failure.kind, "reason": failure.message, "advice": failure.advice}
        return "failed" if is_final else "retried", {**facts, **words}
    record = outcome.record or {}
    parts = {name: record[name] for name in ("quality", "outputs", "warnings")}
    return "done", {**facts, "seconds": round(outcome.wall_s, 3), **parts}


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


def series_lines(event: OfSeries) -> list[str]:
    """How a tilt series went, with a line for each exposure that is left out."""
    from flexalign.batch import events
    from flexalign.batch.series_folder import LEFT_OUT_TABLE, left_out_line

    match event:
        case events.SeriesSkipped(name, _, lost):
            lost_text = f", tilts that are lost: {lost}, see {LEFT_OUT_TABLE}" if lost else ""
            return [f"{name}: done before{lost_text}"]
        case events.SeriesFailed(source, failure):
            name = Path(displayed(source)).name
            named = "" if name in failure.message else f"{name}: "
            return [f"error: {named}{failure.message}"]
        case events.SeriesDone(record):
            series, angles = record.series, [tilt.angle_deg for tilt in record.stacked]
            head = (
                f"{series.name}: {len(angles)} images from {min(angles):g} to {max(angles):g} "
                f"degrees, of {len(series.tilts)} exposures"
            )
            return [head, *(f"  {left_out_line(tilt)}" for tilt in series.left_out)]


def counts_line(throughput: Throughput, left: int, backlog: int) -> str:
    """Progress, speed and remaining time."""
    parts = [f"{throughput.done} done", f"{throughput.failed} failed", f"{left} to do"]
    if throughput.done_before:
        parts.insert(1, f"{throughput.done_before} done before")
    if backlog:
        parts.append(f"{backlog} being written")
    rate = throughput.movies_per_hour
    if not math.isnan(rate):
        parts += [f"{rate:.0f} movies per hour", f"{_clock(3600 * left / rate)} left"]
    return ", ".join(parts)


def summary_lines(summary: RunSummary, folder: Path) -> Iterator[str]:
    """Summary of a run in a few lines."""
    failed = summary.failed + summary.failed_before
    before = f" and {summary.done_before} before" if summary.done_before else ""
    rate = (
        "" if math.isnan(summary.movies_per_hour) else f", {summary.movies_per_hour:.0f} per hour"
    )
    yield f"{summary.done} movies done{before} in {_clock(summary.elapsed_s)}{rate}"
    if summary.limit:
        yield f"limited by {summary.limit}"
    if failed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in summary.failures.items())
        earlier = f"{summary.failed_before} before" if summary.failed_before else ""
        total = summary.done + summary.done_before + failed + summary.unfinished
        yield (
            f"{failed} of {total} movies failed ({', '.join(filter(None, (kinds, earlier)))}): "
            f"see {folder / 'failed.tsv'}"
        )
    for movie in summary.incomplete:
        yield f"{movie}: remained incomplete and was not aligned: transfer it again"
    if summary.unfinished:
        yield f"{summary.unfinished} movies are left: the same command continues with them"


def _clock(seconds: float) -> str:
    """A time as hours, minutes and seconds."""
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{remainder:02}"


@contextmanager
def _live(debug: bool) -> Iterator[Observer]:
    """A live picture on the terminal."""
    from rich.console import Console
    from rich.live import Live as RichLive

    with RichLive(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield Live(debug, live)
