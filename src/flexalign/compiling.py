"""Compiled loops, cached on disk where a folder is writable.

The one module that decides where and how numba caches compiled code.  Without a writable folder,
loops are compiled at every start.  Truncated or damaged files count as missing: the code is
compiled and written again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

_DIGEST_BYTES = hashlib.sha256().digest_size


def cached_njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As `numba.njit`, with an on-disk cache where possible.

    Parameters
    ----------
    options : of `numba.njit`, but for ``cache``

    Examples
    --------
    >>> @cached_njit(nogil=True)
    ... def double(number):
    ...     return 2 * number
    >>> double(21)
    42
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        with contextlib.suppress(RuntimeError):  # no writable cache folder
            dispatcher._cache = _CodeCache(function)
        return dispatcher

    return decorate


def is_cacheable(loop: Any) -> bool:
    """Whether the code of a loop from `cached_njit` can be cached on disk."""
    return isinstance(getattr(loop, "_cache", None), _CodeCache)


def is_cached(loop: Any) -> bool:
    """Whether the code of the loop is in the on-disk cache."""
    return is_cacheable(loop) and loop._cache.has_code


class _CodeCache(FunctionCache):
    """The cached code of one loop; read and write errors count as a cache miss."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        base, stamp = self._impl.filename_base, self._impl.locator.get_source_stamp()
        self._cache_file = _Files(self._cache_path, base, stamp)

    @property
    def has_code(self) -> bool:
        """Whether there is code for any signature."""
        return bool(self._cache_file._load_index())

    def save_overload(self, signature: Any, data: Any) -> None:
        """Save the code; on a full disk it is compiled again next time."""
        with contextlib.suppress(OSError):
            super().save_overload(signature, data)


class _Files(IndexDataCacheFile):
    """The files of one loop: an index, and machine code with a digest behind each."""

    def _load_index(self) -> dict[Any, str]:
        """Names of the files of code; none where the index is damaged."""
        try:
            return dict(super()._load_index())
        except Exception:  # unpickling damaged bytes may raise anything
            return {}

    def _dump(self, value: Any) -> bytes:
        """Bytes for a file; reading them as a pickle ends before the digest."""
        data: bytes = super()._dump(value)
        return data + hashlib.sha256(data).digest()

    def _load_data(self, name: str) -> Any:
        """The code in a file; None where it is damaged."""
        content = Path(self._data_path(name)).read_bytes()
        data, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        return super()._load_data(name) if hashlib.sha256(data).digest() == digest else None
