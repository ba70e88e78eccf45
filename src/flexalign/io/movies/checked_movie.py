"""Readers that come from outside: their frames are checked before they are used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Self

import numpy as np

from flexalign.errors import InputError
from flexalign.io.movies.reader import MovieReader, RawFrame, check_frame_count, frames_within
from flexalign.model import FrameRange


class CheckedMovie:
    """A `MovieReader` around a caller's own; frames that contradict its `info` are refused.

    Parameters
    ----------
    reader : is not closed, since it is the caller's

    Raises
    ------
    InputError
        If its `info` has fewer than two frames.
    """

    def __init__(self, reader: MovieReader) -> None:
        self.info, self._reader = reader.info, reader
        check_frame_count(self.info.path, self.info.frame_count)

    def frames(self, frames: FrameRange | None = None, *, threads: int = 1) -> Iterator[RawFrame]:
        """The frames of the range (all by default) in order; see `MovieReader`.

        Raises
        ------
        InputError
            If the reader gives other frames than requested, or others than its `info` describes.
        """
        wanted = frames_within(self.info, frames)
        return self._checked(wanted, threads)

    def _checked(self, wanted: FrameRange, threads: int) -> Generator[RawFrame]:
        """The frames of the reader, each compared with what is expected."""
        found = self._reader.frames(wanted, threads=threads)
        try:
            for index in wanted:
                frame = next(found, None)
                if frame is None or frame.index != index:
                    number = "no more" if frame is None else f"frame {frame.index + 1}"
                    raise InputError(
                        f"{self.info.path}: expected frame {index + 1} of its reader, found "
                        f"{number}; frames are given in order"
                    )
                yield self._fitting(frame)
        finally:
            # A generator stops its threads when it is closed; other iterators have nothing to stop.
            if hasattr(found, "close"):
                found.close()

    def _fitting(self, frame: RawFrame) -> RawFrame:
        """The frame, if its pixels are those that the `info` describes."""
        if frame.pixels is None:
            return frame
        pixels, info = np.asarray(frame.pixels), self.info
        shape_px = (info.height_px, info.width_px)
        if pixels.shape != shape_px or pixels.dtype != np.dtype(info.pixel_dtype):
            raise InputError(
                f"{info.path}: expected frames (y, x) of {shape_px} in {info.pixel_dtype} as its "
                f"info says, found {pixels.shape} in {pixels.dtype}"
            )
        return frame

    def close(self) -> None:
        """Nothing: the reader is the caller's."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
