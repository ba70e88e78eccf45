"""MRC movies and images, plain or compressed.

References
----------
Cheng et al., J. Struct. Biol. 192 (2015) 146 (MRC2014), and IMOD's description of its additions
(signed bytes, modes 6, 12 and 101).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile.dtypes
import numpy as np
import numpy.typing as npt
import zstandard

from flexalign.errors import InputError
from flexalign.io.reader import (
    RawFrame,
    SeekableMovie,
    check_frame_count,
    frames_within,
    read_ahead,
    read_head,
    trusted_pixel_size_A,
)
from flexalign.model import FrameRange, MovieInfo

SUFFIXES = (".mrc", ".mrcs", ".st", ".map")
HEADER_BYTES = 1024
LARGEST_SIDE = 1 << 20
DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: "u1"}
FOUR_BIT = 101

# IMOD marks its files with this number and bit flags that follow it.
IMOD_STAMP = 1146047817
IMOD_STAMP_OFFSET = 152
IMOD_SIGNED_BYTES = 1
IMOD_PACKED_IN_BYTES = 16

COMPRESSIONS = {b"BZh": "bz2", b"\x1f\x8b": "gz", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zst"}
# What the four decompressors have in common is not IO[bytes] in the eyes of the type checker.
Stream = Any
DECODE_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True, slots=True)
class MrcHeader:
    """What is needed of an MRC header to find and read its planes."""

    height_px: int
    width_px: int
    plane_count: int
    mode: int
    dtype: np.dtype[Any]
    data_offset_bytes: int
    pixel_size_A: float | None
    notes: tuple[str, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row; rows of 4-bit values are padded to whole bytes."""
        if self.mode == FOUR_BIT:
            return (self.width_px + 1) // 2
        return self.width_px * self.dtype.itemsize

    @property
    def plane_bytes(self) -> int:
        """Bytes of one plane."""
        return self.height_px * self.row_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes that the whole file must have."""
        return self.data_offset_bytes + self.plane_count * self.plane_bytes

    def pixels(self, plane: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The pixels (h, w) in the bytes of one plane, in the byte order of this machine."""
        if self.mode == FOUR_BIT:
            packed = plane.reshape(self.height_px, self.row_bytes)
            both = np.empty((self.height_px, 2 * self.row_bytes), np.uint8)
            both[:, 0::2] = packed & 15
            both[:, 1::2] = packed >> 4
            return both[:, : self.width_px]
        values = plane.view(self.dtype).reshape(self.height_px, self.width_px)
        return values.astype(self.dtype.newbyteorder("="), copy=False)


def compression_of(head: bytes) -> str | None:
    """Which of bz2, gz, xz and zst a file that starts with `head` is, or None."""
    return next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), None)


def looks_like_mrc(head: bytes) -> bool:
    """Whether a file that starts with `head` has MRC's mark and sizes that can be true."""
    return head[208:212] in (b"MAP ", b"MAP\0") and _byte_order(head) is not None


def _byte_order(head: bytes) -> str | None:
    """The byte order, "<" or ">", in which the header makes sense; None if neither does."""
    # The machine stamp decides where both make sense, but older files have none.
    for order in "><" if head[212:213] == b"\x11" else "<>":
        sizes_and_mode = np.frombuffer(head, f"{order}i4", count=4) if len(head) >= 16 else [0] * 4
        sensible = all(0 < size <= LARGEST_SIDE for size in sizes_and_mode[:3])
        if sensible and int(sizes_and_mode[3]) in DTYPES:
            return order
    return None


def parse_header(path: Path, head: bytes) -> MrcHeader:
    """The header in the first 1024 bytes of the file.

    Raises
    ------
    InputError
        If it is too short, or its sizes or mode make no sense.
    """
    if len(head) < HEADER_BYTES:
        raise InputError(
            f"{path}: expected an MRC header of {HEADER_BYTES} bytes, found {len(head)} bytes; "
            "the file is truncated"
        )
    order = _byte_order(head)
    if order is None:
        found = np.frombuffer(head, "<i4", count=4).tolist()
        raise InputError(
            f"{path}: expected an MRC header with positive sizes and one of the modes "
            f"{sorted(DTYPES)}, found size {found[:3]} and mode {found[3]}"
        )
    fields = np.frombuffer(head, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order), count=1)[0]
    mode, extended_bytes = int(fields["mode"]), int(fields["nsymbt"])
    if extended_bytes < 0:
        raise InputError(
            f"{path}: expected an extended header of 0 or more bytes, found {extended_bytes}"
        )
    pixel_size_A, notes = _pixel_size_A(fields)
    return MrcHeader(
        height_px=int(fields["ny"]),
        width_px=int(fields["nx"]),
        plane_count=int(fields["nz"]),
        mode=mode,
        dtype=np.dtype(order + (_byte_dtype(path, head, order) if mode == 0 else DTYPES[mode])),
        data_offset_bytes=HEADER_BYTES + extended_bytes,
        pixel_size_A=pixel_size_A,
        notes=notes,
    )


def _byte_dtype(path: Path, head: bytes, order: str) -> str:
    """Signed or unsigned bytes: MRC2014 says signed, IMOD's flags say which."""
    stamp, flags = np.frombuffer(head, f"{order}i4", count=2, offset=IMOD_STAMP_OFFSET)
    if stamp != IMOD_STAMP:
        return "i1"
    if flags & IMOD_PACKED_IN_BYTES:
        raise InputError(
            f"{path}: expected one value per byte, found two 4-bit values per byte; "
            "convert it with IMOD's newstack to mode 101 or 1"
        )
    return "i1" if flags & IMOD_SIGNED_BYTES else "u1"


def _pixel_size_A(fields: Any) -> tuple[float | None, tuple[str, ...]]:
    """The header's pixel size if it can be trusted, and a note if it cannot."""
    cell_A, cells = fields["cella"], (int(fields["mx"]), int(fields["my"]))
    if min(cells) <= 0:
        return None, ("the header does not say the pixel size",)
    x_A, y_A = float(cell_A["x"]) / cells[0], float(cell_A["y"]) / cells[1]
    size_A = trusted_pixel_size_A(x_A, y_A)
    if size_A is None:
        return None, (f"the pixel size in the header ({x_A:g} x {y_A:g} A) is not trusted",)
    return size_A, ()


def read_header(path: Path) -> MrcHeader:
    """The header of an uncompressed MRC file, checked against the size of the file.

    Raises
    ------
    InputError
        If the header is broken or the file is shorter than it says.
    """
    header = parse_header(path, read_head(path, HEADER_BYTES))
    found_bytes = path.stat().st_size
    if found_bytes < header.size_bytes:
        raise InputError(
            f"{path}: expected {header.size_bytes} bytes for {header.plane_count} images of "
            f"{header.width_px} x {header.height_px}, found {found_bytes}; the file is truncated, "
            "transfer it again"
        )
    return header


def count_planes(path: Path) -> tuple[int, int]:
    """How many planes of an uncompressed MRC file are there as a whole, and how many should be.

    Raises
    ------
    InputError
        If the header is broken.
    """
    header = parse_header(path, read_head(path, HEADER_BYTES))
    found_bytes = max(0, path.stat().st_size - header.data_offset_bytes)
    return min(header.plane_count, found_bytes // header.plane_bytes), header.plane_count


def read_plane(path: Path, header: MrcHeader, index: int) -> npt.NDArray[Any]:
    """The pixels (h, w) of one plane of an uncompressed MRC file."""
    offset_bytes = header.data_offset_bytes + index * header.plane_bytes
    try:
        plane = np.fromfile(path, np.uint8, count=header.plane_bytes, offset=offset_bytes)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if plane.size < header.plane_bytes:
        raise InputError(f"{path}: the file became shorter while it was read")
    return header.pixels(plane)


class MrcMovie(SeekableMovie):
    """An uncompressed MRC stack."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header = read_header(path)
        super().__init__(_info(path, "mrc", self._header))

    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`."""
        return RawFrame(index, read_plane(self._path, self._header, index))


class CompressedMrcMovie(SeekableMovie):
    """An MRC stack compressed as a whole; each pass decompresses it as a stream.

    Whether it is complete is known only at its end: a truncated one is an `InputError` there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._compression = compression_of(read_head(path)) or ""
        with _decompressed(path, self._compression) as stream:
            head = _read(path, stream, HEADER_BYTES)
        if not looks_like_mrc(head) and Path(path.stem).suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{path}: expected an MRC movie inside the {self._compression} file, found "
                "something else; decompress it first"
            )
        self._header = parse_header(path, head)
        super().__init__(_info(path, f"{self._compression} mrc", self._header))

    def frames(self, frames: FrameRange | None = None, *, threads: int = 1) -> Iterator[RawFrame]:
        """The frames of the range in order; see `MovieReader`.  One thread, whatever is asked."""
        return self._pass(frames_within(self.info, frames))

    def _pass(self, frames: FrameRange) -> Iterator[RawFrame]:
        """One run of the decompressor, a few frames ahead of the reader."""
        with _decompressed(self._path, self._compression) as stream:
            self._read(stream, self._header.data_offset_bytes)
            for _ in range(frames.first):
                self._read(stream, self._header.plane_bytes)

            def read(index: int) -> RawFrame:
                plane = self._read(stream, self._header.plane_bytes)
                return RawFrame(index, self._header.pixels(np.frombuffer(plane, np.uint8)))

            yield from read_ahead(read, frames, threads=1)
            if frames.stop == self.info.frame_count:
                # Checksums come at the end; reading up to there makes the decompressor check them.
                _read(self._path, stream, 1)

    def _read(self, stream: Stream, count_bytes: int) -> bytes:
        """The next bytes of the stream, all of them."""
        data = _read(self._path, stream, count_bytes)
        if len(data) < count_bytes:
            raise InputError(
                f"{self._path}: expected {self._header.size_bytes} bytes after decompression, "
                "found fewer; the file is truncated, transfer it again"
            )
        return data

    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`, by a pass up to there."""
        (frame,) = self._pass(FrameRange(index, index + 1))
        return frame


def _decompressed(path: Path, compression: str) -> Stream:
    """The decompressed content as a stream."""
    if compression == "bz2":
        return bz2.open(path, "rb")
    if compression == "gz":
        return gzip.GzipFile(path, "rb")
    if compression == "xz":
        return lzma.open(path, "rb")
    file = path.open("rb")
    decompressor = zstandard.ZstdDecompressor()
    return decompressor.stream_reader(file, read_across_frames=True, closefd=True)


def _read(path: Path, stream: Stream, count_bytes: int) -> bytes:
    """Up to `count_bytes` bytes, fewer only at the end of the stream."""
    parts: list[bytes] = []
    try:
        while count_bytes > 0 and (part := stream.read(count_bytes)):
            parts.append(part)
            count_bytes -= len(part)
    except DECODE_ERRORS as error:
        raise InputError(
            f"{path}: cannot be decompressed ({error}); the file is broken or truncated, "
            "transfer it again"
        ) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _info(path: Path, file_format: str, header: MrcHeader) -> MovieInfo:
    """What the header says of the movie, refused when there is one frame only."""
    check_frame_count(path, header.plane_count)
    return MovieInfo(
        path=os.fspath(path),
        file_format=file_format,
        frame_count=header.plane_count,
        height_px=header.height_px,
        width_px=header.width_px,
        pixel_dtype=header.dtype.newbyteorder("=").name,
        pixel_size_A=header.pixel_size_A,
        size_bytes=path.stat().st_size,
        notes=header.notes,
    )
