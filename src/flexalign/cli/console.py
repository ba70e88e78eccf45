"""Console output while movies are processed, all on the standard error stream."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from flexalign.batch.failures import explain
from flexalign.cli.help import PANEL
from flexalign.files import displayed
from flexalign.option_messages import with_options
from flexalign.progress import Progress, silent

if TYPE_CHECKING:
    from flexalign.batch.events import GainChecked
    from flexalign.model import MovieRecord
    from flexalign.params import AlignParams

Item = TypeVar("Item")
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", help="Print the traceback of an unexpected error.", rich_help_panel=PANEL
    ),
]


def run_each(
    movies: Sequence[Item], work: Callable[[Item], None], *, debug: bool, what: str = "movies"
) -> int:
    """Call `work` on each movie; a failure prints an error line and the others go on.

    Parameters
    ----------
    movies : paths, or other objects whose text is the name of a movie
    what : plural noun for them in the message when some failed

    Returns
    -------
    The exit code: 0 when all succeeded, that of the error when every movie failed with the same
    code, else 1.
    """
    codes = []
    for movie in movies:
        try:
            work(movie)
        except Exception as error:
            codes.append(print_error(error, subject=displayed(str(movie)), debug=debug))
    if codes and len(movies) > 1:
        typer.echo(f"{len(codes)} of {len(movies)} {what} failed", err=True)
    if len(codes) == len(movies) and len(set(codes)) == 1:
        return codes[0]
    return 1 if codes else 0


def print_message(text: str) -> None:
    """Print a line with options in place of parameters."""
    typer.echo(with_options(text), err=True)


def print_error(error: Exception, *, subject: str = "", debug: bool = False) -> int:
    """Print an error in one line that names its `subject`; return its exit code.

    An error that is not a `FlexAlignError` is a defect; `debug` prints its traceback.
    """
    failure = explain(error)
    if failure.kind == "defect" and debug:
        traceback.print_exception(error)
    message = failure.message
    # A short name may occur within another word.
    is_named = re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", message) or not subject
    typer.echo(f"error: {'' if is_named else f'{subject}: '}{message}", err=True)
    return failure.exit_code


def print_gain_check(event: GainChecked) -> None:
    """Print the result of the gain check, unless it fits or an error will report it."""
    if event.check.verdict != "fits" and not event.stops:
        print_message(event.text)


def announce_compiling() -> None:
    """Announce that loops are being compiled, which slows down the first run only."""
    from flexalign.arrays.kernels.warp import compiling_note

    note = compiling_note()
    if note:
        typer.echo(note, err=True)


def announce_device(movie: Path, params: AlignParams) -> None:
    """Print which device 'auto' takes for a movie, where there is a choice."""
    from flexalign.arrays.device import Hardware, find_hardware

    if params.device != "auto" or find_hardware() == Hardware():
        return
    from flexalign.alignment_request import device_for
    from flexalign.io.movies.open_movie import plan_movie

    typer.echo(device_for(plan_movie(movie, params), params).announcement, err=True)


@contextmanager
def progress_bar(movie: Path) -> Iterator[Progress]:
    """A transient progress bar; nothing if the standard error stream is not a terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(movie.name, total=None)

        def show(stage: str, done: int, total: int) -> None:
            words = f"{movie.name}: {stage}"
            bar.update(task, description=words, completed=done, total=total)

        yield show


def record_line(movie: Path, record: MovieRecord) -> str:
    """As `result_line`, and a line for each warning and flag."""
    line = result_line(movie.name, record)
    flags = record.quality.flags
    warnings = (f"  warning: {warning}" for warning in record.warnings)
    advice = (f"  {flag.name}: {flag.message}. {flag.remedy}" for flag in flags)
    return with_options("\n".join([line, *warnings, *advice]))


def result_line(name: str, record: MovieRecord) -> str:
    """The alignment of one movie in one line."""
    from flexalign.model import START_UP_STAGE

    quality, warning_count = record.quality, len(record.warnings)
    start_up_s = record.timings_s.get(START_UP_STAGE)
    parts = [
        f"motion {quality.total_motion_A:.1f} A (early {quality.early_motion_A:.1f} A)",
        f"local up to {quality.local_range_A:.1f} A" if quality.local_range_A > 0 else "",
        f"model: {quality.model}",
        f"{record.seconds:.1f} s",
        "" if start_up_s is None else f"start-up {start_up_s:.1f} s",
    ]
    if quality.flags:
        parts.append(f"flags: {' '.join(quality.flag_names)}")
    if warning_count:
        parts.append(f"warnings: {warning_count}")
    return f"{name}: {', '.join(filter(None, parts))}"
