"""Files that appear whole under their name, or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexalign.errors import OutputError

# Bytes that the name of an unfinished file has more than its last name: ".", "-" and a number.
UNFINISHED_LENGTH = 10


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder, which takes the name `path` when the block ends well.

    When the block fails, nothing is left and a file that had the name before is untouched.

    Raises
    ------
    OutputError
        If the folder is missing or cannot be written to, or the disk is full.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with replacing(folder / "note.txt") as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with explained(path):
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def sync(path: str | Path) -> None:
    """Wait until the file or folder `path` is on disk, so that a loss of power cannot undo it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn the system's errors about writing `path` into an `OutputError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {reason}. Expected an existing folder that you may write to, "
            "with room for the results: free some space or choose another folder"
        ) from error
