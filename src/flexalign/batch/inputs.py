"""Expand command-line arguments to the list of movies of a run."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexalign.errors import InputError
from flexalign.files import exists, is_folder, read_text
from flexalign.io.movie_list import read_movie_list
from flexalign.io.star import listed_paths
from flexalign.io.writing.ownership import resolved
from flexalign.naming import RECORD_SUFFIX, SUFFIXES
from flexalign.params import AlignParams

MOVIE_SUFFIXES = (".mrc", ".mrcs", ".st", ".tif", ".tiff", ".eer")
COMPRESSED_SUFFIXES = (".bz2", ".gz", ".xz", ".zst")
# Detector references beside movies: their names end in such a word, or begin as SerialEM's do.
REFERENCE_NAME = re.compile(
    r"(?:Super|Count)Ref_|(?:.*[-_ ])?(?:(?:gain|dark)(?:[-_]?ref(?:erence)?)?|defects?)\.[^/]*$",
    re.IGNORECASE,
)
INDEX_NAME = "run.json"
LIST_SUFFIXES = (".txt", ".lst", ".list")
# Parameters of which the value of a list is added to that of the run.
ADDITIVE_PARAMETERS = ("pre_exposure_e_A2",)


def find_movies(arguments: Sequence[str], references: Sequence[str | None] = ()) -> list[Path]:
    """The movies named by `arguments`, each once, in order.

    A file under several links or paths is one movie.

    Parameters
    ----------
    arguments : files; quoted patterns such as ``'*.tiff'``; folders (all movies directly in them,
        results of flexalign excluded); text files with a movie per line; RELION's ``movies.star``
    references : gain, dark and defect files, which are excluded from folders

    Raises
    ------
    InputError
        If an argument gives no movie.  Whether a movie exists is not checked here.
    """
    others = {resolved(Path(reference)) for reference in references if reference}
    found: dict[Path, Path] = {}
    for argument in arguments:
        matches = list(_movies_of(argument, others))
        if not matches:
            raise InputError(f"{argument}: expected at least one movie there, found none")
        for path in matches:
            found.setdefault(resolved(path), path)
    return list(found.values())


def is_one_file(arguments: Sequence[str]) -> bool:
    """Whether `arguments` are a single movie file, and not a pattern, folder or list."""
    if len(arguments) != 1 or is_folder(arguments[0]):
        return False
    is_pattern = glob.has_magic(arguments[0]) and not exists(arguments[0])
    return not is_pattern and Path(arguments[0]).suffix not in (*LIST_SUFFIXES, ".star")


def list_files(arguments: Sequence[str]) -> list[Path]:
    """The list files among `arguments`."""
    return [Path(a) for a in arguments if Path(a).suffix in (*LIST_SUFFIXES, ".star")]


def is_run_folder(folder: Path) -> bool:
    """Whether a run over many movies has begun in `folder`."""
    return exists(folder / INDEX_NAME)


@dataclass(frozen=True, slots=True)
class ListedParameters:
    """Parameters from RELION's lists, by the names of `AlignParams`.

    Attributes
    ----------
    common : those of all movies of the run
    own : those that differ between movies, by resolved path
    """

    common: dict[str, Any]
    own: dict[Path, dict[str, Any]]


def listed_parameters(
    arguments: Sequence[str],
    movies: Sequence[Path],
    params: AlignParams,
    fixed: Collection[str] = (),
) -> ListedParameters:
    """The parameters of `movies` in the STAR files among `arguments`.

    Parameters
    ----------
    movies : all movies of the run
    params : of the run, see `ListedMovie.own_parameters`
    fixed : names of parameters given elsewhere, which take precedence over those in the lists; not
        the pre-exposure, which is added

    Raises
    ------
    InputError
        If a value is invalid, or two lists contradict each other.
    """
    listed: dict[Path, dict[str, Any]] = {}
    for argument in arguments:
        if Path(argument).suffix != ".star" or is_folder(argument):
            continue
        for movie in read_movie_list(argument):
            given = movie.own_parameters(params)
            own = {
                n: value for n, value in given.items() if n not in fixed or n in ADDITIVE_PARAMETERS
            }
            if listed.setdefault(resolved(movie.path), own) != own:
                raise InputError(
                    f"{argument}: expected each movie with the same values wherever it is listed, "
                    f"found {movie.name} twice with different values"
                )
    each = [listed.get(resolved(movie), {}) for movie in movies]
    common = {
        name: value
        for name, value in (each[0] if each else {}).items()
        if all(name in own and own[name] == value for own in each)
    }
    differing = {
        key: {name: value for name, value in own.items() if name not in common}
        for key, own in listed.items()
    }
    return ListedParameters(common, {key: own for key, own in differing.items() if own})


def is_movie_name(path: Path) -> bool:
    """Whether a file in a folder counts as a movie, by its name alone.

    Examples
    --------
    >>> names = ("a.mrc.bz2", "b.TIFF", "c.star", "d.gz", ".e.mrc", "f_gain.mrc", "again.tiff")
    >>> [is_movie_name(Path(name)) for name in names]
    [True, True, False, False, False, False, True]
    """
    suffix = path.suffix.lower()
    if suffix in COMPRESSED_SUFFIXES:
        suffix = Path(path.stem).suffix.lower()
    is_reference = REFERENCE_NAME.match(path.name) is not None
    return suffix in MOVIE_SUFFIXES and not path.name.startswith(".") and not is_reference


def is_result(path: Path) -> bool:
    """Whether a file is a result of a finished movie whose record is beside it."""
    return any(
        path.name.endswith(suffix)
        and path.with_name(path.name.removesuffix(suffix) + RECORD_SUFFIX).exists()
        for suffix in SUFFIXES.values()
    )


def _movies_of(argument: str, others: set[Path]) -> Iterator[Path]:
    """The movies named by one argument; `others` are excluded from a folder."""
    path = Path(argument)
    if is_folder(path):
        for file in sorted(path.iterdir()):
            if is_movie_name(file) and not is_result(file) and resolved(file) not in others:
                yield file
    elif glob.has_magic(argument) and not exists(path):
        # Path.glob takes no absolute patterns
        yield from sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207
    elif path.suffix == ".star":
        yield from (movie.path for movie in read_movie_list(path))
    elif path.suffix in LIST_SUFFIXES:
        yield from listed_paths(path, _lines(path))
    else:
        yield path


def _lines(path: Path) -> list[str]:
    """The lines of a text file without blanks and comments."""
    lines = [line.strip() for line in read_text(path).split("\n")]
    return [line for line in lines if line and not line.startswith("#")]
