"""Threads that divide the rows, columns or items of an array among them.

The kernels and transforms that they run release the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np


class ThreadPool:
    """A few threads that live through a whole pass; use it in a ``with`` block.

    Examples
    --------
    >>> with ThreadPool(2) as threads:
    ...     threads.share(10, 4, lambda start, stop: (start, stop))
    [(0, 4), (4, 8), (8, 10)]
    """

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def share(self, size: int, step: int, work: Callable[[int, int], Any]) -> list[Any]:
        """Results of ``work(start, stop)`` on parts of ``range(size)``, each `step` long.

        The last part may be shorter.  A thread that is free takes the next one.

        Raises
        ------
        Exception
            Whatever `work` raises.
        """
        return self._run(work, [*range(0, size, step), size])

    def share_equally(self, size: int, work: Callable[[int, int], Any]) -> list[Any]:
        """As `share`, of one part for each thread, or `size` of them if there are more threads."""
        parts = min(self.threads, size)
        return self._run(work, [int(edge) for edge in np.linspace(0, size, parts + 1)])

    def _run(self, work: Callable[[int, int], Any], edges: list[int]) -> list[Any]:
        if self._pool is None:
            return [work(start, stop) for start, stop in pairwise(edges)]
        jobs = [self._pool.submit(work, start, stop) for start, stop in pairwise(edges)]
        return [job.result() for job in jobs]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def share_equally(work: Callable[..., Any], size: int, threads: int, *arguments: Any) -> list[Any]:
    """Results of ``work(*arguments, start, stop)`` over equal parts of ``range(size)``.

    Examples
    --------
    >>> share_equally(lambda values, start, stop: sum(values[start:stop]), 4, 2, [1, 2, 3, 4])
    [3, 7]
    """
    with ThreadPool(threads) as pool:
        return pool.share_equally(size, lambda start, stop: work(*arguments, start, stop))
