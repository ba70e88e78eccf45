"""Detect images unfit for the stack of their series: dark ones, and those of another size.

An image is dark if a grid bar, thick ice or the shutter blocked the beam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from flexalign.model import FloatArray, MaskArray, MovieRecord
from flexalign.tilts.model import Tilt

# An image with less than this share of the counts expected at its angle is dark.
MIN_COUNTS_RATIO = 0.3


def unfit(tilts: Sequence[Tilt], records: Mapping[str, MovieRecord]) -> dict[int, tuple[str, str]]:
    """The orders of the tilts with unfit images, with kind and reason as in `LEFT_OUT`.

    Parameters
    ----------
    tilts : those with aligned movies
    records : of these movies, by path
    """
    found = [records[tilt.movie] for tilt in tilts]
    shapes = [record.output_shape_px for record in found]
    common = max(shapes, key=shapes.count, default=(0, 0))
    counts = [_counts_per_dose(t, record) for t, record in zip(tilts, found, strict=True)]
    dark = is_dark(counts, [tilt.angle_deg for tilt in tilts])
    losses: dict[int, tuple[str, str]] = {}
    for tilt, shape, count, is_so in zip(tilts, shapes, counts, dark, strict=True):
        if shape != common:
            size = f"{shape[1]} x {shape[0]} px, the others {common[1]} x {common[0]} px"
            losses[tilt.order] = ("other-size", f"the image has {size}")
        elif is_so:
            why = f"the image is dark: {count:.3g} counts per pixel and dose"
            losses[tilt.order] = ("dark", why)
    return losses


def _counts_per_dose(tilt: Tilt, record: MovieRecord) -> float:
    """Mean counts per pixel of the whole movie, divided by its dose."""
    counts = record.mean_counts * record.movie.frame_count
    return counts / tilt.dose_e_A2 if tilt.dose_e_A2 > 0 else counts


def is_dark(counts: npt.ArrayLike, angle_deg: npt.ArrayLike) -> MaskArray:
    """Whether each image of a series is dark.

    The intensity behind a slab is ``exp(-t / cos(angle))`` (Beer-Lambert law), with its thickness
    t in mean free paths, t >= 0.  The logarithm of the expected counts is fitted by a robust line
    whose slope is the median over all pairs (Theil-Sen estimator).

    Parameters
    ----------
    counts : (n,) mean counts per unit dose, not negative
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
    path_length = 1.0 / np.cos(np.radians(np.clip(np.asarray(angle_deg, np.float64), -85.0, 85.0)))
    slope = min(0.0, _median_slope(path_length, logarithm))
    residual = logarithm - slope * path_length
    return np.asarray(residual - np.median(residual) < np.log(MIN_COUNTS_RATIO))


def _median_slope(x: FloatArray, y: FloatArray) -> float:
    """The median slope over all pairs of points that differ in x; 0 where none do."""
    first, second = np.triu_indices(x.size, 1)
    dx = x[second] - x[first]
    is_apart = np.abs(dx) > 1e-3
    if not np.any(is_apart):
        return 0.0
    return float(np.median((y[second] - y[first])[is_apart] / dx[is_apart]))
