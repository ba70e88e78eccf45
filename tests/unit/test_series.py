"""Priors of the tilts of a series: known paths and signals in, what neighbours say of them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.estimate.evidence import PatchLikelihood, fit_motion
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.series import default_prior, series_priors
from flexalign.estimate.series_paths import fit_hyperparameters, paths_of
from flexalign.estimate.series_prior import (
    ExpectedSignal,
    MeasuredSignal,
    SeriesPath,
    TiltStatistics,
    exposed_ratio,
)
from flexalign.estimate.spectral_powers import (
    expected_weight,
    measured_signal,
    noise_level,
    ring_powers,
)

FRAMES, TILTS = 5, 21
ANGLES = np.linspace(-50.0, 50.0, TILTS)
FREQUENCY = np.arange(60) / 400.0


def without_mean(path):
    return path - path.mean(axis=-2, keepdims=True)


def true_paths(own_px, seed=0):
    """Paths (tilts, frames, 2): a common part that turns with the angle, and a straight own one."""
    rng = np.random.default_rng(seed)
    time = exposed_ratio(np.arange(FRAMES), FRAMES)
    turn = np.radians(0.5 * ANGLES)
    common = 4.0 * np.stack([np.cos(turn), np.sin(turn)], axis=1)[:, None] * time[:, None] ** 0.7
    own = own_px * rng.normal(size=(TILTS, 1, 2)) * time[:, None]
    return without_mean(common + own)


def said(path_px, error_px=0.3, rng=None, power=0.02, frames=FRAMES, signal=None):
    """What a tilt says whose frames are measured with that error."""
    count = len(path_px)
    precision = (np.eye(count) - 1 / count)[None] / error_px**2
    noise = 0 if rng is None else rng.normal(0, error_px, path_px.shape)
    data = PatchLikelihood(
        np.array([[200.0, 200.0]]), np.arange(count, dtype=float), precision,
        precision @ (path_px + noise)[None],
    )  # fmt: skip
    if signal is None:
        signal = MeasuredSignal(FREQUENCY, np.full(60, power), np.full(60, 0.005))
    return TiltStatistics(frames, data, signal, None)


def off_px(priors, truth):
    """Root mean square distance of the expected paths from the true ones."""
    means = np.array([prior.path.mean_px(np.arange(FRAMES)) for prior in priors])
    return np.sqrt(((means - truth) ** 2).sum(axis=-1).mean(axis=1))


def test_the_common_motion_of_the_others_is_expected_of_each_tilt():
    truth, rng = true_paths(own_px=0.2), np.random.default_rng(1)

    priors = series_priors(ANGLES, [said(path, rng=rng) for path in truth])

    still = np.sqrt((truth**2).sum(axis=-1).mean(axis=1))
    assert still.min() > 0.8
    assert off_px(priors, truth).mean() < 0.2
    assert off_px(priors, truth).max() < 0.4


@pytest.mark.parametrize("own_px", [0.3, 1.5])
def test_the_scatter_says_how_far_tilts_are_from_what_is_expected(own_px):
    chi2 = []
    for seed in range(4):
        truth, rng = true_paths(own_px, seed), np.random.default_rng(seed)
        priors = series_priors(ANGLES, [said(path, 0.2, rng) for path in truth])
        for prior, path in zip(priors, truth, strict=True):
            off = path - prior.path.mean_px(np.arange(FRAMES))
            inverse = np.linalg.pinv(prior.path.scatter_px2, rcond=1e-6)
            chi2.append((off * (inverse @ off)).sum() / (2 * (FRAMES - 1)))

    assert 0.5 < np.mean(chi2) < 1.6


def test_what_a_tilt_says_itself_has_no_say_in_its_prior():
    truth = true_paths(own_px=1.0)
    paths = paths_of(ANGLES, [said(path) for path in truth])
    _, hyperparameters, _ = fit_hyperparameters(paths)
    other = replace(paths, linear=paths.linear.copy())
    other.linear[4] += 100.0

    for at, is_same in ((4, True), (5, False)):
        mean, _ = paths.predicted(hyperparameters, at)
        assert np.allclose(mean, other.predicted(hyperparameters, at)[0]) == is_same


def test_a_tilt_that_lies_far_off_does_not_lead_its_neighbours_astray():
    truth, rng = true_paths(own_px=0.2), np.random.default_rng(1)
    tilts = [said(path, rng=rng) for path in truth]
    wrong = truth[10] + 30.0 * np.linspace(-1, 1, FRAMES)[:, None]
    tilts[10] = said(wrong, 0.05)

    priors = series_priors(ANGLES, tilts)

    assert off_px(priors, truth).max() < 0.6


def test_where_nothing_is_known_of_motion_no_path_is_expected():
    flat = said(np.zeros((FRAMES, 2)), error_px=1e6)

    prior = series_priors(ANGLES, [flat] * TILTS)[3]

    assert np.abs(prior.path.mean_px(np.arange(FRAMES))).max() < 1e-3
    assert np.sqrt(np.trace(prior.path.scatter_px2)) > 1.0


def test_a_tilt_of_which_nothing_is_known_has_a_prior_too():
    truth = true_paths(own_px=0.2)
    tilts = [said(path) for path in truth]
    tilts[7] = None

    priors = series_priors(ANGLES, tilts)

    assert off_px(priors, truth)[7] < 0.4


def test_three_tilts_say_too_little_of_each_other():
    tilts = [said(path) for path in true_paths(0.2)[:3]]

    assert series_priors(ANGLES[:3], tilts) == [None] * 3
    assert series_priors(ANGLES[:4], [*tilts, None]) == [None] * 4


def test_tilts_of_different_numbers_of_frames_share_their_common_motion():
    truth = true_paths(own_px=0.1)
    fine = exposed_ratio(np.arange(2 * FRAMES), 2 * FRAMES)
    time = exposed_ratio(np.arange(FRAMES), FRAMES)
    tilts = []
    for number, path in enumerate(truth):
        if number % 2:
            path = without_mean(np.stack([np.interp(fine, time, p) for p in path.T], axis=1))
        tilts.append(said(path, frames=len(path)))

    priors = series_priors(ANGLES, tilts)

    assert off_px(priors, truth).max() < 0.6
    assert priors[1].path.mean_px(np.arange(2 * FRAMES)).shape == (2 * FRAMES, 2)


def test_without_data_a_fit_is_the_expected_path_and_with_precise_data_it_is_theirs():
    expected, found = true_paths(0.2)[3], true_paths(1.0, seed=5)[9]
    time = exposed_ratio(np.arange(FRAMES), FRAMES)
    path = SeriesPath(FRAMES, time, expected, 0.5 * np.eye(FRAMES), 0.0)

    nothing = fit_motion(said(found, 1e6).likelihood, path, None, None)
    sure = fit_motion(said(found, 1e-3).likelihood, path, None, None)

    np.testing.assert_allclose(nothing.trajectory_px, expected, atol=1e-3)
    np.testing.assert_allclose(sure.trajectory_px, found, atol=1e-3)


def test_a_path_is_as_wide_as_its_data_ask_for():
    expected = true_paths(0.2)[3]
    time = exposed_ratio(np.arange(FRAMES), FRAMES)
    path = SeriesPath(FRAMES, time, expected, 0.01 * np.eye(FRAMES), 0.0)
    far = expected + 3.0 * np.linspace(-1, 1, FRAMES)[:, None]

    assert path.with_best_width(said(expected, 0.1).likelihood).width == 1
    assert path.with_best_width(said(far, 0.1).likelihood).width == 8
    assert path.log_density(expected, np.arange(5.0)) > path.log_density(far, np.arange(5.0))


def test_signal_is_that_of_near_neighbours_without_their_noise():
    rng = np.random.default_rng(3)
    falling = 0.02 * np.exp(-np.abs(ANGLES) / 60)
    tilts = []
    for path, level in zip(true_paths(0.2), falling, strict=True):
        power = level * np.exp(-10 * FREQUENCY) + rng.normal(0, 0.005, 60)
        tilts.append(said(path, signal=MeasuredSignal(FREQUENCY, power, np.full(60, 0.005))))

    signals = [prior.signal for prior in series_priors(ANGLES, tilts)]

    for at in (0, 10, 20):
        true = falling[at] * np.exp(-10 * FREQUENCY)
        np.testing.assert_allclose(signals[at].signal.power, true, atol=0.005)
        off = signals[at].signal.power - true
        assert np.sqrt(np.mean(off**2)) < 0.5 * 0.005
        assert np.sqrt(np.mean(signals[at].signal.error ** 2)) < 0.5 * 0.005


def test_rings_that_no_tilt_has_measured_stay_unknown():
    seen = MeasuredSignal(FREQUENCY, np.full(60, 0.02), np.where(FREQUENCY < 0.02, np.inf, 0.005))
    tilts = [said(path, signal=seen) for path in true_paths(0.2)]

    signal = series_priors(ANGLES, tilts)[0].signal.signal

    assert np.isinf(signal.error[FREQUENCY < 0.02]).all()
    assert np.isfinite(signal.error[FREQUENCY >= 0.02]).all()
    np.testing.assert_allclose(signal.power[FREQUENCY >= 0.02], 0.02, rtol=1e-6)


@pytest.fixture
def faint(make_drifting_frames):
    """Spectra of a specimen at rest, too faint to be seen, and of the same in the clear."""
    still = np.zeros((3, 2))
    frames = [make_drifting_frames(still, (128, 128), noise=noise) for noise in (10.0, 0.5)]
    return [cut_spectra(f, make_grid(f, (1, 1)), np.zeros((1, 3, 2))) for f in frames]


def powers_of(patches):
    return ring_powers(patches, sweep(patches, np.zeros((1, 3, 2)), None))


def expected_of(clear, times_noise):
    """The signal of a clear movie as neighbours with more noise would know it."""
    powers = powers_of(clear)
    level = noise_level(clear, powers.noise) * times_noise
    return ExpectedSignal(
        MeasuredSignal(
            clear.ring_frequency_per_A, powers.signal / level**2, np.full(len(powers.signal), 1e-12)
        ),
        scatter=0.1,
    )


def test_a_ring_too_faint_to_be_seen_counts_by_what_neighbours_have(faint):
    unseen, clear = faint
    noise_ratio = (10.0 / 0.5) ** 2
    known = replace(unseen, expected=expected_of(clear, noise_ratio))

    alone, with_others = powers_of(unseen), powers_of(known)

    rings = (unseen.ring_count > 0) & (alone.trust < 0.5)
    assert rings.sum() > 10
    assert (with_others.trust[rings] == 1).all()
    np.testing.assert_allclose(with_others.signal[rings], powers_of(clear).signal[rings], rtol=0.3)


def test_before_neighbours_say_anything_the_prior_is_wide():
    prior = default_prior(3)

    assert not prior.signal.is_known
    assert not prior.path.mean_px(np.arange(3.0)).any()
    assert np.sqrt(np.trace(prior.path.scatter_px2)) > 1.0


def test_before_neighbours_say_anything_faint_rings_are_those_of_a_single_movie(faint):
    unseen, _ = faint

    alone, usual = powers_of(unseen), powers_of(replace(unseen, expected=default_prior(3).signal))

    np.testing.assert_allclose(usual.signal, alone.signal, rtol=1e-9)
    np.testing.assert_array_equal(usual.trust, alone.trust)


def test_rings_that_differ_by_more_than_noise_keep_their_own_power(faint):
    _, clear = faint

    alone, of_series = powers_of(clear), powers_of(replace(clear, expected=default_prior(3).signal))

    coarsest = np.flatnonzero(clear.ring_count)[:2]
    true = alone.measured[coarsest]
    np.testing.assert_allclose(of_series.signal[coarsest], true, rtol=0.1)
    assert np.abs(alone.signal[coarsest] / true - 1).max() > 0.3


def test_a_steep_spectrum_of_neighbours_keeps_its_slope():
    steep = MeasuredSignal(FREQUENCY, 5.0 / (1 + np.arange(60.0)) ** 3, np.full(60, 0.005))
    tilts = [said(path, signal=steep) for path in true_paths(0.2)]

    power = series_priors(ANGLES, tilts)[0].signal.signal.power

    np.testing.assert_allclose(power[:4], steep.power[:4], rtol=0.1)


def test_a_clear_ring_counts_by_itself(faint):
    _, clear = faint
    wrong = expected_of(clear, 1.0)
    wrong = replace(wrong, signal=replace(wrong.signal, power=3 * wrong.signal.power), scatter=1.0)

    alone, with_others = powers_of(clear), powers_of(replace(clear, expected=wrong))

    coarse = slice(6, 12)
    np.testing.assert_allclose(with_others.signal[coarse], alone.measured[coarse], rtol=0.1)


def test_a_movie_tells_its_neighbours_a_signal_that_they_get_back(faint):
    _, clear = faint
    powers = powers_of(clear)
    seen = measured_signal(clear, powers)

    level = noise_level(clear, powers.noise)
    np.testing.assert_allclose(seen.power * level**2, powers.measured, rtol=1e-9)
    assert np.isinf(seen.error[clear.ring_count == 0]).all()
    weight = expected_weight(clear, ExpectedSignal(seen, 0.1))
    assert weight[seen.power > 4 * seen.error].min() > 0
    assert not weight[clear.ring_count == 0].any()
