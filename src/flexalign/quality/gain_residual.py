"""Residual row and column structure of the detector in a sum of frames."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d
from threadpoolctl import threadpool_limits

from flexalign.model import FloatArray, PixelArray

MIN_LINES = 128
# Coarser structure, in lines, may be ice or the edge of a hole.
COARSEST_LINES = 32
# The background from noise and specimen is measured along cosines and sines of these numbers of
# periods, which no readout pattern has.
_WAVES = (3, 5, 7, 11)
# Significance threshold, in standard deviations of the noise.
_SIGNIFICANT = 4.0
# Minimum fraction of its power that a specimen must lose to the drift for an estimate of it.
_MIN_LOSS = 0.02


def line_residuals(
    image: PixelArray, aligned: PixelArray | None = None, path_px: FloatArray | None = None
) -> tuple[float, float]:
    """Standard deviation of rows and of columns beyond noise and specimen, over the image mean.

    The power spectrum of the means c(x) of all columns is compared with that of means weighted by
    cosines and sines of a few periods, to which noise and specimen contribute alike but in which
    columns cancel; all relative to the local mean over 33 lines:

        scatter^2 = 2 / w^2 sum_f ( |C_0(f)|^2 - mean_j |C_j(f)|^2 ),   1/32 <= f < 1/2 per pixel

    and likewise for rows.  A sum that is not significant gives zero.

    A specimen that drifts along the columns is smeared and looks like columns: of its power P the
    means keep the fraction |H_0(f)|^2 and the waves |H_j(f)|^2, where H is the mean of
    exp(2 pi i k.d) over the frames.  P is estimated from the waves of the aligned sum:

        P = mean_j ( |A_j(f)|^2 - |C_j(f)|^2 ) / ( 1 - mean_j |H_j(f)|^2 ).

    Parameters
    ----------
    image : (h, w), mean of frames, not aligned, bad pixels replaced
    aligned, path_px : (h, w) mean of the aligned frames, and their displacements (frames, 2);
        None = no correction for the smear

    Returns
    -------
    rows, columns : standard deviations over the mean; NaN when the image is too small or its mean
        is below its standard deviation, so that gain has no meaning

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(1.0, 0.1, (512, 512)) + rng.normal(0.0, 0.05, 512)
    >>> rows, columns = line_residuals(image.astype(np.float32))
    >>> round(rows, 2), round(columns, 2)
    (0.0, 0.05)
    """
    if min(image.shape) < MIN_LINES:
        return math.nan, math.nan
    rows, columns = _means(image)
    level, sample = float(rows[0].mean()), image[:: max(1, len(image) // 64)]
    if not level > float(sample.std()):
        return math.nan, math.nan
    smears: list[FloatArray | float] = [0.0, 0.0]
    if aligned is not None and path_px is not None:
        pairs = zip((rows, columns), _means(aligned), strict=True)
        for axis, (before, after) in enumerate(pairs):
            across, along = path_px[:, axis], path_px[:, 1 - axis] / image.shape[1 - axis]
            smears[axis] = _smear(before, after, across, along)
    return _scatter(rows, smears[0]) / level, _scatter(columns, smears[1]) / level


def _means(
    image: PixelArray,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Means (1 + 2 * waves, lines) along all rows and along all columns."""
    # Matrix products this thin do not profit from more threads.
    with threadpool_limits(limits=1, user_api="blas"):
        return (image @ _waves(image.shape[1]).T).T, _waves(image.shape[0]) @ image


def _smear(
    before: npt.NDArray[np.float32],
    after: npt.NDArray[np.float32],
    across_px: FloatArray,
    along: FloatArray,
) -> FloatArray:
    """Power of the even means (first row of `before`) beyond that of the waves due to drift.

    Parameters
    ----------
    before, after : means of the unaligned and the aligned sum
    across_px, along : (frames,) displacement across the lines, and along them over their length
    """
    frequency = np.fft.rfftfreq(before.shape[1])
    turns = np.exp(2j * np.pi * np.outer(frequency, across_px))

    def left(wave: int) -> FloatArray:
        return np.asarray(np.abs((turns * np.exp(2j * np.pi * wave * along)).mean(axis=1)) ** 2)

    even, waves = (
        left(0),
        np.mean([left(wave) for wave in (*_WAVES, *(-w for w in _WAVES))], axis=0),
    )
    found = _powers(after)[1:].mean(axis=0) - _powers(before)[1:].mean(axis=0)
    share = (even - waves) / np.maximum(1 - waves, _MIN_LOSS)
    return np.asarray(np.maximum(found * share, 0))


def _waves(size: int) -> PixelArray:
    """Weights (1 + 2 * waves, size) of means along a line: even, then cosines and sines."""
    phase = 2 * np.pi * np.outer(_WAVES, (np.arange(size) + 0.5) / size)
    waves = np.concatenate([np.cos(phase), np.sin(phase)]) * math.sqrt(2)
    return (np.concatenate([np.ones((1, size)), waves]) / size).astype(np.float32)


def _powers(means: npt.NDArray[np.float32]) -> FloatArray:
    """Power spectra of means along lines, relative to their local mean."""
    # High-pass first: a gradient over the image would leak into all frequencies.
    fine = means - uniform_filter1d(means, COARSEST_LINES + 1, axis=1, mode="reflect")
    return np.asarray(np.abs(np.fft.rfft(fine.astype(np.float64), axis=1)) ** 2)


def _scatter(means: npt.NDArray[np.float32], smear: FloatArray | float) -> float:
    """Standard deviation of the even means (first row) beyond that of the others and a `smear`."""
    size, power = means.shape[1], _powers(means)
    first = -(-size // COARSEST_LINES)
    expected = (power[1:].mean(axis=0) + smear)[first:]
    excess = float((power[0, first:] - expected).sum())
    # The standard deviation of a power equals its mean; that of the mean of the others is smaller.
    noise_sd = math.sqrt((1 + 1 / (len(means) - 1)) * float((expected**2).sum()))
    return math.sqrt(2 * excess) / size if excess > _SIGNIFICANT * noise_sd else 0.0
