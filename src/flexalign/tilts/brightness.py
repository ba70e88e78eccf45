"""Which images of a series are dark: a grid bar, ice or the shutter was in the way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexalign.model import FloatArray, MaskArray

# An image with less than this part of the counts that its tilt leads one to expect is dark.
MIN_COUNTS_RATIO = 0.3


def is_dark(counts: npt.ArrayLike, angle_deg: npt.ArrayLike) -> MaskArray:
    """Whether each image of a series is dark.

    The beam that a slab lets through falls as ``exp(-t / cos(angle))`` (Beer and Lambert, its
    thickness in mean free paths t).  A line through the logarithm of the counts that half of the
    images cannot bend says what to expect: the median of the slopes of all pairs (Theil and Sen),
    t not negative.

    Parameters
    ----------
    counts : (n,) mean counts for each electron of dose, not negative
    angle_deg : (n,) of the stage

    Returns
    -------
    (n,) bool

    Examples
    --------
    >>> is_dark([10, 9, 1, 8], [0, 20, 30, 40]).tolist()
    [False, False, True, False]
    """
    found = np.asarray(counts, np.float64)
    if found.size < 2 or not np.any(found > 0):
        return np.asarray(found <= 0)
    floor = 1e-6 * float(found.max())
    logarithm = np.log(np.maximum(found, floor))
    way = 1.0 / np.cos(np.radians(np.clip(np.asarray(angle_deg, np.float64), -85.0, 85.0)))
    slope = min(0.0, _median_slope(way, logarithm))
    level = float(np.median(logarithm - slope * way))
    return np.asarray(logarithm - slope * way - level < np.log(MIN_COUNTS_RATIO))


def _median_slope(x: FloatArray, y: FloatArray) -> float:
    """The median slope over all pairs of points that differ in x; 0 where none do."""
    first, second = np.triu_indices(x.size, 1)
    dx = x[second] - x[first]
    is_apart = np.abs(dx) > 1e-3
    if not np.any(is_apart):
        return 0.0
    return float(np.median((y[second] - y[first])[is_apart] / dx[is_apart]))
