"""The two passes and the likelihood sweeps on a GPU.

The CPU implementations are in `downsample`, `aligned_sum` and `kernels.likelihood`.

Raw frames are copied to the device, finished sums to the host.  The host queues work and waits only
where a result is needed.  Memory comes from CuPy's pools and FFT plans from its cache, so that both
are reused for the next movie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import detector, fourier, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
from flexalign.arrays.detector import Correction
from flexalign.arrays.device import Device
from flexalign.arrays.downsample import DownsampledFrame, axis_filter, sum_dtype
from flexalign.arrays.gpu import kernels
from flexalign.arrays.gpu.upload import FrameUpload
from flexalign.arrays.kernels.downsample import moments
from flexalign.arrays.kernels.float16 import UNSCALED, coding_for, store, stored
from flexalign.arrays.kernels.likelihood import Packing, as_float32
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.resident_frames import ResidentFrames
from flexalign.model import FloatArray, PixelArray

# Maximum share of the free memory for the spectra of patches.
_SPECTRA_MEMORY_SHARE = 0.5


class _Detector:
    """The detector's `Correction`, on the device."""

    def __init__(self, correction: Correction, device: Device) -> None:
        def moved(array: npt.NDArray[Any] | None) -> Any:
            return None if array is None else device.upload(array)

        self._gain, self._dark = moved(correction.gain), moved(correction.dark)
        self._bad, self._neighbours = moved(correction.bad_index), moved(correction.neighbour_index)

    def correct(self, raw: Any, frame_index: int, out: Any) -> None:
        """Fill `out` (h, w) with the corrected frame; see `detector.correct`."""
        kernels.correct(raw, self._dark, self._gain, out)
        if self._bad.size:
            seed = detector.frame_seed(frame_index)
            kernels.replace_bad(out, self._bad, self._neighbours, seed)


class GpuDownsampler:
    """`downsample.Downsampler` on a GPU."""

    def __init__(
        self,
        correction: Correction,
        shape_px: tuple[int, int],
        small: PixelArray,
        device: Device,
        kept_share: float,
        resident: ResidentFrames | None = None,
    ) -> None:
        xp, small_shape_px = device.xp, (small.shape[1], small.shape[2])
        self._device, self._all = device, small
        sizes = zip(shape_px, small_shape_px, strict=True)
        down, across = (axis_filter(a, b, kept_share) for a, b in sizes)
        along_x = across.start, np.ascontiguousarray(across.weight.T)
        self._along_y = device.upload(down.start), device.upload(down.weight)
        self._along_x = device.upload(along_x[0]), device.upload(along_x[1])
        self._rows = xp.empty((small_shape_px[0], shape_px[1]), np.float32)
        self._small = xp.empty(small_shape_px, np.float32)
        self._detector, self._resident = _Detector(correction, device), resident
        self._upload = FrameUpload(device, 0 if resident is None else resident.count)
        self._frame = device.xp.empty(shape_px, np.float32)
        self._image, self._other_image = (device.empty_on_host(small_shape_px) for _ in range(2))
        self._pending: tuple[int, int, Callable[[], object]] | None = None
        self._used: set[int] = set()
        self.coding = UNSCALED

    def empty_sum(self, raw: npt.NDArray[Any]) -> Any:
        """Zeros (h, w) in which raw frames such as this one are summed."""
        return self._device.xp.zeros(raw.shape, sum_dtype(raw))

    def add(
        self, raw: npt.NDArray[Any], frame_index: int, place: int, sums: Sequence[Any] = ()
    ) -> list[DownsampledFrame]:
        """Down-sample a frame to `place`; see `Downsampler.add`.

        The host waits for the frame before only when this one is in the queue.
        """
        pixels = self._upload.upload(raw)
        if self._resident is not None:
            self._resident.put(frame_index, pixels)
        self._detector.correct(pixels, frame_index, self._frame)
        for total in sums:
            total += pixels
        self._upload.done()
        kernels.downsample(self._frame, self._along_y, self._along_x, self._rows, self._small)
        image, self._other_image = self._other_image, self._image
        self._device.fetch(self._small, image)
        before = self.flush()
        self._image, self._pending = image, (frame_index, place, self._device.mark())
        return before

    def flush(self) -> list[DownsampledFrame]:
        """Process the last frame."""
        if self._pending is None:
            return []
        (index, place, wait), self._pending = self._pending, None
        wait()
        mean, spread = moments(self._image)
        if not self._used:
            self.coding = coding_for(self._all, mean, spread)
        level, factor = self.coding.level, self.coding.factor
        store(self._image, level, factor, place in self._used, stored(self._all[place]))
        self._used.add(place)
        return [DownsampledFrame(index, mean, spread)]

    def fetched(self, total: Any) -> npt.NDArray[Any]:
        """A sum in host memory."""
        return self._device.host(total)


class GpuAlignedSums:
    """`aligned_sum.AlignedSums` on a GPU; its results are on the host."""

    def __init__(
        self,
        correction: Correction,
        shape_px: tuple[int, int],
        output_shape_px: tuple[int, int],
        device: Device,
        *,
        names: Sequence[str],
        weights: ExponentialWeights | None = None,
        image_count: int = 0,
        resident: ResidentFrames | None = None,
    ) -> None:
        xp = device.xp
        self._resident = resident
        self._device, self._shape, self._output_shape = device, shape_px, output_shape_px
        self._detector, self._upload = _Detector(correction, device), FrameUpload(device)
        self._totals = {name: xp.zeros(shape_px, np.float32) for name in names}
        self._counts = dict.fromkeys(names, 0)
        self._frame, self._buffer = (xp.empty(shape_px, np.float32) for _ in range(2))
        self._weights = weights
        self._rate: Any = None
        if weights is not None:
            self._rate = device.upload(weights.rate(), np.float32)
            self._weighted = xp.zeros(self._rate.shape, np.complex64)
            self._times: list[int] = []
        self._images = device.empty_on_host((image_count, *output_shape_px))
        self._image_count = 0

    def add(
        self,
        raw: npt.NDArray[Any],
        frame_index: int,
        displacement_px: PixelArray,
        names: Sequence[str],
        time: int = 0,
    ) -> None:
        """Correct, interpolate and add a frame; see `AlignedSums.add`."""
        pixels = None if self._resident is None else self._resident.get(frame_index)
        if pixels is None:
            self._detector.correct(self._upload.upload(raw), frame_index, self._frame)
            self._upload.done()
        else:
            self._detector.correct(pixels, frame_index, self._frame)
        kernels.prefilter(self._frame, self._buffer)
        lattice = resample.lattice_for_loops(displacement_px, self._shape)
        lattice = self._device.upload(lattice, np.float32)
        moved = self._buffer
        kernels.sample(self._frame, lattice, LATTICE_STEP_PX, moved)
        for name in names:
            self._totals[name] += moved
            self._counts[name] += 1
        if self._weights is None and len(self._images) == 0:
            return
        spectrum = fourier.rfft2_cropped(moved, self._output_shape)
        if self._weights is not None:
            self._times.append(time)
            kernels.add_weighted(
                spectrum, self._weighted, self._rate, float(self._weights.time[time])
            )
        if len(self._images) > 0:
            image = fourier.irfft2(spectrum, self._output_shape)
            self._device.fetch(image, self._images[self._image_count])
            self._image_count += 1

    def mean(self, name: str) -> PixelArray:
        """The mean (h, w) of the frames added under `name`, at the output's size."""
        mean = self._totals[name] / np.float32(max(self._counts[name], 1))
        return self._device.host(self._cropped(mean))

    def weighted_mean(self) -> PixelArray | None:
        """The weighted mean (h, w); see `AlignedSums.weighted_mean`."""
        if self._weights is None:
            return None
        xp, power = self._device.xp, self._device.xp.zeros_like(self._rate)
        noise = self._weights.noise[self._times]
        noise = noise * (len(noise) / max(float(noise.sum()), 1e-12))
        for time, part in zip(self._weights.time[self._times], noise, strict=True):
            power += np.float32(part) * xp.exp(np.float32(2 * time) * self._rate)
        power *= np.float32(max(len(self._times), 1))
        spectrum = self._weighted / xp.sqrt(xp.maximum(power, np.float32(1e-12)))
        return self._device.host(fourier.irfft2(spectrum, self._output_shape))

    def images(self) -> PixelArray | None:
        """The moved frames (t, h, w); None = not requested."""
        self._device.finish()
        return self._images[: self._image_count] if len(self._images) > 0 else None

    def at_output_size(self, image: PixelArray) -> PixelArray:
        """An image (h, w) of the frames' size, on the host, Fourier-cropped to the output's."""
        if self._output_shape == self._shape:
            return image
        return self._device.host(self._cropped(self._device.upload(image)))

    def _cropped(self, image: Any) -> Any:
        """`at_output_size` of an image on the device."""
        if self._output_shape == self._shape:
            return image
        low = fourier.rfft2_cropped(image, self._output_shape)
        return fourier.irfft2(low, self._output_shape)


class GpuSweeps:
    """`likelihood_sweeps.CpuSweeps` on a GPU.

    Spectra that do not fit are processed in pieces, copied again for each sweep.

    Parameters
    ----------
    packed : (patches, 2, times * coefficients) uint16, see `packing` and `likelihood.pack`; the
        GPU holds them as float32
    sides_px : (h, w) of a patch
    max_bytes : memory for the spectra; None = half of what is free
    """

    def __init__(
        self,
        packed: npt.NDArray[np.uint16],
        packing: Packing,
        sides_px: tuple[int, int],
        device: Device,
        max_bytes: int | None = None,
    ) -> None:
        xp, ring = device.xp, packing.ring_packed
        self._packed, self._packing, self._sides, self._device = packed, packing, sides_px, device
        columns = np.diff(packing.start)
        self._start, self._ring = device.upload(packing.start), device.upload(ring)
        self._row = device.upload(np.repeat(np.arange(len(columns)), columns))
        self._wave_y = device.upload(packing.wave, np.float64)
        self._wave_x = xp.arange(1, columns.max() + 1, dtype=np.float64)
        self._order = device.upload(np.argsort(ring, kind="stable"))
        self._ring_count = int(packing.ring.max()) + 1
        self._ring_start = device.upload(
            np.searchsorted(np.sort(ring), np.arange(self._ring_count + 1)), np.int64
        )
        free = device.free_bytes()
        if max_bytes is None and free is not None:
            max_bytes = int(_SPECTRA_MEMORY_SHARE * free)
        each_bytes = 2 * packed[0].nbytes
        fitting = len(packed) if max_bytes is None else max(1, max_bytes // each_bytes)
        self._together = min(fitting, len(packed))
        self._resident = self._uploaded(packed) if self._together == len(packed) else None

    def _uploaded(self, packed: npt.NDArray[np.uint16]) -> Any:
        """Packed spectra on the GPU, as float32."""
        return as_float32(self._device.upload(packed))

    def sweep(
        self,
        residual_px: FloatArray,
        weight: npt.NDArray[np.float32],
        rings: int,
        weighted_rings: int,
        threads: int = 1,
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient and ring sums of several motions; see `CpuSweeps.sweep`."""
        gradient, summed = np.empty(residual_px.shape), np.zeros(weight.shape)
        for m in range(len(weight)):
            self._sweep(residual_px[m], weight[m], rings, weighted_rings, gradient[m], summed[m])
        return gradient, summed

    def _sweep(
        self,
        residual_px: FloatArray,
        weight: npt.NDArray[np.float32],
        rings: int,
        weighted_rings: int,
        gradient: FloatArray,
        summed: FloatArray,
    ) -> None:
        """Fill gradient (patches, times, 2) and ring sums (patches, rings) of one motion."""
        xp = self._device.xp
        is_wanted, weight_at = self._ring < rings, self._device.upload(weight)
        columns = self._device.upload(self._packing.columns_within(weighted_rings))
        for first in range(0, len(residual_px), self._together):
            piece = slice(first, first + self._together)
            packed = (
                self._uploaded(self._packed[piece]) if self._resident is None else self._resident
            )
            phases = self._phases(residual_px[piece])
            sums = xp.empty((len(packed), 2, len(self._row)), np.float32)
            kernels.sum_moved(packed, phases, self._row, self._start, is_wanted, sums)
            power = xp.empty((len(packed), self._ring_count), np.float64)
            kernels.ring_power(sums, self._order, self._ring_start, power)
            summed[piece, : self._ring_count] = self._device.host(power)
            if weighted_rings == 0:
                gradient[piece] = 0
                continue
            sums *= weight_at[piece][:, None, self._ring]
            gradients = xp.empty((*residual_px[piece].shape[:2], len(columns), 2), np.float32)
            kernels.gradient(packed, phases, self._start, columns, sums, gradients)
            gradients[..., 0] *= self._wave_y.astype(np.float32)
            gradient[piece] = self._device.host(gradients.sum(axis=2, dtype=np.float64))

    def _phases(self, residual_px: FloatArray) -> tuple[Any, Any]:
        """exp(2 pi i k.residual) of rows (patches, times, rows) and of columns (likewise)."""
        xp = self._device.xp
        turns = self._device.upload(2j * np.pi * residual_px / np.array(self._sides))
        return (
            xp.exp(turns[..., 0, None] * self._wave_y).astype(np.complex64),
            xp.exp(turns[..., 1, None] * self._wave_x).astype(np.complex64),
        )
