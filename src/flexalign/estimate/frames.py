"""The small frames of the first pass, from which all motion is estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flexalign.arrays import cpu, fourier
from flexalign.arrays.device import CPU, Device
from flexalign.arrays.fourier import SpectrumArray
from flexalign.model import FloatArray, PixelArray


@dataclass(frozen=True, slots=True, eq=False)
class SmallFrames:
    """Frames Fourier-cropped to a coarser grid.

    Attributes
    ----------
    pixels : (n, h, w) float32
    frame : (n,) zero-based index of each in the file, rising; where frames of the file are summed
        to one, the mean of theirs
    full_shape_px : (h, w) of the unbinned movie
    pixel_size_A : of the unbinned movie
    measured : (m,) index of every frame of the file that is in them
    spectra : (n, h, w // 2 + 1) of the pixels, where they are known
    device : on which the sweeps over their spectra run; the pixels are on the host
    """

    pixels: PixelArray
    frame: FloatArray
    full_shape_px: tuple[int, int]
    pixel_size_A: float
    measured: npt.NDArray[np.int64]
    spectra: SpectrumArray | None = None
    device: Device = CPU

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
        """These frames cropped further to `shape_px` (h, w), with their spectra."""
        if shape_px == self.shape_px:
            return self
        count, (height, width) = len(self.pixels), shape_px
        pixels = np.empty((count, height, width), np.float32)
        spectra = np.empty((count, height, width // 2 + 1), np.complex64)

        def shrink(start: int, stop: int) -> None:
            for k in range(start, stop):
                spectra[k] = fourier.rfft2_cropped(self.pixels[k], shape_px)
                pixels[k] = fourier.irfft2(spectra[k], shape_px)

        cpu.in_blocks(shrink, count, threads)
        return replace(self, pixels=pixels, spectra=spectra)
