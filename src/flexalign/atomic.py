"""Write a file atomically."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexalign.errors import OutputError

# Extra length of a temporary name: ".", "-" and a number.
UNFINISHED_LENGTH = 10


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block succeeds.

    On failure nothing is left, and an existing file `path` is untouched.

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
    """Flush the file or folder `path` to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn system errors on writing `path` into an `OutputError` with advice."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {reason}. Expected an existing folder that you may write to, "
            "with space for the results: free some or choose another folder"
        ) from error
