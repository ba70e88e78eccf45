"""What Ctrl-C and SIGTERM do during a run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexalign.batch.run import Run

_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: _Handler) -> Iterator[None]:
    """Call `handler` on signals, except those that are ignored, as by ``nohup``."""
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: known for number, known in before.items() if known is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End on SIGTERM, or with the terminal, as after an error, so that everything is closed."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handled((signal.SIGTERM, signal.SIGHUP), terminate):
        yield


@contextmanager
def stopped_by_ctrl_c(run: Run, say: Callable[[str], None]) -> Iterator[None]:
    """Stop after the movies in progress on Ctrl-C, at once on a second one."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping after the movies in progress; Ctrl-C again stops at once")
        run.stop()

    with _handled((signal.SIGINT,), interrupt):
        yield
