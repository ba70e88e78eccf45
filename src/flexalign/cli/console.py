"""What a person sees while movies are worked on; all of it goes to the standard error stream."""

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
from flexalign.files import displayed

if TYPE_CHECKING:
    from flexalign.batch.events import GainChecked
    from flexalign.model import MovieRecord, Quality

Progress = Callable[[str, int, int], None]
Item = TypeVar("Item")
Debug = Annotated[bool, typer.Option("--debug", help="Show where an unexpected error arose.")]


def run_each(
    movies: Sequence[Item], work: Callable[[Item], None], *, debug: bool, what: str = "movies"
) -> int:
    """Do `work` on each movie; one that fails has its line of error and the others go on.

    Parameters
    ----------
    movies : paths, or whatever prints as the name of a movie
    what : how they are called when some failed

    Returns
    -------
    The exit code: 0 when all went well, that of the error when every movie failed of the same
    kind, else 1.
    """
    codes = []
    for movie in movies:
        try:
            work(movie)
        except Exception as error:
            codes.append(say_error(error, subject=displayed(str(movie)), debug=debug))
    if codes and len(movies) > 1:
        typer.echo(f"{len(codes)} of {len(movies)} {what} failed", err=True)
    if len(codes) == len(movies) and len(set(codes)) == 1:
        return codes[0]
    return 1 if codes else 0


def say_error(error: Exception, *, subject: str = "", debug: bool = False) -> int:
    """Print an error in one line, which names its `subject`; the exit code that goes with it.

    An error that flexalign does not explain is a defect; `debug` shows where it arose.
    """
    failure = explain(error)
    if failure.kind == "defect" and debug:
        traceback.print_exception(error)
    message = failure.message
    # A short name may be part of any word.
    is_named = re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", message) or not subject
    typer.echo(f"error: {'' if is_named else f'{subject}: '}{message}", err=True)
    return failure.exit_code


def say_gain_check(event: GainChecked) -> None:
    """Say what the check of the gain found, unless all is well or an error will say it."""
    if event.check.verdict != "fits" and not event.stops:
        typer.echo(event.text, err=True)


def announce_compiling() -> None:
    """Say why the first run starts slowly: its loops are compiled, and kept for all later runs."""
    from flexalign.arrays.kernels.warp import compiling_note

    note = compiling_note()
    if note:
        typer.echo(note, err=True)


def announce_device(word: str) -> None:
    """Say what 'auto' has become, where there is a choice; without it only the record says so.

    Raises
    ------
    DeviceError
        If the device asked for cannot be used, before any movie is read.
    """
    from flexalign.arrays.device import Hardware, find_hardware, resolve

    hardware = find_hardware()
    device = resolve(word, hardware=hardware)
    if word == "auto" and hardware != Hardware():
        why = f": {device.note}" if device.note else ""
        typer.echo(f"computing on {device.describe()}{why}", err=True)


@contextmanager
def progress_bar(movie: Path) -> Iterator[Progress]:
    """A bar that goes away at the end, and nothing where the standard error is no terminal."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
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


def record_line(movie: Path, record: MovieRecord, seconds: float) -> str:
    """As `result_line` for a movie that was aligned in this process, and a line for each flag."""
    line = result_line(movie.name, record.quality, len(record.warnings), seconds)
    flags = record.quality.flags
    return "\n".join([line, *(f"  {f.name}: {f.message}. {f.remedy}" for f in flags)])


def result_line(name: str, quality: Quality, warning_count: int, seconds: float) -> str:
    """How the alignment of one movie went, in one line."""
    parts = [
        f"motion {quality.total_motion_A:.1f} A (early {quality.early_motion_A:.1f} A)",
        f"local up to {quality.local_range_A:.1f} A",
        f"kept {quality.chosen}",
        f"{seconds:.1f} s",
    ]
    if quality.flags:
        parts.append(f"flags: {' '.join(quality.flag_names)}")
    if warning_count:
        parts.append(f"warnings in the record: {warning_count}")
    return f"{name}: {', '.join(parts)}"
