"""MRC movies and images, plain or compressed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.io.movies.compressed import PIECE_BYTES, CompressedFile, check_size, compression_of
from flexalign.io.movies.mrc_header import HEADER_BYTES, MrcHeader, looks_like_mrc, parse_header
from flexalign.io.movies.reader import (
    RawFrame,
    SeekableMovie,
    check_frame_count,
    frames_within,
    read_ahead,
    read_head,
)
from flexalign.model import FrameRange, MovieInfo

SUFFIXES = (".mrc", ".mrcs", ".st", ".map")


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
    """Number of complete planes in an uncompressed MRC file, and the number in its header.

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


class CompressedMrc:
    """An MRC file compressed as a whole, whose planes come one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with CompressedFile(path) as file:
            self.compression = file.compression
            head = bytes(file.read(HEADER_BYTES))
            notes = () if file.has_checksum else ("without a checksum: damage may go unnoticed",)
        if not looks_like_mrc(head) and Path(path.stem).suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{path}: expected an MRC file inside the {self.compression} file, found "
                "something else; decompress it first"
            )
        header = parse_header(path, head)
        check_size(path, header.size_bytes)
        self.header = replace(header, notes=header.notes + notes)

    @contextmanager
    def planes(self, first: int, count: int) -> Iterator[Callable[[], npt.NDArray[Any]]]:
        """A function that returns the next plane, from `first` on; the file is read to its end.

        Raises
        ------
        InputError
            If the file is damaged or truncated, even after the requested planes.
        """
        header = self.header
        with CompressedFile(self.path) as file:
            self._whole(file.skip, header.data_offset_bytes + first * header.plane_bytes)

            def read() -> npt.NDArray[Any]:
                data = file.read(header.plane_bytes)
                if len(data) < header.plane_bytes:
                    raise self._too_short()
                return header.pixels(np.frombuffer(data, np.uint8))

            yield read
            remaining_bytes = (header.plane_count - first - count) * header.plane_bytes
            self._whole(file.skip, remaining_bytes)
            # Checksums come at the end; trailing data of programs are small.
            file.finish(header.plane_bytes + PIECE_BYTES)

    def _whole(self, skip: Callable[[int], int], count_bytes: int) -> None:
        """Skip bytes, all of which must be there."""
        if skip(count_bytes) < count_bytes:
            raise self._too_short()

    def _too_short(self) -> InputError:
        return InputError(
            f"{self.path}: expected {self.header.size_bytes} bytes after decompression, "
            "found fewer; the file is truncated, transfer it again"
        )


class CompressedMrcMovie(SeekableMovie):
    """An MRC stack compressed as a whole; each pass decompresses it as a stream.

    Damage or truncation is detected only at its end, with an `InputError`.
    """

    def __init__(self, path: Path) -> None:
        self._file = CompressedMrc(path)
        super().__init__(_info(path, f"{self._file.compression} mrc", self._file.header))

    def frames(self, frames: FrameRange | None = None, *, threads: int = 1) -> Iterator[RawFrame]:
        """The frames of the range in order; see `MovieReader`.  Always one thread."""
        return self._pass(frames_within(self.info, frames))

    def _pass(self, frames: FrameRange) -> Iterator[RawFrame]:
        """One pass of the decompressor, a few frames ahead of the reader."""
        with self._file.planes(frames.first, frames.count) as plane:
            yield from read_ahead(lambda index: RawFrame(index, plane()), frames, threads=1)

    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`, by a pass over the whole file."""
        (frame,) = self._pass(FrameRange(index, index + 1))
        return frame


def is_mrc(path: Path, head: bytes) -> bool:
    """Whether a file is to be read as MRC, plain or compressed; `head` are its first bytes."""
    is_named = path.suffix.lower() in SUFFIXES
    return is_named or looks_like_mrc(head) or compression_of(head) is not None


def header_of(path: Path) -> tuple[str, MrcHeader]:
    """The format, "mrc" or "gz mrc" and so on, and the header of an MRC file of any kind.

    Raises
    ------
    InputError
        If the header is broken, or the file is too small for it.
    """
    if compression_of(read_head(path)) is None:
        return "mrc", read_header(path)
    file = CompressedMrc(path)
    return f"{file.compression} mrc", file.header


def read_image(path: Path) -> npt.NDArray[Any]:
    """The pixels (h, w) of an MRC file with a single image, plain or compressed.

    Raises
    ------
    InputError
        If the file is broken or holds several images.
    """
    file_format, header = header_of(path)
    if header.plane_count != 1:
        raise InputError(f"{path}: expected a single image, found {header.plane_count}")
    if file_format == "mrc":
        return read_plane(path, header, 0)
    with CompressedMrc(path).planes(0, 1) as plane:
        return plane()


def _info(path: Path, file_format: str, header: MrcHeader) -> MovieInfo:
    """Properties of the movie from its header; raises if there is only one frame."""
    check_frame_count(path, header.plane_count)
    return MovieInfo(
        path=os.fspath(path),
        file_format=file_format,
        frame_count=header.plane_count,
        height_px=header.height_px,
        width_px=header.width_px,
        pixel_dtype=header.pixel_dtype,
        pixel_size_A=header.pixel_size_A,
        size_bytes=path.stat().st_size,
        notes=header.notes,
    )
