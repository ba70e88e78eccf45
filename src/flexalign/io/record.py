"""Records in JSON: how a movie was processed, and from which files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from flexalign.errors import InputError
from flexalign.io.atomic import replacing
from flexalign.model import MovieRecord, to_plain

MIB_BYTES = 1 << 20
WHOLE_FILE_LIMIT_BYTES = 64 * MIB_BYTES
END_BYTES = 16 * MIB_BYTES


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` (a dataclass of the model, or plain values) as JSON, whole or not at all.

    NaN and infinity become null.  Rows of numbers stay on one line.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    text = _layout(to_plain(value), "") + "\n"
    with replacing(path) as temporary:
        # A file whose name is no UTF-8 stands there with its bytes escaped, as JSON knows them.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_record(path: str | Path) -> MovieRecord:
    """The record in a ``_record.json`` file.

    Raises
    ------
    InputError
        If the file is missing, is not JSON, is no record, or is from a newer version.
    """
    plain = read_json(path)
    try:
        return MovieRecord.from_dict(plain)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected the record of a movie, found {error}") from error


def read_json(path: str | Path) -> dict[str, Any]:
    """What a JSON file with a record, a motion or the index of a run holds.

    Raises
    ------
    InputError
        If the file is missing, is not JSON, or holds something else.
    """
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected the record of a movie in JSON: {error}") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: expected the record of a movie, found a {type(plain).__name__}")
    return plain


def file_state(path: str | Path) -> dict[str, int]:
    """Size and time of the last change of a file, by which another file is told without reading.

    Raises
    ------
    OSError
        If there is no such file.
    """
    found = Path(path).stat()
    return {"size_bytes": found.st_size, "modified_ns": found.st_mtime_ns}


def describe_file(path: str | Path) -> dict[str, Any]:
    """What identifies a file: name, path, size, time of its last change and SHA-256.

    Files from 64 MiB on are hashed by their first and last 16 MiB, to be quick; the item
    ``sha256_of`` says which.

    Raises
    ------
    InputError
        If the file cannot be read.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "abc.txt"
    >>> _ = path.write_text("abc")
    >>> found = describe_file(path)
    >>> found["size_bytes"], found["sha256"][:8], found["sha256_of"]
    (3, 'ba7816bf', 'whole file')
    """
    path = Path(path)
    digest = hashlib.sha256()
    try:
        state = file_state(path)
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(0)
            is_whole = size_bytes < WHOLE_FILE_LIMIT_BYTES
            if is_whole:
                while block := file.read(MIB_BYTES):
                    digest.update(block)
            else:
                digest.update(file.read(END_BYTES))
                file.seek(-END_BYTES, 2)
                digest.update(file.read(END_BYTES))
    except OSError as error:
        raise InputError(f"{path}: expected a readable file: {error.strerror}") from error
    return {
        "name": path.name,
        "path": str(path.absolute()),
        **state,
        "sha256": digest.hexdigest(),
        "sha256_of": "whole file" if is_whole else "first and last 16 MiB",
    }


def _layout(value: Any, indent: str) -> str:
    """`value` as JSON, one item per line except in lists of plain values."""
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    deeper = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(k)}: {_layout(v, deeper)}" for k, v in value.items()]
        opening, closing = "{", "}"
    elif any(isinstance(item, dict | list) for item in value):
        items = [_layout(item, deeper) for item in value]
        opening, closing = "[", "]"
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return f"{opening}\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}{closing}"
