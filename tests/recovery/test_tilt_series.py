"""A tilt series from files to motions: what neighbours say makes faint tilts better."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.align import align_movie
from flexalign.estimate.series import series_priors
from flexalign.measure_tilt import measure_tilt
from flexalign.params import AlignParams
from flexalign.simulate import (
    SimulationSettings,
    TiltSeriesSettings,
    motion_error_px,
    simulate_tilt_series,
)

TILTS = 7


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Movies of two frames of a series, with their parameters and the truth about them."""
    folder = tmp_path_factory.mktemp("series")
    movie = SimulationSettings(
        shape_px=(640, 640), frame_count=2, pixel_size_A=1.5, global_motion_px=4.0,
        local_motion_px=0.5, defocus_um=3.0, seed=11,
    )  # fmt: skip
    settings = TiltSeriesSettings(movie=movie, tilt_count=TILTS, tilt_step_deg=12.0)
    found = []
    for tilt in simulate_tilt_series(settings):
        paths = tilt.movie.save(folder, f"{tilt.number}")
        params = AlignParams(
            pixel_size_A=1.5, dose_per_frame_e_A2=1.5, pre_exposure_e_A2=tilt.pre_exposure_e_A2,
            gain=str(paths["gain"]), dose_weight=False, psd=False, threads=1,
        )  # fmt: skip
        found.append((tilt.angle_deg, paths["movie"], params, tilt.movie))
    return found


@pytest.mark.slow
def test_tilts_that_know_of_each_other_are_nearer_to_the_truth(series):
    alone = [measure_tilt(path, params) for _, path, params, _ in series]
    angles = [angle for angle, *_ in series]
    priors = series_priors(angles, [tilt.statistics for tilt in alone])

    def errors_px(motions):
        return np.array(
            [
                motion_error_px(m, truth).rms_px
                for m, (*_, truth) in zip(motions, series, strict=True)
            ]
        )

    together = [
        align_movie(path, params, series_prior=prior)
        for (_, path, params, _), prior in zip(series, priors, strict=True)
    ]
    before = errors_px([tilt.motion for tilt in alone])
    after = errors_px([result.motion for result in together])
    assert all(prior is not None for prior in priors)
    assert after.mean() < 0.8 * before.mean()
    assert after.max() < before.max()
    assert {result.quality.chosen for result in together} == {"refined"}
    assert all(result.quality.halves_apart > 0 for result in together)
    assert "expected_px" in together[0].record.decisions["trajectory_prior"]


@pytest.mark.slow
def test_without_a_prior_a_tilt_is_any_other_movie(series):
    _, path, params, _ = series[2]

    usual, none = align_movie(path, params), align_movie(path, params, series_prior=None)
    assert np.array_equal(
        usual.motion.trajectory.displacement_px, none.motion.trajectory.displacement_px
    )
    assert np.array_equal(usual.sums.plain, none.sums.plain)
