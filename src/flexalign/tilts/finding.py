"""Find the movies of a series by name, in a folder and its subfolders."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from flexalign.io.mdoc import base_name
from flexalign.naming import movie_root


class MovieIndex:
    """Index by name of all files in some folders and their subfolders, without hidden ones.

    Parameters
    ----------
    others : folders to exclude, such as that of the results
    """

    def __init__(self, folders: Collection[Path], others: Collection[Path] = ()) -> None:
        self._by_name: dict[str, list[Path]] = {}
        self._by_root: dict[str, list[Path]] = {}
        skipped = {path.absolute() for path in others}
        for folder in dict.fromkeys(path.absolute() for path in folders):
            for where, below, names in os.walk(folder):
                place = Path(where)
                below[:] = [n for n in below if not n.startswith(".") and place / n not in skipped]
                for name in names:
                    self._add(place / name)

    def _add(self, path: Path) -> None:
        paths = self._by_name.setdefault(path.name, [])
        if path not in paths:
            paths.append(path)
            self._by_root.setdefault(movie_root(path.name), []).append(path)

    def find(self, name_in_mdoc: str) -> tuple[Path | None, str]:
        """The movie with a name, or the reason why there is none.

        If there is no file of that name, the extension is ignored, as it changes by compression.
        Among several, the one whose folder has the given name is taken.

        Parameters
        ----------
        name_in_mdoc : name of a file, with or without a folder, as a Windows or Unix path
        """
        name = base_name(name_in_mdoc)
        found = self._by_name.get(name) or [
            path for path in self._by_root.get(movie_root(name), []) if _is_movie(path)
        ]
        if not found:
            return None, f"{name} was not found"
        if len(found) > 1:
            folder = (
                base_name(name_in_mdoc[: -len(name)].rstrip("\\/ ")) if name_in_mdoc != name else ""
            )
            named = [path for path in found if path.parent.name == folder]
            if len(named) != 1:
                places = ", ".join(str(path.parent) for path in found[:3])
                return None, f"{name} was found {len(found)} times: {places}"
            found = named
        return found[0], ""


def _is_movie(path: Path) -> bool:
    """Whether a file with another extension can be the movie."""
    suffixes = {suffix.lower() for suffix in path.suffixes[-2:]}
    return bool(suffixes & {".mrc", ".mrcs", ".st", ".tif", ".tiff", ".eer"})
