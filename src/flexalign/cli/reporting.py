"""The command `report`, and the observer that keeps the report of a run current."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexalign.batch.failures import explain
from flexalign.cli.console import Debug, print_error, print_message
from flexalign.errors import InputError

if TYPE_CHECKING:
    from flexalign.batch.events import Event, Observer
    from flexalign.batch.throughput import RunSummary


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of 'align', 'watch' or 'tilt-series', also while they run.",
            metavar="RUN",
        ),
    ],
    debug: Debug = False,
) -> None:
    """Make the report of a run: report.html, which needs a browser but no network.

    The same numbers are in report.csv and report.json, and the details of single movies in
    report_data. 'align', 'watch' and 'tilt-series' make it too, unless --no-report is given.
    Exit code: 0 made, even if movies failed; 3 there is nothing to report.
    """
    from flexalign.report.live import Report
    from flexalign.report.series import SeriesReport, is_series_folder

    if is_series_folder(folder):
        typer.echo(SeriesReport(folder).write())
        return
    made = Report(folder)
    made.find()
    if not made.movie_count and not made.unreadable and not (folder / "failed.tsv").exists():
        raise InputError(
            f"{folder}: expected the records of movies (..._record.json), found none: give the "
            "folder that 'flexalign align --out' wrote to"
        )
    typer.echo(made.write())
    for name, reason in made.unreadable.items():
        print_message(f"left out: {name}_record.json: {reason}")


def refuse_foreign_report(folder: Path) -> None:
    """Check, before anything is computed, that the report of `folder` can be written.

    Raises
    ------
    OccupiedError
        If a foreign file has the name of one of its files.
    """
    from flexalign.report.live import Report

    Report(folder)


def write_report(folder: Path) -> None:
    """Make the report of a folder and print its path, or the reason why it cannot be made."""
    from flexalign.report.live import Report

    try:
        typer.echo(f"report: {Report(folder).write()}", err=True)
    except Exception as error:
        print_error(error, subject="the report")


def _has_nothing(summary: RunSummary) -> bool:
    """Whether a run was stopped before any movie had ended, and none had before."""
    ended = summary.done + summary.failed + summary.done_before + summary.failed_before
    return summary.is_stopped and not ended


class SeriesReporting:
    """An observer of a run over tilt series that keeps their report current.

    Parameters
    ----------
    folder : of the run
    observe : called with the events, and with notes about the report
    """

    def __init__(self, folder: Path, observe: Observer) -> None:
        from flexalign.report.series import SeriesReport

        self._observe, self._report = observe, SeriesReport(folder)
        self._is_reported = False

    def __call__(self, event: Event) -> None:
        """Take in the event; before the last one, write the report and say where it is."""
        from flexalign.batch import events
        from flexalign.batch.jobs import Note

        if isinstance(event, events.Tick):
            self._try(self._report.write_if_due)
        elif (
            isinstance(event, events.Finished)
            and not _has_nothing(event.summary)
            and self._try(self._report.write)
        ):
            self._observe(Note(f"report: {self._report.page}"))
        self._observe(event)

    def _try(self, work: Callable[[], object]) -> bool:
        """Whether it was done; a run continues without a report after any error."""
        from flexalign.batch.jobs import Note

        try:
            work()
        except Exception as error:
            if not self._is_reported:
                message = explain(error).message
                self._observe(Note(f"the report could not be written: {message}"))
            self._is_reported = True
            return False
        return True


class Reporting:
    """Observer of a run that keeps the report current and forwards all events.

    Parameters
    ----------
    folder : of the run
    observe : receives the events, and notes about the report
    """

    def __init__(self, folder: Path, observe: Observer) -> None:
        from flexalign.report.live import Report

        self._observe = observe
        self._report = Report(folder)
        self._is_reported = False

    def __call__(self, event: Event) -> None:
        """Handle the event."""
        from flexalign.batch import events

        match event:
            case events.Ended(outcome, True):
                self._report.note(outcome.job.name, is_done=outcome.failure is None)
            case events.Tick() if self._report.is_due():
                self._write()
            case events.Finished(summary) if not _has_nothing(summary) and self._write():
                self._print_once(f"report: {self._report.page}")
            case _:
                pass
        self._observe(event)

    def _write(self) -> bool:
        """Write the report, return whether that worked; errors never end a run."""
        try:
            self._report.write()
        except Exception as error:
            if not self._is_reported:
                self._print_once(f"the report could not be written: {explain(error).message}")
            self._is_reported = True
            return False
        return True

    def _print_once(self, text: str) -> None:
        from flexalign.batch.jobs import Note

        self._observe(Note(text))
