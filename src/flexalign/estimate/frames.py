"""The small frames of the first pass, from which all motion is estimated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.arrays import fourier
from flexalign.model import PixelArray


@dataclass(frozen=True, slots=True, eq=False)
class SmallFrames:
    """Frames Fourier-cropped to a coarser grid.

    Attributes
    ----------
    pixels : (n, h, w) float32
    frame : (n,) zero-based index of each in the file, rising
    full_shape_px : (h, w) of the unbinned movie
    pixel_size_A : of the unbinned movie
    """

    pixels: PixelArray
    frame: npt.NDArray[np.int64]
    full_shape_px: tuple[int, int]
    pixel_size_A: float

    @property
    def shape_px(self) -> tuple[int, int]:
        """(h, w) of a small frame."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def scale(self) -> tuple[float, float]:
        """Unbinned pixels per pixel of a small frame, (y, x)."""
        (height, width), (small_height, small_width) = self.full_shape_px, self.shape_px
        return height / small_height, width / small_width

    def shrunk(self, shape_px: tuple[int, int], threads: int = 1) -> SmallFrames:
        """These frames cropped further to `shape_px` (h, w)."""
        if shape_px == self.shape_px:
            return self
        out = np.empty((len(self.pixels), *shape_px), np.float32)
        for target, image in zip(out, self.pixels, strict=True):
            spectrum = fourier.rfft2(image, threads)
            low = fourier.cropped(spectrum, self.shape_px, shape_px)
            target[:] = fourier.irfft2(low, shape_px, threads)
        return SmallFrames(out, self.frame, self.full_shape_px, self.pixel_size_A)
