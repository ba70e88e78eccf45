"""TIFF movies, one page per frame or all frames after one page.  `tiff` reads the pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from flexalign.errors import InputError
from flexalign.io.movies.reader import (
    RawFrame,
    SeekableMovie,
    check_frame_count,
    frames_within,
    read_ahead,
)
from flexalign.io.movies.tiff import (
    broken_tiff,
    image_count,
    image_pages,
    open_tiff,
    pixel_size_A,
    read_page,
)
from flexalign.io.movies.tiff_layout import (
    holds_bytes,
    is_declared_packed,
    missing_data,
    seem_packed,
    unpacked,
)
from flexalign.model import FrameRange, MovieInfo

LOOKS_PACKED = (
    "its bytes look packed (two 4-bit counts each), but no tag declares it: give a gain reference "
    "of twice the width to unpack them"
)


class TiffMovie(SeekableMovie):
    """A TIFF stack, one page per frame or all frames after its only page.

    Parameters
    ----------
    path : the file
    rows : "imod" puts the last row first, "file" keeps the order of the file
    packed : whether each byte holds two 4-bit counts; None = from its description

    Raises
    ------
    InputError
        If the file is broken or truncated, is no movie, or lacks data of every frame.
    """

    def __init__(self, path: Path, *, rows: str = "imod", packed: bool | None = None) -> None:
        self._rows = rows
        self._file, pages = open_tiff(path)
        try:
            with broken_tiff(path):
                info = self._understand(path, pages, packed)
        except BaseException:
            self._file.close()
            raise
        super().__init__(info)

    def _understand(
        self, path: Path, pages: list[tifffile.TiffPage], packed: bool | None
    ) -> MovieInfo:
        """Set the properties of the movie from the pages that are its frames."""
        self._pages = image_pages(path, pages)
        frame_count = image_count(path, self._pages)
        check_frame_count(path, frame_count)
        first = self._pages[0]
        problems = [missing_data(page) for page in self._pages]
        if all(problems):
            raise InputError(
                f"{path}: expected the data of {frame_count} frames, found none that is whole; of "
                f"the first: {problems[0]}; the file is damaged, transfer it again"
            )
        self._holds_bytes = holds_bytes(first)
        self._is_packed = is_declared_packed(first) if packed is None else packed
        notes = []
        if len(self._pages) < len(pages):
            notes.append(f"{len(pages) - len(self._pages)} thumbnail pages were left out")
        if self._is_packed:
            notes.append("packed: each byte holds two 4-bit counts, which are unpacked")
        return MovieInfo(
            path=os.fspath(path),
            file_format="tiff",
            frame_count=frame_count,
            height_px=int(first.imagelength),
            width_px=int(first.imagewidth) * (2 if self._is_packed else 1),
            pixel_dtype=np.dtype(first.dtype).name,
            pixel_size_A=pixel_size_A(first),
            size_bytes=path.stat().st_size,
            notes=tuple(notes),
        )

    @property
    def may_be_packed(self) -> bool:
        """Whether the pixels are bytes that may hold two counts each and are not unpacked."""
        return self._holds_bytes and not self._is_packed

    def frames(self, frames: FrameRange | None = None, *, threads: int = 1) -> Iterator[RawFrame]:
        """The frames of the range (all by default) in order; see `MovieReader`.

        The first frame gets a problem if its bytes seem to hold two counts each.
        """
        wanted = frames_within(self.info, frames)

        def read(index: int) -> RawFrame:
            frame = self.read_frame(index)
            if index != wanted.first or not self.may_be_packed or frame.pixels is None:
                return frame
            return replace(frame, problem=LOOKS_PACKED) if seem_packed(frame.pixels) else frame

        return read_ahead(read, wanted, threads)

    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`."""
        page, plane = (self._pages[index], 0) if len(self._pages) > 1 else (self._pages[0], index)
        try:
            pixels = read_page(page, self._rows, plane)
        except Exception as error:  # each codec has exceptions of its own
            if self._file.filehandle.closed:
                raise ValueError(f"{self.info.path}: the movie is closed") from error
            return RawFrame(index, None, f"the frame cannot be decoded: {error}")
        return RawFrame(index, unpacked(pixels) if self._is_packed else pixels)

    def close(self) -> None:
        """Release the file."""
        self._file.close()
