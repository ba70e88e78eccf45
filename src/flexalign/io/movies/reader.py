"""Common base of the readers: the frame, the reader, read-ahead and checks."""

from __future__ import annotations

import abc
import codecs
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from flexalign.array_value import ShortRepr
from flexalign.errors import InputError, ParameterError
from flexalign.files import check_regular_file
from flexalign.model import FrameRange, MovieInfo
from flexalign.progress import Progress

# Pixels smaller than atoms: such headers use another unit.
MIN_PIXEL_A, MAX_PIXEL_A = 0.1, 100.0
_Frame = TypeVar("_Frame")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RawFrame(ShortRepr):
    """One raw frame, before dark and gain.

    Attributes
    ----------
    index : zero-based in the file
    pixels : (h, w) in the file's dtype, rows as MRC stores them; may be a read-only view; None if
        it cannot be read
    problem : what is wrong with the frame, "" if nothing
    """

    index: int
    pixels: npt.NDArray[Any] | None
    problem: str = ""


@runtime_checkable
class MovieReader(Protocol):
    """A movie that is open for reading; close it, or use it in a ``with`` block.

    `align_movie` takes any object with these members, so that a movie in a format of one's own can
    be aligned. It reads the frames once or twice, in order. A class for a file with random access
    to frames is shorter when derived from `SeekableMovie`.

    Attributes
    ----------
    info : size and pixels of the movie, known before a frame is read
    """

    info: MovieInfo

    def frames(self, frames: FrameRange | None = None, *, threads: int = 1) -> Iterator[RawFrame]:
        """The frames of the range (all by default) in order, in one pass over the file.

        Parameters
        ----------
        frames : zero-based in the file
        threads : number of decoding threads; about that many frames wait in memory

        Raises
        ------
        ParameterError
            If the range reaches past the last frame.
        InputError
            If the file cannot be read further. A frame that cannot be decoded does not raise: it is
            a `RawFrame` with a problem.
        """
        ...

    def close(self) -> None:
        """Release the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class SeekableMovie(abc.ABC):
    """A `MovieReader` for files with random access to frames, from any thread.

    A derived class has the method `read_frame`; reading ahead in threads, ranges of frames and
    closing are done here.

    Parameters
    ----------
    info : size and pixels of the movie

    Examples
    --------
    >>> class Noise(SeekableMovie):
    ...     def read_frame(self, index):
    ...         counts = np.random.default_rng(index).poisson(1, (64, 64))
    ...         return RawFrame(index, counts.astype(np.uint8))
    >>> movie = Noise(MovieInfo("noise", "own", 4, 64, 64, "uint8", 1.5, 0))
    >>> [frame.index for frame in movie.frames(FrameRange(1, 3))]
    [1, 2]
    """

    def __init__(self, info: MovieInfo) -> None:
        self.info = info

    def __repr__(self) -> str:
        """Name and size of the movie."""
        return f"<{type(self).__name__}: {self.info.summary}>"

    @abc.abstractmethod
    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`; called from several threads at once."""

    def frames(self, frames: FrameRange | None = None, *, threads: int = 1) -> Iterator[RawFrame]:
        """The frames of the range (all by default) in order; see `MovieReader`."""
        return read_ahead(self.read_frame, frames_within(self.info, frames), threads)

    def close(self) -> None:  # noqa: B027 - most formats hold nothing open between frames
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class CachingMovie:
    """A `MovieReader` that caches decoded frames for the next time they are read."""

    def __init__(self, reader: MovieReader) -> None:
        self.info, self._reader = reader.info, reader
        self._kept: dict[int, RawFrame] = {}

    def load(self, frames: FrameRange, threads: int, progress: Progress) -> None:
        """Decode the frames of the range into memory, in the dtype of the file."""
        for frame in self.frames(frames, threads=threads):
            progress("read", frame.index - frames.first + 1, frames.count)

    def frames(self, frames: FrameRange | None = None, *, threads: int = 1) -> Iterator[RawFrame]:
        """The frames of the range (all by default) in order; see `MovieReader`."""
        wanted = frames_within(self.info, frames)
        if all(index in self._kept for index in wanted):
            yield from (self._kept[index] for index in wanted)
            return
        for frame in self._reader.frames(wanted, threads=threads):
            self._kept[frame.index] = frame
            yield frame

    def close(self) -> None:
        """Release the file and the frames."""
        self._kept.clear()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_head(path: Path, size_bytes: int = 1024) -> bytes:
    """The first bytes of a file; `InputError` if it cannot be read."""
    check_regular_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(size_bytes)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{path}: expected data, found an empty file; transfer it again")
    return head


def head_text(head: bytes) -> str | None:
    r"""`head`, the first bytes of a file, decoded as text; None if it is not text.

    Examples
    --------
    >>> head_text("1 2".encode("utf-16")), head_text(b"\x01\x00")
    ('1 2', None)
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head.decode("utf-16", errors="replace")
    return None if b"\0" in head else head.decode("utf-8-sig", errors="replace")


def frames_within(info: MovieInfo, frames: FrameRange | None) -> FrameRange:
    """The requested range, or all frames; raises if it exceeds the movie."""
    if frames is None:
        return FrameRange(0, info.frame_count)
    if frames.stop > info.frame_count:
        raise ParameterError(
            f"{info.path}: expected frames within 1-{info.frame_count}, found {frames}"
        )
    return frames


def check_frame_count(path: str | Path, frame_count: int) -> None:
    """Raise `InputError` unless there are at least two frames."""
    if frame_count < 2:
        raise InputError(
            f"{path}: a movie needs at least 2 frames, found {frame_count}; "
            "a single image needs no alignment"
        )


def trusted_pixel_size_A(x_A: float, y_A: float) -> float | None:
    """A header's pixel size if plausible: square within 1 %, 0.1 to 100 A, not exactly 1.

    Programs write exactly 1 when the size is unknown.

    Examples
    --------
    >>> trusted_pixel_size_A(0.83, 0.83)
    0.83
    >>> trusted_pixel_size_A(1.0, 1.0) is None, trusted_pixel_size_A(0.083, 0.083) is None
    (True, True)
    """
    if not (np.isfinite(x_A) and np.isfinite(y_A)) or not MIN_PIXEL_A <= x_A <= MAX_PIXEL_A:
        return None
    if x_A == 1.0 or abs(x_A - y_A) > 0.01 * x_A:
        return None
    # Headers hold 32-bit floats; rounding removes their spurious digits.
    return float(f"{x_A:.6g}")


def read_ahead(read: Callable[[int], _Frame], frames: FrameRange, threads: int) -> Iterator[_Frame]:
    """Yield `read` of each frame in order, reading up to `threads` frames ahead.

    The threads end when the iterator is exhausted or closed.
    """
    waiting: deque[Future[_Frame]] = deque()
    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="read-ahead") as pool:
        try:
            for index in frames:
                waiting.append(pool.submit(read, index))
                if len(waiting) > max(threads, 1):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
