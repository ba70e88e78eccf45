"""Spectra of patches, and sweeps over them for given motions.

A sweep shifts every frame of every patch by a motion and returns what the likelihood of `refine`
needs: its gradient, and the power of the sums ring by ring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flexalign.arrays import correlate
from flexalign.arrays.backends import LikelihoodSweeps, make_sweeps
from flexalign.arrays.kernels import likelihood
from flexalign.arrays.kernels.likelihood import Packing
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patches import PatchGrid, side_A
from flexalign.model import FloatArray
from flexalign.plan import FINEST_RESOLUTION_A

if TYPE_CHECKING:
    from flexalign.estimate.series_prior import ExpectedSignal

# Rings below this contain leakage of the taper.
_FIRST_RING = 3
# Coarser detail is dominated by static features of detector, beam or support: shadows, edges and
# gradients of the illumination, which the fixed-pattern model does not describe.
COARSEST_RESOLUTION_A = 45.0
# Data without noise would overflow float32 weights.
_MAX_WEIGHT = 1e30


@dataclass(frozen=True, slots=True, eq=False)
class PatchSpectra:
    """Spectra of all patches in all frames, cut along a first estimate of the motion.

    Attributes
    ----------
    packing : which coefficients of the spectra are kept, and where
    power : (patches, rings) sum of |X|^2 over frames
    offset_px : (patches, times, 2) integer shift of each patch when it was cut, small pixels
    ring_frequency_per_A : (rings,)
    envelope : (times, rings) damage envelope a_t
    ring_count : (rings,) coefficients
    grid : where the patches are
    frame : (times,) frame index
    scale : unbinned pixels per small pixel, (y, x)
    pixel_size_A : of the unbinned movie
    sweeps : the packed spectra, attenuated by the damage envelope, with the implementation of the
        sweeps over them, on CPU or GPU
    expected : prior of the signal power, None = no prior
    """

    packing: Packing
    power: FloatArray
    offset_px: npt.NDArray[np.int64]
    ring_frequency_per_A: FloatArray
    envelope: FloatArray
    ring_count: FloatArray
    grid: PatchGrid
    frame: FloatArray
    scale: FloatArray
    pixel_size_A: float
    sweeps: LikelihoodSweeps
    expected: ExpectedSignal | None = None

    @property
    def count(self) -> int:
        """Number of patches."""
        return len(self.offset_px)

    @property
    def ring(self) -> npt.NDArray[np.int32]:
        """Ring (h, w // 2 + 1) of each coefficient, -1 = left out."""
        return self.packing.ring

    @property
    def spectra(self) -> npt.NDArray[np.complex64]:
        """An unpacked copy (patches, times, h, w // 2 + 1); zero where left out."""
        return np.stack([self.of_patch(patch) for patch in range(self.count)])

    def of_patch(self, patch: int) -> npt.NDArray[np.complex64]:
        """As `spectra` of one patch (times, h, w // 2 + 1)."""
        return likelihood.unpacked(self.packing, self.sweeps.packed(patch))


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Result of one sweep over all patches, for one set of displacements.

    Attributes
    ----------
    gradient : (patches, times, 2) of log L per unbinned pixel
    cross, auto : (patches, rings) sums of |S|^2 - sum |X|^2, and of sum |X|^2
    """

    gradient: FloatArray
    cross: FloatArray
    auto: FloatArray


def cut_spectra(
    frames: SmallFrames,
    grid: PatchGrid,
    displacement_px: FloatArray,
    envelope_of: Callable[[FloatArray], FloatArray] | None = None,
    threads: int = 1,
    coarsest_A: float = COARSEST_RESOLUTION_A,
) -> PatchSpectra:
    """Spectra of the patches of `grid`, each frame moved by whole pixels along a motion.

    Parameters
    ----------
    displacement_px : (patches, times, 2) at the patch centres, unbinned pixels
    envelope_of : function of (rings,) frequencies per Angstrom that gives (times, rings), or None
    coarsest_A : resolution of the coarsest rings that take part
    """
    scale = np.array(frames.scale)
    offset = np.rint(displacement_px / scale).astype(np.int64)
    ring, frequency = _rings(frames, grid, coarsest_A)
    times = len(frames.frame)
    envelope = np.ones((times, len(frequency)))
    if envelope_of is not None:
        envelope = envelope_of(frequency)
    # The factor a_t of eq. (1), which enters the weighted sum of frames once more.
    attenuation = envelope.astype(np.float32)
    packing = likelihood.packing_of(ring)
    packed, power = frames.stack.packed_spectra(grid.tiles, offset, packing, attenuation, threads)
    sweeps = make_sweeps(
        frames.device, packed, packing, grid.shape_px, is_resident=frames.is_resident
    )
    count = np.bincount(ring[ring >= 0], minlength=len(frequency)).astype(np.float64)
    return PatchSpectra(
        packing, power, offset, frequency, envelope, count, grid,
        frames.frame.astype(np.float64), scale, frames.pixel_size_A, sweeps,
    )  # fmt: skip


def _rings(
    frames: SmallFrames, grid: PatchGrid, coarsest_A: float
) -> tuple[npt.NDArray[np.int32], FloatArray]:
    """Ring number (h, w // 2 + 1) of each coefficient, -1 = left out, and each ring's frequency."""
    pixel_A = np.array(frames.scale) * frames.pixel_size_A
    side = side_A(frames, grid)
    frequency = correlate.ring_index(grid.shape_px, (pixel_A[0], pixel_A[1]))
    ring = np.rint(frequency * side).astype(np.int32)
    last = int(min(0.5 / pixel_A.max(), 1 / FINEST_RESOLUTION_A) * side) - 1
    # If the pixels are so large that most rings are coarser, use the finer half.
    first = max(_FIRST_RING, min(round(side / coarsest_A), last // 2))
    ring[(ring < first) | (ring > last)] = -1
    # The axes contain residuals of bad rows and columns, which do not move.
    ring[0, :] = -1
    ring[:, 0] = -1
    return ring, np.arange(last + 1) / side


def sweep(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    weight: FloatArray | None,
    threads: int = 1,
    rings: int | None = None,
) -> Sweep:
    """Gradient and ring sums at displacements (patches, times, 2), unbinned pixels.

    Parameters
    ----------
    weight : (rings,) or (patches, rings) of the likelihood; None = no gradient (zero)
    rings : number of rings to evaluate, from the lowest; the others have cross sums of zero
    """
    return sweep_batch(patches, [displacement_px], [weight], threads, rings)[0]


def sweep_batch(
    patches: PatchSpectra,
    displacements_px: Sequence[FloatArray],
    weights: Sequence[FloatArray | None],
    threads: int = 1,
    rings: int | None = None,
) -> list[Sweep]:
    """As `sweep`, for several motions, each with its weight; the spectra are read only once."""
    ring_count = len(patches.ring_frequency_per_A)
    rings = ring_count if rings is None else rings
    shape = patches.count, ring_count
    wanted = np.array([np.broadcast_to(0.0 if w is None else w, shape) for w in weights])
    residual_px = np.array(displacements_px) / patches.scale - patches.offset_px
    weighted_rings = min(rings, rings_with_weight(wanted.max(axis=(0, 1))))
    wanted = wanted.clip(max=_MAX_WEIGHT).astype(np.float32)
    gradient, summed = patches.sweeps.sweep(residual_px, wanted, rings, weighted_rings, threads)
    # Kernel frequencies are in cycles per patch side; X moves by exp(2 pi i k.d).
    # Eq. (3).
    gradient *= -4 * np.pi / (np.array(patches.grid.shape_px) * patches.scale)
    cross = np.where(np.arange(ring_count) < rings, summed - patches.power, 0.0)
    return [Sweep(*found, patches.power) for found in zip(gradient, cross, strict=True)]


def pair_weight(envelope: FloatArray) -> FloatArray:
    """Number of ordered pairs of frames (rings,), each counted by its envelopes a_t^2 a_s^2."""
    squared = envelope**2
    total = squared.sum(axis=0) ** 2
    # If one frame has all the weight, the difference may round to zero; keep it positive.
    return np.asarray(np.maximum(total - (squared**2).sum(axis=0), 1e-12 * total))


def rings_with_weight(weight: FloatArray) -> int:
    """Number of rings (..., rings) up to the last with non-zero weight."""
    used = np.flatnonzero(weight.reshape(-1, weight.shape[-1]).any(axis=0))
    return int(used[-1]) + 1 if used.size else 0


def shifted_spectra(
    patches: PatchSpectra, patch: int, displacement_px: FloatArray
) -> npt.NDArray[np.complex64]:
    """Spectra (times, coefficients inside) of one patch, moved along displacements (times, 2)."""
    height, width = patches.grid.shape_px
    residual = displacement_px / patches.scale - patches.offset_px[patch]
    ky, kx = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    along_y = np.exp(2j * np.pi * residual[:, :1] * ky).astype(np.complex64)
    along_x = np.exp(2j * np.pi * residual[:, 1:] * kx).astype(np.complex64)
    moved = patches.of_patch(patch)
    moved *= along_y[:, :, None] * along_x[:, None, :]
    return moved[:, patches.ring >= 0]
