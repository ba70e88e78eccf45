"""Where the movies of a series are: by their names, in a folder and those below."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from flexalign.io.mdoc import base_name
from flexalign.naming import movie_root


class MovieIndex:
    """All files in some folders and below, by name; hidden folders are not looked into.

    Parameters
    ----------
    others : folders that are not looked into, such as that of the results
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

    def find(self, said: str) -> tuple[Path | None, str]:
        """The movie of a name, and why there is none.

        The name decides; where the file has another extension now, as after compression, its name
        without extensions does.  Of several, the one in a folder of the name that is said is taken.

        Parameters
        ----------
        said : name of a file, with or without a folder, by a path of Windows or of Unix
        """
        name = base_name(said)
        found = self._by_name.get(name) or [
            path for path in self._by_root.get(movie_root(name), []) if _is_movie(path)
        ]
        if not found:
            return None, f"{name} was not found"
        if len(found) > 1:
            folder = base_name(said[: -len(name)].rstrip("\\/ ")) if said != name else ""
            named = [path for path in found if path.parent.name == folder]
            if len(named) != 1:
                places = ", ".join(str(path.parent) for path in found[:3])
                return None, f"{name} was found {len(found)} times: {places}"
            found = named
        return found[0], ""


def _is_movie(path: Path) -> bool:
    """Whether a file can be the movie whose name it has but for the extension."""
    suffixes = {suffix.lower() for suffix in path.suffixes[-2:]}
    return bool(suffixes & {".mrc", ".mrcs", ".st", ".tif", ".tiff", ".eer"})
