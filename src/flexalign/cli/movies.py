"""From what was typed to the list of movies of a run."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from flexalign.errors import InputError

MOVIE_SUFFIXES = (".mrc", ".mrcs", ".st", ".tif", ".tiff", ".eer")
COMPRESSED_SUFFIXES = (".bz2", ".gz", ".xz", ".zst")


def find_movies(arguments: Sequence[str], references: Sequence[str | None] = ()) -> list[Path]:
    """The movies that `arguments` name, each once, in the order they were named.

    Parameters
    ----------
    arguments : files, quoted patterns such as ``'*.tiff'``, and folders (all movies right in it)
    references : gain, dark and defect files, which are no movies when they lie in a folder

    Raises
    ------
    InputError
        If a pattern or a folder gives no movie.  A file that is missing is not checked here.
    """
    others = {Path(reference).absolute() for reference in references if reference}
    found: dict[Path, Path] = {}
    for argument in arguments:
        matches = [Path(argument)]
        if Path(argument).is_dir():
            matches = [
                path
                for path in sorted(Path(argument).iterdir())
                if _is_movie_name(path) and path.absolute() not in others
            ]
        elif glob.has_magic(argument) and not Path(argument).exists():
            # Path.glob takes no absolute patterns
            matches = sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207
        if not matches:
            raise InputError(f"{argument}: expected at least one movie there, found none")
        for path in matches:
            found.setdefault(path.absolute(), path)
    return list(found.values())


def check_roots(roots: dict[Path, str]) -> None:
    """Refuse two movies whose outputs would have the same names.

    Parameters
    ----------
    roots : what the names of the outputs of each movie begin with

    Raises
    ------
    InputError
        Naming both movies.
    """
    first: dict[str, Path] = {}
    for movie, root in roots.items():
        other = first.setdefault(root, movie)
        if other is not movie:
            raise InputError(
                f"{other} and {movie}: expected movies of different names, since both would write "
                f"'{root}...'; align them into different folders"
            )


def _is_movie_name(path: Path) -> bool:
    """Whether a file in a folder is taken for a movie, by its name alone.

    Examples
    --------
    >>> [_is_movie_name(Path(name)) for name in ("a.mrc.bz2", "b.TIFF", "c.star", "d.gz")]
    [True, True, False, False]
    """
    suffix = path.suffix.lower()
    if suffix in COMPRESSED_SUFFIXES:
        suffix = Path(path.stem).suffix.lower()
    return suffix in MOVIE_SUFFIXES
