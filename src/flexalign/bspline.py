"""Uniform B-splines over [0, 1]: their values, and where each is largest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexalign.model import FloatArray


def bspline_basis(position: npt.ArrayLike, count: int) -> FloatArray:
    """Values of `count` uniform B-splines over [0, 1] at each position: (n, count).

    Cubic from four control points on, quadratic for three (a cubic one needs four to
    reproduce a constant), so each row sums to one.  Positions outside are taken as the nearer end.

    Examples
    --------
    >>> bspline_basis([0.0, 1.0], 4).sum(axis=1)
    array([1., 1.])
    """
    degree = min(3, count - 1)
    intervals = count - degree
    x = np.clip(np.asarray(position, dtype=np.float64).ravel(), 0.0, 1.0) * intervals
    first = np.minimum(x.astype(np.int64), intervals - 1)
    u = x - first
    if degree == 3:
        pieces = [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]
        weights = np.stack(pieces, axis=1) / 6.0
    elif degree == 2:
        weights = np.stack([(1 - u) ** 2, -2 * u**2 + 2 * u + 1, u**2], axis=1) / 2.0
    elif degree == 1:
        weights = np.stack([1 - u, u], axis=1)
    else:
        weights = np.ones((x.size, 1))
    basis = np.zeros((x.size, count))
    columns = first[:, None] + np.arange(degree + 1)
    np.put_along_axis(basis, columns, weights, axis=1)
    return basis


def spline_centers(count: int) -> FloatArray:
    """The positions in [0, 1] nearest to the maxima of `count` uniform B-splines over it."""
    degree = min(3, count - 1)
    return ((np.arange(count) - (degree - 1) / 2) / max(count - degree, 1)).clip(0, 1)
