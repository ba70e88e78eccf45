"""Movies of one process in stages that overlap: one is read, one computed, one written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flexalign.stages import AT_ONCE, Result, Stages


class Session:
    """Works on several movies at a time, each of which has one stage at a time to itself.

    All movies are computed by one thread, since CuPy keeps memory and plans of transforms for each
    thread.

    Parameters
    ----------
    places : number of movies at a time; with one, nothing overlaps
    """

    def __init__(self, places: int) -> None:
        self._movies = ThreadPoolExecutor(places, thread_name_prefix="movie")
        self._reading, self._computing, self._writing = (
            ThreadPoolExecutor(1, thread_name_prefix=stage)
            for stage in ("read", "compute", "write")
        )
        self.overlaps = places > 1

    def begin(self, work: Callable[[], object]) -> None:
        """Call `work`, which aligns one movie, as soon as there is a place for it."""
        self._movies.submit(work)

    def stages(self, *, reads_ahead: bool) -> Stages:
        """The stages of one movie.

        Parameters
        ----------
        reads_ahead : whether its frames are decoded into memory while another movie is computed
        """
        if not self.overlaps:
            return AT_ONCE
        return Stages(
            _In(self._reading), _In(self._computing), _In(self._writing), reads_ahead=reads_ahead
        )


class _In:
    """Calls functions in the thread of a stage, one after the other."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread

    def __call__(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, once it had its turn."""
        return self._thread.submit(work).result()
