"""Where the movies of a run come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Source(Protocol):
    """Source of the movies of a run."""

    @property
    def is_open(self) -> bool:
        """Whether more movies may come."""
        ...

    def take(self) -> Sequence[Path]:
        """Return the movies that have become ready since the last call."""
        ...

    @property
    def movies(self) -> Sequence[Path]:
        """The movies known beforehand."""
        ...

    @property
    def backlog(self) -> int:
        """Number of movies that are seen but not ready."""
        ...

    @property
    def incomplete(self) -> Sequence[Path]:
        """Those of them that will probably never become ready."""
        ...


class Listed:
    """A source of movies that are all known from the start."""

    backlog = 0
    incomplete: Sequence[Path] = ()

    def __init__(self, movies: Sequence[Path]) -> None:
        self._movies = movies

    @property
    def is_open(self) -> bool:
        """Whether they have not been taken yet."""
        return bool(self._movies)

    def take(self) -> Sequence[Path]:
        """All of them, once."""
        movies, self._movies = self._movies, ()
        return movies

    @property
    def movies(self) -> Sequence[Path]:
        """Those that have not been taken yet."""
        return self._movies
