"""Correlate a gain reference with the mean of raw frames.

The counts of a pixel are illumination times specimen times sensitivity. The first two are smooth
compared with the third, which varies from pixel to pixel: so both images are high-pass filtered,
relative to the local mean. Orientation is applied by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from flexalign.arrays import fourier
from flexalign.model import MaskArray, PixelArray

# Side of the square over which the local mean is taken.
WINDOW_PX = 15
# Quantile at which both tails are clipped: hot pixels, dead ones, defects.
EXTREME_SHARE = 0.002
# Rings up to Nyquist in which the power of the frames is averaged, and its lower bound as a
# fraction of the mean power.
RINGS = 64
MIN_POWER_RATIO = 0.1
# Pixels below this fraction of the median counts are outside the beam.
DARK_RATIO = 0.2
_SAMPLES = 1 << 20


def relative_excess(counts: PixelArray) -> PixelArray:
    """Relative excess (h, w) of each pixel over its local mean; zero outside the beam.

    Hot and dead pixels are clipped.

    Parameters
    ----------
    counts : (h, w), sum or mean of raw frames

    Examples
    --------
    >>> counts = np.full((32, 32), 100, np.float32)
    >>> counts[:, 7] = 110
    >>> relative_excess(counts)[4, [5, 7]].astype(float).round(2).tolist()
    [-0.01, 0.09]
    """
    # Clip first: a hot pixel must not raise the local mean around it.
    counts = np.minimum(counts, np.float32(np.quantile(_sample(counts), 1 - EXTREME_SHARE)))
    level = uniform_filter(counts, WINDOW_PX, mode="reflect")
    median = float(np.median(_sample(level)))
    lit = level > DARK_RATIO * median if median > 0 else np.zeros(counts.shape, np.bool_)
    excess = np.divide(counts, level, out=np.ones_like(level), where=lit) - np.float32(1)
    excess = _clipped_at_quantiles(excess, lit)
    excess[~lit] = 0
    return excess


def reference_pattern(reference: PixelArray) -> PixelArray:
    """Logarithm of a reference (h, w) over its local mean; zero where it is unusable.

    It has the sign of `relative_excess` for a reference of counts, which divides, and the other
    sign for a gain that multiplies.

    Parameters
    ----------
    reference : (h, w); pixels that are not positive and finite are unusable
    """
    good = np.isfinite(reference) & (reference > 0)
    if not good.any():
        return np.zeros(reference.shape, np.float32)
    logarithm = np.log(np.where(good, reference, 1)).astype(np.float32)
    logarithm = _clipped_at_quantiles(logarithm, good)
    logarithm -= np.float32(np.mean(logarithm, where=good, dtype=np.float64))
    logarithm[~good] = 0
    weight = uniform_filter(good.astype(np.float32), WINDOW_PX, mode="reflect")
    around = uniform_filter(logarithm, WINDOW_PX, mode="reflect")
    around /= np.maximum(weight, np.float32(1e-3))
    logarithm -= around
    logarithm[~good] = 0
    return logarithm


def binned_reference(reference: PixelArray) -> PixelArray:
    """Geometric mean (h / 2, w / 2) of the usable pixels of each 2 x 2, zero without any.

    The geometric mean suits a gain and its inverse alike.

    Examples
    --------
    >>> binned_reference(np.array([[1, 4], [0, 2]], np.float32)).tolist()
    [[2.0]]
    """
    good = np.isfinite(reference) & (reference > 0)
    logarithm = summed_2x2(np.log(np.where(good, reference, 1)).astype(np.float32))
    count = summed_2x2(good.astype(np.float32))
    mean = np.exp(logarithm / np.maximum(count, 1))
    return np.asarray(np.where(count > 0, mean, 0), np.float32)


def summed_2x2(image: npt.NDArray[Any]) -> PixelArray:
    """The sum (h // 2, w // 2) of 2 x 2 pixels; an odd last row or column is left out."""
    h, w = (side // 2 * 2 for side in image.shape)
    four = image[:h, :w].reshape(h // 2, 2, w // 2, 2)
    return np.asarray(four.sum(axis=(1, 3), dtype=np.float32))


def central(image: npt.NDArray[Any], shape_px: tuple[int, int]) -> npt.NDArray[Any]:
    """The central (h, w) of an image, with equal margins on opposite sides.

    So cropping commutes with turning and flipping.
    """
    top, left = ((a - b) // 2 for a, b in zip(image.shape, shape_px, strict=True))
    return image[top : top + shape_px[0], left : left + shape_px[1]]


def central_shape_px(shape_px: tuple[int, int], max_px: int | None) -> tuple[int, int]:
    """The largest centre with sides of at most `max_px`, for `central`.

    Examples
    --------
    >>> central_shape_px((5760, 1023), 2048), central_shape_px((4093, 4093), 2048)
    ((2048, 1023), (2047, 2047))
    """
    if max_px is None:
        return shape_px
    h, w = (side if side <= max_px else max_px - (side - max_px) % 2 for side in shape_px)
    return h, w


@dataclass(frozen=True, slots=True)
class Match:
    """Matched-filter result of a pattern in a scene.

    Attributes
    ----------
    overlap : weighted sum of their products
    noise_sd : its standard deviation over all cyclic displacements
    energy : the overlap if the whole pattern were in the scene
    ceiling : the largest score at any number of electrons, limited by the autocorrelation of the
        pattern
    """

    overlap: float
    noise_sd: float
    energy: float
    ceiling: float

    @property
    def score(self) -> float:
        """The overlap over its noise standard deviation; zero if the noise is zero."""
        return self.overlap / self.noise_sd if self.noise_sd > 0 else 0.0

    @property
    def expected(self) -> float:
        """The score if the whole pattern were in the scene."""
        return self.energy / self.noise_sd if self.noise_sd > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The image in which patterns are searched, whitened.

    Attributes
    ----------
    image : (h, w), the excess of the frames, weighted
    power : (h, w // 2 + 1) of it
    weight : (h, w // 2 + 1), whitening filter: the inverse of the local mean power, so that neither
        the specimen nor stripes of the detector dominate
    """

    image: PixelArray
    power: PixelArray
    weight: PixelArray

    def weighted(self, pattern: PixelArray, threads: int = 1) -> PixelArray:
        """A pattern (h, w) weighted in the same way."""
        return _weighted(_spectrum(pattern, threads), self.weight, pattern.shape, threads)


def make_scene(excess: PixelArray, threads: int = 1, *, is_weighted: bool = True) -> Scene:
    """The scene of an excess (h, w); whitened only if `is_weighted`."""
    spectrum = _spectrum(excess, threads)
    power = _power(spectrum)
    weight = _weight(power, excess.shape) if is_weighted else np.ones_like(power)
    image = _weighted(spectrum, weight, excess.shape, threads)
    return Scene(image, power * weight**2, weight)


def match(scene: Scene, pattern: PixelArray, threads: int = 1) -> Match:
    """Matched filter of `pattern` (h, w) in the scene.

    Notes
    -----
    By Parseval's theorem the mean square of the overlap over all cyclic displacements is the sum
    of products of the two power spectra. This accounts for noise, specimen and stripes at their
    frequencies.
    """
    width, pixels = pattern.shape[1], pattern.size
    power = _power(_spectrum(pattern, threads))
    weighted = scene.weight * power
    energy = _whole(scene.weight, power, width) / pixels
    autocorrelation = math.sqrt(_whole(weighted, weighted, width)) / pixels
    return Match(
        overlap=float(np.vdot(scene.image, np.ascontiguousarray(pattern))),
        noise_sd=math.sqrt(_whole(scene.power, power, width)) / pixels,
        energy=energy,
        ceiling=energy / autocorrelation if autocorrelation > 0 else 0.0,
    )


def _spectrum(image: PixelArray, threads: int) -> fourier.SpectrumArray:
    return fourier.rfft2(np.ascontiguousarray(image), threads)


def _power(spectrum: fourier.SpectrumArray) -> PixelArray:
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


def _weighted(
    spectrum: fourier.SpectrumArray, weight: PixelArray, shape_px: tuple[int, ...], threads: int
) -> PixelArray:
    """The image (h, w) of a weighted spectrum."""
    return fourier.irfft2(spectrum * weight, (shape_px[0], shape_px[1]), threads)


def _weight(power: PixelArray, shape_px: tuple[int, ...]) -> PixelArray:
    """Inverse of the local mean power at each frequency, relative to the overall mean.

    Means are taken over rings, and over pieces of the lines on and beside the axes, where stripes
    of the detector are.
    """
    mean = float(power.mean(dtype=np.float64))
    if mean == 0:
        return np.ones_like(power)
    ky, kx = fourier.frequencies((shape_px[0], shape_px[1]))
    ring = np.minimum(np.hypot(ky, kx) * (2 * RINGS), 2 * RINGS - 1).astype(np.int32)
    around = _means(power, ring)[ring]
    for line in (0, 1, -1):
        piece = ring[line]
        around[line] = _means(power[line], piece)[piece]
    for column in (0, 1):
        piece = ring[:, column]
        around[:, column] = _means(power[:, column], piece)[piece]
    return np.asarray(mean / np.maximum(around, MIN_POWER_RATIO * mean), np.float32)


def _means(values: npt.NDArray[Any], group: npt.NDArray[np.int32]) -> PixelArray:
    """Mean of the values of each group; zero for groups without any."""
    count = np.bincount(group.ravel())
    total = np.bincount(group.ravel(), values.ravel())
    return np.asarray(total / np.maximum(count, 1), np.float32)


def _whole(first: PixelArray, second: PixelArray, width: int) -> float:
    """Sum of products over the whole plane of two half planes (h, width // 2 + 1)."""
    columns = np.einsum("ij,ij->j", first, second, dtype=np.float64, casting="same_kind")
    single = columns[0] + (columns[-1] if width % 2 == 0 else 0.0)
    return float(2 * columns.sum() - single)


def _sample(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """About a million pixels of the image, evenly spread."""
    return image.ravel()[:: max(1, image.size // _SAMPLES) | 1]


def _clipped_at_quantiles(image: PixelArray, good: MaskArray) -> PixelArray:
    """The image clipped at its extreme quantiles."""
    values = _sample(image)[_sample(good)]
    if values.size == 0:
        return image
    low, high = np.quantile(values, (EXTREME_SHARE, 1 - EXTREME_SHARE))
    return np.clip(image, np.float32(low), np.float32(high))
