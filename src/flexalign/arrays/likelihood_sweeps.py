"""Sweeps of the alignment likelihood over spectra of patches, on the CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexalign.arrays.kernels.likelihood import Packing, likelihood_sweep
from flexalign.arrays.threads import share_equally
from flexalign.model import FloatArray


class CpuSweeps:
    """Repeated sweeps over the same packed spectra.

    Parameters
    ----------
    packed : (patches, 2, times * coefficients) uint16, as `packing` and `kernels.likelihood.pack`
        say
    sides_px : (h, w) of a patch
    """

    def __init__(
        self, packed: npt.NDArray[np.uint16], packing: Packing, sides_px: tuple[int, int]
    ) -> None:
        self._packed, self._packing, self._sides = packed, packing, sides_px

    def packed(self, patch: int) -> npt.NDArray[np.uint16]:
        """The packed spectra (2, times * coefficients) of a patch."""
        return np.asarray(self._packed[patch])

    def sweep(
        self,
        residual_px: FloatArray,
        weight: npt.NDArray[np.float32],
        rings: int,
        weighted_rings: int,
        threads: int,
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient (motions, patches, times, 2) and ring sums (motions, patches, rings).

        Spectra are read once for all motions.

        Parameters
        ----------
        residual_px : (motions, patches, times, 2) displacement to undo
        weight : (motions, patches, rings)
        rings, weighted_rings : number of rings to use, and of rings that may have a weight
        """
        packing = self._packing
        gradient, summed = np.empty(residual_px.shape), np.empty(weight.shape)
        share_equally(
            likelihood_sweep, len(self._packed), threads, self._packed, residual_px, self._sides,
            packing.wave, packing.start, packing.ring_packed, packing.columns_within(rings),
            packing.columns_within(weighted_rings), weight, gradient, summed,
        )  # fmt: skip
        return gradient, summed
