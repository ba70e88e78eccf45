"""The log of a run: lines with the time, in a file that is rotated."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from flexalign.atomic import explained
from flexalign.batch.failures import explain
from flexalign.errors import OccupiedError

# The file and its predecessors, NAME.1 to NAME.5, have up to this size each.
MAX_BYTES, PREDECESSORS = 10_000_000, 5
_STAMP = "%Y-%m-%d %H:%M:%S"
_STAMPED = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


def stamped(write: Callable[[str], None]) -> Callable[[str], None]:
    """`write` with the local time in front of each line."""
    return lambda line: write(f"{time.strftime(_STAMP)} {line}")


def refuse_foreign_log(path: Path) -> None:
    """Check that a log can be appended to and rotated.

    Raises
    ------
    OccupiedError
        If the file, or one with the name of a predecessor, is no log of flexalign.
    OutputError
        If it cannot be read.
    """
    names = [path.name, *(f"{path.name}.{number + 1}" for number in range(PREDECESSORS))]
    for file in (path.with_name(name) for name in names):
        if not file.exists():
            continue
        with explained(file), file.open("rb") as opened:
            head = opened.read(20)
        if head and not _STAMPED.match(head):
            raise OccupiedError(
                f"{file}: expected a log of flexalign, found another file: move it away, or give "
                "another name to --log"
            )


class _LogHandler(RotatingFileHandler):
    """Writes a log; the first error, such as of a full disk, is reported, and none ends the run."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        super().__init__(
            path, maxBytes=MAX_BYTES, backupCount=PREDECESSORS, encoding="utf-8",
            errors="backslashreplace",
        )  # fmt: skip
        self._report, self._is_reported = report, False

    def handleError(self, record: logging.LogRecord) -> None:
        """Report that a line could not be written."""
        if not self._is_reported:
            self._is_reported = True
            self._report(f"{self.baseFilename}: lines are missing in the log: {sys.exc_info()[1]}")

    def close(self) -> None:
        """Close the file, whose last lines may not fit on the disk."""
        with contextlib.suppress(OSError):
            super().close()


@contextmanager
def log_lines(path: Path, report: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """A function that appends a line with the time to the log `path`.

    An error that ends the block is its last line.

    Parameters
    ----------
    report : called once if a line cannot be written

    Raises
    ------
    OccupiedError
        If the file is no log of flexalign.
    OutputError
        If it cannot be opened.
    """
    refuse_foreign_log(path)
    with explained(path):
        handler = _LogHandler(path, report)

    def write(text: str) -> None:
        # A line of the log is one line.
        line = text.replace("\n", " ")
        handler.emit(logging.LogRecord("flexalign", logging.INFO, "", 0, line, None, None))

    with closing(handler):
        try:
            yield stamped(write)
        except BaseException as error:
            is_signal = not isinstance(error, Exception)
            stamped(write)("stopped at once" if is_signal else f"error: {explain(error).message}")
            raise
