"""Commands of the user that run after each movie and at the end of a run."""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from flexalign.cli.json_events import event_line
from flexalign.errors import ParameterError

if TYPE_CHECKING:
    from flexalign.batch.events import Event, Observer

# A command that takes longer is ended, so that it cannot hold up the end of a run.
MAX_SECONDS = 600
# Of what a command has printed, its end; the rest is not shown.
MAX_SHOWN_BYTES = 4096


@dataclass(frozen=True, slots=True)
class _Call:
    """A command to run, and the event that it reads."""

    command: str
    event: str


class Hooks:
    """Observer that runs commands after movies, and forwards all events.

    The commands run one after the other beside the run. Each gets the event as `--json` prints it
    on its standard input, and what it prints on its standard error is reported as notes. One that
    fails is reported and does not stop the run. Each has a process group of its own, so that Ctrl-C
    in the terminal stops the run and not the command; when the run ends at once, by a second Ctrl-C
    or SIGTERM, its processes are ended too. Processes that a command leaves in the background are
    not waited for.

    Parameters
    ----------
    after_movie : command after each movie that is done or has failed; None = none
    at_end : command when all is written
    observe : receives the events, and notes of what commands printed and of those that failed

    Raises
    ------
    ParameterError
        If a command cannot be split into words.
    """

    def __init__(self, after_movie: str | None, at_end: str | None, observe: Observer) -> None:
        for option, command in (("--after-movie", after_movie), ("--at-end", at_end)):
            _check(option, command)
        self._after_movie, self._at_end, self._observe = after_movie, at_end, observe
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._notes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._finished = ""
        self._process: subprocess.Popen[str] | None = None
        self._is_ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self._at_end and self._finished:
                    self._calls.put(_Call(self._at_end, self._finished))
                self._calls.put(None)
                self._thread.join()
        finally:
            self._end()
        self._notify()

    def _end(self) -> None:
        """End the command that runs, and begin none of those that wait."""
        self._is_ended.set()
        self._calls.put(None)
        while self._thread.is_alive():
            if (process := self._process) is not None:
                _end_group(process)
            self._thread.join(0.05)

    def __call__(self, event: Event) -> None:
        """Queue the command of the event, and forward it."""
        from flexalign.batch import events

        self._observe(event)
        self._notify()
        if isinstance(event, events.Finished):
            self._finished = event_line(event)
        elif isinstance(event, events.Ended) and event.is_final and self._after_movie:
            self._calls.put(_Call(self._after_movie, event_line(event)))

    def _notify(self) -> None:
        """Report what commands printed, and those that failed."""
        from flexalign.batch.jobs import Note

        while not self._notes.empty():
            self._observe(Note(self._notes.get()))

    def _work(self) -> None:
        """Run the commands in order."""
        while (call := self._calls.get()) is not None and not self._is_ended.is_set():
            try:
                notes = self._run(call)
            except OSError as error:
                notes = [f"'{call.command}' failed: {error}"]
            for note in notes if not self._is_ended.is_set() else ():
                self._notes.put(note)

    def _run(self, call: _Call) -> list[str]:
        """Run a command to its end; the lines that it printed, and how it failed."""
        # A pipe would stay open as long as a process that the command leaves in the background.
        with (
            tempfile.TemporaryFile() as printed,
            subprocess.Popen(
                shlex.split(call.command), text=True, errors="replace", stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=printed, start_new_session=True,
            ) as process,
        ):  # fmt: skip
            self._process = process
            try:
                process.communicate(call.event + "\n", timeout=MAX_SECONDS)
            except subprocess.TimeoutExpired:
                _end_group(process)
                late = f"it took more than {MAX_SECONDS} seconds and was ended"
                return [*_last_lines(printed), f"'{call.command}' failed: {late}"]
            finally:
                self._process = None
            lines, code = _last_lines(printed), process.returncode
            if code:
                reason = "".join(f": {line}" for line in lines[-1:])
                lines[-1:] = [f"'{call.command}' failed with exit code {code}{reason}"]
            return lines


def _last_lines(file: IO[bytes]) -> list[str]:
    """The last lines of a file that are not empty."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, size_bytes - MAX_SHOWN_BYTES))
    lines = file.read().decode(errors="replace").splitlines()
    return [line for line in lines if line.strip()]


def _end_group(process: subprocess.Popen[str]) -> None:
    """End a command, and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _check(option: str, command: str | None) -> None:
    """Raise `ParameterError` unless a command has words and its program exists."""
    if command is None:
        return
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ParameterError(f"{option}: expected a command, found '{command}': {error}") from error
    if not words or (shutil.which(words[0]) is None and not Path(words[0]).is_file()):
        raise ParameterError(f"{option}: expected a program that exists, found '{command}'")
