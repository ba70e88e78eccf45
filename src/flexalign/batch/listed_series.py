"""A source of the movies of tilt series that are all known from the start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from flexalign.batch.series import SeriesWork
from flexalign.tilts.model import TiltSeries

# While so many movies are under way, no further series is begun.
MAX_AWAITED = 256


class ListedSeries:
    """A source of the movies of series.

    Parameters
    ----------
    series : each is made when there is need of it, as the headers of its movies are read for that
    work : what the series are begun on
    """

    backlog = 0
    incomplete: Sequence[Path] = ()
    movies: Sequence[Path] = ()

    def __init__(self, series: Iterable[TiltSeries], work: SeriesWork) -> None:
        self._series, self._work = iter(series), work
        self._has_more = True

    @property
    def is_open(self) -> bool:
        """Whether they have not all been taken yet."""
        return self._has_more or self._work.is_measuring

    def take(self) -> Sequence[Path]:
        """The movies that are measured, and those of one more series where few are under way.

        Those near zero tilt come first within each series.
        """
        movies = self._work.take_released()
        while self._has_more and not movies and self._work.awaited_count < MAX_AWAITED:
            series = next(self._series, None)
            if series is None:
                self._has_more = False
            else:
                movies += self._work.begin(series)
        return movies
