"""Structure of whole rows and columns that a detector leaves in a sum of frames."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d
from threadpoolctl import threadpool_limits

from flexalign.model import FloatArray, PixelArray

FEWEST_LINES = 128
# Structure coarser than this many lines may be ice or the edge of a hole.
COARSEST_LINES = 32
# What rows and columns have for noise and specimen alone is measured along waves of so many
# periods, which no readout has.
_WAVES = (3, 5, 7, 11)
# Standard deviations by which lines must stand out from chance.
_SIGNIFICANT = 4.0


def line_residuals(image: PixelArray) -> tuple[float, float]:
    """Scatter of rows and of columns beyond noise and specimen, over the mean of the image.

    Of the means c(x) of all columns the power spectrum is compared with that of means taken
    along cosines and sines of a few periods, in which noise and specimen are the same but columns
    cancel, all over their surroundings of 33 lines:

        scatter^2 = 2 / w^2 sum_f ( |C_0(f)|^2 - mean_j |C_j(f)|^2 ),   1/32 <= f < 1/2 per pixel

    and likewise for rows.  A sum that does not stand out from chance gives zero.

    Parameters
    ----------
    image : (h, w), mean of frames, not aligned, bad pixels mended

    Returns
    -------
    rows, columns : standard deviations over the mean; NaN when the image is too small or its mean
        is not above its scatter, so that gain has no meaning

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(1.0, 0.1, (512, 512)) + rng.normal(0.0, 0.05, 512)
    >>> rows, columns = line_residuals(image.astype(np.float32))
    >>> round(rows, 2), round(columns, 2)
    (0.0, 0.05)
    """
    if min(image.shape) < FEWEST_LINES:
        return math.nan, math.nan
    # Products as thin as these gain nothing from more threads.
    with threadpool_limits(limits=1, user_api="blas"):
        rows = image @ _waves(image.shape[1]).T
        columns = _waves(image.shape[0]) @ image
    level, sample = float(rows[:, 0].mean()), image[:: max(1, len(image) // 64)]
    if not level > float(sample.std()):
        return math.nan, math.nan
    return _scatter(rows.T) / level, _scatter(columns) / level


def _waves(size: int) -> PixelArray:
    """Weights (1 + 2 * waves, size) of means along a line: even, then cosines and sines."""
    phase = 2 * np.pi * np.outer(_WAVES, (np.arange(size) + 0.5) / size)
    waves = np.concatenate([np.cos(phase), np.sin(phase)]) * math.sqrt(2)
    return (np.concatenate([np.ones((1, size)), waves]) / size).astype(np.float32)


def _scatter(means: npt.NDArray[np.float32]) -> float:
    """Standard deviation of the even means (first row) beyond that of the others."""
    size = means.shape[1]
    # A gradient over the image would leak into all frequencies.
    fine = means - uniform_filter1d(means, COARSEST_LINES + 1, axis=1, mode="reflect")
    power: FloatArray = np.abs(np.fft.rfft(fine.astype(np.float64), axis=1)) ** 2
    first = -(-size // COARSEST_LINES)
    usual = power[1:, first:].mean(axis=0)
    excess = float((power[0, first:] - usual).sum())
    # A power is as uncertain as it is large, the mean of the others less so.
    chance = math.sqrt((1 + 1 / (len(means) - 1)) * float((usual**2).sum()))
    return math.sqrt(2 * excess) / size if excess > _SIGNIFICANT * chance else 0.0
