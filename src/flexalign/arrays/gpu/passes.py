"""The two passes on a GPU.

The CPU implementations are in `downsample` and `aligned_sum`.

Raw frames are copied to the device, finished sums to the host.  The host queues work and waits only
where a result is needed.  Memory comes from CuPy's pools and FFT plans from its cache, so that both
are reused for the next movie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import detector, fourier, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
from flexalign.arrays.detector import Correction
from flexalign.arrays.device import Device
from flexalign.arrays.downsample import DownsampledFrame, axis_filter, coding_by, sum_dtype
from flexalign.arrays.gpu import kernels
from flexalign.arrays.gpu.upload import FrameUpload
from flexalign.arrays.kernels.downsample import moments
from flexalign.arrays.kernels.float16 import UNSCALED, Coding, store, stored
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.resident_frames import ResidentFrames
from flexalign.model import PixelArray


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
    """`downsample.Downsampler` on a GPU.

    Parameters
    ----------
    small : (n, h, w) float32 or float16, output, on the device or on the host
    keeps_small : whether it is on the device
    """

    def __init__(
        self,
        correction: Correction,
        shape_px: tuple[int, int],
        small: Any,
        device: Device,
        kept_share: float,
        resident: ResidentFrames | None = None,
        *,
        keeps_small: bool = False,
    ) -> None:
        xp, small_shape_px = device.xp, (small.shape[1], small.shape[2])
        self._device, self._all, self._correction = device, small, correction
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
        self._output: _KeptFrames | _FetchedFrames
        self._output = (_KeptFrames if keeps_small else _FetchedFrames)(small, device)
        self._used: set[int] = set()
        self.coding = UNSCALED

    def empty_sum(self, raw: npt.NDArray[Any]) -> Any:
        """Zeros (h, w) in which raw frames such as this one are summed."""
        return self._device.xp.zeros(raw.shape, sum_dtype(raw))

    def add(
        self, raw: npt.NDArray[Any], frame_index: int, place: int, sums: Sequence[Any] = ()
    ) -> list[DownsampledFrame]:
        """Down-sample a frame to `place`; see `Downsampler.add`."""
        if not self._used:
            self.coding = coding_by(raw, self._correction, self._all, self._device)
        pixels = self._upload.upload(raw)
        if self._resident is not None:
            self._resident.put(frame_index, pixels)
        self._detector.correct(pixels, frame_index, self._frame)
        for total in sums:
            total += pixels
        self._upload.done()
        kernels.downsample(self._frame, self._along_y, self._along_x, self._rows, self._small)
        where = _Place(frame_index, place, place in self._used, self.coding)
        self._used.add(place)
        return self._output.add(self._small, where)

    def flush(self) -> list[DownsampledFrame]:
        """Process the frames that still wait."""
        return self._output.flush()

    def fetched(self, total: Any) -> npt.NDArray[Any]:
        """A sum in host memory."""
        return self._device.host(total)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a small frame belongs, whether it is added there, and how it is stored."""

    frame_index: int
    place: int
    is_more: bool
    coding: Coding


class _KeptFrames:
    """Stores small frames on the device; their moments are fetched at the end."""

    def __init__(self, small: Any, device: Device) -> None:
        self._small, self._device = stored(small), device
        self._index: list[int] = []
        self._sums: list[Any] = []

    def add(self, image: Any, where: _Place) -> list[DownsampledFrame]:
        """Store an image (h, w) of the device; none is completed by now."""
        xp = self._device.xp
        kernels.store(image, where.coding, where.is_more, self._small[where.place])
        self._index.append(where.frame_index)
        squares = xp.square(image)
        self._sums += [image.sum(dtype=np.float64), squares.sum(dtype=np.float64)]
        return []

    def flush(self) -> list[DownsampledFrame]:
        """All frames; the host waits."""
        if not self._index:
            return []
        sums = self._device.host(self._device.xp.stack(self._sums)).reshape(-1, 2)
        means, squares = (sums / math.prod(self._small.shape[1:])).T
        spreads = np.sqrt(np.maximum(squares - means**2, 0))
        return [
            DownsampledFrame(index, float(mean), float(spread))
            for index, mean, spread in zip(self._index, means, spreads, strict=True)
        ]


class _FetchedFrames:
    """Stores small frames on the host.

    The host waits for a frame only when the next one is in the queue.
    """

    def __init__(self, small: PixelArray, device: Device) -> None:
        self._small, self._device = stored(small), device
        self._image, self._other_image = (device.empty_on_host(small.shape[1:]) for _ in range(2))
        self._pending: tuple[_Place, Callable[[], object]] | None = None

    def add(self, image: Any, where: _Place) -> list[DownsampledFrame]:
        """Fetch an image (h, w) of the device, and store the one before."""
        fetched, self._other_image = self._other_image, self._image
        self._device.fetch(image, fetched)
        before = self.flush()
        self._image, self._pending = fetched, (where, self._device.mark())
        return before

    def flush(self) -> list[DownsampledFrame]:
        """Store the last frame."""
        if self._pending is None:
            return []
        (where, wait), self._pending = self._pending, None
        wait()
        mean, spread = moments(self._image)
        level, factor = where.coding.level, where.coding.factor
        store(self._image, level, factor, where.is_more, self._small[where.place])
        return [DownsampledFrame(where.frame_index, mean, spread)]


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
