"""Motion against rest by all data: how often which is believed, with few and faint frames."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.estimate.bayes_factor import BayesFactor, bayes_factor
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.refine import refine

TIMES, NOISE = 3, 5.0
PATH_PX = np.array([[-2.0, 1.0], [0.0, -0.5], [2.0, -0.5]])


def factor_of(make_drifting_frames, path_px, noise, seed):
    """By patches without a field, refined from rest; paths in small pixels."""
    frames = make_drifting_frames(path_px, (128, 160), noise, seed=seed)
    at_rest = np.zeros((4, TIMES, 2))
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), at_rest)
    refined = refine(patches, at_rest, None)
    return bayes_factor(patches, refined, None, sweep(patches, at_rest, None))


def test_few_faint_frames_that_move_are_told_from_rest(make_drifting_frames):
    factors = [factor_of(make_drifting_frames, PATH_PX, NOISE, seed) for seed in range(8)]

    assert sum(factor.is_significant for factor in factors) >= 7


def test_rest_is_the_likelier_where_nothing_moves(make_drifting_frames):
    still = 0 * PATH_PX

    factors = [factor_of(make_drifting_frames, still, NOISE, seed) for seed in range(12)]

    assert not any(factor.is_significant for factor in factors)
    assert np.median([factor.log for factor in factors]) < -1
    assert np.median([factor.log_signal for factor in factors]) > 20


@pytest.mark.parametrize("path_px", [0 * PATH_PX, PATH_PX], ids=["still", "moving"])
def test_nothing_is_believed_of_noise_alone(make_drifting_frames, path_px):
    factors = [factor_of(make_drifting_frames, path_px, 1e4, seed) for seed in range(12)]

    assert not any(factor.is_significant for factor in factors)
    assert np.median([factor.log_signal for factor in factors]) < 0


def test_the_more_is_seen_of_a_motion_the_clearer_it_is(make_drifting_frames):
    faint, bright = (factor_of(make_drifting_frames, PATH_PX, noise, 1) for noise in (5.0, 3.0))

    assert bright.log > 2 * faint.log > 0
    assert bright.log_signal > 2 * faint.log_signal > 0


@pytest.mark.parametrize(
    ("log", "is_small", "is_significant"),
    [(2.2, False, False), (2.4, False, True), (9.1, True, False), (9.3, True, True)],
)
def test_a_small_motion_needs_more_evidence(log, is_small, is_significant):
    assert BayesFactor(log, 50.0, is_small).is_significant is is_significant
    assert not BayesFactor(log, 9.1, is_small).is_significant
