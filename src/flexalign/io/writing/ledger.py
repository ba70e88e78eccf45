"""The tables of a folder that are made again and again, and which of them are ours.

A hidden file lists what was written by the digests of the content, so a copied folder is as good as
the first.  Each file is listed before it gets its name: a run that is killed finds its own again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flexalign.atomic import replacing
from flexalign.errors import InputError
from flexalign.files import read_json
from flexalign.io.writing.ownership import refuse_occupied

LEDGER_NAME = ".flexalign-files.json"
SCHEMA = 1
# What stands near the beginning of our files of these names: for folders of versions that had no
# list, and where the hidden file was not copied.
BEGINNINGS = {
    "failed.tsv": b"movie\ttype\treason\twhat to do",
    "micrographs.csv": b"micrograph,dose_weighted,movie,",
    "micrographs.star": b"_flexalignFlags",
    "corrected_micrographs.star": b"written by flexalign",
    "RELION_OUTPUT_NODES.star": b"corrected_micrographs.star",
    "gain_check.json": b'"counts_per_px"',
    "report.csv": b"name,movie,movie_time_s,",
    "report.html": b"flexalign report</title>",
    "report.json": b'"gain_check"',
    "run.json": b'"schema"',
}
BEGINNING_BYTES = 4096
# What is made again from the records, also when somebody has edited it.
MADE_AGAIN = ("run.json",)


@contextmanager
def kept_current(path: Path) -> Iterator[Path]:
    """As `flexalign.atomic.replacing`, and the file is listed as ours.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with kept_current(folder / "failed.tsv") as temporary:
    ...     _ = temporary.write_text("nothing")
    >>> refuse_foreign(folder, ["failed.tsv"])
    """
    with replacing(path) as temporary:
        yield temporary
        add(path.parent, {path.name: temporary})


def add(folder: Path, files: dict[str, Path]) -> None:
    """List files as ours; what they were before is ours too until the next time.

    Parameters
    ----------
    files : from the names in `folder` to where the content is now
    """
    listed = _read(folder)
    for name, path in files.items():
        listed[name] = [_digest(path), *listed.get(name, [])][:2]
    with replacing(folder / LEDGER_NAME) as temporary:
        temporary.write_text(json.dumps({"schema": SCHEMA, "files": listed}), encoding="utf-8")


def refuse_foreign(folder: Path, names: Iterable[str]) -> None:
    """Make sure that no file of one of `names` in `folder` is somebody else's.

    Raises
    ------
    OccupiedError
        If one is neither as we wrote it nor of an earlier version.
    """
    listed, wanted = _read(folder), list(names)
    ours = {name for name in wanted if _is_ours(folder / name, listed)}
    refuse_occupied(folder, wanted, ours)


def is_listed(path: Path) -> bool:
    """Whether a file is one that was listed as ours, unchanged since."""
    return path.is_file() and _digest(path) in _read(path.parent).get(path.name, ())


def _is_ours(path: Path, listed: dict[str, list[str]]) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    if path.name in listed and path.name not in MADE_AGAIN:
        return _digest(path) in listed[path.name]
    if path.name not in BEGINNINGS:
        return False
    try:
        with path.open("rb") as file:
            return BEGINNINGS[path.name] in file.read(BEGINNING_BYTES)
    except OSError:
        return False


def _read(folder: Path) -> dict[str, list[str]]:
    """What is listed; nothing where there is no list to read."""
    try:
        files = read_json(folder / LEDGER_NAME)["files"]
        return {str(name): [str(digest) for digest in found] for name, found in files.items()}
    except (InputError, KeyError, TypeError, AttributeError):
        return {}


def _digest(path: Path) -> str:
    """What tells the content of a file from any other; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
