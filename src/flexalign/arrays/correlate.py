"""Cross-correlations of images, their peaks, and how far to trust them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.arrays import cpu, fourier
from flexalign.arrays.fourier import SpectrumArray
from flexalign.model import FloatArray, PixelArray


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """Peaks of correlation surfaces.

    Attributes
    ----------
    shift_px : (n, 2) (y, x), displacement of the second image relative to the first
    score : (n,) height over the surface's standard deviation; 0 where the maximum lies on the
        edge of the search disc, so that there is no peak
    """

    shift_px: FloatArray
    score: FloatArray


def low_pass(shape_px: tuple[int, int], half_frequency: tuple[float, float]) -> PixelArray:
    """Gaussian (h, w // 2 + 1) that is one half at `half_frequency` (y, x) in cycles per pixel.

    The lines k_x = 0 and k_y = 0 are zero: they hold the mean and what is left of bad rows and
    columns, which do not move.
    """
    ky, kx = fourier.frequencies(shape_px)
    squared = (ky / half_frequency[0]) ** 2 + (kx / half_frequency[1]) ** 2
    weights = np.exp(-np.log(2.0) * squared)
    weights[0, :] = 0
    weights[:, 0] = 0
    return np.asarray(weights, dtype=np.float32)


def ring_index(shape_px: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)) -> FloatArray:
    """Radius (h, w // 2 + 1) of each coefficient in cycles per pixel divided by `scale` (y, x)."""
    ky, kx = fourier.frequencies(shape_px)
    return np.hypot(ky / scale[0], kx / scale[1])


def whitened(spectra: SpectrumArray, shape_px: tuple[int, int]) -> SpectrumArray:
    """`spectra` (n, h, w // 2 + 1) divided by their root mean power, ring by ring.

    Without it the few strongest coefficients of the lowest rings decide alone where a peak is.
    """
    rings = np.rint(ring_index(shape_px) * max(shape_px)).astype(np.int64)
    power = np.zeros(rings.shape)
    for spectrum in spectra:
        power += spectrum.real**2 + spectrum.imag**2
    total = np.bincount(rings.ravel(), power.ravel())
    mean = total / np.maximum(np.bincount(rings.ravel()), 1) / max(len(spectra), 1)
    scale = np.zeros_like(mean)
    np.divide(1.0, np.sqrt(mean), out=scale, where=mean > 0)
    return np.asarray(spectra * scale[rings].astype(np.float32))


def pair_peaks(
    spectra: SpectrumArray,
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    shape_px: tuple[int, int],
    radius_px: FloatArray,
    threads: int = 1,
) -> Peaks:
    """Peaks of the correlations of images `first` with images `second`.

    Parameters
    ----------
    spectra : (n, h, w // 2 + 1), filtered
    first, second : (pairs,) indices into `spectra`
    radius_px : (pairs,) largest displacement to look for

    Returns
    -------
    Peaks
        One per pair, in order.
    """
    shifts, scores = np.zeros((len(first), 2)), np.zeros(len(first))
    distance = _distance_px(shape_px)

    def measure(start: int, stop: int) -> None:
        for k in range(start, stop):
            product = spectra[second[k]] * spectra[first[k]].conj()
            surface = fourier.irfft2(product, shape_px)
            shifts[k], scores[k] = find_peak(surface, distance, radius_px[k])

    cpu.in_blocks(measure, len(first), threads)
    return Peaks(shifts, scores)


def _distance_px(shape_px: tuple[int, int]) -> PixelArray:
    """Distance (h, w) of each pixel from pixel (0, 0) on the torus."""
    y, x = (np.minimum(np.arange(n), n - np.arange(n)) for n in shape_px)
    return np.hypot(y[:, None], x[None, :]).astype(np.float32)


def find_peak(
    surface: PixelArray, distance_px: PixelArray, radius_px: float
) -> tuple[tuple[float, float], float]:
    """Sub-pixel maximum ((y, x), score) of a correlation surface within `radius_px` of the origin.

    The surface is periodic with the origin at pixel (0, 0).  The position is the top of the
    paraboloid through the 3 x 3 pixels around the maximum, in least squares.  The score is 0, and
    the position that of the maximum, when the maximum is not higher than its neighbours.

    Parameters
    ----------
    surface, distance_px : (h, w)
    """
    spread = float(surface.std())
    candidates = np.where(distance_px <= max(radius_px, 1.0), surface, -np.inf)
    height, width = surface.shape
    y, x = divmod(int(np.argmax(candidates)), width)
    rows = np.arange(y - 1, y + 2) % height
    columns = np.arange(x - 1, x + 2) % width
    near = surface[np.ix_(rows, columns)].astype(np.float64)
    position = ((y + height // 2) % height - height // 2, (x + width // 2) % width - width // 2)
    if spread == 0 or near[1, 1] < near.max():
        return (float(position[0]), float(position[1])), 0.0
    dy, dx = paraboloid_top(near)
    return (position[0] + dy, position[1] + dx), float(near[1, 1] - surface.mean()) / spread


def paraboloid_top(near: FloatArray) -> tuple[float, float]:
    """Top (y, x) of the least-squares paraboloid through 3 x 3 values, from their centre.

    Within one pixel; (0, 0) when the values do not form a top.

    Examples
    --------
    >>> y, x = np.mgrid[-1:2, -1:2]
    >>> top = paraboloid_top(-((y - 0.25) ** 2) - 2 * (x + 0.5) ** 2)
    >>> [round(float(t), 6) for t in top]
    [0.25, -0.5]
    """
    d = np.array([-1.0, 0.0, 1.0])
    slope_y, slope_x = (near * d[:, None]).sum() / 6, (near * d[None, :]).sum() / 6
    curve = d**2 - 2 / 3
    bend_y, bend_x = (near * curve[:, None]).sum() / 2, (near * curve[None, :]).sum() / 2
    mixed = (near * d[:, None] * d[None, :]).sum() / 4
    determinant = 4 * bend_y * bend_x - mixed**2
    if bend_y >= 0 or bend_x >= 0 or determinant <= 0:
        return 0.0, 0.0
    y = (mixed * slope_x - 2 * bend_x * slope_y) / determinant
    x = (mixed * slope_y - 2 * bend_y * slope_x) / determinant
    return float(np.clip(y, -1, 1)), float(np.clip(x, -1, 1))
