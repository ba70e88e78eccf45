"""The likelihood sweeps on a GPU; those of the CPU are in `likelihood_sweeps`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays.device import Device
from flexalign.arrays.gpu import spectra_kernels
from flexalign.arrays.kernels.likelihood import Packing
from flexalign.model import FloatArray

# Maximum share of the free memory for spectra of patches that are on the host.
_SPECTRA_MEMORY_SHARE = 0.5


class RingTable:
    """Which of n values belong to which ring, on the device.

    Parameters
    ----------
    ring : (n,), from 0 to `count` - 1
    """

    def __init__(self, ring: npt.NDArray[Any], count: int, device: Device) -> None:
        self._device, self.count = device, count
        self._order = device.upload(np.argsort(ring, kind="stable"))
        edges = np.searchsorted(np.sort(ring), np.arange(count + 1))
        self._start = device.upload(edges, np.int64)

    def sums(self, values: Any) -> Any:
        """Sums (patches, rings) float64 of values (patches, n), on the device."""
        found = self._device.xp.empty((len(values), self.count), np.float64)
        spectra_kernels.sum_rings(values, self._order, self._start, found)
        return found


class GpuSweeps:
    """`likelihood_sweeps.CpuSweeps` on a GPU.

    Spectra on the host that do not fit are processed in pieces, copied again for each sweep.

    Parameters
    ----------
    packed : (patches, 2, times * coefficients) uint16, see `packing` and `likelihood.pack`
    sides_px : (h, w) of a patch
    is_resident : whether `packed` is on the device
    max_bytes : memory for spectra from the host; None = half of what is free
    """

    def __init__(
        self,
        packed: Any,
        packing: Packing,
        sides_px: tuple[int, int],
        device: Device,
        *,
        is_resident: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        xp, ring = device.xp, packing.ring_packed
        self._packed, self._packing, self._sides, self._device = packed, packing, sides_px, device
        columns = np.diff(packing.start)
        self._start, self._ring = device.upload(packing.start), device.upload(ring)
        self._row = device.upload(np.repeat(np.arange(len(columns)), columns))
        self._wave_y = device.upload(packing.wave, np.float64)
        self._wave_x = xp.arange(1, columns.max() + 1, dtype=np.float64)
        self._rings = RingTable(ring, int(packing.ring.max()) + 1, device)
        free = device.free_bytes()
        if max_bytes is None and free is not None:
            max_bytes = int(_SPECTRA_MEMORY_SHARE * free)
        self._together, self._resident = len(packed), packed if is_resident else None
        if not is_resident:
            fits = max_bytes is None or packed.nbytes <= max_bytes
            self._resident = device.upload(packed) if fits else None
            if max_bytes is not None and not fits:
                self._together = max(1, max_bytes // packed[0].nbytes)

    def packed(self, patch: int) -> npt.NDArray[np.uint16]:
        """The packed spectra (2, times * coefficients) of a patch, on the host."""
        return self._device.host(self._packed[patch])

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
            packed = self._resident
            if packed is None:
                packed = self._device.upload(self._packed[piece])
            phases = self._phases(residual_px[piece])
            sums = xp.empty((len(packed), 2, len(self._row)), np.float32)
            arguments = packed, phases, self._row, self._start, is_wanted, sums
            spectra_kernels.sum_moved(*arguments)
            power = self._rings.sums(xp.square(sums).sum(axis=1))
            summed[piece, : self._rings.count] = self._device.host(power)
            if weighted_rings == 0:
                gradient[piece] = 0
                continue
            sums *= weight_at[piece][:, None, self._ring]
            gradients = xp.empty((*residual_px[piece].shape[:2], len(columns), 2), np.float32)
            spectra_kernels.gradient(packed, phases, self._start, columns, sums, gradients)
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
