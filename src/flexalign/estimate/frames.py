"""The small frames of the first pass, from which all motion is estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from flexalign.arrays.backends import FrameStack, make_frame_stack
from flexalign.arrays.device import CPU, Device
from flexalign.model import FloatArray, PixelArray
from flexalign.plan import PAIRWISE_NYQUIST_SHARE


@dataclass(frozen=True, slots=True, eq=False)
class SmallFrames:
    """Frames on a coarser grid.

    Attributes
    ----------
    pixels : (n, h, w) float32, or float16 with a constant subtracted and scaled; in the memory of
        the device if resident, else on the host
    frame : (n,) zero-based index of each in the file, increasing; for a sum of several frames, the
        mean of their indices
    full_shape_px : (h, w) of the unbinned movie
    pixel_size_A : of the unbinned movie
    measured : (m,) index of every frame of the file that was used
    device : on which the sweeps over their spectra run
    copies : index of each frame of the file that is a copy -> index of the frame before
    taper : factor (h, w) by which the frames are faded out toward areas without electrons; None =
        there are none
    is_resident : whether a GPU holds the pixels, and computes all that needs them
    """

    pixels: PixelArray
    frame: FloatArray
    full_shape_px: tuple[int, int]
    pixel_size_A: float
    measured: npt.NDArray[np.int64]
    device: Device = CPU
    copies: Mapping[int, int] = field(default_factory=dict)
    taper: PixelArray | None = None
    is_resident: bool = False

    @property
    def stack(self) -> FrameStack:
        """The operations on the pixels."""
        return make_frame_stack(self.device, self.pixels, is_resident=self.is_resident)

    @property
    def shape_px(self) -> tuple[int, int]:
        """(h, w) of a small frame."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def scale(self) -> tuple[float, float]:
        """Unbinned pixels per pixel of a small frame, (y, x)."""
        (height, width), (small_height, small_width) = self.full_shape_px, self.shape_px
        return height / small_height, width / small_width

    def downsampled(self, shape_px: tuple[int, int], threads: int = 1) -> SmallFrames:
        """These frames at the smaller size `shape_px` (h, w)."""
        pixels = self.stack.downsampled(shape_px, PAIRWISE_NYQUIST_SHARE, threads)
        taper = self.taper
        if taper is not None:
            row, column = (
                np.arange(size) * full // size
                for size, full in zip(shape_px, taper.shape, strict=True)
            )
            taper = taper[row[:, None], column]
        return replace(self, pixels=pixels, taper=taper)
