"""Small frames on a GPU; what the CPU computes of them is in `arrays.frame_stack`.

Tiles, pairs and their transforms are processed in batches of limited memory, each with a few
launches.  Only peaks, powers and single images are copied to the host.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import correlate, fourier
from flexalign.arrays.correlate import Peaks
from flexalign.arrays.device import Device
from flexalign.arrays.downsample import axis_filter
from flexalign.arrays.fourier import SpectrumArray
from flexalign.arrays.frame_stack import Pairs, Tiles
from flexalign.arrays.gpu import kernels, pair_kernels, spectra_kernels
from flexalign.arrays.gpu.sweeps import RingTable
from flexalign.arrays.kernels.float16 import stored
from flexalign.arrays.kernels.likelihood import Packing
from flexalign.arrays.kernels.peaks import PEAK_MARGIN_PX
from flexalign.machine import GPU_BATCH_BYTES
from flexalign.model import FloatArray, PixelArray

# Per pixel of a tile: itself, its spectrum, and the copies and the work area of the transform.
_BYTES_PER_PX = 16


class GpuFrameStack:
    """`frame_stack.CpuFrameStack` on a GPU.

    Parameters
    ----------
    pixels : (times, h, w) on the device
    batch_bytes : memory of a batch, which is never less than one tile in all frames, or one pair
    """

    def __init__(self, pixels: Any, device: Device, batch_bytes: int = GPU_BATCH_BYTES) -> None:
        self._pixels, self._device, self._batch_bytes = pixels, device, batch_bytes
        self._stored = stored(pixels)
        self._shape = pixels.shape[1], pixels.shape[2]

    def downsampled(self, shape_px: tuple[int, int], kept_share: float, threads: int = 1) -> Any:
        """The frames at a smaller size, on the device; see `CpuFrameStack.downsampled`."""
        xp, upload = self._device.xp, self._device.upload
        sizes = zip(self._shape, shape_px, strict=True)
        down, across = (axis_filter(a, b, kept_share) for a, b in sizes)
        along_y = upload(down.start), upload(down.weight)
        along_x = upload(across.start), upload(np.ascontiguousarray(across.weight.T))
        rows = xp.empty((shape_px[0], self._shape[1]), np.float32)
        small = xp.empty((len(self._pixels), *shape_px), np.float32)
        for frame, out in zip(self._pixels, small, strict=True):
            frame = frame.astype(np.float32, copy=False)
            kernels.downsample(frame, along_y, along_x, rows, out)
        return small

    def selected(self, index: npt.NDArray[np.int64]) -> Any:
        """A copy of some frames, on the device."""
        return self._pixels[self._device.upload(index)]

    def mean(self) -> PixelArray:
        """The mean frame (h, w), on the host."""
        return self._device.host(self._pixels.mean(axis=0, dtype=np.float32))

    def add_scaled(self, image: PixelArray, part: PixelArray, threads: int = 1) -> None:
        """Add to each frame its `part` (times,) of an image (h, w)."""
        kernels.add_scaled(self._device.upload(image), self._device.upload(part), self._stored)

    def fade_out(self, taper: PixelArray, threads: int = 1) -> None:
        """Taper the frames to the mean of each; see `blank_area.fade_out`."""
        share, total = self._device.upload(taper), max(float(taper.sum()), 1.0)
        for image in self._pixels:
            wide = image.astype(np.float32)
            mean = ((wide * share).sum(dtype=np.float64) / total).astype(np.float32)
            image[...] = (wide - mean) * share + mean

    def group_spectra(
        self, groups: Sequence[npt.NDArray[np.int64]], response: PixelArray, threads: int = 1
    ) -> SpectrumArray:
        """Spectra of groups, on the host; see `CpuFrameStack.group_spectra`."""
        return self._device.host(self._group_spectra(groups, response))

    def group_peaks(
        self,
        groups: Sequence[npt.NDArray[np.int64]],
        response: PixelArray,
        pairs: Pairs,
        threads: int = 1,
    ) -> Peaks:
        """Peaks of pairs of groups; see `CpuFrameStack.group_peaks`."""
        spectra = self._group_spectra(groups, response)
        found = self._device.host(self._pair_peaks(spectra, pairs, self._shape))
        return Peaks(found[:, :2], found[:, 2])

    def tile_peaks(
        self,
        tiles: Tiles,
        groups: Sequence[npt.NDArray[np.int64]],
        displacement_px: FloatArray,
        response: PixelArray,
        pairs: Pairs,
        threads: int = 1,
    ) -> list[Peaks]:
        """Peaks of pairs of groups in each tile; see `CpuFrameStack.tile_peaks`."""
        xp, upload = self._device.xp, self._device.upload
        times, count = len(displacement_px), len(tiles.corner_px)
        whole, columns = np.rint(displacement_px).astype(np.int64), response.shape[1]
        moved = fourier.shift_phases(tiles.shape_px, whole - displacement_px, columns)
        phases, start = (upload(moved[0]), upload(moved[1])), self._starts(groups)
        whitening = _Whitening(tiles.shape_px, response, self._device)
        found = []
        for some in self._batches(count, times * math.prod(tiles.shape_px) * _BYTES_PER_PX):
            corner = (tiles.corner_px[some, None] + whole).reshape(-1, 2)
            time = np.tile(np.arange(times), len(corner) // times)
            spectra = self._tapered_spectra(tiles, time, corner, columns)
            spectra = spectra.reshape(-1, times, *response.shape)
            sums = xp.empty((len(spectra), len(groups), *response.shape), np.complex64)
            pair_kernels.sum_turned(spectra, phases, start, sums)
            del spectra  # the batch of pairs needs the memory
            whitening.apply(sums)
            every = _repeated(pairs, len(groups), len(sums))
            sums = sums.reshape(-1, *response.shape)
            found.append(self._pair_peaks(sums, every, tiles.shape_px))
        peaks = self._device.host(xp.concatenate(found)).reshape(count, -1, 3)
        return [Peaks(one[:, :2], one[:, 2]) for one in peaks]

    def packed_spectra(
        self,
        tiles: Tiles,
        offset_px: npt.NDArray[np.int64],
        packing: Packing,
        envelope: PixelArray,
        threads: int = 1,
    ) -> tuple[Any, FloatArray]:
        """Packed spectra, on the device, and their power; see `CpuFrameStack.packed_spectra`."""
        xp, upload = self._device.xp, self._device.upload
        count, times = offset_px.shape[:2]
        columns = np.diff(packing.start)
        row = np.repeat(np.arange(len(columns)), columns)
        column = np.arange(len(row)) - packing.start[row]
        in_half_plane = (packing.wave % tiles.shape_px[0])[row]
        ring, start = packing.ring[in_half_plane, column + 1], upload(packing.start)
        table = upload(np.stack([row, in_half_plane])), start, upload(ring), upload(envelope)
        packed = xp.empty((count, 2, times * len(row)), np.uint16)
        corner = (tiles.corner_px[:, None] + offset_px).reshape(-1, 2)
        time = np.tile(np.arange(times), count)
        for some in self._batches(len(corner), math.prod(tiles.shape_px) * _BYTES_PER_PX):
            spectra = self._tapered_spectra(tiles, time[some], corner[some])
            spectra_kernels.pack(spectra, some.start, *table, packed)
        squared = xp.empty((count, len(row)), np.float32)
        spectra_kernels.time_power(packed, upload(row), start, squared)
        rings = RingTable(packing.ring_packed, envelope.shape[1], self._device)
        return packed, self._device.host(rings.sums(squared))

    def _group_spectra(self, groups: Sequence[npt.NDArray[np.int64]], response: PixelArray) -> Any:
        """`group_spectra` on the device."""
        xp, start = self._device.xp, self._starts(groups)
        spectra = xp.empty((len(groups), *response.shape), np.complex64)
        for some in self._batches(len(groups), math.prod(self._shape) * _BYTES_PER_PX):
            images = xp.empty((some.stop - some.start, *self._shape), np.float32)
            pair_kernels.sum_groups(self._stored, start[some.start : some.stop + 1], images)
            images -= images.mean(axis=(1, 2), keepdims=True)
            spectra[some] = fourier.rfft2(images, columns=response.shape[1])
        _Whitening(self._shape, response, self._device).apply(spectra[None])
        return spectra

    def _tapered_spectra(
        self,
        tiles: Tiles,
        time: npt.NDArray[np.int64],
        corner_px: npt.NDArray[np.int64],
        columns: int | None = None,
    ) -> Any:
        """Spectra (n, h, columns) of tiles at their frames `time` (n,) and corners (n, 2)."""
        upload = self._device.upload
        cut = self._device.xp.empty((len(time), *tiles.shape_px), np.float32)
        pair_kernels.cut(self._stored, upload(time), upload(corner_px), cut)
        cut -= cut.mean(axis=(1, 2), keepdims=True)
        cut *= upload(tiles.window)
        return fourier.rfft2(cut, columns=columns)

    def _pair_peaks(self, spectra: Any, pairs: Pairs, shape_px: tuple[int, int]) -> Any:
        """Peaks (pairs, 3) (y, x, score) on the device; see `correlate.pair_peaks`."""
        xp, (height, width), columns = self._device.xp, shape_px, spectra.shape[2]
        radius = correlate.limited_radius_px(pairs.radius_px, shape_px)
        reach_px = int(radius.max()) + PEAK_MARGIN_PX
        row_count = min(2 * reach_px + 1, height)
        table = [self._device.upload(one) for one in (pairs.first, pairs.second, radius)]
        peaks = xp.empty((len(radius), 3), np.float64)
        # Cross spectrum, its power and the copies of the transform; surface and its spectrum.
        pair_bytes = 28 * height * columns + 16 * row_count * width
        for some in self._batches(len(radius), pair_bytes):
            first, second, within = (one[some] for one in table)
            product = xp.empty((len(first), height, columns), np.complex64)
            power = xp.empty(product.shape, np.float32)
            pair_kernels.pair_products(spectra, first, second, width, product, power)
            # Parseval: the variance of the whole surface, most of which is never computed.
            spread = xp.sqrt(power.sum(axis=(1, 2), dtype=np.float64)) / (height * width)
            rows = fourier.irfft2_near(product, shape_px, reach_px)
            tops = xp.empty(rows.shape[:2], np.float32)
            pair_kernels.row_tops(rows, within, tops)
            found = xp.empty((*tops.shape, 4), np.float64)
            pair_kernels.row_peaks(rows, within, tops, tops.max(axis=1), found)
            pair_kernels.highest_of_rows(found, width, peaks[some])
            score = peaks[some, 2]
            score /= xp.where(spread > 0, spread, np.inf)
        return peaks

    def _starts(self, groups: Sequence[npt.NDArray[np.int64]]) -> Any:
        """First frame (groups + 1,) of each group and end of the last one, on the device."""
        return self._device.upload(np.array([*(g[0] for g in groups), groups[-1][-1] + 1]))

    def _batches(self, count: int, each_bytes: int) -> Iterator[slice]:
        """Slices of `count` items that fit into the memory of a batch."""
        together = max(1, self._batch_bytes // each_bytes)
        for first in range(0, count, together):
            yield slice(first, min(first + together, count))


class _Whitening:
    """`correlate.whiten` on the device, for spectra of images of one shape."""

    def __init__(self, shape_px: tuple[int, int], response: PixelArray, device: Device) -> None:
        ring = correlate.whitening_rings(shape_px, response.shape[1]).ravel()
        counts = np.bincount(ring)
        self._device, self._table = device, RingTable(ring, len(counts), device)
        self._ring, self._response = device.upload(ring), device.upload(response.ravel())
        self._counts = device.upload(np.maximum(counts, 1))

    def apply(self, spectra: Any) -> None:
        """Whiten and filter spectra (patches, n, h, columns), each patch for itself, in place."""
        xp, (patches, images) = self._device.xp, spectra.shape[:2]
        flat = spectra.reshape(patches, images, -1)
        power = xp.empty((patches, flat.shape[2]), np.float32)
        pair_kernels.sum_power(flat, power)
        mean = self._table.sums(power) / self._counts / images
        scale = xp.where(mean > 0, 1 / xp.sqrt(xp.where(mean > 0, mean, 1)), 0)
        flat *= (scale[:, self._ring].astype(np.float32) * self._response)[:, None]


def _repeated(pairs: Pairs, images: int, times: int) -> Pairs:
    """The pairs of several sets of as many images, one set after the other."""
    first = images * np.repeat(np.arange(times), len(pairs.first))
    return Pairs(
        first + np.tile(pairs.first, times), first + np.tile(pairs.second, times),
        np.tile(pairs.radius_px, times),
    )  # fmt: skip
