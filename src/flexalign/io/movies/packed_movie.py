"""Movies whose frames can be read without decoding them, for a device that renders them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from flexalign.io.movies.reader import (
    CachingMovie,
    MovieReader,
    RawFrame,
    frames_within,
    read_ahead,
)
from flexalign.model import FrameRange
from flexalign.packed_frame import PackedFrame
from flexalign.progress import Progress


@runtime_checkable
class PackedMovie(MovieReader, Protocol):
    """A `MovieReader` that also gives frames as they are in the file, from any thread.

    Attributes
    ----------
    max_packed_bytes : size of the data of the largest frame
    """

    max_packed_bytes: int

    def packed_frame(self, index: int) -> PackedFrame:
        """The frame `index`, not decoded.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        ...

    def decoded(self, packed: PackedFrame) -> RawFrame:
        """The frame, decoded on the CPU."""
        ...


def rendered_frame(
    index: int, pixels: npt.NDArray[Any] | None, broken: int, raw_count: int
) -> RawFrame:
    """A frame of which `broken` of its raw frames were left out; without the others, no pixels."""
    if broken == raw_count:
        return RawFrame(index, None, f"none of its {broken} raw frames can be decoded")
    left_out = f"{broken} of {raw_count} raw frames cannot be decoded and were left out"
    return RawFrame(index, pixels, left_out if broken else "")


class CachingPackedMovie(CachingMovie):
    """A `PackedMovie` that caches what is read; ahead of the passes, frames are not decoded."""

    def __init__(self, reader: PackedMovie) -> None:
        super().__init__(reader)
        self.max_packed_bytes = reader.max_packed_bytes
        self._packed_reader = reader
        self._packed: dict[int, PackedFrame] = {}

    def load(self, frames: FrameRange, threads: int, progress: Progress) -> None:
        """Read the frames of the range into memory."""
        for packed in read_ahead(self._packed_reader.packed_frame, frames, threads):
            self._packed[packed.index] = packed
            progress("read", packed.index - frames.first + 1, frames.count)

    def packed_frame(self, index: int) -> PackedFrame:
        """The frame `index`, of the memory or of the file."""
        packed = self._packed.get(index)
        return self._packed_reader.packed_frame(index) if packed is None else packed

    def decoded(self, packed: PackedFrame) -> RawFrame:
        """The frame, decoded on the CPU."""
        return self._packed_reader.decoded(packed)

    def frames(self, frames: FrameRange | None = None, *, threads: int = 1) -> Iterator[RawFrame]:
        """The frames of the range; those read ahead are decoded each time."""
        wanted = frames_within(self.info, frames)
        if all(index in self._packed for index in wanted):
            return read_ahead(lambda i: self.decoded(self._packed[i]), wanted, threads)
        return super().frames(wanted, threads=threads)

    def close(self) -> None:
        """Release the file and the frames."""
        self._packed.clear()
        super().close()


def caching(reader: MovieReader) -> CachingMovie:
    """A reader that caches the frames of another."""
    return CachingPackedMovie(reader) if isinstance(reader, PackedMovie) else CachingMovie(reader)
