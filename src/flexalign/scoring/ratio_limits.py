"""Confidence limits of the ratio of two sums over few, noisy samples.

References
----------
Tukey, Ann. Math. Stat. 29 (1958) 614.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from flexalign.model import FloatArray


def ratio_limits(a: FloatArray, b: FloatArray, confidence: float) -> tuple[float, float]:
    """Limits of the ratio of the sum of `b` to that of `a`, from zero to (nearly) infinity.

    They are those of the angle of the vector (sum of `a`, sum of `b`), in which both sums have the
    same role and either may be zero.  Its standard error is that of the jackknife: the angle is
    computed without each of the samples in turn, so that one that dominates the sums widens the
    limits.  The quantile is that of Student's t, which is larger for few samples.

    Parameters
    ----------
    a, b : (n,) values of each sample, at least two; those of one sample may be correlated.  Their
        expectations are not below zero

    Examples
    --------
    >>> a = np.array([90.0, 100.0, 110.0, 100.0])
    >>> low, high = ratio_limits(a, 0.8 * a + [-1, 1, 0, 0], 0.95)
    >>> round(low, 3), round(high, 3)
    (0.787, 0.813)
    """
    count, sum_a, sum_b = len(a), float(a.sum()), float(b.sum())
    angle = np.arctan2(sum_b, sum_a)
    without = np.arctan2(sum_b - b, sum_a - a)
    error = np.sqrt((count - 1) * without.var())
    away = error * stdtrit(count - 1, (1 + confidence) / 2)
    if sum_a <= 0 and sum_b <= 0:
        away = np.pi
    low, high = np.tan(np.clip([angle - away, angle + away], 0, np.pi / 2))
    return float(low), float(high)
