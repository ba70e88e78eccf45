"""Movies that are arrays: NumPy, memory-mapped, Zarr, Dask, HDF5 and similar ones."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from flexalign.errors import InputError
from flexalign.io.movies.reader import RawFrame, SeekableMovie, check_frame_count
from flexalign.model import ARRAY_FORMAT, MovieInfo


class FrameArray(Protocol):
    """An array (t, y, x) of frames, of which single ones can be taken."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frames, rows and columns."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the pixels."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """The frame (y, x) of this index; `numpy.asarray` gives its pixels."""
        ...


class ArrayMovie(SeekableMovie):
    """A movie in an array (t, y, x); each frame is taken from it when it is needed.

    The array is never read as a whole, so that it may be larger than memory. Frames are taken from
    several threads at once.

    Parameters
    ----------
    frames : array (t, y, x) of real numbers with ``shape`` and ``dtype``, of which ``frames[i]`` is
        one frame: of NumPy, memory-mapped, Zarr, Dask, HDF5 or any other kind. Row 0 is the first
        row of an MRC file
    name : name of the movie in messages, in the record and of the files that are written
    pixel_size_A : where the parameters do not give it

    Raises
    ------
    InputError
        If it is not such an array, or has fewer than two frames.

    Examples
    --------
    >>> movie = ArrayMovie(np.zeros((4, 64, 64), np.uint8), "stack_1", pixel_size_A=1.5)
    >>> movie.info.frame_count, movie.info.pixel_dtype
    (4, 'uint8')
    """

    def __init__(
        self, frames: FrameArray, name: str = "array", pixel_size_A: float | None = None
    ) -> None:
        shape, dtype = tuple(frames.shape), np.dtype(frames.dtype)
        if len(shape) != 3 or dtype.kind not in "biuf":
            raise InputError(
                f"{name}: expected an array (t, y, x) of real numbers, found {dtype} of shape "
                f"{shape}"
            )
        check_frame_count(name, shape[0])
        self._frames, self._dtype = frames, _pixel_dtype(dtype)
        info = MovieInfo(
            path=name,
            file_format=ARRAY_FORMAT,
            frame_count=shape[0],
            height_px=shape[1],
            width_px=shape[2],
            pixel_dtype=self._dtype.name,
            pixel_size_A=pixel_size_A,
            size_bytes=math.prod(shape) * dtype.itemsize,
        )
        super().__init__(info)

    def read_frame(self, index: int) -> RawFrame:
        """The frame `index`, zero-based."""
        return RawFrame(index, np.asarray(self._frames[index]).astype(self._dtype, copy=False))


def _pixel_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of frames: that of the array where movies have it, else 8 bits or 32-bit floats."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype.itemsize > 4 else dtype.newbyteorder("=")
