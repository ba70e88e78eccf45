"""A name of its own for every movie of a run."""

from __future__ import annotations

from pathlib import Path

from flexalign.io.results import movie_root


class Names:
    """Which movie has which name; a name once given stays.

    Examples
    --------
    >>> names = Names()
    >>> [names.give(path) for path in ("/one/m.tiff", "/two/m.tiff", "/one/m.tiff")]
    ['m', 'two_m', 'm']
    """

    def __init__(self) -> None:
        self._name: dict[str, str] = {}
        self._movie: dict[str, str] = {}

    def keep(self, movie: str, name: str) -> None:
        """Remember that `movie` has the name `name` from an earlier run."""
        self._name.setdefault(movie, name)
        self._movie.setdefault(name, movie)

    def give(self, movie: str) -> str:
        """The name of `movie`: its own, with its folder in front or a number behind if need be."""
        if movie in self._name:
            return self._name[movie]
        root, parent = movie_root(movie), Path(movie).parent.name
        name, number = root, 1
        while name in self._movie:
            name = f"{parent}_{root}" + (f"_{number}" if number > 1 else "")
            number += 1
        self.keep(movie, name)
        return name
