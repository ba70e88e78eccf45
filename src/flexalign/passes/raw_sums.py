"""Sums of the raw frames of the first pass; the correction is applied to a sum, not to each frame.

The correction is linear, so the mean of corrected frames is the corrected mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays.backends import FrameDownsampler
from flexalign.arrays.detector import Correction
from flexalign.arrays.downsample import mean_corrected
from flexalign.arrays.threads import ThreadPool
from flexalign.io.movies.reader import MovieReader
from flexalign.model import FrameRange, PixelArray
from flexalign.plan import Plan

_ALIGNED, _SUMMED = "aligned", "summed"


class RawSums:
    """Running sums of the frames to align and, where they differ, of the frames to sum.

    Parameters
    ----------
    downsampler : adds frames to the sums, which are in its memory until `fetch`
    """

    def __init__(self, plan: Plan, downsampler: FrameDownsampler) -> None:
        self._plan, self._downsampler = plan, downsampler
        self._sums: dict[str, Any] = {}
        self._counts = {_ALIGNED: 0, _SUMMED: 0}

    @property
    def is_empty(self) -> bool:
        """Whether no frame was added yet."""
        return not self._counts[_ALIGNED]

    def taking(self, index: int, raw: npt.NDArray[Any]) -> list[Any]:
        """The sums to which the frame `index` belongs; the caller adds it to each."""
        names = self._names(index)
        for name in names:
            if name not in self._sums:
                self._sums[name] = self._downsampler.empty_sum(raw)
            self._counts[name] += 1
        return [self._sums[name] for name in names]

    def fetch(self) -> None:
        """Copy the sums to host memory; no frame is added afterwards."""
        self._sums = {n: self._downsampler.fetched(total) for n, total in self._sums.items()}

    def remove(self, reader: MovieReader, index: int) -> None:
        """Subtract a frame, which is read again."""
        for raw in reader.frames(FrameRange(index, index + 1)):
            assert raw.pixels is not None
            for name in self._names(index):
                np.subtract(self._sums[name], raw.pixels, out=self._sums[name], casting="unsafe")
                self._counts[name] -= 1

    def aligned_mean(self, correction: Correction, threads: ThreadPool) -> PixelArray:
        """The corrected mean (h, w) of the frames to align; the sum is overwritten."""
        return mean_corrected(self._sums[_ALIGNED], self._counts[_ALIGNED], correction, threads)

    def summed_mean(self, correction: Correction, threads: ThreadPool) -> PixelArray | None:
        """The same of the frames to sum; None if they are those to align."""
        if not self._counts[_SUMMED]:
            return None
        return mean_corrected(self._sums[_SUMMED], self._counts[_SUMMED], correction, threads)

    def _names(self, index: int) -> list[str]:
        """Names of the sums to which a frame belongs."""
        differ = self._plan.sum != self._plan.align
        return [_ALIGNED, _SUMMED] if differ and index in self._plan.sum else [_ALIGNED]
