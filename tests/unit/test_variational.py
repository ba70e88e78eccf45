"""The mean of the posterior: curvature, powers and standard errors of a weak signal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.estimate import refine
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.quadratic import patch_likelihood
from flexalign.estimate.spectral_powers import ring_powers
from flexalign.estimate.variational import refine_average

TIMES, SCALE = 8, 2.0
SEEDS = range(8)
WEAK, STRONG, NOISE_ONLY = 9.0, 2.0, 1000.0


def path_px():
    """A curved path (times, 2) in unbinned pixels."""
    u = np.linspace(0, 1, TIMES)
    return SCALE * np.stack([6 * np.exp(-3 * u), 8 * u - 3 * u**2], axis=1)


@pytest.fixture(scope="module")
def refined(make_drifting_frames):
    """Function of noise and seed: patches of a rigid movie, most probable motion and average."""

    def both(noise, seed):
        frames = make_drifting_frames(path_px() / SCALE, (128, 160), noise=noise, seed=seed)
        wrong = np.random.default_rng(seed).normal(0, 1.5, (TIMES, 2))
        start = np.repeat((path_px() + wrong)[None], 4, axis=0)
        patches = cut_spectra(frames, make_grid(frames, (2, 2)), start)
        whole = refine.refine(patches, start, None)
        of_halves = refine.refine_halves(patches, start, None, whole)
        halves_px = tuple(
            refine.displacement_at(
                half.fit.trajectory_px, None, patches.grid.center_px, patches.frame
            )
            for half in of_halves[::-1]
        )
        return patches, whole, refine_average(patches, whole, halves_px, None)

    return both


@pytest.fixture(scope="module")
def weak(refined):
    """Most probable motion and average of movies with a weak signal."""
    return [refined(WEAK, 100 * seed)[1:] for seed in SEEDS]


def error_px(refinement):
    off = refinement.fit.trajectory_px - path_px()
    return float(np.sqrt(((off - off.mean(axis=0)) ** 2).mean()))


def stated_px(refinement):
    return float(np.sqrt((refinement.fit.trajectory_error_px**2).mean()))


def test_with_a_weak_signal_the_standard_errors_are_nearer_to_the_errors(weak):
    modes, means = (
        np.median([error_px(one[k]) for one in weak])
        / np.median([stated_px(one[k]) for one in weak])
        for k in (0, 1)
    )
    assert 0.8 < means < 1.35 < modes


def test_with_a_weak_signal_the_error_is_about_that_of_the_most_probable_motion(weak):
    modes, means = (np.median([error_px(one[k]) for one in weak]) for k in (0, 1))
    assert means < 1.1 * modes


def test_with_a_strong_signal_it_is_the_most_probable_motion(refined):
    _, mode, mean = refined(STRONG, 0)

    apart = mean.fit.trajectory_px - mode.fit.trajectory_px
    assert np.abs(apart).max() < 0.5 * stated_px(mode)
    assert stated_px(mean) == pytest.approx(stated_px(mode), rel=0.1)


def test_the_average_is_the_same_each_time(refined):
    once, again = (refined(WEAK, 0)[2].fit.trajectory_px for _ in range(2))

    assert np.array_equal(once, again)


def test_the_curvature_of_uncertain_displacements_is_a_mean_over_them(make_drifting_frames):
    """Along y, the curvature of log L between two frames is proportional to cos(2 pi k d)."""
    frames = make_drifting_frames(path_px()[:2] / SCALE, (128, 160), noise=1.0)
    start = np.zeros((4, 2, 2))
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), start)
    found = sweep(patches, start, None)
    powers = ring_powers(patches, found)
    ring = int(np.argmax(powers.weight.sum(axis=0)))
    only = np.arange(powers.weight.shape[1]) == ring
    powers = replace(powers, weight=powers.weight * only)
    variance_px2 = np.array([[0.0, 2.25], [2.25, 0.0]])

    known = patch_likelihood(patches, found, powers, start).precision
    averaged = patch_likelihood(patches, found, powers, start, variance_px2=variance_px2).precision

    k_per_px = patches.ring_frequency_per_A[ring] * patches.pixel_size_A
    drawn_px = np.random.default_rng(1).normal(0, 1.5, 100_000)
    expected = np.cos(2 * np.pi * k_per_px * drawn_px).mean()
    np.testing.assert_allclose(averaged, expected * known, rtol=0.02)


def test_noise_alone_has_less_signal_with_a_smooth_spectrum_and_no_average(refined):
    found = [refined(NOISE_ONLY, seed) for seed in SEEDS]

    for patches, mode, _ in found:
        swept = sweep(patches, refine.displacement_of(mode.fit, patches), None)
        smooth, plain = (ring_powers(patches, swept, is_smooth=value) for value in (True, False))
        assert smooth.signal.sum() < 0.8 * plain.signal.sum()
    assert sum(mean is None for _, _, mean in found) >= len(SEEDS) / 2
