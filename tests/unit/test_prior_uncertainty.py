"""Standard errors where the data hardly say which prior is right."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.estimate.evidence import PatchLikelihood, fit_motion
from flexalign.estimate.prior_choice import choose_field_prior, choose_trajectory_prior
from flexalign.estimate.prior_uncertainty import with_unknown_prior
from flexalign.estimate.priors import FieldPrior, TrajectoryPrior
from flexalign.model import FrameRange
from flexalign.motion import MotionField

SIDE_PX = 1000
CENTER_PX = np.array([[y, x] for y in (250.0, 750.0) for x in (250.0, 750.0)])


def data_of(path_px, error_px, rng):
    """Four patches that all saw `path_px` (times, 2) with an error each."""
    times = len(path_px)
    precision = np.repeat((np.eye(times) - 1 / times)[None], 4, axis=0) / error_px**2
    seen = path_px + rng.normal(0, error_px, (4, times, 2))
    return PatchLikelihood(CENTER_PX, np.arange(times, dtype=float), precision, precision @ seen)


def rms_over_stated(times, error_px, rng, runs=20):
    """Rms of errors over stated ones, by a prior that is taken as known and by one that is not."""
    shape = MotionField(np.zeros((2, 3, 4, 4)), SIDE_PX, SIDE_PX, FrameRange(0, times))
    known, unknown = [], []
    for _ in range(runs):
        steps = rng.normal(0, 1.0, (times, 2)) / np.arange(1, times + 1)[:, None]
        path = np.cumsum(steps, axis=0) - np.cumsum(steps, axis=0).mean(axis=0)
        data = data_of(path, error_px, rng)
        trajectory = choose_trajectory_prior(data, TrajectoryPrior())
        field = choose_field_prior(data, trajectory, shape, FieldPrior(smooth_px=SIDE_PX / 2))
        fit = fit_motion(data, trajectory, field, shape)
        wider = with_unknown_prior(fit, data, (trajectory, field), shape)
        for found, ratios in ((fit, known), (wider, unknown)):
            ratios.append((found.trajectory_px - path) / found.trajectory_error_px[:, None])
    return tuple(float(np.sqrt(np.mean(np.square(ratios)))) for ratios in (known, unknown))


def test_few_frames_leave_the_prior_open_and_the_errors_say_so():
    known, unknown = rms_over_stated(4, 0.6, np.random.default_rng(1))

    assert known > 1.2
    assert unknown < known - 0.1
    assert 0.8 < unknown < 1.25


def test_where_the_data_decide_the_errors_stay_as_they_are():
    rng = np.random.default_rng(2)
    path = np.cumsum(rng.normal(0, 1.0, (24, 2)), axis=0)
    data = data_of(path - path.mean(axis=0), 0.05, rng)
    trajectory = choose_trajectory_prior(data, TrajectoryPrior())
    fit = fit_motion(data, trajectory, None, None)
    wider = with_unknown_prior(fit, data, (trajectory, None), None)

    assert wider.trajectory_error_px == pytest.approx(fit.trajectory_error_px, rel=0.05)


def test_a_field_that_the_data_do_not_exclude_has_an_error():
    rng = np.random.default_rng(3)
    shape = MotionField(np.zeros((2, 3, 4, 4)), SIDE_PX, SIDE_PX, FrameRange(0, 6))
    data = data_of(np.zeros((6, 2)), 1.0, rng)
    priors = TrajectoryPrior(jitter_px=0.001), FieldPrior(0.001, 60.0, 10_000.0)
    fit = fit_motion(data, *priors, shape)
    wider = with_unknown_prior(fit, data, priors, shape)

    assert fit.field.standard_error_px.max() < 0.01
    assert np.median(wider.field.standard_error_px) > 0.1
    assert np.array_equal(wider.field.coefficients_px, fit.field.coefficients_px)
