"""Threads that share the rows or columns of one array among them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Workers:
    """A few threads that live through a whole pass; use it in a ``with`` block.

    The kernels and transforms that they run release the interpreter's lock.

    Examples
    --------
    >>> seen = []
    >>> with Workers(2) as workers:
    ...     workers.share(10, 4, lambda start, stop: seen.append((start, stop)))
    >>> sorted(seen)
    [(0, 4), (4, 8), (8, 10)]
    """

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def share(self, size: int, step: int, work: Callable[[int, int], object]) -> None:
        """Call ``work(start, stop)`` on parts of ``range(size)``, each `step` long but the last.

        Whoever is free takes the next part; all are done on return.

        Raises
        ------
        Exception
            Whatever `work` raises.
        """
        parts = [(start, min(start + step, size)) for start in range(0, size, step)]
        if self._pool is None:
            for start, stop in parts:
                work(start, stop)
            return
        for done in [self._pool.submit(work, start, stop) for start, stop in parts]:
            done.result()

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
