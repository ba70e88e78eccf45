"""A source of the movies of a fixed list of tilt series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from flexalign.batch.series import SeriesWork
from flexalign.tilts.model import TiltSeries

# Number of movies in progress from which on no further series is started.
MAX_AWAITED = 256


class ListedSeries:
    """A source of the movies of series.

    Parameters
    ----------
    series : evaluated lazily, as the headers of the movies of each are read
    work : on which the series are started
    """

    backlog = 0
    incomplete: Sequence[Path] = ()
    movies: Sequence[Path] = ()

    def __init__(self, series: Iterable[TiltSeries], work: SeriesWork) -> None:
        self._series, self._work = iter(series), work
        self._has_more = True

    @property
    def is_open(self) -> bool:
        """Whether there are more movies to take."""
        return self._has_more or self._work.is_measuring

    def take(self) -> Sequence[Path]:
        """The released movies, and those of one more series if few are in progress.

        Within each series they are sorted by absolute tilt angle.
        """
        movies = self._work.take_released()
        while self._has_more and not movies and self._work.awaited_count < MAX_AWAITED:
            series = next(self._series, None)
            if series is None:
                self._has_more = False
            else:
                movies += self._work.begin(series)
        return movies
