"""The log-likelihood of the displacements of patches as a quadratic, from a sweep."""

from __future__ import annotations

import numpy as np

from flexalign.estimate.evidence import PatchLikelihood
from flexalign.estimate.patch_spectra import PatchSpectra, Sweep
from flexalign.estimate.spectral_powers import RingPowers, independent_share
from flexalign.model import FloatArray

# Unit vectors (y, x) of the directions in which there is motion.
BOTH_AXES: FloatArray = np.eye(2)


def patch_likelihood(
    patches: PatchSpectra,
    found: Sweep,
    powers: RingPowers,
    displacement_px: FloatArray,
    axes: FloatArray = BOTH_AXES,
    variance_px2: FloatArray | None = None,
) -> PatchLikelihood:
    """The quadratic log-likelihood with the measured gradient and expected curvature, along `axes`.

    A single axis has the full curvature, each of two axes half of it.

    Parameters
    ----------
    variance_px2 : see `_curvature`
    """
    part = independent_share(patches.grid)
    curvature_per_A2 = _curvature(patches, powers, variance_px2)
    precision = curvature_per_A2 * (part * patches.pixel_size_A**2 * 2 / len(axes))
    linear = (found.gradient @ axes.T) * part + precision @ (displacement_px @ axes.T)
    return PatchLikelihood(patches.grid.center_px, patches.frame, precision, linear, axes)


def _curvature(
    patches: PatchSpectra, powers: RingPowers, variance_px2: FloatArray | None
) -> FloatArray:
    """Expected negative second derivative of log L (patches, times, times), per square Angstrom.

    It is a graph Laplacian: the edge between two frames has the weight
    2 W P (2 pi k)^2 a_t^2 a_s^2 per coefficient, half of it along each axis.

    Parameters
    ----------
    variance_px2 : (times, times) variance per axis of the displacement between two frames, over
        which the curvature is averaged; None = it is known.  The mean of cos(2 pi k d) over a
        Gaussian d of this variance is exp(-(2 pi k)^2 variance / 2)
    """
    squared = patches.envelope**2
    wave_per_A = 2 * np.pi * patches.ring_frequency_per_A
    # Eq. (4).
    per_ring = patches.ring_count * powers.weight * powers.patch_signal * wave_per_A**2
    per_ring = np.broadcast_to(per_ring, (patches.count, len(wave_per_A)))
    if variance_px2 is None:
        coupling = (squared * per_ring[:, None, :]) @ squared.T
    else:
        variance_A2 = variance_px2[:, :, None] * patches.pixel_size_A**2
        pairs = squared[:, None] * squared * np.exp(-0.5 * wave_per_A**2 * variance_A2)
        coupling = np.moveaxis(pairs @ per_ring.T, -1, 0)
    diagonal = np.arange(len(squared))
    laplacian = -coupling
    laplacian[:, diagonal, diagonal] += coupling.sum(axis=2)
    return np.asarray(laplacian)
