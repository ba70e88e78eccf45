"""Find two sets of alignments and match them by movie."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flexalign.errors import InputError
from flexalign.files import exists, is_folder
from flexalign.io.motion_formats.motioncor_logs import is_motioncor
from flexalign.io.motion_formats.read_motion import (
    MovieFacts,
    join_facts,
    read_all_facts,
    read_motion_of,
)
from flexalign.io.movies.reader import head_text, read_head
from flexalign.io.star import listed_paths, read_star
from flexalign.io.writing.ownership import resolved
from flexalign.motion import Motion
from flexalign.naming import movie_root

# Of several files of one movie in a folder, the one with the first of these endings is taken.
ENDINGS = (
    "_record.json", "_motion.json", "_motion.star", ".star", ".aln", "-Patch-Patch.log",
    "-Patch-Full.log", "-Full.log", "_motioncor.log", ".log", "_shifts.xmd", ".xmd", ".xml",
    "_truth.npz", ".json", ".npz",
)  # fmt: skip
MICROGRAPHS_STAR = "corrected_micrographs.star"
_METADATA = "rlnMicrographMetadata"
# In a folder, files with these endings are opened to check: many of them hold something else.
_PROBED_ENDINGS: dict[str, Callable[[str], bool]] = {
    ".star": lambda text: "_rlnMicrographFrameNumber" in text,
    ".aln": is_motioncor,
    ".log": is_motioncor,
    ".xmd": lambda text: "frameShifts" in text,
    ".xml": lambda text: "GridMovementX" in text and "<TiltSeries" not in text,
}
_PROBED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Alignment:
    """The file of one alignment.

    Attributes
    ----------
    path : where it is
    root : name of the movie, without folder and extensions
    facts : its metadata of the movie
    problem : the error if it cannot be read, else ""
    """

    path: Path
    root: str
    facts: MovieFacts
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two alignments of one movie; prints as the movie's name."""

    root: str
    a: Alignment
    b: Alignment

    def __str__(self) -> str:
        return self.root


@dataclass(frozen=True, slots=True)
class Matches:
    """Result of matching two sets.

    Attributes
    ----------
    pairs : movies in both
    only_a, only_b : movies in one of them
    ambiguous : error for each movie with several alignments in one set, by root
    """

    pairs: tuple[Pair, ...]
    only_a: tuple[Alignment, ...] = ()
    only_b: tuple[Alignment, ...] = ()
    ambiguous: Mapping[str, str] = field(default_factory=dict)


def find_alignments(argument: str) -> list[Alignment]:
    """The alignments named by a command-line argument.

    Parameters
    ----------
    argument : a file; a quoted pattern; RELION's ``corrected_micrographs.star``, for the files in
        its column rlnMicrographMetadata; or a folder.  Of a job of RELION that is its
        ``corrected_micrographs.star``, of others all alignments in it and below, one per movie

    Raises
    ------
    InputError
        If there is none.
    """
    paths = list(_paths(argument))
    if not paths:
        raise InputError(f"{argument}: expected alignments of movies there, found none")
    return [alignment for path in paths for alignment in _alignments_in(path)]


def match_alignments(a: Sequence[Alignment], b: Sequence[Alignment]) -> Matches:
    """Match alignments by the name of their movie.

    Two single files are matched whatever their names. Names that match only without what programs
    add to them (``_aligned``, ``.log0``, points for underscores) are matched if that is
    unambiguous.
    """
    if len(a) == len(b) == 1:
        return Matches((Pair(a[0].root, a[0], b[0]),))
    return _matched_by_name(a, b)


def _matched_by_name(a: Sequence[Alignment], b: Sequence[Alignment]) -> Matches:
    """As `match_alignments`, always by names."""
    pairs: list[Pair] = []
    left, right = list(a), list(b)
    for key in (_root, lambda one: _plain_root(one.root)):
        by_name = [_grouped(side, key) for side in (left, right)]
        for name in by_name[0].keys() & by_name[1].keys():
            one, other = by_name[0][name], by_name[1][name]
            if len(one) == len(other) == 1:
                pairs.append(Pair(one[0].root, one[0], other[0]))
                left.remove(one[0])
                right.remove(other[0])
    pairs.sort(key=lambda pair: pair.root)
    both = {item.root for item in left} & {item.root for item in right}
    only_a, only_b = (tuple(i for i in side if i.root not in both) for side in (left, right))
    ambiguous = {
        root: "expected one alignment of it in A and in B, found "
        + ", ".join(str(item.path) for item in (*left, *right) if item.root == root)
        for root in sorted(both)
    }
    return Matches(tuple(pairs), only_a, only_b, ambiguous)


def alignments_of(
    movies: Sequence[Path], argument: str
) -> tuple[dict[Path, Path], dict[Path, str]]:
    """The file with the alignment of each movie; and why some have none.

    A movie is known by its path where a file says that, else by its name.

    Parameters
    ----------
    argument : as of `find_alignments`

    Raises
    ------
    InputError
        If it names no alignment.
    """
    others = find_alignments(argument)
    by_path = _grouped(others, lambda one: str(resolved(Path(one.facts.movie or one.path))))
    same = {path: by_path.get(str(resolved(path)), []) for path in movies}
    found = {path: ones[0].path for path, ones in same.items() if len(ones) == 1}
    taken = {ones[0] for ones in same.values() if len(ones) == 1}
    sides = [
        Alignment(path, movie_root(path), MovieFacts()) for path in movies if path not in found
    ]
    matches = _matched_by_name(sides, [one for one in others if one not in taken])
    found |= {pair.a.path: pair.b.path for pair in matches.pairs}
    missing = {
        side.path: f"{side.path}: expected its alignment in {argument}, found none"
        if exists(side.path)
        else f"{side.path}: no such file"
        for side in matches.only_a
    }
    for root, problem in matches.ambiguous.items():
        missing |= {side.path: problem for side in sides if side.root == root}
    return found, missing


def read_pair(
    pair: Pair, *, shape_px: tuple[int, int] | None = None, pixel_size_A: float | None = None
) -> tuple[Motion, Motion, MovieFacts]:
    """Both motions of a movie, and the facts about it.

    Parameters
    ----------
    shape_px, pixel_size_A : of the unbinned movie, if neither file has them

    Raises
    ------
    InputError
        If a file cannot be read, or the two are not of the same frames, size and pixel size.
    """
    for side in (pair.a, pair.b):
        if side.problem:
            raise InputError(side.problem)
    facts = join_facts(pair.a.facts, pair.b.facts)
    facts = MovieFacts(
        facts.movie,
        facts.frame_count,
        facts.shape_px or shape_px,
        facts.pixel_size_A or pixel_size_A,
    )
    a, b = (
        read_motion_of(side.path, replace(facts, movie=side.facts.movie or facts.movie))
        for side in (pair.a, pair.b)
    )
    return a, b, facts


def file_root(path: str | Path) -> str:
    """The movie name within the name of an alignment file.

    Examples
    --------
    >>> [file_root(name) for name in ("out/m_motion.json", "m.x-Patch-Patch.log", "m.tiff.star")]
    ['m', 'm.x', 'm']
    """
    name = Path(path).name
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), "")
    return movie_root(name.removesuffix(ending)) or name


def _plain_root(root: str) -> str:
    """A root without the additions and replacements of other programs.

    Examples
    --------
    >>> {_plain_root(root) for root in ("a.b", "a_b_aligned_mic", "a_b.log0", "a_b0")}
    {'a_b'}
    """
    root = re.sub(r"(\.log|_|(?<=[^0-9]))0$", "", root)
    root = re.sub(r"_(aligned|corrected)(_mic)?$", "", root)
    return re.sub(r"[^0-9A-Za-z]+", "_", root)


def _root(alignment: Alignment) -> str:
    return alignment.root


def _grouped(
    side: Sequence[Alignment], key: Callable[[Alignment], str]
) -> dict[str, list[Alignment]]:
    """Alignments grouped by a key of each."""
    groups: dict[str, list[Alignment]] = defaultdict(list)
    for alignment in side:
        groups[key(alignment)].append(alignment)
    return groups


def _alignments_in(path: Path) -> list[Alignment]:
    """The alignments in a file, one for each movie, or the reason why there is none."""
    try:
        return [
            Alignment(path, movie_root(facts.movie) if facts.movie else file_root(path), facts)
            for facts in read_all_facts(path)
        ]
    except InputError as error:
        return [Alignment(path, file_root(path), MovieFacts(), str(error))]


def _paths(argument: str) -> Iterator[Path]:
    """The alignment files named by one argument."""
    path = Path(argument)
    if is_folder(path):
        yield from _in_folder(path)
    elif glob.has_magic(argument) and not exists(path):
        yield from sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207
    elif not exists(path):
        raise InputError(f"{argument}: no such file or folder")
    elif path.suffix == ".star" and "micrographs" in read_star(path):
        yield from _listed(path)
    else:
        yield path


def _listed(table: Path) -> Iterator[Path]:
    """The STAR files of the movies in RELION's table of micrographs."""
    names = read_star(table)["micrographs"].get(_METADATA)
    if names is None:
        raise InputError(
            f"{table}: expected a column {_METADATA}, as motion correction writes it; found none"
        )
    yield from listed_paths(table, names)


def _in_folder(folder: Path) -> Iterator[Path]:
    """The alignments in a folder and below, one for each movie."""
    best: dict[Path, tuple[int, Path]] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if any(part.startswith(".") for part in inside) or not _is_alignment(path):
            continue
        rank = next(i for i, ending in enumerate(ENDINGS) if path.name.endswith(ending))
        movie = path.parent / file_root(path)
        best[movie] = min(best.get(movie, (rank, path)), (rank, path))
    table = folder / MICROGRAPHS_STAR
    is_ours = any(path.name.endswith("_record.json") for _, path in best.values())
    if table.exists() and not is_ours:
        yield from _listed(table)
    else:
        yield from (path for _, path in best.values())


def _is_alignment(path: Path) -> bool:
    """Whether a file in a folder is the alignment of one movie, by name and content."""
    ending = next((ending for ending in ENDINGS[:-2] if path.name.endswith(ending)), None)
    if ending is None or not path.is_file():
        return False
    if ending not in _PROBED_ENDINGS:
        return True
    try:
        head = head_text(read_head(path, _PROBED_BYTES)) or ""
    except InputError:
        return False
    return _PROBED_ENDINGS[ending](head.replace("\r\n", "\n"))
