"""The list of our tables in a folder, which are rewritten repeatedly.

A hidden file lists the digests of the contents, so it remains valid in a copied folder.  Each file
is listed before it is renamed to its place, so a run that was killed recognises its own files.
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
# Text near the beginning of our files of these names, for folders without a list: of earlier
# versions, or copied without the hidden file.
BEGINNINGS = {
    "failed.tsv": b"movie\ttype\treason\twhat to do",
    "micrographs.csv": b"micrograph,dose_weighted,movie,",
    "micrographs.star": b"_flexalignFlags",
    "corrected_micrographs.star": b"written by flexalign",
    "RELION_OUTPUT_NODES.star": b"corrected_micrographs.star",
    "gain_check.json": b'"counts_per_px"',
    "report.csv": b"name,movie,",
    "report.html": b"flexalign report</title>",
    "report.json": b'"gain_check"',
    "run.json": b'"schema"',
}
BEGINNING_BYTES = 4096
# Files that are rewritten from the records even if a user has edited them.
REGENERATED = ("run.json",)


@contextmanager
def replacing_listed(path: Path) -> Iterator[Path]:
    """As `flexalign.atomic.replacing`, and list the file as ours.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with replacing_listed(folder / "failed.tsv") as temporary:
    ...     _ = temporary.write_text("nothing")
    >>> refuse_foreign(folder, ["failed.tsv"])
    """
    with replacing(path) as temporary:
        yield temporary
        add(path.parent, {path.name: temporary})


def add(folder: Path, files: dict[str, Path]) -> None:
    """List files as ours; their previous contents stay listed until the next call.

    Parameters
    ----------
    files : names in `folder`, and the present path of each content
    """
    listed = _read(folder)
    for name, path in files.items():
        listed[name] = [_digest(path), *listed.get(name, [])][:2]
    with replacing(folder / LEDGER_NAME) as temporary:
        temporary.write_text(json.dumps({"schema": SCHEMA, "files": listed}), encoding="utf-8")


def refuse_foreign(folder: Path, names: Iterable[str]) -> None:
    """Check that no file of one of `names` in `folder` is foreign.

    Raises
    ------
    OccupiedError
        If one is neither as we wrote it nor of an earlier version.
    """
    listed, wanted = _read(folder), list(names)
    ours = {name for name in wanted if _is_ours(folder / name, listed)}
    refuse_occupied(folder, wanted, ours)


def is_listed(path: Path) -> bool:
    """Whether a file is listed as ours and unchanged since."""
    return path.is_file() and _digest(path) in _read(path.parent).get(path.name, ())


def _is_ours(path: Path, listed: dict[str, list[str]]) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    if path.name in listed and path.name not in REGENERATED:
        return _digest(path) in listed[path.name]
    if path.name not in BEGINNINGS:
        return False
    try:
        with path.open("rb") as file:
            return BEGINNINGS[path.name] in file.read(BEGINNING_BYTES)
    except OSError:
        return False


def _read(folder: Path) -> dict[str, list[str]]:
    """The list; empty if there is none."""
    try:
        files = read_json(folder / LEDGER_NAME)["files"]
        return {str(name): [str(digest) for digest in found] for name, found in files.items()}
    except (InputError, KeyError, TypeError, AttributeError):
        return {}


def _digest(path: Path) -> str:
    """Digest of the content of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
