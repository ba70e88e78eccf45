"""Read files compressed as a whole (bz2, gz, xz, zst) as streams of bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import zstandard

from flexalign.errors import InputError
from flexalign.io.movies.reader import read_head

COMPRESSIONS = {b"BZh": "bz2", b"\x1f\x8b": "gz", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zst"}
# Read block: memory grows only with the data that are really there.
PIECE_BYTES = 1 << 20
# Movies of few counts compress by a factor of 30, seldom 100. A larger claimed ratio than this is
# damage or a decompression bomb.
MAX_RATIO = 2000
SMALL_BYTES = 64 << 20
# Memory limit: the strongest preset needs a quarter of this; a header can demand gigabytes.
MAX_XZ_BYTES = 256 << 20
_DECODE_ERRORS = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


def compression_of(head: bytes) -> str | None:
    """Which of bz2, gz, xz and zst a file that starts with `head` is, or None."""
    return next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), None)


class CompressedFile:
    """Decompressed stream of a file; use it in a ``with`` block."""

    def __init__(self, path: Path) -> None:
        head = read_head(path)
        self._path = path
        self.compression = compression_of(head) or ""
        self.has_checksum = self.compression != "zst" or _zst_has_checksum(head)
        # The common interface of the four decompressors is not IO[bytes] for mypy.
        self._stream: Any = _opened(path, self.compression)

    def read(self, count_bytes: int) -> bytearray:
        """The next bytes, fewer than `count_bytes` only at the end.

        Raises
        ------
        InputError
            If the file is damaged here.
        """
        data = bytearray()
        with self._explained():
            while len(data) < count_bytes:
                piece = self._stream.read(min(PIECE_BYTES, count_bytes - len(data)))
                if not piece:
                    break
                data += piece
        return data

    def skip(self, count_bytes: int) -> int:
        """Skip bytes; return how many there were."""
        left = count_bytes
        while left > 0 and (piece := self.read(min(PIECE_BYTES, left))):
            left -= len(piece)
        return count_bytes - left

    def finish(self, max_bytes: int) -> None:
        """Read to the end, where the checksums are.

        Parameters
        ----------
        max_bytes : maximum number of further bytes

        Raises
        ------
        InputError
            If the file is damaged, or more follows.
        """
        if self.skip(max_bytes + 1) > max_bytes:
            raise InputError(
                f"{self._path}: expected the end of the data after decompression, found more than "
                f"{max_bytes} further bytes; the header or the file is damaged, transfer it again"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the decompressors into an `InputError`."""
        try:
            yield
        except _DECODE_ERRORS as error:
            raise InputError(
                f"{self._path}: cannot be decompressed ({error}); the file is broken or "
                "truncated, transfer it again"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()


class _ConcatenatedStreams:
    """Concatenated bz2 or xz streams; trailing garbage, which Python ignores, is an error."""

    def __init__(self, path: Path, new: Callable[[], Any]) -> None:
        self._file, self._new, self._stream = path.open("rb"), new, new()

    def read(self, max_bytes: int) -> bytes:
        """The next bytes, none only at the end."""
        while True:
            more = b""
            if self._stream.eof:
                # Streams may be padded with zeros.
                more = self._stream.unused_data.lstrip(b"\0")
                while not more:
                    packed = self._file.read(PIECE_BYTES)
                    if not packed:
                        return b""
                    more = packed.lstrip(b"\0")
                self._stream = self._new()
            elif self._stream.needs_input and not (more := self._file.read(PIECE_BYTES)):
                raise EOFError("it ends within a stream")
            if data := self._stream.decompress(more, max_bytes):
                return bytes(data)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _opened(path: Path, compression: str) -> Any:
    """The decompressed content as a stream."""
    if compression == "bz2":
        return _ConcatenatedStreams(path, bz2.BZ2Decompressor)
    if compression == "gz":
        return gzip.GzipFile(path, "rb")
    if compression == "xz":
        return _ConcatenatedStreams(path, partial(lzma.LZMADecompressor, memlimit=MAX_XZ_BYTES))
    decompressor = zstandard.ZstdDecompressor()
    return decompressor.stream_reader(path.open("rb"), read_across_frames=True, closefd=True)


def _zst_has_checksum(head: bytes) -> bool:
    """Whether a zstd file with this `head` has a checksum."""
    try:
        return bool(zstandard.get_frame_parameters(head).has_checksum)
    except zstandard.ZstdError:
        return True  # it cannot be read at all, which the reader reports


def check_size(path: Path, claimed_bytes: int) -> None:
    """Raise `InputError` if a compressed file is too small for the size in its header."""
    found_bytes = path.stat().st_size
    if claimed_bytes > max(SMALL_BYTES, MAX_RATIO * found_bytes):
        raise InputError(
            f"{path}: expected at most {MAX_RATIO} times the {found_bytes} bytes of the file "
            f"after decompression, found a header that claims {claimed_bytes}; it is damaged, "
            "transfer the file again"
        )
