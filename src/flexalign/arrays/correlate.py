"""Cross-correlations of images, and the positions and significance of their peaks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.arrays import fourier
from flexalign.arrays.fourier import SpectrumArray
from flexalign.arrays.kernels import peaks
from flexalign.arrays.threads import ThreadPool, share_equally
from flexalign.model import FloatArray, PixelArray

# Filter weights below this fraction of the maximum are neglected.
_NEGLIGIBLE = 1e-2
# Small correlations are computed in batches that fit into the cache.
_COEFFICIENTS_PER_BATCH = 2**17
# Batches that a thread takes at a time.
_BATCHES_PER_THREAD = 16


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """Peaks of correlation surfaces.

    Attributes
    ----------
    shift_px : (n, 2) (y, x), displacement of the second image relative to the first
    score : (n,) height over the surface's standard deviation; 0 where a neighbour of the maximum is
        higher but outside the search disc, so that there is no peak
    """

    shift_px: FloatArray
    score: FloatArray


def low_pass(shape_px: tuple[int, int], half_frequency: tuple[float, float]) -> PixelArray:
    """Gaussian (h, w // 2 + 1) that is one half at `half_frequency` (y, x) in cycles per pixel.

    The lines k_x = 0 and k_y = 0 are set to zero: they hold the mean and the residue of bad rows
    and columns, which do not move.
    """
    ky, kx = fourier.frequencies(shape_px)
    squared = (ky / half_frequency[0]) ** 2 + (kx / half_frequency[1]) ** 2
    weights = np.exp(-np.log(2.0) * squared)
    weights[0, :] = 0
    weights[:, 0] = 0
    return np.asarray(weights, dtype=np.float32)


def significant_columns(response: PixelArray) -> int:
    """Number of columns of a decreasing `response` (h, w // 2 + 1) that matter for correlations.

    The columns beyond have weights below 1 %; leaving them out moves peaks by 1e-3 pixels.

    Examples
    --------
    >>> significant_columns(low_pass((64, 64), (0.1, 0.1)))
    12
    """
    counting = np.flatnonzero(response.max(axis=0) ** 2 > _NEGLIGIBLE)
    # A very narrow filter still keeps the first column beyond the mean.
    return int(counting[-1]) + 1 if counting.size else min(2, response.shape[1])


def ring_index(shape_px: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)) -> FloatArray:
    """Radius (h, w // 2 + 1) of each coefficient in cycles per pixel divided by `scale` (y, x)."""
    ky, kx = fourier.frequencies(shape_px)
    return np.hypot(ky / scale[0], kx / scale[1])


def whiten(
    spectra: SpectrumArray, shape_px: tuple[int, int], response: PixelArray, threads: int = 1
) -> None:
    """Divide `spectra` (n, h, columns) by their root mean power, ring by ring, in place.

    Otherwise the few strongest coefficients of the innermost rings would dominate the peak.

    Parameters
    ----------
    spectra : the first columns of the half planes, of images of shape `shape_px`
    response : (h, w // 2 + 1), the filter that is applied afterwards
    """
    columns = spectra.shape[2]
    rings = whitening_rings(shape_px, columns)
    power = np.zeros(rings.shape, np.float32)

    def add_power(start: int, stop: int) -> None:
        for spectrum in spectra[:, start:stop]:
            power[start:stop] += spectrum.real**2 + spectrum.imag**2

    share_equally(add_power, len(power), threads)
    total = np.bincount(rings.ravel(), power.ravel())
    mean = total / np.maximum(np.bincount(rings.ravel()), 1) / max(len(spectra), 1)
    scale = np.zeros_like(mean)
    np.divide(1.0, np.sqrt(mean), out=scale, where=mean > 0)
    factor = scale[rings].astype(np.float32) * response[:, :columns]

    def multiply(start: int, stop: int) -> None:
        for spectrum in spectra[start:stop]:
            spectrum *= factor

    share_equally(multiply, len(spectra), threads)


def whitening_rings(shape_px: tuple[int, int], columns: int) -> npt.NDArray[np.int64]:
    """Ring (h, columns) of each coefficient in `whiten`."""
    return np.rint(ring_index(shape_px)[:, :columns] * max(shape_px)).astype(np.int64)


def pair_peaks(
    spectra: SpectrumArray,
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    shape_px: tuple[int, int],
    radius_px: FloatArray,
    threads: int = 1,
) -> Peaks:
    """Peaks of the correlations of images `first` with images `second`.

    A peak is the maximum within a radius, with sub-pixel interpolation.

    Parameters
    ----------
    spectra : (n, h, columns), filtered; the columns of the half planes that are not zero
    first, second : (pairs,) indices into `spectra`
    radius_px : (pairs,) search radius

    Returns
    -------
    Peaks
        One per pair, in order.
    """
    radius = limited_radius_px(radius_px, shape_px)
    shifts, scores = np.zeros((len(first), 2)), np.zeros(len(first))
    together = max(1, _COEFFICIENTS_PER_BATCH // spectra[0].size)

    def measure(start: int, stop: int) -> None:
        product = np.empty((together, *spectra.shape[1:]), np.complex64)
        for a in range(start, stop, together):
            b = min(a + together, stop)
            some, power = product[: b - a], np.empty(b - a)
            peaks.pair_products(spectra, first[a:b], second[a:b], shape_px[1], some, power)
            reach_px = int(radius[a:b].max()) + peaks.PEAK_MARGIN_PX
            rows = fourier.irfft2_near(some, shape_px, reach_px)
            peaks.highest_near(rows, radius[a:b], shifts[a:b], scores[a:b])
            # Parseval: the variance of the whole surface, most of which is never computed.
            spread = np.sqrt(power) / (shape_px[0] * shape_px[1])
            scores[a:b] /= np.where(spread > 0, spread, np.inf)

    # Not in equal blocks: pairs that are far apart in time take longer, and come first.
    with ThreadPool(threads) as workers:
        workers.share(len(first), _BATCHES_PER_THREAD * together, measure)
    return Peaks(shifts, scores)


def limited_radius_px(radius_px: FloatArray, shape_px: tuple[int, int]) -> FloatArray:
    """Search radii of at least one pixel, and limited to the image.

    The compiled loops do not check bounds.
    """
    return np.asarray(np.fmin(np.fmax(radius_px, 1.0), math.hypot(*shape_px)))
