"""Exponentials of time as sums of a few functions."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays.lowrank_weights import TOLERANCE, time_functions


@pytest.mark.parametrize(
    ("lowest_rate", "count"),
    [(-0.16, 40), (-0.3, 24), (-0.02, 300), (-0.6, 12), (-1e-4, 40), (-3.0, 2), (-0.1, 1)],
)
def test_any_rate_is_a_sum_of_the_functions(lowest_rate, count):
    functions = time_functions(lowest_rate, np.arange(count))

    assert len(functions.value) <= min(9, count)
    rates = np.linspace(0, lowest_rate, functions.coefficient.shape[1])[::37]
    for rate, coefficient in zip(rates, functions.coefficient[:, ::37].T, strict=True):
        expected = np.exp(rate * np.arange(count))
        rest = coefficient @ functions.value - expected
        assert np.linalg.norm(rest) < 1.01 * TOLERANCE * np.linalg.norm(expected)


def test_without_decay_one_function_does():
    functions = time_functions(0.0, np.arange(30))

    assert functions.value.tolist() == [[1.0] * 30]
    assert (functions.coefficient == 1).all()


def test_the_weighted_mean_has_the_noise_of_an_unweighted_one():
    functions, times = time_functions(-0.2, np.arange(20)), np.array([0, 1, 2, 5, 6, 17])

    weights = functions.mean_coefficient(times).T @ functions.value[:, times]

    np.testing.assert_allclose((weights**2).sum(axis=1), 1 / len(times), rtol=1e-4)


def test_times_may_run_unevenly_and_frames_of_more_dose_have_more_noise():
    doses = np.array([0.4, 0.4, 1.2, 2.0, 0.6])
    time, frames, noise = np.cumsum(doses) - doses[0], np.array([0, 1, 2, 4]), doses / doses.mean()
    functions = time_functions(-0.3, time)

    weights = functions.mean_coefficient(frames, noise).T @ functions.value[:, frames]

    rate = np.linspace(0, -0.3, len(weights))
    expected = np.exp(np.outer(rate, time[frames]))
    expected /= expected[:, :1]
    np.testing.assert_allclose(weights / weights[:, :1], expected, rtol=1e-3)
    power = (weights**2) @ noise[frames]
    np.testing.assert_allclose(power, noise[frames].sum() / len(frames) ** 2, rtol=1e-3)
