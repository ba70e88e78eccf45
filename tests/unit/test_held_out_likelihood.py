"""Which motion to believe: how scores are weighed, and how often a wrong one is believed."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from flexalign.estimate.held_out_likelihood import (
    MIN_LOG_LIKELIHOOD_RATIO,
    SIGNIFICANT,
    HeldOut,
    held_out_scores,
)
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.spectral_powers import half_of_ring, ring_powers, strength_by_other_half

TIMES = 8


def held_out(score, chance=5.0, spread=2.0):
    pairs = {frozenset(pair): spread for pair in combinations(score, 2)}
    gain = {name: value - score["none"] for name, value in score.items()}
    return HeldOut(score, gain, chance, pairs, still_cross=np.zeros(4))


def test_the_evidence_for_a_motion_must_not_rest_on_one_set_of_weights():
    judged = held_out({"none": 90.0, "refined": 90.0 + 2 * MIN_LOG_LIKELIHOOD_RATIO})

    assert judged.best() == "refined"
    assert (
        replace(judged, gain={"none": 0.0, "refined": 0.9 * MIN_LOG_LIKELIHOOD_RATIO}).best()
        == "none"
    )


def test_a_candidate_must_make_the_data_more_likely_than_no_motion():
    likely, unlikely = (
        held_out({"none": 90.0, "global": 91.0, "local": 90.0 + MIN_LOG_LIKELIHOOD_RATIO + more})
        for more in (0.1, -0.1)
    )

    assert likely.best() == "local"
    assert unlikely.best() == "none"
    assert likely.over_none()["global"] == 1


def test_a_candidate_that_is_only_less_wrong_is_not_believed():
    assert held_out({"none": -90.0, "local": SIGNIFICANT * 5.0 - 0.1}).best() == "none"


def test_scores_that_share_their_noise_are_told_apart():
    """A difference far below the chance of one score, and far above its own."""
    assert held_out({"none": 100.0, "global": 115.0}, chance=24.0, spread=2.0).best() == "global"


def test_the_refined_motion_may_fall_short_by_chance():
    score = {"none": 10.0, "global": 100.0, "refined": 97.5}

    assert held_out(score, spread=3.0).best() == "refined"
    assert held_out(score, spread=2.0).best() == "global"


def test_a_signal_must_stand_out_from_chance():
    assert held_out({"none": SIGNIFICANT * 5.0 + 0.1}).has_signal
    assert not held_out({"none": SIGNIFICANT * 5.0 - 0.1}).has_signal


@pytest.mark.parametrize("size_px", [0.3, 3.0])
@pytest.mark.parametrize("noise", [3.0, 1e4], ids=["still", "no signal"])
def test_a_wrong_motion_is_not_believed_where_nothing_moves(make_drifting_frames, noise, size_px):
    """And on noise alone the difference of two scores scatters as it is said to."""
    still, standing = np.zeros((4, TIMES, 2)), []
    for seed in range(24):
        frames = make_drifting_frames(still[0], (96, 128), noise, seed=seed)
        path = size_px * np.random.default_rng(seed).normal(size=(TIMES, 2))
        wrong = np.repeat(path[None], 4, axis=0)
        patches = cut_spectra(frames, make_grid(frames, (2, 2)), still)
        powers = ring_powers(patches, sweep(patches, still if noise < 100 else -wrong, None))
        candidates = {"none": (still, still), "wrong": (wrong, wrong)}
        judged = held_out_scores(patches, candidates, powers, 14.0)

        assert judged.best() == "none"
        gain = judged.score["wrong"] - judged.score["none"]
        spread = judged.spread[frozenset(("none", "wrong"))]
        standing += [gain / spread] if spread else []
    if noise > 100:
        assert abs(np.mean(standing)) < 1.0
        assert 0.5 < np.std(standing) < 1.6
    else:
        assert np.mean(standing) < -0.5


def test_held_out_data_prefer_the_true_motion(make_drifting_frames):
    """Pixels of 2 A; what is coarser than 8.4 A, the pairwise stage's share, does not count."""
    path = np.stack([np.linspace(0, 6, 8), np.linspace(0, -4, 8)], axis=1)
    frames = make_drifting_frames(path, (128, 160), noise=2.0)
    truth = np.repeat(2 * path[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), truth)
    wrong = {"none": 0 * truth, "swapped": truth[..., ::-1], "opposite": -truth}
    candidates = {name: (d, d) for name, d in {**wrong, "true": truth}.items()}

    judged = held_out_scores(
        patches, candidates, ring_powers(patches, sweep(patches, truth, None)), 14.0
    )

    assert judged.best() == "true"
    assert judged.has_signal
    assert all(judged.score[name] < 0.5 * judged.score["true"] for name in wrong)


def test_the_strength_of_a_patch_in_a_ring_is_measured_in_the_other_half_of_the_rings(
    make_drifting_frames,
):
    still = np.zeros((4, TIMES, 2))
    frames = make_drifting_frames(still[0], (128, 160), noise=2.0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), still)
    found = sweep(patches, still, None)
    powers, half = ring_powers(patches, found), half_of_ring(len(patches.ring_count))
    stronger = found.cross.copy()
    stronger[0, half == 1] *= 3

    before, after = (
        strength_by_other_half(patches, cross, powers)[0] for cross in (found.cross, stronger)
    )

    known = powers.weight.any(axis=0)
    np.testing.assert_array_equal(after[half == 1], before[half == 1])
    assert (after > 1.2 * before)[known & (half == 0)].mean() > 0.8


def test_each_half_is_judged_by_its_own_displacements(make_drifting_frames):
    path = np.stack([np.linspace(0, 6, 8), np.linspace(0, -4, 8)], axis=1)
    frames = make_drifting_frames(path, (128, 160), noise=2.0)
    truth = np.repeat(2 * path[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), truth)
    candidates = {
        "none": (0 * truth, 0 * truth),
        "first": (truth, -truth),
        "second": (-truth, truth),
        "both": (truth, truth.copy()),
        "neither": (-truth, -truth),
    }

    score = held_out_scores(
        patches, candidates, ring_powers(patches, sweep(patches, truth, None)), 14.0
    ).score

    assert score["first"] + score["second"] == pytest.approx(score["both"] + score["neither"])
    assert score["neither"] < min(score["first"], score["second"])
    assert max(score["first"], score["second"]) < score["both"]
