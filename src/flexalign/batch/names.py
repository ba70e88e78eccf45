"""Unique names for the movies of a run."""

from __future__ import annotations

from pathlib import Path

from flexalign.io.writing.ownership import resolved
from flexalign.naming import movie_root


class Names:
    """Map of movies to names; a name once given stays.

    A movie is one file, under any link or path. Names that differ only in case count as equal, as
    on some file systems.

    Examples
    --------
    >>> names = Names()
    >>> [names.give(path) for path in ("/one/m.tiff", "/two/m.tiff", "/one/../one/m.tiff")]
    ['m', 'two_m', 'm']
    """

    def __init__(self) -> None:
        self._name: dict[str, str] = {}
        self._movie: dict[str, str] = {}
        self._spelling: dict[Path, str] = {}

    def keep(self, movie: str, name: str) -> None:
        """Enter the name of `movie` from an earlier run."""
        self._name.setdefault(self.spelling(movie), name)
        self._movie.setdefault(name.casefold(), movie)

    def spelling(self, movie: str) -> str:
        """The path under which the file `movie` was first given."""
        return self._spelling.setdefault(resolved(Path(movie)), movie)

    def give(self, movie: str, root: str | None = None) -> str:
        """The name of `movie`: its own, or a variant if another movie has that.

        Parameters
        ----------
        root : its own name, to which a number is added if need be; None = what the file is
            called, with its folder in front or a number behind if need be
        """
        movie = self.spelling(movie)
        if movie in self._name:
            return self._name[movie]
        own = movie_root(movie) if root is None else root
        other = own if root is not None else f"{Path(movie).parent.name}_{own}"
        name, number = own, 1 if root is None else 2
        while name.casefold() in self._movie:
            name = other + (f"_{number}" if number > 1 else "")
            number += 1
        self.keep(movie, name)
        return name
