"""Which files in a folder are ours and may be replaced.

Only files that a record of ours lists, unchanged since, are replaced or removed.  Anything else in
the place of an output is foreign, whatever its name, and so is every input.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from flexalign.errors import InputError, OccupiedError
from flexalign.files import read_json
from flexalign.naming import RECORD_SUFFIX

MAX_NAMES = 5


def results_listed(record: Path, folder: Path, root: str) -> set[str]:
    """Names of the files in `folder` that a record of `root` lists and that are unchanged.

    A record of an earlier version has no file states: since it was written after its files, a file
    newer than the record does not count.  The record itself is left out.

    Parameters
    ----------
    record : path of the record; one that cannot be read lists nothing
    """
    try:
        plain = read_json(record)
        record_ns = record.lstat().st_mtime_ns
        names, states = plain["outputs"].values(), plain.get("output_states")
        return {
            name
            for name in names
            if _is_result_name(name, root)
            and _is_unchanged(folder / name, states.get(name, {}) if states else None, record_ns)
        }
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return set()


def is_record(path: Path) -> bool:
    """Whether `path` is a record of ours, which lists itself."""
    try:
        return not path.is_symlink() and read_json(path)["outputs"]["record"] == path.name
    except (InputError, KeyError, TypeError):
        return False


def unchanged_before(folder: Path, names: Iterable[str], root: str, record_ns: int) -> set[str]:
    """Those of `names`, results of `root` in an index, that are not newer than their record."""
    return {
        name
        for name in names
        if _is_result_name(name, root) and _is_unchanged(folder / name, None, record_ns)
    }


def _is_result_name(name: Any, root: str) -> bool:
    """Whether the name is a possible result of `root`, without a folder."""
    return (
        isinstance(name, str)
        and name.startswith(root)
        and Path(name).name == name
        and name != root + RECORD_SUFFIX
    )


def _is_unchanged(path: Path, state: Mapping[str, int] | None, record_ns: int) -> bool:
    """Whether a file is unchanged or, if its state is unknown, not newer than its record."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    if state is None:
        return found.st_mtime_ns <= record_ns
    return state == {"size_bytes": found.st_size, "modified_ns": found.st_mtime_ns}


def refuse_occupied(folder: Path, names: Iterable[str], ours: Set[str]) -> None:
    """Check that no foreign file has one of `names`.

    Parameters
    ----------
    ours : names that may be replaced

    Raises
    ------
    OccupiedError
        If there is a file, folder or link of such a name that is not among `ours`.
    """
    found = [name for name in names if name not in ours and os.path.lexists(folder / name)]
    if found:
        raise OccupiedError(
            f"{folder}: expected no files of these names, or unchanged files of flexalign; "
            f"found {_shortened(found)}: move them away or choose another folder"
        )


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Check that a file named by the user may be written.

    Raises
    ------
    OccupiedError
        If it is there and `overwrite` is off.
    """
    if os.path.lexists(path) and not overwrite:
        raise OccupiedError(
            f"{path}: expected no file of that name yet, found one: give `overwrite` to replace "
            "it, or another name"
        )


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[str | Path | None]) -> None:
    """Check that no output is an input, under any name or link.

    No file is read.  Output folders are listed, which is cheaper than a query for each file.

    Parameters
    ----------
    outputs : all files that may be written
    inputs : all files that are read; None is ignored

    Raises
    ------
    InputError
        If one is the other.
    """
    read = [Path(path) for path in inputs if path is not None]
    spellings = {spelling: path for path in read for spelling in (_place(path), resolved(path))}
    files: dict[tuple[int, int], Path] = {}
    for path in read:
        try:
            found = path.stat()
        except OSError:
            continue
        files[found.st_dev, found.st_ino] = path
    for folder, names in _by_folder(outputs).items():
        for name in names:
            if folder / name in spellings:
                _refuse(folder / name, spellings[folder / name])
        for name, file in _files_among(folder, names, {inode for _, inode in files}):
            if file in files:
                _refuse(folder / name, files[file])


def resolved(path: str | Path) -> Path:
    """The canonical absolute path of a file, links resolved."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # not a file name; opening it reports the error
        return Path(path)


def _place(path: Path) -> Path:
    """The absolute path of a name in a folder, which may itself be a link."""
    return resolved(path.parent) / path.name


def _by_folder(outputs: Iterable[Path]) -> dict[Path, set[str]]:
    """Names of the outputs in each folder, whose path has no links."""
    found: dict[Path, set[str]] = {}
    for path in outputs:
        found.setdefault(path.parent, set()).add(path.name)
    places: dict[Path, set[str]] = {}
    for folder, names in found.items():
        places.setdefault(resolved(folder), set()).update(names)
    return places


def _files_among(
    folder: Path, names: Set[str], inodes: Set[int]
) -> Iterable[tuple[str, tuple[int, int]]]:
    """Those of `names` in a folder that are links or have one of `inodes`: device and inode."""
    try:
        listing = list(os.scandir(folder))
    except OSError:
        return
    for item in listing:
        if item.name in names and (item.is_symlink() or item.inode() in inodes):
            try:
                found = item.stat()
            except OSError:
                continue
            yield item.name, (found.st_dev, found.st_ino)


def _refuse(output: Path, source: Path) -> None:
    raise InputError(
        f"{output}: expected outputs that are no inputs, but this one would replace {source}: "
        "choose another folder or another name for the output"
    )


def _shortened(names: list[str]) -> str:
    """The first names and the number of others."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
