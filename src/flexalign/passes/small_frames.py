"""The down-sampled frames of the first pass, while the movie is read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from flexalign.arrays.backends import make_frame_stack
from flexalign.arrays.blank_area import taper_beside
from flexalign.arrays.device import Device
from flexalign.arrays.downsample import DownsampledFrame, downsampled_pixels
from flexalign.arrays.resident_frames import has_memory
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import COARSEST_RESOLUTION_A
from flexalign.model import FloatArray, MaskArray, PixelArray
from flexalign.plan import CORRELATION_NYQUIST_SHARE, Plan


class SmallSums:
    """Down-sampled frames; if there are many, several frames of the file are summed into one.

    Attributes
    ----------
    pixels : (times, h, w), filled by the down-sampler
    is_resident : whether they are in the memory of a GPU, which has enough for the estimation
    index, means, spreads : index, mean and standard deviation of each frame of the file in them
    """

    def __init__(self, plan: Plan, device: Device) -> None:
        self._plan, self._device = plan, device
        max_times = -(-plan.align.count // plan.frames_per_time)
        self.is_resident = has_memory(device, plan.gpu_memory_bytes, plan.gpu_estimation_bytes)
        library = device.xp if self.is_resident else np
        shape = (max_times, *plan.correlation_shape_px)
        self.pixels: PixelArray = library.empty(shape, plan.small_frame_dtype)
        self._stack = make_frame_stack(device, self.pixels, is_resident=self.is_resident)
        self._time: list[int] = []  # position in `pixels` of each frame
        self.index: list[int] = []
        self.means: list[float] = []
        self.spreads: list[float] = []
        self._taper: PixelArray | None = None

    def place(self, index: int) -> int:
        """Position in `pixels` of a frame of the file."""
        return (index - self._plan.align.first) // self._plan.frames_per_time

    def note(self, done: DownsampledFrame) -> None:
        """Note a frame that has been added to `pixels`, in the order of the file."""
        self._time.append(self.place(done.frame_index))
        self.index.append(done.frame_index)
        self.means.append(done.mean)
        self.spreads.append(done.spread)

    def subtract(
        self, index: npt.NDArray[np.int64], excess: PixelArray, relative: FloatArray, threads: int
    ) -> None:
        """Subtract the mean `excess` (n,) of bad pixels, flat `index` (n,), from the small frames.

        Down-sampling is linear, so the pattern of hot pixels, which would bias the motion toward
        zero, is subtracted without reading the file again.
        """
        info, small_shape = self._plan.movie, self._plan.correlation_shape_px
        shape = (info.height_px, info.width_px)
        pattern = downsampled_pixels(index, excess, shape, small_shape, CORRELATION_NYQUIST_SHARE)
        # Counts of all frames of the file that are summed at each time.
        counts = np.bincount(self._time, relative / np.mean(relative), len(self.pixels))
        self._stack.add_scaled(pattern, -counts.astype(np.float32), threads)

    def fade_out(self, blank: MaskArray, threads: int) -> None:
        """Fade the frames out toward the area `blank` (h, w) without electrons."""
        scale = self._plan.movie.height_px / self._plan.correlation_shape_px[0]
        fade_px = COARSEST_RESOLUTION_A / (scale * self._plan.pixel_size_A)
        self._taper = taper_beside(blank, fade_px)
        self._stack.fade_out(self._taper, threads)

    def frames(self, good: MaskArray, copies: Mapping[int, int]) -> SmallFrames:
        """Frames for the estimation: times with a good frame, at the mean index of their frames.

        Parameters
        ----------
        copies : see `SmallFrames`
        """
        time, index = np.array(self._time)[good], np.array(self.index)[good]
        kept, where = np.unique(time, return_inverse=True)
        pixels = self.pixels if len(kept) == len(self.pixels) else self._stack.selected(kept)
        info = self._plan.movie
        return SmallFrames(
            pixels,
            np.bincount(where, index) / np.bincount(where),
            (info.height_px, info.width_px),
            self._plan.pixel_size_A,
            measured=index,
            device=self._device,
            copies=copies,
            taper=self._taper,
            is_resident=self.is_resident,
        )
