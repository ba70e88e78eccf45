"""Refine trajectory and field by likelihood, with all the signal that the movie has.

For frames F_t(k) = a_t(k) S(k) exp(-2 pi i k.d_t) + noise of power N(k), and a specimen S that is
unknown but of power P(k), the log-likelihood of the displacements is, up to a constant,

    log L(d) = sum_k W(k) |sum_t a_t(k) F_t(k) exp(+2 pi i k.d_t)|^2,
    W = P / (N (N + P sum_t a_t^2)),

over the independent coefficients k of each patch.  P and N are measured ring by ring on the frames
as currently aligned: fine rings count for nothing while the alignment is coarse and come in as it
improves.  Each round takes the gradient of log L, its expected curvature, and the priors of
`evidence`, and moves to the optimum of that quadratic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flexalign.arrays import correlate, cpu, sweeps
from flexalign.arrays.device import Device
from flexalign.arrays.sweeps import Packing
from flexalign.estimate import evidence
from flexalign.estimate.evidence import FieldPrior, Fit, PatchLikelihood, TrajectoryPrior
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patches import PatchGrid, tapered_spectra
from flexalign.model import FloatArray
from flexalign.motion import MotionField
from flexalign.plan import FINEST_RESOLUTION_A

if TYPE_CHECKING:
    from flexalign.arrays.gpu import GpuSweeps

_ROUNDS = 16
_FEWEST_ROUNDS = 4
# Rounds in which the priors are chosen anew, as more and more signal comes in.
_PRIOR_ROUNDS = (1, 2, 4, 8)
_CONVERGED_PX = 0.01
# Rings over which signal power is averaged; rings below the first hold what the taper leaks.
_SMOOTH_RINGS = 5
_FIRST_RING = 3
# A displacement may change by this many small pixels per round: half the finest wavelength.
_LARGEST_STEP_PX = 1.0
# Frames of a patch that are transformed together have about so many pixels, and stay in the cache.
_PIXELS_TOGETHER = 2**19
# Rings alternate between two halves in blocks of this many, for scores on unseen data.
HALF_BLOCK_RINGS = 4


@dataclass(frozen=True, slots=True, eq=False)
class PatchSpectra:
    """Spectra of all patches in all frames, cut along a first estimate of the motion.

    Attributes
    ----------
    packed : (patches, 2, times * coefficients) uint16, real and imaginary parts, attenuated by the
        damage envelope
    packing : which coefficients are kept, and where
    power : (patches, rings) sum of |X|^2 over frames
    offset_px : (patches, times, 2) whole small pixels by which each patch was moved
    ring_frequency_per_A : (rings,)
    envelope : (times, rings) damage envelope a_t
    ring_count : (rings,) coefficients
    grid : where the patches are
    frame : (times,) frame index
    scale : unbinned pixels per small pixel, (y, x)
    pixel_size_A : of the unbinned movie
    on_gpu : the packed spectra on the GPU that sweeps over them, None = the CPU does
    """

    packed: npt.NDArray[np.uint16]
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
    on_gpu: GpuSweeps | None = None

    @property
    def count(self) -> int:
        """Number of patches."""
        return len(self.packed)

    @property
    def ring(self) -> npt.NDArray[np.int32]:
        """Ring (h, w // 2 + 1) of each coefficient, -1 = left out."""
        return self.packing.ring

    @property
    def spectra(self) -> npt.NDArray[np.complex64]:
        """A copy (patches, times, h, w // 2 + 1) to look at; zero where left out."""
        return sweeps.unpacked(self.packing, self.packed)


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """What one sweep over all patches gives for one set of displacements.

    Attributes
    ----------
    gradient : (patches, times, 2) of log L per unbinned pixel
    cross, auto : (patches, rings) sums of |S|^2 - sum |X|^2, and of sum |X|^2
    """

    gradient: FloatArray
    cross: FloatArray
    auto: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RingPowers:
    """Signal power P, noise power N and likelihood weight W, each (rings,).

    `measured` is the signal power before it is smoothed over rings and clipped at zero.
    """

    signal: FloatArray
    noise: FloatArray
    weight: FloatArray
    measured: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """The refined motion and what was decided on the way.

    Attributes
    ----------
    fit : trajectory and field, unbinned pixels
    trajectory_prior, field_prior : as chosen by the evidence; field_prior None without a field
    powers, ring_frequency_per_A : of the rings at the end
    rounds : number of rounds
    """

    fit: Fit
    trajectory_prior: TrajectoryPrior
    field_prior: FieldPrior | None
    powers: RingPowers
    ring_frequency_per_A: FloatArray
    rounds: int


def cut_spectra(
    frames: SmallFrames,
    grid: PatchGrid,
    displacement_px: FloatArray,
    envelope_of: Callable[[FloatArray], FloatArray] | None = None,
    threads: int = 1,
) -> PatchSpectra:
    """Spectra of the patches of `grid`, each frame moved by whole pixels along a motion.

    Parameters
    ----------
    displacement_px : (patches, times, 2) at the patch centres, unbinned pixels
    envelope_of : function of (rings,) frequencies per Angstrom that gives (times, rings), or None
    """
    scale = np.array(frames.scale)
    offset = np.rint(displacement_px / scale).astype(np.int64)
    ring, frequency = _rings(frames, grid)
    times = len(frames.frame)
    envelope = np.ones((times, len(frequency)))
    if envelope_of is not None:
        envelope = envelope_of(frequency)
    attenuation = envelope.astype(np.float32)
    packing = sweeps.packing_of(ring)
    packed = np.empty((len(offset), 2, times * len(packing.ring_packed)), np.uint16)
    power = np.zeros((len(offset), len(frequency)))
    together = max(1, _PIXELS_TOGETHER // math.prod(grid.shape_px))

    def cut_patches(start: int, stop: int) -> None:
        tiles = np.empty((together, *grid.shape_px), np.float32)
        for patch in range(start, stop):
            for first in range(0, times, together):
                which = np.arange(first, min(first + together, times))
                cut = tapered_spectra(frames, grid, patch, which, offset[patch, which], tiles)
                sweeps.pack(
                    cut, first, ring, packing.wave, packing.start, attenuation, packed[patch],
                    power[patch],
                )  # fmt: skip

    cpu.in_blocks(cut_patches, len(offset), threads)
    count = np.bincount(ring[ring >= 0], minlength=len(frequency)).astype(np.float64)
    return PatchSpectra(
        packed, packing, power, offset, frequency, envelope, count, grid,
        frames.frame.astype(np.float64), scale, frames.pixel_size_A,
        _on_gpu(packed, packing, grid.shape_px, frames.device),
    )  # fmt: skip


def _on_gpu(
    packed: npt.NDArray[np.uint16], packing: Packing, shape_px: tuple[int, int], device: Device
) -> GpuSweeps | None:
    """Packed spectra where the GPU can sweep over them; None when `device` is the CPU."""
    if not device.is_gpu:
        return None
    from flexalign.arrays.gpu import GpuSweeps

    return GpuSweeps(packed, packing, shape_px, device)


def _rings(frames: SmallFrames, grid: PatchGrid) -> tuple[npt.NDArray[np.int32], FloatArray]:
    """Ring number (h, w // 2 + 1) of each coefficient, -1 = left out, and each ring's frequency."""
    pixel_A = np.array(frames.scale) * frames.pixel_size_A
    side_A = min(n * p for n, p in zip(grid.shape_px, pixel_A, strict=True))
    frequency = correlate.ring_index(grid.shape_px, (pixel_A[0], pixel_A[1]))
    ring = np.rint(frequency * side_A).astype(np.int32)
    last = int(min(0.5 / pixel_A.max(), 1 / FINEST_RESOLUTION_A) * side_A) - 1
    ring[(ring < _FIRST_RING) | (ring > last)] = -1
    # The axes hold what is left of bad rows and columns, which do not move.
    ring[0, :] = -1
    ring[:, 0] = -1
    return ring, np.arange(last + 1) / side_A


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
    weight : (rings,) of the likelihood; None = no gradient wanted, it is zero
    rings : how many rings to look at, from the lowest; the others have cross sums of zero
    """
    ring_count = len(patches.ring_frequency_per_A)
    rings = ring_count if rings is None else rings
    wanted = np.zeros(ring_count) if weight is None else weight
    packing = patches.packing
    rest_px = displacement_px / patches.scale - patches.offset_px
    weighted_rings = min(rings, rings_with_weight(wanted))
    weights = wanted.astype(np.float32)
    if patches.on_gpu is not None:
        gradient, summed = patches.on_gpu.sweep(rest_px, weights, rings, weighted_rings)
    else:
        gradient, summed = np.empty(rest_px.shape), np.empty((patches.count, ring_count))
        cpu.in_blocks(
            sweeps.likelihood_sweep, patches.count, threads, patches.packed, rest_px,
            patches.grid.shape_px, packing.wave, packing.start, packing.ring_packed,
            packing.columns_within(rings), packing.columns_within(weighted_rings), weights,
            gradient, summed,
        )  # fmt: skip
    # Kernel frequencies are in cycles per patch side; X moves by exp(2 pi i k.d).
    sides = np.array(patches.grid.shape_px) * patches.scale
    cross = np.where(np.arange(ring_count) < rings, summed - patches.power, 0.0)
    return Sweep(gradient * (-4 * np.pi / sides), cross, patches.power)


def pair_weight(envelope: FloatArray) -> FloatArray:
    """Number of ordered pairs of frames (rings,), each counted by its envelopes a_t^2 a_s^2."""
    squared = envelope**2
    return np.asarray(squared.sum(axis=0) ** 2 - (squared**2).sum(axis=0))


def ring_powers(patches: PatchSpectra, found: Sweep) -> RingPowers:
    """Powers by ring from the sums over all patches, smoothed over rings and clipped at zero."""
    squared = patches.envelope**2  # (times, rings)
    pairs = pair_weight(patches.envelope)
    coefficients = np.maximum(patches.ring_count * len(found.cross), 1)
    measured = found.cross.sum(axis=0) / (coefficients * pairs)
    signal = _smoothed(measured, patches.ring_count).clip(0)
    total = found.auto.sum(axis=0) / coefficients
    noise = (total - signal * (squared**2).sum(axis=0)) / squared.sum(axis=0)
    noise = np.maximum(noise, 1e-6 * noise.max(initial=1e-30))
    weight = signal / (noise * (noise + signal * squared.sum(axis=0)))
    # A ring whose signal does not stand out from chance says nothing.
    chance = noise / np.sqrt(coefficients * pairs * _SMOOTH_RINGS)
    weight[signal < 2 * chance] = 0
    weight[patches.ring_count == 0] = 0
    return RingPowers(signal, noise, weight, measured)


def _smoothed(values: FloatArray, count: FloatArray) -> FloatArray:
    """Mean over neighbouring rings, each weighted by its number of coefficients."""
    window = np.ones(_SMOOTH_RINGS)
    total = np.convolve(values * count, window, mode="same")
    return np.asarray(total / np.maximum(np.convolve(count, window, mode="same"), 1))


def _curvature(
    patches: PatchSpectra, found: Sweep, powers: RingPowers
) -> tuple[FloatArray, FloatArray]:
    """Expected negative second derivative of log L, per square Angstrom, in two factors.

    It has the form of a graph Laplacian: each pair of frames pulls on its difference with
    2 W P (2 pi k)^2 a_t^2 a_s^2 per coefficient, half of it along each axis.

    Returns
    -------
    strength : (patches,) common power of each patch relative to the mean
    laplacian : (times, times) of a patch of strength one
    """
    squared = patches.envelope**2
    weight, signal = powers.weight, powers.signal
    wave_per_A = 2 * np.pi * patches.ring_frequency_per_A
    per_ring = patches.ring_count * weight * signal * wave_per_A**2
    coupling = np.einsum("r,tr,sr->ts", per_ring, squared, squared)
    laplacian = np.diag(coupling.sum(axis=1)) - coupling
    pairs = pair_weight(patches.envelope)
    expected = (patches.ring_count * weight * signal * pairs).sum()
    strength = (found.cross * weight).sum(axis=1) / max(expected, 1e-30)
    return strength.clip(0.1, 10.0), laplacian


def effective_part(grid: PatchGrid) -> float:
    """Part of a tapered patch's coefficients that are independent."""
    window = grid.window.astype(np.float64)
    return float(1 / np.mean(window**4))


def patch_likelihood(
    patches: PatchSpectra,
    found: Sweep,
    powers: RingPowers,
    displacement_px: FloatArray,
) -> PatchLikelihood:
    """The quadratic that has the gradient found and the curvature expected."""
    strength, laplacian = _curvature(patches, found, powers)
    part = effective_part(patches.grid)
    precision = strength[:, None, None] * laplacian * (part * patches.pixel_size_A**2)
    linear = found.gradient * part + precision @ displacement_px
    return PatchLikelihood(patches.grid.center_px, patches.frame, precision, linear)


def displacement_at(
    path_px: FloatArray, field: MotionField | None, center_px: FloatArray, frame: npt.ArrayLike
) -> FloatArray:
    """Displacement (places, times, 2) of a path (times, 2) and a field at places (places, 2)."""
    total = np.repeat(path_px[None], len(center_px), axis=0)
    if field is not None:
        # All places have the same times, so the two factors are small.
        coefficients = field.coefficients_px.reshape(2, field.control_points[0], -1)
        in_time, in_space = field.basis_t(frame), evidence.space_basis(field, center_px)
        total = total + (in_time @ (coefficients @ in_space.T)).T  # (places, times, 2)
    return total


def rings_with_weight(weight: FloatArray) -> int:
    """Number of rings up to the last that has a weight."""
    return int(np.flatnonzero(weight)[-1]) + 1 if weight.any() else 0


def chance_of_score(patches: PatchSpectra, powers: RingPowers, weight: FloatArray) -> float:
    """Standard deviation of sum W (|S|^2 - sum |X|^2) over all patches when there is only noise."""
    pairs = pair_weight(patches.envelope)
    coefficients = patches.ring_count * patches.count
    return float(np.sqrt((coefficients * pairs * (weight * powers.noise) ** 2).sum()))


def refine(
    patches: PatchSpectra,
    displacement_px: FloatArray,
    shape: MotionField | None,
    half: int | None = None,
    threads: int = 1,
    rounds: int = _ROUNDS,
    first: Sweep | None = None,
    whole: Refinement | None = None,
) -> Refinement:
    """The most probable motion near displacements (patches, times, 2).

    Parameters
    ----------
    shape : a field of the wanted size, or None for a trajectory alone
    half : use only the rings of this half, see `half_of_ring`; None = all
    first : a sweep at `displacement_px`, if there has been one
    whole : a refinement by all rings, whose priors are kept, and to whose rings this one keeps;
        None = priors chosen by the evidence
    """
    displacement = displacement_px
    ring_half = half_of_ring(len(patches.ring_frequency_per_A))
    seen = np.ones(len(ring_half), np.bool_) if half is None else ring_half == half
    found = first or sweep(patches, displacement, None, threads)
    trajectory_prior, field_prior, rings = TrajectoryPrior(), None, len(seen)
    if shape is not None:
        field_prior = FieldPrior(smooth_px=shape.width_px / 2)
    if whole is not None:
        trajectory_prior, field_prior = whole.trajectory_prior, whole.field_prior
        # The smoothing reaches beyond the last ring.
        rings = min(rings_with_weight(whole.powers.weight) + _SMOOTH_RINGS // 2, rings)
        seen[rings:] = False
    for done in range(1, rounds + 1):
        powers = ring_powers(patches, found)
        weight = np.where(seen, powers.weight, 0.0)
        powers = replace(powers, weight=weight)
        found = sweep(patches, displacement, weight, threads, rings)
        data = patch_likelihood(patches, found, powers, displacement)
        if done in _PRIOR_ROUNDS and whole is None:
            trajectory_prior = evidence.choose_trajectory_prior(data, trajectory_prior)
            if shape is not None and field_prior is not None:
                field_prior = evidence.choose_field_prior(
                    data, trajectory_prior, shape, field_prior
                )
        prior = trajectory_prior, field_prior, shape
        fit = evidence.fit_motion(data, *prior, with_errors=False)
        assert fit.trajectory_px is not None
        wanted = displacement_at(
            fit.trajectory_px, fit.field, patches.grid.center_px, patches.frame
        )
        change = wanted - displacement
        change -= change.mean(axis=1, keepdims=True)
        limit = _LARGEST_STEP_PX * patches.scale.min()
        displacement = displacement + change.clip(-limit, limit)
        if np.abs(change).max() < _CONVERGED_PX and (whole or done >= _FEWEST_ROUNDS):
            break
    if whole is None:
        fit = evidence.fit_motion(data, *prior)
    return Refinement(
        fit, trajectory_prior, field_prior, powers, patches.ring_frequency_per_A, done
    )


def half_of_ring(count: int) -> npt.NDArray[np.int64]:
    """To which half, 0 or 1, each of `count` rings belongs: blocks of rings in turn."""
    return np.arange(count) // HALF_BLOCK_RINGS % 2


def finest_signal_A(powers: RingPowers, ring_frequency_per_A: FloatArray) -> float:
    """Resolution in Angstrom up to which rings took part; NaN when none did.

    Rings beyond a gap as wide as the smoothing are there by chance.
    """
    used = np.flatnonzero(powers.weight > 0)
    gaps = np.flatnonzero(np.diff(used) > _SMOOTH_RINGS)
    used = used[: gaps[0] + 1] if gaps.size else used
    return float(1 / ring_frequency_per_A[used[-1]]) if used.size else float("nan")
