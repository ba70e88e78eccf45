"""The prior by which the signal power of the rings is smooth."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.estimate.smooth_spectrum import expected_power

FREQUENCY_PER_A = np.arange(10, 110) / 500
SMOOTH = 40 * (FREQUENCY_PER_A / 0.02) ** -1.5 * np.exp(-60 * FREQUENCY_PER_A**2 / 2)


def measurements(signal, sd, count=20):
    """Noisy powers of the rings, and the variance of their noise."""
    noise = np.random.default_rng(3).normal(0, sd, (count, len(signal)))
    return signal + noise, np.full(len(signal), sd**2)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("sd", [3.0, 10.0])
def test_a_faint_smooth_spectrum_is_found_better_than_by_a_mean_over_rings(sd):
    measured, variance = measurements(SMOOTH, sd)

    found = np.array([expected_power(one, variance, FREQUENCY_PER_A) for one in measured])

    window = np.ones(5) / 5
    means = np.array([np.convolve(one, window, "same").clip(0) for one in measured])
    inside = slice(2, -2)
    assert rms((found - SMOOTH)[:, inside]) < 0.7 * rms((means - SMOOTH)[:, inside])


def test_of_noise_hardly_any_signal_is_made():
    measured, variance = measurements(np.zeros(100), 1.0)

    found = np.array([expected_power(one, variance, FREQUENCY_PER_A) for one in measured])

    assert (found >= 0).all()
    assert np.sqrt((found**2).sum(axis=1)).max() < 0.5 * np.sqrt((measured**2).sum(axis=1)).min()


def test_well_measured_rings_keep_their_power():
    signal = SMOOTH * (1 + np.cos(np.arange(100)))  # Thon rings
    measured, variance = measurements(signal, 0.01, count=1)

    found = expected_power(measured[0], variance, FREQUENCY_PER_A)

    np.testing.assert_allclose(found, measured[0].clip(0), atol=0.02)


@pytest.mark.parametrize("unit", [1e-12, 1e9])
def test_the_unit_of_power_does_not_matter(unit):
    measured, variance = measurements(SMOOTH, 1.0, count=1)

    found = expected_power(unit * measured[0], unit**2 * variance, FREQUENCY_PER_A)

    expected = unit * expected_power(measured[0], variance, FREQUENCY_PER_A)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
