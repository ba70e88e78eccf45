"""From what was typed to the list of movies of a run."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from flexalign.errors import InputError
from flexalign.io.ownership import RECORD_SUFFIX, resolved
from flexalign.io.star import listed_paths, read_star

MOVIE_SUFFIXES = (".mrc", ".mrcs", ".st", ".tif", ".tiff", ".eer")
COMPRESSED_SUFFIXES = (".bz2", ".gz", ".xz", ".zst")
INDEX_NAME = "run.json"
LIST_SUFFIXES = (".txt", ".lst", ".list")
STAR_MOVIE, STAR_GROUP = "rlnMicrographMovieName", "rlnOpticsGroup"
# What the optics groups of a STAR file say, and the parameter that it is.
STAR_PARAMETERS = {"rlnMicrographOriginalPixelSize": "pixel_size_A", "rlnVoltage": "voltage_kV"}


def find_movies(arguments: Sequence[str], references: Sequence[str | None] = ()) -> list[Path]:
    """The movies that `arguments` name, each once, in the order they were named.

    A file that is reached by several links or spellings is one movie.

    Parameters
    ----------
    arguments : files; quoted patterns such as ``'*.tiff'``; folders (all movies right in them);
        text files with a movie in each line; RELION's ``movies.star``.  Results that lie in a
        folder of movies are none
    references : gain, dark and defect files, which are no movies when they lie in a folder

    Raises
    ------
    InputError
        If an argument gives no movie.  A movie that is missing is not checked here.
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
    """Whether `arguments` name one movie by itself, and could not name more another time."""
    if len(arguments) != 1 or Path(arguments[0]).is_dir():
        return False
    is_pattern = glob.has_magic(arguments[0]) and not Path(arguments[0]).exists()
    return not is_pattern and Path(arguments[0]).suffix not in (*LIST_SUFFIXES, ".star")


def list_files(arguments: Sequence[str]) -> list[Path]:
    """The files among `arguments` that list movies."""
    return [Path(a) for a in arguments if Path(a).suffix in (*LIST_SUFFIXES, ".star")]


def is_run_folder(folder: Path) -> bool:
    """Whether a run over many movies has begun in `folder`."""
    return (folder / INDEX_NAME).exists()


def star_parameters(arguments: Sequence[str]) -> dict[str, float]:
    """The parameters that the STAR files among `arguments` say for all their movies.

    Raises
    ------
    InputError
        If their optics groups differ in one of them.
    """
    values: dict[str, float] = {}
    for argument in arguments:
        if Path(argument).suffix != ".star":
            continue
        blocks = read_star(argument)
        for label, name in STAR_PARAMETERS.items():
            for text in {t for table in blocks.values() for t in table.get(label, ())}:
                if values.setdefault(name, float(text)) != float(text):
                    raise InputError(
                        f"{argument}: expected one {label} for all movies, found {values[name]:g} "
                        f"and {float(text):g}: split the file by optics group, one run for each"
                    )
    return values


def is_movie_name(path: Path) -> bool:
    """Whether a file in a folder is taken for a movie, by its name alone.

    Examples
    --------
    >>> names = ("a.mrc.bz2", "b.TIFF", "c.star", "d.gz", ".e.mrc")
    >>> [is_movie_name(Path(name)) for name in names]
    [True, True, False, False, False]
    """
    suffix = path.suffix.lower()
    if suffix in COMPRESSED_SUFFIXES:
        suffix = Path(path.stem).suffix.lower()
    return suffix in MOVIE_SUFFIXES and not path.name.startswith(".")


def is_result(path: Path) -> bool:
    """Whether a file is the result of a movie that is done, whose record lies beside it."""
    from flexalign.io.results import SUFFIXES  # loads numerical libraries

    return any(
        path.name.endswith(suffix)
        and path.with_name(path.name.removesuffix(suffix) + RECORD_SUFFIX).exists()
        for suffix in SUFFIXES.values()
    )


def _movies_of(argument: str, others: set[Path]) -> Iterator[Path]:
    """The movies that one argument names, `others` left out where it is a folder."""
    path = Path(argument)
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if is_movie_name(file) and not is_result(file) and resolved(file) not in others:
                yield file
    elif glob.has_magic(argument) and not path.exists():
        # Path.glob takes no absolute patterns
        yield from sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207
    elif path.suffix == ".star":
        yield from listed_paths(path, _movies_of_star(path))
    elif path.suffix in LIST_SUFFIXES:
        yield from listed_paths(path, _lines(path))
    else:
        yield path


def _lines(path: Path) -> list[str]:
    """The lines of a text file that say something."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a text file with a movie in each line: {error}") from (
            error
        )
    return [line for line in lines if line and not line.startswith("#")]


def _movies_of_star(path: Path) -> list[str]:
    """The column of movies of a STAR file."""
    tables = [table for table in read_star(path).values() if STAR_MOVIE in table]
    if not tables:
        raise InputError(f"{path}: expected movies of RELION, a column _{STAR_MOVIE}; found none")
    return [name for table in tables for name in table[STAR_MOVIE]]
