"""The time that each stage of an alignment takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType


class StageTimer:
    """Seconds spent in each stage, in the order of their first use.

    Parameters
    ----------
    seconds : of stages that are over

    Examples
    --------
    >>> timer = StageTimer()
    >>> with timer("first pass"):
    ...     pass
    >>> list(timer.seconds)
    ['first pass']
    """

    def __init__(self, seconds: Mapping[str, float] = MappingProxyType({})) -> None:
        self.seconds = dict(seconds)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time spent in a ``with`` block to that of `stage`."""
        started = time.perf_counter()
        yield
        elapsed = time.perf_counter() - started
        self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed
