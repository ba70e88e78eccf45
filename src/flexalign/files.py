"""Opening files: regular files only, and text in any common encoding."""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flexalign.errors import InputError, ParameterError

MIB_BYTES = 1 << 20
# Well above lists of a hundred thousand movies and alignments with many nodes.
MAX_TEXT_BYTES = 256 * MIB_BYTES
# Our own JSON has a few levels of nesting.
MAX_JSON_LEVELS = 32
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}

# Control characters, what else ends a line for some program, and what stands for other bytes.
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def displayed(name: str | Path) -> str:
    r"""A file name as one printable line, for messages, tables and pages.

    Control characters and bytes that are not UTF-8 are escaped with a backslash.

    Examples
    --------
    >>> print(displayed("caf\udce9\t1.mrc"))
    caf\xe9\t1.mrc
    """
    return _NOT_IN_A_LINE.sub(_escaped, str(name))


def _escaped(found: re.Match[str]) -> str:
    """One character with a backslash; where it stands for a byte, that byte."""
    if 0xDC80 <= ord(found[0]) <= 0xDCFF:
        return f"\\x{ord(found[0]) - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()


def exists(path: str | Path) -> bool:
    """Whether there is something of that name; `Path.exists` raises where it is too long."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of that name; `Path.is_dir` raises where it is too long."""
    return os.path.isdir(path)  # noqa: PTH112


def check_folder(path: str | Path, purpose: str = "") -> None:
    """Raise `InputError` unless there is a folder of that name.

    `purpose` are the words that follow "folder" in the message.
    """
    if is_folder(path):
        return
    what = f"folder {purpose}".rstrip()
    found = f"expected a {what}, found a file" if exists(path) else f"no such {what}"
    raise InputError(f"{path}: {found}")


def paths_of(movies: str | Path | Iterable[str | Path]) -> list[Path]:
    """The paths of movies that were given as one path or as several.

    Raises
    ------
    ParameterError
        If it is something else.

    Examples
    --------
    >>> [path.name for path in paths_of("a.mrc")], len(paths_of(["a.mrc", Path("b.mrc")]))
    (['a.mrc'], 2)
    """
    given = (
        [movies] if isinstance(movies, str | Path) or not isinstance(movies, Iterable) else movies
    )
    paths = []
    for movie in given:
        if not isinstance(movie, str | Path):
            raise ParameterError(
                f"`movies`: expected a path or several, found {type(movie).__name__}"
            )
        paths.append(Path(movie))
    return paths


def check_name(path: str | Path) -> None:
    """Make sure that tables, records and other programs can hold the path of a movie.

    Raises
    ------
    InputError
        If it has bytes that are no UTF-8, or a line end, a tab or another control character.
    """
    shown = displayed(path)
    if shown != str(path):
        raise InputError(
            f"{shown}: expected a name in UTF-8 without line ends and tabs, as tables of movies "
            "need it: rename the file, or make a link to it under another name"
        )


def check_regular_file(path: str | Path) -> int:
    """Check that a path is a regular file, links followed, and return its size in bytes.

    Call this before opening a file: opening a FIFO blocks until it has a writer, and a device may
    never end.

    Raises
    ------
    InputError
        If there is nothing of that name, or it is a folder, a FIFO, a socket or a device.
    """
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name with a null character in it
        raise InputError(f"{path!r}: expected the name of a file: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise InputError(f"{path}: expected a file, found {kind}")
    return found.st_size


def read_text(path: str | Path, *, errors: str = "strict", max_bytes: int = MAX_TEXT_BYTES) -> str:
    r"""The text in a file, with ``\n`` at the end of each line.

    It reads a regular file of bounded size, as UTF-8 with or without a byte-order mark or as UTF-16
    with one; line ends of Windows and of old Macs become ``\n``.

    Parameters
    ----------
    errors : handling of undecodable bytes, as in `bytes.decode`: "strict" refuses the file,
        "replace" is for free text such as comments
    max_bytes : a larger file is refused

    Raises
    ------
    InputError
        If there is no such file, it is no regular one, is too large, cannot be read, or is no text.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "list.txt"
    >>> _ = path.write_bytes("a.mrc\r\nb.mrc".encode("utf-8-sig"))
    >>> read_text(path)
    'a.mrc\nb.mrc'
    """
    size_bytes = check_regular_file(path)
    if size_bytes > max_bytes:
        raise InputError(
            f"{path}: expected a text of up to {max_bytes // MIB_BYTES} MiB, "
            f"found {size_bytes:,} bytes; is it the right file?"
        )
    try:
        with Path(path).open("rb") as file:
            data = file.read(size_bytes)
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig", errors)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected text in UTF-8, found other bytes at position {error.start}; "
            "save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | Path, *, max_bytes: int = MAX_TEXT_BYTES) -> dict[str, Any]:
    """The JSON object in a file; NaN and infinity, which JSON does not have, become None.

    Raises
    ------
    InputError
        If the text cannot be read, is not JSON, is not an object, or is nested too deeply.
    """
    text = read_text(path, max_bytes=max_bytes)
    try:
        plain = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON: {error}") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(plain).__name__}")
    level: list[Any] = [plain]
    for _ in range(MAX_JSON_LEVELS):
        level = [item for outer in level for item in _items(outer) if isinstance(item, dict | list)]
        if not level:
            return plain
    raise InputError(f"{path}: expected at most {MAX_JSON_LEVELS} levels of nested brackets")


def _items(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    """The direct children of a JSON object or list."""
    return outer.values() if isinstance(outer, dict) else outer
