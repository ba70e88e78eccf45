"""Flat-field estimation: a gain reference from the mean of many raw frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from flexalign.arrays.hot_pixels import find_outlier_lines, find_outlier_pixels
from flexalign.gain.matching import WINDOW_PX
from flexalign.model import FloatArray, MaskArray, PixelArray

# Number of blocks along each side for the estimate of the illumination.
BLOCKS = 16
# A pixel this many times weaker or stronger than its surroundings is a defect.
MAX_TIMES = 3.0
# And deviates by more than this many standard deviations of the noise.
SURE_SD = 6.0
# Lines are tested by medians, which are quantised in electrons: not when the noise is above this.
LINE_NOISE = 0.1
# Blocks below this fraction of the median counts are shaded by a grid bar or the beam edge.
SHADED_RATIO = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """A flat field: the relative sensitivity of the pixels of a detector.

    Attributes
    ----------
    sensitivity : (h, w) float32, mean one over good pixels, zero in bad ones
    defects : (h, w) bool
    variation : standard deviation of the sensitivity from pixel to pixel, without noise
    noise : standard deviation of its error from counting statistics
    illumination_range : maximum over minimum of the smooth illumination that was divided out
    """

    sensitivity: PixelArray
    defects: MaskArray
    variation: float
    noise: float
    illumination_range: float


def flat_field(first: PixelArray, second: PixelArray, *, keep_illumination: bool = False) -> Flat:
    """The sensitivity of each pixel from two independent sums of frames.

    The covariance of the two halves is the variance of the sensitivity, their difference is noise.
    The illumination, which unlike the sensitivity is smooth over the whole frame, is modelled as
    the exponential of a quadratic in y and x, and divided out.

    Parameters
    ----------
    first, second : (h, w), sums of raw frames
    keep_illumination : do not divide it out

    Raises
    ------
    ValueError
        If there are no counts.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> true = 1 + 0.05 * rng.standard_normal((64, 64))
    >>> halves = [rng.poisson(5000 * true).astype(np.float32) for _ in range(2)]
    >>> found = flat_field(*halves)
    >>> round(found.variation, 2), round(found.noise, 2)
    (0.05, 0.01)
    """
    total = first + second
    level = float(np.mean(total, dtype=np.float64))
    if not level > 0:
        raise ValueError(f"expected counts, found a mean of {level:g}")
    flat = (total / np.float32(level)).astype(np.float32)
    illumination = smooth_illumination(flat)
    flat /= illumination
    expected = illumination * np.float32(level)
    noise, _ = _noise_and_variation(first, second, expected, flat > 0)
    defects = _defects(flat, noise)
    noise, variation = _noise_and_variation(first, second, expected, ~defects)
    if keep_illumination:
        flat *= illumination
    flat /= np.float32(np.mean(flat, where=~defects, dtype=np.float64))
    flat[defects] = 0
    spread = float(illumination.max() / illumination.min())
    return Flat(flat, defects, variation, noise, spread)


def shaded_share(image: PixelArray) -> float:
    """Fraction of the blocks of an image (h, w) with far fewer counts than the median.

    Examples
    --------
    >>> image = np.ones((64, 64), np.float32)
    >>> image[:16] = 0.1
    >>> shaded_share(image)
    0.25
    """
    means = _block_means(image)
    median = float(np.median(means))
    return float(np.mean(means < SHADED_RATIO * median)) if median > 0 else 1.0


def smooth_illumination(image: PixelArray) -> PixelArray:
    """Illumination (h, w), mean one: the exponential of the quadratic through log block medians."""
    means = _block_means(image)
    y, x = np.meshgrid(*(_centres(n) for n in means.shape), indexing="ij")
    good = means > SHADED_RATIO * np.median(means)
    design = _quadratic(y, x)
    found = np.linalg.lstsq(design[good], np.log(means[good]), rcond=None)[0]
    rows, columns = (_centres(n) for n in image.shape)
    smooth = np.exp(
        found[0]
        + (found[1] * rows + found[3] * rows**2)[:, None]
        + (found[2] * columns + found[4] * columns**2)[None, :]
        + found[5] * rows[:, None] * columns[None, :]
    )
    return np.asarray(smooth / smooth.mean(), np.float32)


def _quadratic(y: FloatArray, x: FloatArray) -> FloatArray:
    """The terms 1, y, x, y2, x2, xy (..., 6)."""
    return np.stack([np.ones_like(y), y, x, y**2, x**2, y * x], axis=-1)


def _centres(count: int) -> FloatArray:
    """Centres of `count` equal intervals between -1 and 1."""
    return np.asarray((np.arange(count) + 0.5) * 2 / count - 1)


def _block_means(image: PixelArray) -> FloatArray:
    """Robust block means: the mean over columns of the median within each column of a block."""
    rows, columns = (min(BLOCKS, side) for side in image.shape)
    h, w = image.shape[0] // rows * rows, image.shape[1] // columns * columns
    blocks = image[:h, :w].reshape(rows, h // rows, columns, w // columns)
    return np.asarray(np.median(blocks.mean(axis=3, dtype=np.float64), axis=1))


def _defects(flat: PixelArray, noise: float) -> MaskArray:
    """Defective pixels: dead, hot, or in such a row or column."""
    tolerance = SURE_SD * noise
    bad = ~np.isfinite(flat) | (flat < 1 / MAX_TIMES - tolerance) | (flat > MAX_TIMES + tolerance)
    if bad.all():
        return bad
    if noise < LINE_NOISE:
        bad |= find_outlier_lines(flat, bad)
    return np.asarray(bad | find_outlier_pixels(flat, bad))


def _noise_and_variation(
    first: PixelArray, second: PixelArray, expected: PixelArray, good: MaskArray
) -> tuple[float, float]:
    """Standard deviations of the noise of the sum and of the signal common to both halves."""
    halves = []
    whole = float((first + second).mean(dtype=np.float64))
    for half in (first, second):
        share = float(half.mean(dtype=np.float64)) / whole
        ratio = np.where(good, half / (expected * np.float32(max(share, 1e-6))), 1)
        halves.append((ratio - uniform_filter(ratio, WINDOW_PX, mode="reflect"))[good])
    one, other = halves
    shared = float(np.mean(one * other, dtype=np.float64))
    difference = float(np.mean((one - other) ** 2, dtype=np.float64))
    # The difference of two equal halves has four times the variance of the noise of their mean.
    return math.sqrt(difference) / 2, math.sqrt(max(shared, 0.0))
