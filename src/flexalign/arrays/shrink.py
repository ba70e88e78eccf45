"""Corrected frames at a smaller size, made strip by strip: no whole corrected frame is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import detector, fourier
from flexalign.arrays.detector import STRIP_ROWS, Correction
from flexalign.arrays.workers import Workers
from flexalign.model import PixelArray

# Whole numbers of so few bits have exact sums over all frames of a movie in 32 bits.
_SMALL_ITEM_BYTES = 2


def sum_dtype(raw: npt.NDArray[Any]) -> type[np.number[Any]]:
    """The kind of numbers in which raw frames such as this one are added up."""
    is_small = raw.dtype.kind in "iu" and raw.dtype.itemsize <= _SMALL_ITEM_BYTES
    return np.int32 if is_small else np.float32


class Shrinker:
    """Makes small frames of raw ones.

    Parameters
    ----------
    shape_px, small_shape_px : (h, w) of the frames, and of what becomes of them
    """

    def __init__(
        self,
        correction: Correction,
        shape_px: tuple[int, int],
        small_shape_px: tuple[int, int],
        workers: Workers,
    ) -> None:
        self._correction, self._workers = correction, workers
        self._shape, self._small_shape = shape_px, small_shape_px
        self._rows = np.empty((shape_px[0], small_shape_px[1] // 2 + 1), np.complex64)

    def empty_sum(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Zeros (h, w) to add raw frames such as this one up in."""
        return np.zeros(raw.shape, sum_dtype(raw))

    def shrunk(
        self, raw: npt.NDArray[Any], frame_index: int, sums: Sequence[npt.NDArray[Any]] = ()
    ) -> list[tuple[int, PixelArray]]:
        """The small frame (h, w) with its index, alone in a list; adds the raw one to `sums`.

        It is corrected and Fourier-cropped, as `detector.correct` and `fourier.rfft2_cropped` would
        do it one after the other.  A GPU has the frames done that came before.
        """
        height, width = self._shape
        fill = detector.corrected_rows(raw, self._correction, frame_index)

        def shrink_rows(start: int, stop: int) -> None:
            strip = np.empty((stop - start, width), np.float32)
            fill(start, stop, strip)
            self._rows[start:stop] = fourier.row_spectra(strip, self._small_shape[1])
            for total in sums:
                total[start:stop] += raw[start:stop]

        self._workers.share(height, STRIP_ROWS, shrink_rows)
        threads = self._workers.threads
        low = fourier.column_spectra(self._rows, self._small_shape[0], threads)
        return [(frame_index, fourier.irfft2(low, self._small_shape, threads))]

    def rest(self) -> list[tuple[int, PixelArray]]:
        """What `shrunk` still owes: nothing."""
        return []

    def fetched(self, total: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A sum as the host has it."""
        return total


def mean_corrected(total: npt.NDArray[Any], count: int, correction: Correction) -> PixelArray:
    """The mean corrected frame (h, w), from the sum of `count` raw ones.

    The correction is linear, so that one sweep does for all frames.
    """
    mean = np.divide(total, np.float32(count), dtype=np.float32)
    return detector.correct(mean, correction, frame_index=0)
