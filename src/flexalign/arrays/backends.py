"""Interfaces of the parts that have an implementation for the CPU and one for a GPU.

Each has a `Protocol`, against which both implementations are type-checked, and a function that
creates the one for a device.  GPU modules are imported only when a GPU is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flexalign.arrays.aligned_sum import AlignedSums
from flexalign.arrays.correlate import Peaks
from flexalign.arrays.detector import Correction
from flexalign.arrays.device import Device
from flexalign.arrays.downsample import DownsampledFrame, Downsampler
from flexalign.arrays.fourier import SpectrumArray
from flexalign.arrays.frame_samples import Rendered
from flexalign.arrays.frame_stack import CpuFrameStack, Pairs, Tiles
from flexalign.arrays.kernels.float16 import Coding
from flexalign.arrays.kernels.likelihood import Packing
from flexalign.arrays.likelihood_sweeps import CpuSweeps
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.resident_frames import ResidentFrames
from flexalign.arrays.threads import ThreadPool
from flexalign.model import FloatArray, PixelArray
from flexalign.packed_frame import PackedFrame


class FrameRenderer(Protocol):
    """Renders EER frames on a GPU; on the CPU their reader does."""

    def render(self, packed: PackedFrame) -> Callable[[], Rendered]:
        """Queue a frame; the function returned waits for it."""
        ...


class FrameDownsampler(Protocol):
    """Corrects and down-samples frames for the first pass; see `downsample.Downsampler`."""

    coding: Coding

    def empty_sum(self, raw: npt.NDArray[Any]) -> Any:
        """Zeros (h, w), on the device, in which raw frames such as this one are summed."""
        ...

    def add(
        self, raw: npt.NDArray[Any], frame_index: int, place: int, sums: Sequence[Any] = ()
    ) -> list[DownsampledFrame]:
        """Down-sample a frame (h, w) to `place`; return the frames completed by now."""
        ...

    def flush(self) -> list[DownsampledFrame]:
        """Process the frames that still wait for their batch."""
        ...

    def fetched(self, total: Any) -> npt.NDArray[Any]:
        """A sum from `empty_sum`, in host memory."""
        ...


class FrameSummation(Protocol):
    """Running sums of motion-corrected frames; see `aligned_sum.AlignedSums`."""

    def add(
        self,
        raw: npt.NDArray[Any],
        frame_index: int,
        displacement_px: PixelArray,
        names: Sequence[str],
        time: int = 0,
    ) -> None:
        """Correct a frame, interpolate it along a displacement on the lattice, and add it."""
        ...

    def mean(self, name: str) -> PixelArray:
        """The mean (h, w) of the frames added under `name`, at the size of the output."""
        ...

    def weighted_mean(self) -> PixelArray | None:
        """The weighted mean (h, w); None = not requested."""
        ...

    def images(self) -> PixelArray | None:
        """The moved frames (t, h, w); None = not requested."""
        ...

    def at_output_size(self, image: PixelArray) -> PixelArray:
        """An image (h, w) of the frames' size, Fourier-cropped to that of the output."""
        ...


class FrameStack(Protocol):
    """Small frames, and what is computed of them; see `frame_stack.CpuFrameStack`.

    Arrays of small frames are on the device, all others on the host.
    """

    def downsampled(
        self, shape_px: tuple[int, int], kept_share: float, threads: int = 1
    ) -> PixelArray:
        """The frames (times, new h, new w) float32 at a smaller size."""
        ...

    def selected(self, index: npt.NDArray[np.int64]) -> PixelArray:
        """A copy of some frames."""
        ...

    def mean(self) -> PixelArray:
        """The mean frame (h, w)."""
        ...

    def add_scaled(self, image: PixelArray, part: PixelArray, threads: int = 1) -> None:
        """Add to each frame its `part` (times,) of an image (h, w)."""
        ...

    def fade_out(self, taper: PixelArray, threads: int = 1) -> None:
        """Taper the frames to the mean of each by a factor (h, w)."""
        ...

    def group_spectra(
        self, groups: Sequence[npt.NDArray[np.int64]], response: PixelArray, threads: int = 1
    ) -> SpectrumArray:
        """Whitened and filtered spectra (groups, h, columns) of sums of adjacent frames."""
        ...

    def group_peaks(
        self,
        groups: Sequence[npt.NDArray[np.int64]],
        response: PixelArray,
        pairs: Pairs,
        threads: int = 1,
    ) -> Peaks:
        """Peaks of the correlations of pairs of groups."""
        ...

    def tile_peaks(
        self,
        tiles: Tiles,
        groups: Sequence[npt.NDArray[np.int64]],
        displacement_px: FloatArray,
        response: PixelArray,
        pairs: Pairs,
        threads: int = 1,
    ) -> list[Peaks]:
        """The same for each tile, along a displacement (times, 2)."""
        ...

    def packed_spectra(
        self,
        tiles: Tiles,
        offset_px: npt.NDArray[np.int64],
        packing: Packing,
        envelope: PixelArray,
        threads: int = 1,
    ) -> tuple[Any, FloatArray]:
        """Packed spectra of all tiles, on the device, and their power (tiles, rings)."""
        ...


class LikelihoodSweeps(Protocol):
    """Sweeps of the likelihood over the same spectra; see `likelihood_sweeps.CpuSweeps`."""

    def packed(self, patch: int) -> npt.NDArray[np.uint16]:
        """The packed spectra (2, times * coefficients) of a patch."""
        ...

    def sweep(
        self,
        residual_px: FloatArray,
        weight: npt.NDArray[np.float32],
        rings: int,
        weighted_rings: int,
        threads: int,
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient (motions, patches, times, 2) and ring sums (motions, patches, rings)."""
        ...


def make_renderer(device: Device, max_bytes: int) -> FrameRenderer:
    """Create the renderer of frames of up to so many bytes on `device`, a GPU."""
    from flexalign.arrays.gpu.rendering import GpuRenderer

    return GpuRenderer(device, max_bytes)


def make_downsampler(
    device: Device,
    threads: ThreadPool,
    correction: Correction,
    shape_px: tuple[int, int],
    small: PixelArray,
    kept_share: float,
    resident: ResidentFrames | None = None,
    *,
    keeps_small: bool = False,
) -> FrameDownsampler:
    """Create the down-sampler for `device`; parameters as for `downsample.Downsampler`.

    A GPU keeps the raw frames in `resident`, and the small ones if `small` is in its memory.
    """
    if not device.is_gpu:
        return Downsampler(correction, shape_px, small, threads, kept_share)
    from flexalign.arrays.gpu.passes import GpuDownsampler

    return GpuDownsampler(
        correction, shape_px, small, device, kept_share, resident, keeps_small=keeps_small
    )


def make_frame_summation(
    device: Device,
    threads: ThreadPool,
    correction: Correction,
    shape_px: tuple[int, int],
    output_shape_px: tuple[int, int],
    frames_per_batch: int,
    *,
    names: Sequence[str],
    weights: ExponentialWeights | None = None,
    image_count: int = 0,
    resident: ResidentFrames | None = None,
) -> FrameSummation:
    """Create the aligned sums on `device`; parameters as for `aligned_sum.AlignedSums`.

    Raw frames in `resident` are not copied to the GPU again.
    """
    if not device.is_gpu:
        return AlignedSums(
            correction, shape_px, output_shape_px, threads, frames_per_batch,
            names=names, weights=weights, image_count=image_count,
        )  # fmt: skip
    from flexalign.arrays.gpu.passes import GpuAlignedSums

    return GpuAlignedSums(
        correction, shape_px, output_shape_px, device,
        names=names, weights=weights, image_count=image_count, resident=resident,
    )  # fmt: skip


def make_frame_stack(device: Device, pixels: PixelArray, *, is_resident: bool) -> FrameStack:
    """The small `pixels` (times, h, w) on `device` or, if they are not resident, on the host."""
    if not is_resident:
        return CpuFrameStack(pixels)
    from flexalign.arrays.gpu.frame_stack import GpuFrameStack

    return GpuFrameStack(pixels, device)


def make_sweeps(
    device: Device,
    packed: Any,
    packing: Packing,
    sides_px: tuple[int, int],
    *,
    is_resident: bool = False,
) -> LikelihoodSweeps:
    """Create the likelihood sweeps on `device`; parameters as for `CpuSweeps`.

    Spectra are on the host, or resident on a GPU.
    """
    if not device.is_gpu:
        return CpuSweeps(packed, packing, sides_px)
    from flexalign.arrays.gpu.sweeps import GpuSweeps

    return GpuSweeps(packed, packing, sides_px, device, is_resident=is_resident)
