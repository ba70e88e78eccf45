"""Errors of readers: any failure on a damaged file becomes an `InputError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexalign.errors import FlexAlignError, InputError


@contextmanager
def reading(path: str | Path, expected: str) -> Iterator[None]:
    """Turn any exception raised while a file is read into an `InputError` that names the file.

    Files can be damaged in more ways than can be listed; none of them is a defect of flexalign.

    Parameters
    ----------
    expected : what the file should be

    Examples
    --------
    >>> with reading("a.star", "a list"):  # doctest: +ELLIPSIS
    ...     int("one")
    Traceback (most recent call last):
    flexalign.errors.InputError: a.star: expected a list: invalid literal ...
    """
    try:
        yield
    except FlexAlignError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:
        words = f"{error}" if isinstance(error, ValueError) else f"{error!r}"
        raise InputError(f"{path}: expected {expected}: {words:.300}") from error
