"""Fits of trajectory and field: exact data, no data, priors by evidence, honest errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.estimate.evidence import (
    PatchLikelihood,
    fit_motion,
    move_mean_to_path,
    posterior_deviations,
)
from flexalign.estimate.prior_choice import choose_field_prior, choose_trajectory_prior
from flexalign.estimate.priors import FieldPrior, TrajectoryPrior
from flexalign.model import FrameRange
from flexalign.motion import MotionField

HEIGHT_PX, WIDTH_PX, TIMES = 400, 600, 16
CENTER_PX = np.array([[y, x] for y in (50.0, 150, 250, 350) for x in (75.0, 225, 375, 525)])
FRAME = np.arange(TIMES, dtype=float)
SHAPE = MotionField(np.zeros((2, 4, 3, 3)), HEIGHT_PX, WIDTH_PX, FrameRange(0, TIMES))
# So wide that the data alone decide.
WIDE = TrajectoryPrior(smooth_px=50.0, smooth_frames=1.0, jitter_px=50.0)
WIDE_FIELD = FieldPrior(size_px=50.0, smooth_frames=1.0, smooth_px=50.0)


def field_of(seed=1, size_px=1.0):
    rng = np.random.default_rng(seed)
    return replace(SHAPE, coefficients_px=size_px * rng.normal(size=(2, 4, 3, 3)))


def smooth_path():
    u = FRAME / (TIMES - 1)
    path = np.stack([9 * np.exp(-3 * u), 4 * u**2], axis=1)
    return path - path.mean(axis=0)


def at_centers(path_px, field=None):
    """Displacement (patches, times, 2) of a path and a field."""
    total = np.repeat(np.asarray(path_px)[None], len(CENTER_PX), axis=0)
    if field is not None:
        total += np.stack(
            field.displacement_px(FRAME[None], CENTER_PX[:, :1], CENTER_PX[:, 1:]), axis=-1
        )
    return total


def centred(displacement_px):
    return displacement_px - displacement_px.mean(axis=1, keepdims=True)


def data_of(displacement_px, error_px, rng=None):
    """What patches with that standard error say; with `rng`, noise of that size is added."""
    precision = (np.eye(TIMES) - 1 / TIMES) / error_px**2
    noise = 0 if rng is None else rng.normal(0, error_px, displacement_px.shape)
    every = np.repeat(precision[None], len(CENTER_PX), axis=0)
    return PatchLikelihood(CENTER_PX, FRAME, every, every @ (displacement_px + noise))


def test_exact_data_give_back_trajectory_and_field():
    truth = at_centers(smooth_path(), field_of())

    fit = fit_motion(data_of(truth, 1e-3), WIDE, WIDE_FIELD, SHAPE)

    found = at_centers(fit.trajectory_px, fit.field)
    np.testing.assert_allclose(centred(found), centred(truth), atol=1e-3)


def test_the_trajectory_is_the_mean_over_patches_and_over_time_zero():
    truth = at_centers(smooth_path(), field_of())

    fit = fit_motion(data_of(truth, 1e-3), WIDE, WIDE_FIELD, SHAPE)

    np.testing.assert_allclose(fit.trajectory_px, centred(truth).mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(fit.trajectory_px.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(
        at_centers(np.zeros((TIMES, 2)), fit.field).mean(axis=0), 0, atol=1e-9
    )


def test_without_data_nothing_moves():
    nothing = PatchLikelihood(
        CENTER_PX, FRAME, np.zeros((16, TIMES, TIMES)), np.zeros((16, TIMES, 2))
    )

    fit = fit_motion(nothing, TrajectoryPrior(), FieldPrior(), SHAPE)

    assert not fit.trajectory_px.any()
    assert not fit.field.coefficients_px.any()


def test_one_of_the_two_can_be_left_out():
    data = data_of(at_centers(smooth_path()), 0.05)

    alone = fit_motion(data, WIDE, None, SHAPE)
    field_alone = fit_motion(data, None, WIDE_FIELD, SHAPE)

    assert alone.field is None
    np.testing.assert_allclose(alone.trajectory_px, smooth_path(), atol=1e-3)
    assert field_alone.trajectory_px is None
    assert field_alone.trajectory_error_px is None
    assert np.abs(field_alone.field.coefficients_px).max() > 1


def test_the_axes_do_not_mix():
    path = np.zeros((TIMES, 2))
    path[:, 1] = smooth_path()[:, 0]

    fit = fit_motion(data_of(at_centers(path), 0.1), TrajectoryPrior(), FieldPrior(), SHAPE)

    np.testing.assert_allclose(fit.trajectory_px[:, 0], 0, atol=1e-9)
    np.testing.assert_allclose(fit.field.coefficients_px[0], 0, atol=1e-9)
    assert np.ptp(fit.trajectory_px[:, 1]) > 5


def test_a_patch_without_precision_has_no_say():
    truth = at_centers(smooth_path())
    data = data_of(truth, 0.05)
    precision, linear = data.precision.copy(), data.linear.copy()
    precision[3], linear[3] = 0, 0
    spoiled = replace(data, precision=precision, linear=linear)

    fit = fit_motion(spoiled, WIDE, None, None)

    np.testing.assert_allclose(fit.trajectory_px, smooth_path(), atol=1e-3)


def test_the_evidence_is_the_probability_of_the_data_without_the_motion():
    """Against the marginal Gaussian, written out: |1 + C P|^-1/2 exp(b (P + 1/C)^-1 b / 2)."""
    data = data_of(at_centers(smooth_path()), 0.3, np.random.default_rng(2))
    precision, linear = data.precision.sum(axis=0), data.linear.sum(axis=0)
    apart = np.sqrt(3) * np.abs(FRAME[:, None] - FRAME)
    slope = (FRAME - FRAME.mean()) / (TIMES - 1)

    def expected(prior):
        r = apart / prior.smooth_frames
        covariance = prior.smooth_px**2 * (1 + r) * np.exp(-r)
        covariance += 300**2 * (1 + np.outer(slope, slope))
        covariance += (prior.jitter_px**2 + 1e-6) * np.eye(TIMES)
        inner = np.linalg.solve(np.eye(TIMES) + covariance @ precision, covariance @ linear)
        determinant = np.linalg.slogdet(np.eye(TIMES) + covariance @ precision)[1]
        return 0.5 * (linear * inner).sum() - determinant

    one, other = TrajectoryPrior(4.0, 8.0, 0.1), TrajectoryPrior(1.0, 3.0, 0.5)
    found = [fit_motion(data, prior, None, None).log_evidence for prior in (one, other)]

    assert found[0] - found[1] == pytest.approx(expected(one) - expected(other), rel=1e-5)


def test_the_field_is_chosen_small_for_rigid_data_and_larger_for_local_data():
    rng = np.random.default_rng(3)
    truths = [at_centers(smooth_path(), field_of(size_px=size)) for size in (0.0, 10.0)]
    chosen, errors, moves = [], [], []
    for truth in truths:
        data = data_of(truth, 0.15, rng)
        chosen.append(choose_field_prior(data, WIDE, SHAPE, FieldPrior(smooth_px=300.0)))
        fit = fit_motion(data, WIDE, chosen[-1], SHAPE)
        rest = centred(at_centers(np.zeros((TIMES, 2)), fit.field))
        moves.append(rest.std())
        errors.append((rest - centred(truth - truth.mean(axis=0))).std())

    assert chosen[0].size_px < 1 < 4 < chosen[1].size_px < 25
    assert moves[0] < 0.02
    assert errors[1] < 0.25 * moves[1]


def test_a_prior_chosen_by_the_data_takes_noise_out_of_the_field():
    rng = np.random.default_rng(4)
    data = data_of(at_centers(smooth_path()), 0.5, rng)
    prior = choose_field_prior(data, WIDE, SHAPE, FieldPrior(smooth_px=300.0))

    by_choice, free = (fit_motion(data, WIDE, p, SHAPE).field for p in (prior, WIDE_FIELD))

    assert by_choice.coefficients_px.std() < 0.2 * free.coefficients_px.std()


def test_jitter_is_chosen_larger_for_a_jittery_path():
    rng = np.random.default_rng(5)
    jitter = rng.normal(0, 1.0, (TIMES, 2))

    chosen = [
        choose_trajectory_prior(
            data_of(at_centers(smooth_path() + part), 0.2, rng), TrajectoryPrior()
        ).jitter_px
        for part in (0 * jitter, jitter)
    ]

    assert chosen[0] < 0.2
    assert 0.5 < chosen[1] < 2


def test_the_standard_errors_are_the_scatter_of_the_fits():
    rng = np.random.default_rng(6)
    truth = at_centers(smooth_path(), field_of())
    fits = [fit_motion(data_of(truth, 0.5, rng), WIDE, WIDE_FIELD, SHAPE) for _ in range(150)]

    scatter = np.std([fit.trajectory_px for fit in fits], axis=0).mean(axis=1)
    np.testing.assert_allclose(fits[0].trajectory_error_px, scatter, rtol=0.25)
    # One standard deviation, divided among sixteen patches.
    assert scatter.mean() == pytest.approx(0.5 / 4, rel=0.1)


def test_the_standard_errors_of_the_field_are_its_scatter_where_its_control_points_are():
    rng = np.random.default_rng(7)
    truth = at_centers(smooth_path(), field_of())
    fits = [fit_motion(data_of(truth, 0.5, rng), WIDE, WIDE_FIELD, SHAPE) for _ in range(150)]

    # The field stands relative to its mean over time, which the data do not see.
    frame, y, x = SHAPE.control_point_places
    places = (frame[:, None, None], y[:, None], x)
    fields = np.array([fit.field.displacement_px(*places) for fit in fits])
    means = np.array([
        np.mean(fit.field.displacement_px(FRAME[:, None, None], y[:, None], x), axis=1)
        for fit in fits
    ])  # fmt: skip
    scatter = np.std(fields - means[:, :, None], axis=0)
    ratio = np.median(fits[0].field.standard_error_px / scatter)

    # Where patches are few, part of the error is that of the prior, which does not scatter.
    assert 0.8 < ratio < 1.25


def test_giving_the_mean_to_the_path_leaves_the_motion_as_it_was():
    path, field = smooth_path(), field_of()

    new_path, new_field = move_mean_to_path(path, field, CENTER_PX, FRAME)

    before, after = at_centers(path, field), at_centers(new_path, new_field)
    np.testing.assert_allclose(after, before, atol=1e-12)
    np.testing.assert_allclose(at_centers(0 * path, new_field).mean(axis=0), 0, atol=1e-12)
    assert np.abs(new_path - path).max() > 0.1
    y, x = np.array([[0.0, 399.0], [0.0, 599.0]])  # corners, where no patch has its middle
    corners = [
        p[3] + np.stack(f.displacement_px(3.0, y, x), axis=-1)
        for p, f in ((path, field), (new_path, new_field))
    ]
    np.testing.assert_allclose(*corners, atol=1e-12)


def test_a_jump_is_let_go_and_the_rest_stays_smooth():
    rng = np.random.default_rng(8)
    frame = np.arange(24.0)
    smooth = np.stack([3 * np.sin(frame / 9), 2 * np.cos(frame / 7)], axis=1)
    jumped = smooth + np.where(frame[:, None] > 10, [25.0, -30.0], 0.0)

    def prior_for(path):
        precision = 25.0 * (np.eye(24) - 1 / 24)[None]
        noisy = path + rng.normal(0, 0.2, path.shape)
        data = PatchLikelihood(np.zeros((1, 2)), frame, precision, precision @ noisy[None])
        return choose_trajectory_prior(data, TrajectoryPrior())

    assert prior_for(smooth).jump_frames == ()
    found = prior_for(jumped)
    assert found.jump_frames == (10.5,)
    assert found.jitter_px < 0.3
    assert found.smooth_frames > 8


def test_data_far_surer_than_the_prior_are_solved():
    """Frames without noise: rounding alone makes the sum of both indefinite."""
    count = 6
    laplacian = 1e18 * (count * np.eye(count) - 1)
    path = np.arange(count, dtype=float)[:, None] * (1.0, -2.0)
    data = PatchLikelihood(
        np.zeros((1, 2)), np.arange(count, dtype=float), laplacian[None], (laplacian @ path)[None]
    )

    fit = fit_motion(data, TrajectoryPrior(), None, None)

    np.testing.assert_allclose(fit.trajectory_px, path - path.mean(axis=0), atol=0.1)


def test_a_path_that_calms_down_is_found_better_by_a_prior_that_does():
    """Fast in the first frames, as real movies are; a prior even in time cannot follow."""
    path = 6 * np.log1p(FRAME / 0.5)[:, None] * [1.0, -0.5]
    path -= path.mean(axis=0)
    errors = []
    for seed in range(8):
        data = data_of(at_centers(path), 1.0, np.random.default_rng(seed))
        chosen = choose_trajectory_prior(data, TrajectoryPrior())
        even = min(
            (replace(chosen, slowing_frames=0.0, smooth_px=s, smooth_frames=f)
             for s in (1.0, 4.0, 16.0) for f in (4.0, 16.0)),
            key=lambda prior: -fit_motion(data, prior, None, None).log_evidence,
        )  # fmt: skip
        fits = [fit_motion(data, prior, None, None).trajectory_px for prior in (chosen, even)]
        errors.append([np.sqrt(np.mean((fit - path) ** 2)) for fit in fits])
        assert chosen.slowing_frames > 0

    calming, even = np.mean(errors, axis=0)
    assert calming < 0.9 * even


def test_a_steady_path_with_bends_everywhere_is_not_said_to_slow_down():
    path = np.stack([3 * np.sin(FRAME / 1.5), 3 * np.cos(FRAME / 2.0)], axis=1)

    chosen = choose_trajectory_prior(
        data_of(at_centers(path), 0.3, np.random.default_rng(9)), TrajectoryPrior()
    )

    assert chosen.slowing_frames == 0


def test_the_field_slows_down_with_the_trajectory():
    calming = TrajectoryPrior(slowing_frames=2.0)
    data = data_of(at_centers(smooth_path(), field_of()), 0.3, np.random.default_rng(10))

    chosen = choose_field_prior(data, calming, SHAPE, FieldPrior(smooth_px=300.0))

    assert chosen.slowing_frames == 2.0


def few_frames(displacement_px, error_px, rng):
    """Data of three frames."""
    precision = (np.eye(3) - 1 / 3) / error_px**2
    every = np.repeat(precision[None], len(CENTER_PX), axis=0)
    noise = rng.normal(0, error_px, (len(CENTER_PX), 3, 2))
    return PatchLikelihood(CENTER_PX, FRAME[:3], every, every @ (displacement_px + noise))


def test_three_frames_that_bend_are_not_called_jittery():
    bent = np.array([[0.0, 0.0], [1.5, -1.0], [0.0, 0.0]])
    rng = np.random.default_rng(1)

    found = [
        choose_trajectory_prior(few_frames(bent, 2.0, rng), TrajectoryPrior()).jitter_px
        for _ in range(20)
    ]

    assert max(found) < 0.3


def test_jitter_that_many_frames_show_is_found():
    rng = np.random.default_rng(2)
    jittery = at_centers(smooth_path() + rng.normal(0, 2.0, (TIMES, 2)))

    prior = choose_trajectory_prior(data_of(jittery, 0.3, rng), TrajectoryPrior())

    assert 1.0 < prior.jitter_px < 4.0


def test_faint_patches_seldom_ask_for_a_field():
    rng = np.random.default_rng(3)
    still = at_centers(np.zeros((TIMES, 2)))

    sizes = [
        choose_field_prior(data_of(still, 12.0, rng), None, SHAPE, FieldPrior()).size_px
        for _ in range(20)
    ]

    assert np.mean(np.array(sizes) > 0.5) <= 0.1


@pytest.mark.parametrize(
    "field", [None, FieldPrior(size_px=1.0, smooth_frames=5.0, smooth_px=200.0)]
)
def test_deviations_of_the_posterior_scatter_by_the_standard_errors(field):
    shape = None if field is None else SHAPE
    data = data_of(at_centers(smooth_path()), 0.5)
    fit = fit_motion(data, WIDE, field, shape)
    normal = np.random.default_rng(1).standard_normal((1000, 60, 2))

    drawn = posterior_deviations(data, WIDE, field, shape, normal)

    paths = np.array([
        path if of_field is None else move_mean_to_path(path, of_field, CENTER_PX, FRAME)[0]
        for path, of_field in drawn
    ])  # fmt: skip
    scatter_px = (paths - paths.mean(axis=1, keepdims=True)).std(axis=(0, 2))
    np.testing.assert_allclose(scatter_px, fit.trajectory_error_px, rtol=0.08)
