"""Trajectories from pairs: exact ones, spoiled ones, and those of small movies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.estimate import pairwise
from flexalign.model import PairwiseShifts

SCALE = 2.0


def walk(count, step_px=1.0, seed=1):
    """A random path (count, 2) with mean zero."""
    path = np.random.default_rng(seed).normal(0, step_px, (count, 2)).cumsum(axis=0)
    return path - path.mean(axis=0)


def exact_pairs(path_px):
    first, second = np.triu_indices(len(path_px), 1)
    ones = np.ones(len(first))
    return PairwiseShifts(first, second, path_px[second] - path_px[first], 10 * ones, ones)


def spread(difference_px):
    """Largest deviation once the mean is removed."""
    return np.abs(difference_px - difference_px.mean(axis=0)).max()


def test_exact_pairs_give_back_the_path():
    path = walk(25)

    found, _, _ = pairwise.solve(exact_pairs(path), 25)

    np.testing.assert_allclose(found, path, atol=1e-6)


def test_a_fifth_of_gross_outliers_does_no_harm_and_is_rejected():
    rng = np.random.default_rng(2)
    path = walk(20)
    pairs = exact_pairs(path)
    wrong = rng.random(len(pairs.first)) < 0.2
    shift = pairs.shift_px + rng.normal(0, 0.05, pairs.shift_px.shape)
    shift[wrong] = rng.uniform(-40, 40, (wrong.sum(), 2))

    found, _, used = pairwise.solve(replace(pairs, shift_px=shift), 20)

    assert spread(found - path) < 0.05
    assert (used.weight[wrong] == 0).mean() > 0.95
    assert (used.weight[~wrong] > 0).mean() > 0.95


def test_gaussian_noise_is_averaged_nearly_as_well_as_by_plain_least_squares():
    rng = np.random.default_rng(5)
    pairs = exact_pairs(np.zeros((5, 2)))
    robust, plain = [], []
    for _ in range(60):
        shift = rng.normal(0, 0.2, pairs.shift_px.shape)
        robust.append(pairwise.solve(replace(pairs, shift_px=shift), 5)[0])
        total = np.zeros((5, 2))
        np.add.at(total, pairs.second, shift)
        np.subtract.at(total, pairs.first, shift)
        plain.append(total / 5)

    assert np.std(robust) < 1.12 * np.std(plain)


def test_a_pair_pulls_by_the_square_of_its_score():
    """Least squares over all pairs of n images: one that is off by d moves its ends by d / n."""
    pairs = exact_pairs(walk(10))
    one = (pairs.first == 4) & (pairs.second == 5)
    shift = pairs.shift_px + np.where(one[:, None], 0.02, 0.0)

    def pull_px(score):
        scored = replace(pairs, shift_px=shift, score=np.where(one, score, 10.0))
        return spread(pairwise.solve(scored, 10)[0] - walk(10))

    assert pull_px(10.0) == pytest.approx(0.02 / 10, rel=0.2)
    assert pull_px(1.0) < pull_px(10.0) / 50


def test_pairs_without_any_score_still_give_a_path():
    path = walk(6)

    found, precision, _ = pairwise.solve(replace(exact_pairs(path), score=np.zeros(15)), 6)

    np.testing.assert_allclose(found, path, atol=1e-6)
    assert np.isfinite(precision).all()


def test_the_precision_is_a_graph_laplacian():
    pairs = exact_pairs(walk(12))

    _, precision, _ = pairwise.solve(pairs, 12)

    np.testing.assert_allclose(precision.sum(axis=1), 0, atol=1e-9 * precision.max())
    np.testing.assert_allclose(precision, precision.T)
    eigenvalues = np.linalg.eigvalsh(precision)
    assert eigenvalues[0] == pytest.approx(0, abs=1e-9 * eigenvalues[-1])
    assert eigenvalues[1] > 1e-3 * eigenvalues[-1]


def test_an_image_with_clearer_peaks_has_more_precision():
    pairs = exact_pairs(walk(12))
    is_significant = (pairs.first == 3) | (pairs.second == 3)

    _, precision, _ = pairwise.solve(replace(pairs, score=np.where(is_significant, 30.0, 10.0)), 12)

    assert precision[3, 3] > 3 * np.delete(np.diag(precision), 3).max()


def test_the_standard_errors_are_about_the_scatter():
    rng = np.random.default_rng(4)
    path = walk(10)
    pairs = exact_pairs(path)
    found, errors = [], []
    for _ in range(60):
        # Each image has its own noise, which all of its pairs share.
        own = rng.normal(0, 0.1, (10, 2))
        shift = pairs.shift_px + own[pairs.second] - own[pairs.first]
        shift += rng.normal(0, 0.1, shift.shape)
        solution, precision, _ = pairwise.solve(replace(pairs, shift_px=shift), 10)
        found.append(solution - path)
        errors.append(np.sqrt(np.diag(np.linalg.pinv(precision))))

    scatter = np.std(found)

    assert 0.5 < np.mean(errors) / scatter < 2


def test_all_pairs_of_forty_frames_are_measured(make_drifting_frames):
    frames = make_drifting_frames(np.zeros((40, 2)), (64, 64), noise=1.0)

    _, pairs = pairwise.global_trajectory(frames, 14.0, 5.0)

    assert len(pairs.first) == 40 * 39 // 2
    assert (pairs.first < pairs.second).all()


def test_many_faint_frames_are_measured_in_groups_and_each_has_its_place(make_drifting_frames):
    path = np.stack([np.linspace(0, 12, 150), np.linspace(0, -6, 150)], axis=1)
    frames = make_drifting_frames(path, (96, 128), noise=2.0)

    found, pairs = pairwise.global_trajectory(frames, 14.0, 10.0)

    assert pairs.second.max() == pairwise.MAX_IMAGES - 1
    assert found.shape == (150, 2)
    assert np.abs(found - SCALE * (path - path.mean(axis=0))).max() < 0.5


def test_the_path_of_a_small_movie_is_found_with_sign_and_axes(make_drifting_frames):
    path = np.stack([np.linspace(0, 9, 12), np.linspace(0, -4, 12) ** 2 / 4], axis=1)
    frames = make_drifting_frames(path, (96, 128), noise=1.0)

    found, pairs = pairwise.global_trajectory(frames, 14.0, 50.0)

    wanted = SCALE * (path - path.mean(axis=0))
    assert np.abs(found - wanted).max() < 0.1
    assert spread(found - wanted[:, ::-1]) > 2
    assert spread(found + wanted) > 2
    assert (pairs.weight > 0).mean() > 0.9


def test_threads_do_not_change_the_path(make_drifting_frames):
    frames = make_drifting_frames(walk(6), noise=0.5)

    one, three = (pairwise.global_trajectory(frames, 14.0, 50.0, threads=n)[0] for n in (1, 3))

    assert np.array_equal(one, three)


def test_unbinned_pixels_follow_the_scale_of_each_axis(make_drifting_frames):
    path = np.stack([np.linspace(0, 6, 6), np.linspace(0, 3, 6)], axis=1)
    frames = replace(make_drifting_frames(path, noise=0.2), full_shape_px=(96 * 2, 128 * 3))

    found, _ = pairwise.global_trajectory(frames, 14.0, 50.0)

    np.testing.assert_allclose(np.ptp(found, axis=0), [12, 9], atol=0.15)


def test_a_jump_within_the_limit_is_found(make_drifting_frames):
    """40 A in y at 2 A per small pixel, where 50 A are allowed."""
    path = np.zeros((8, 2))
    path[5:] = [20, 0]

    found, _ = pairwise.global_trajectory(make_drifting_frames(path), 14.0, 50.0)

    np.testing.assert_allclose(found[5] - found[4], [40, 0], atol=0.3)


def test_a_jump_beyond_the_limit_is_not_looked_for(make_drifting_frames):
    path = np.zeros((2, 2))
    path[1] = [20, 0]

    found, _ = pairwise.global_trajectory(make_drifting_frames(path), 14.0, 20.0)

    assert np.hypot(*(found[1] - found[0])) <= 20 + SCALE


def test_frames_far_apart_may_differ_by_as_many_times_more(make_drifting_frames):
    """4 small pixels per frame with 5 allowed: the ends are 32 apart."""
    path = np.arange(9)[:, None] * np.array([[0.0, 4.0]])

    found, pairs = pairwise.global_trajectory(make_drifting_frames(path), 14.0, 10.0)

    np.testing.assert_allclose(found[-1] - found[0], [0, 64], atol=0.2)
    assert (pairs.weight > 0).mean() > 0.9


def test_frames_missing_in_the_file_count_as_time(make_drifting_frames):
    """5 small pixels per frame are allowed; the third image is six frames after the second."""
    path = np.array([[0.0, 0.0], [0.0, 4.0], [0.0, 28.0], [0.0, 32.0]])
    frames = make_drifting_frames(path, frame=np.array([0, 1, 7, 8]), noise=0.5)

    found, _ = pairwise.global_trajectory(frames, 14.0, 10.0)

    np.testing.assert_allclose(found[:, 1] - found[0, 1], SCALE * path[:, 1], atol=0.3)


def test_the_filter_is_one_half_at_the_resolution_in_angstrom(make_drifting_frames):
    """Small pixels of 2 x 1.5 = 3 A: 20 A is 0.15 cycles per pixel, after whitening to one."""
    still = np.zeros((6, 2))
    frames = make_drifting_frames(still, (128, 128), noise=50.0, pixel_size_A=1.5)

    spectra = pairwise.filtered_spectra(frames, list(np.arange(6)[:, None]), 20.0)

    ky, kx = np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None, :]
    ring = (np.abs(np.hypot(ky, kx) - 0.15) < 0.01) & (ky != 0) & (kx != 0)
    ring = ring[:, : spectra.shape[2]]
    amplitude = np.sqrt((np.abs(spectra) ** 2).mean(axis=0)[ring].mean())
    assert amplitude == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("wanted", "expected"), [("first", 0), ("middle", 3), ("auto", 5)])
def test_the_reference_is_the_one_asked_for(wanted, expected):
    """The ends are 12 apart; the frame at 6 is as near to both as can be."""
    path = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [6, 0], [12, 0]])

    assert pairwise.choose_reference(path, wanted) == expected


def test_what_was_not_measured_is_interpolated_and_marked():
    at = np.array([1, 4, 5])
    trajectory = pairwise.as_trajectory(
        np.array([[0.0, 2.0], [3.0, 5.0], [4.0, 4.0]]), at, at, 8, 1, np.ones((3, 2))
    )

    assert trajectory.is_measured.tolist() == [False, True, False, False, True, True, False, False]
    np.testing.assert_allclose(trajectory.displacement_px[:, 0], [0, 0, 1, 2, 3, 4, 4, 4])
    np.testing.assert_allclose(trajectory.displacement_px[:, 1], [0, 0, 1, 2, 3, 2, 2, 2])
    assert np.isnan(trajectory.standard_error_px[[0, 2, 3, 6, 7]]).all()
    assert (trajectory.standard_error_px[[1, 4, 5]] == 1).all()


def test_a_copy_has_the_displacement_of_the_frame_before():
    at = np.array([0, 1, 4])
    trajectory = pairwise.as_trajectory(
        np.array([[0.0, 0.0], [1.0, 2.0], [9.0, 8.0]]), at, at, 5, 0, copies={2: 1, 3: 2}
    )

    assert trajectory.displacement_px[:, 0].tolist() == [0, 1, 1, 1, 9]
    assert trajectory.is_measured.tolist() == [True, True, False, False, True]
