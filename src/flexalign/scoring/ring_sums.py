"""Cross-power of the frames of a movie along a motion, by patch and Fourier ring.

Each motion is measured alike: patches are cut along it to whole pixels, and the remaining
fractions are phase shifts.  Sections and equations are those of
``docs/explanation/scores.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.comparison import MotionLike
from flexalign.estimate.damage import Envelope
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import PatchSpectra, cut_spectra, pair_weight, sweep
from flexalign.estimate.patches import PatchGrid
from flexalign.estimate.spectral_powers import (
    RingPowers,
    independent_share,
    ring_powers,
    score_sd,
    weight_by_others,
)
from flexalign.model import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RingSums:
    """Sums along one motion.

    Attributes
    ----------
    cross : (patches, rings) power that the frames share: the sum over pairs of different frames
    powers : of signal and noise, measured along this motion
    weight : (patches, rings) of `cross` in the log-likelihood, each ring from its neighbours
    noise_sd : of the log-likelihood, when frames share nothing
    pairs : (rings,) pairs of frames, by what the dose has left of the signal in both
    summed : (rings,) the same for single frames
    ring_count : (rings,) coefficients of a patch
    ring_frequency_per_A : (rings,)
    information : (patches, times, rings) expected negative second derivative of the log-likelihood
        with respect to the displacement of a frame along one axis, per square Angstrom
    share : of independent coefficients of a tapered patch
    """

    cross: FloatArray
    powers: RingPowers
    weight: FloatArray
    noise_sd: float
    pairs: FloatArray
    summed: FloatArray
    ring_count: FloatArray
    ring_frequency_per_A: FloatArray
    information: FloatArray
    share: float

    @property
    def log_likelihood(self) -> float:
        """Of the motion, over frames without common signal."""
        return float((self.weight * self.cross).sum()) * self.share


def ring_sums(
    frames: SmallFrames,
    grid: PatchGrid,
    displacement_px: FloatArray,
    envelope_of: Envelope | None = None,
    threads: int = 1,
) -> RingSums:
    """Sums of all patches along displacements (patches, times, 2), pixels of the unbinned movie.

    Parameters
    ----------
    envelope_of : what the dose has left of the signal: a function of (rings,) frequencies per
        Angstrom that gives (times, rings); None = all of it
    """
    patches = cut_spectra(frames, grid, displacement_px, envelope_of, threads)
    found = sweep(patches, displacement_px, None, threads)
    powers = ring_powers(patches, found)
    weight = np.broadcast_to(weight_by_others(patches, powers), found.cross.shape)
    share = independent_share(grid)
    return RingSums(
        found.cross, powers, weight, score_sd(patches, powers, weight) * share**0.5,
        pair_weight(patches.envelope), (patches.envelope**2).sum(axis=0), patches.ring_count,
        patches.ring_frequency_per_A, _information(patches, powers, weight, share), share,
    )  # fmt: skip


def _information(
    patches: PatchSpectra, powers: RingPowers, weight: FloatArray, share: float
) -> FloatArray:
    """Information (patches, times, rings) on the displacement of each frame along one axis."""
    squared = patches.envelope**2
    # A coefficient varies with k.d; half of k^2 falls to each axis, and each pair counts twice.
    wave_per_A = 2 * np.pi * patches.ring_frequency_per_A
    signal = np.broadcast_to(powers.patch_signal, weight.shape)
    per_ring = share * patches.ring_count * weight * signal * wave_per_A**2
    return np.asarray(per_ring[:, None, :] * (squared * (squared.sum(axis=0) - squared)))


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where and when displacements are needed.

    Attributes
    ----------
    center_px : (patches, 2) centres of the patches, pixels of the unbinned movie
    time : (frames,) index of the small frame to which each measured frame of the file belongs
    """

    center_px: FloatArray
    time: npt.NDArray[np.int64]

    def mean_over_time(self, of_frames: FloatArray) -> FloatArray:
        """Means (patches, times, 2) of values (patches, frames, 2) of the frames of the file."""
        starts = np.flatnonzero(np.diff(self.time, prepend=-1))
        counts = np.diff(starts, append=len(self.time))
        return np.asarray(np.add.reduceat(of_frames, starts, axis=1) / counts[:, None])


def displacements_px(motion: MotionLike, frames: SmallFrames, places: Places) -> FloatArray:
    """Displacements (patches, times, 2) of a motion at the centres of patches, of mean zero."""
    y_px, x_px = places.center_px.T[:, :, None]
    of_frame = np.broadcast_arrays(*motion.displacement_px(frames.measured, y_px, x_px))
    of_time = places.mean_over_time(np.stack(of_frame, axis=-1))
    # A constant shifts the micrograph and blurs nothing.
    return np.asarray(of_time - of_time.mean(axis=1, keepdims=True))
