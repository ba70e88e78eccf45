"""Confidence limits of ratios hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.scoring.ratio_limits import ratio_limits


def samples(count, ratio, noise, seed, size=1.0):
    """Two columns of samples whose expectations have a ratio; they share most noise."""
    rng = np.random.default_rng(seed)
    scale = size * rng.uniform(0.5, 1.5, count)
    shared, own = noise * rng.normal(size=(2, count))
    return scale + shared, ratio * scale + 0.8 * shared + 0.3 * own


def share_inside(count, ratio):
    """How often of 2000 draws the limits enclose the ratio; its standard deviation is 0.5 %."""
    found = [ratio_limits(*samples(count, ratio, 0.35, seed), 0.95) for seed in range(2000)]
    return np.mean([low <= ratio <= high for low, high in found])


@pytest.mark.parametrize("ratio", [0.6, 1.0])
@pytest.mark.parametrize("count", [6, 8, 50])
def test_the_limits_hold_in_95_percent(count, ratio):
    assert share_inside(count, ratio) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("count", [6, 8, 50])
def test_nothing_has_no_lower_limit_in_at_least_95_percent(count):
    assert share_inside(count, 0.0) > 0.93


def test_they_do_not_depend_on_the_unit():
    a, b = samples(8, 0.7, 0.3, 1)

    assert ratio_limits(1e9 * a, 1e9 * b, 0.95) == pytest.approx(ratio_limits(a, b, 0.95))


def test_those_of_the_inverse_are_the_inverse():
    a, b = samples(8, 0.7, 0.3, 1)
    low, high = ratio_limits(a, b, 0.95)

    assert ratio_limits(b, a, 0.95) == pytest.approx((1 / high, 1 / low))


def test_samples_of_one_ratio_have_no_other():
    a = np.array([1.0, 2.0, 4.0])

    assert ratio_limits(a, 0.9 * a, 0.95) == pytest.approx((0.9, 0.9))


def test_a_sample_that_dominates_widens_them():
    """What it says of the ratio is not confirmed by the others."""
    a = np.array([1.0, 1.1, 0.9, 1.0, 1.05, 0.95])
    b = 0.8 * a + 0.03 * np.array([1, -1, 1, -1, 1, -1])
    even = ratio_limits(a, b, 0.95)
    weight = np.array([100, 1, 1, 1, 1, 1])

    low, high = ratio_limits(weight * a, weight * b, 0.95)

    assert high - low > 2 * (even[1] - even[0])


def test_a_ratio_to_what_may_be_zero_has_no_upper_limit():
    a, b = np.array([1.0, -1.0, 0.5, -0.3]), np.array([5.0, 6.0, 5.5, 5.2])

    low, high = ratio_limits(a, b, 0.95)

    assert low > 0
    assert high > 1e15


def test_nothing_is_known_of_the_ratio_of_noise_to_noise():
    rng = np.random.default_rng(1)

    low, high = ratio_limits(*rng.normal(size=(2, 8)), 0.95)

    assert low == 0
    assert high > 1e15


def test_a_sum_below_zero_is_taken_for_nothing():
    a, b = np.array([5.0, 6.0, 5.5, 5.2]), -0.9 * np.array([5.0, 6.0, 5.5, 5.2])

    assert ratio_limits(a, b, 0.95) == (0, 0)
