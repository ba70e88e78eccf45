"""Display of a run over many movies: a live view, plain lines, or JSON events."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flexalign.batch.warning_counts import WarningCounts
from flexalign.cli.console import result_line
from flexalign.cli.json_events import write_event
from flexalign.cli.log_file import log_lines, stamped
from flexalign.files import displayed
from flexalign.option_messages import with_options

if TYPE_CHECKING:
    from rich.console import Group

    from flexalign.batch.events import Event, Observer, OfSeries, Tick
    from flexalign.batch.jobs import Outcome, Stage
    from flexalign.batch.throughput import RunSummary, Throughput


@contextmanager
def view(
    as_json: bool, debug: bool, *, log: Path | None = None, is_stamped: bool = False
) -> Iterator[Observer]:
    """The observer that displays a run: JSON on request, else what suits the terminal.

    Parameters
    ----------
    log : file for the lines too, with the time; None = no file
    is_stamped : whether lines have the time on the screen too

    Raises
    ------
    OutputError
        If the log cannot be written.
    """
    with ExitStack() as stack:
        shown: Observer
        if as_json:
            shown = write_event
        elif sys.stderr.isatty():
            shown = stack.enter_context(_live(debug, is_stamped=is_stamped))
        else:
            shown = Lines(debug, stamped(_to_screen) if is_stamped else None)
        if log is None:
            yield shown
            return
        from flexalign.batch.jobs import Note

        logged = Lines(debug, stack.enter_context(log_lines(log, lambda text: shown(Note(text)))))

        def both(event: Event) -> None:
            shown(event)
            logged(event)

        yield both


def _to_screen(line: str) -> None:
    typer.echo(line, err=True)


class Lines:
    """One line for each movie that ends, on the standard error stream.

    Parameters
    ----------
    debug : show where an unexpected error arose
    write : what writes a line
    """

    def __init__(self, debug: bool, write: Callable[[str], None] | None = None) -> None:
        self._debug = debug
        self._warnings = WarningCounts()
        self._write = write or _to_screen

    def __call__(self, event: Event) -> None:
        """Show the event."""
        from flexalign.batch import events, jobs

        match event:
            case jobs.Note(text) | events.GainChecked(_, text, False):
                self._write(with_options(text))
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
            from flexalign.model import MovieRecord

            record = MovieRecord.from_dict(outcome.record)
            self._write(result_line(movie.name, record))
            # The summary counts the movies that have it too.
            for warning in self._warnings.add(record.warnings):
                self._write(with_options(f"warning: {warning}"))
        elif failure is not None:
            if self._debug and outcome.trace and failure.kind in ("defect", "stalled"):
                self._write(outcome.trace.rstrip())
            named = "" if str(movie) in failure.message else f"{movie}: "
            head = "error" if is_final else "will be retried alone"
            self._write(f"{head}: {named}{failure.message}")


class Live(Lines):
    """A live view at the bottom of the terminal, with result lines above it."""

    def __init__(self, debug: bool, live: Any, *, is_stamped: bool = False) -> None:
        def write(line: str) -> None:
            live.console.print(line, markup=False, soft_wrap=True)

        super().__init__(debug, stamped(write) if is_stamped else write)
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
        lines = [counts_line(throughput, tick.left, tick.backlog, is_open=tick.is_open)]
        if throughput.stage_s:
            parts = (f"{stage} {seconds:.1f}" for stage, seconds in throughput.stage_s.items())
            lines.append(f"seconds per movie: {', '.join(parts)}")
        return Group(rows, *lines)


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


def counts_line(throughput: Throughput, left: int, backlog: int, *, is_open: bool) -> str:
    """Progress, speed and remaining time.

    Parameters
    ----------
    left : number of movies that are ready and not done
    backlog : number of movies that are being written
    is_open : whether further movies may come
    """
    parts = [f"{throughput.done} done", f"{throughput.failed} failed", f"{left} to do"]
    if throughput.done_before:
        parts.insert(1, f"{throughput.done_before} done before")
    if backlog:
        parts.append(f"{backlog} being written")
    rate = throughput.movies_per_hour
    if not left and not backlog:
        parts += ["waiting for movies"] if is_open else []
    elif not math.isnan(rate):
        parts += [f"{rate:.0f} movies per hour", f"{_clock(3600 * left / rate)} left"]
    return ", ".join(parts)


def summary_lines(summary: RunSummary, folder: Path) -> Iterator[str]:
    """Summary of a run in a few lines."""
    failed = summary.failed + summary.failed_before
    before = f" and {summary.done_before} before" if summary.done_before else ""
    rate = (
        "" if math.isnan(summary.movies_per_hour) else f", {summary.movies_per_hour:.0f} per hour"
    )
    yield f"{_movies(summary.done)} done{before} in {_clock(summary.elapsed_s)}{rate}"
    if summary.limit:
        yield f"Bottleneck: {summary.limit}"
    for warning, count in summary.warnings.items():
        yield with_options(f"warning: {warning}: {count} of {summary.done} movies")
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
        are, them = ("is", "it") if summary.unfinished == 1 else ("are", "them")
        left = f"{_movies(summary.unfinished)} {are} left"
        yield f"{left}: the same command continues with {them}"


def _movies(count: int) -> str:
    """A number of movies, in words."""
    return f"{count} movie{'' if count == 1 else 's'}"


def _clock(seconds: float) -> str:
    """A time as hours, minutes and seconds."""
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{remainder:02}"


@contextmanager
def _live(debug: bool, *, is_stamped: bool) -> Iterator[Observer]:
    """A live picture on the terminal."""
    from rich.console import Console
    from rich.live import Live as RichLive

    with RichLive(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield Live(debug, live, is_stamped=is_stamped)
