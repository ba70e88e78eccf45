"""The motion found is the motion that was there, for every kind of motion and over seeds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from flexalign import Motion, align_movie
from flexalign.motion import Trajectory
from flexalign.simulate import motion_error_px, simulate_movie

GLOBAL_LIMIT_PX = 0.3
LOCAL_LIMIT_PX = 0.5
MOVING = ("bumps", "polynomial", "measured", "jump")
SEEDS = (201, 202)


@pytest.fixture(scope="module")
def aligned(save_movie, params_for):
    """Function of (family, seed): the movie, and the results with and without local motion."""

    @cache
    def align(family: str, seed: int):
        movie, files = save_movie(
            shape_px=(2048, 1920),
            frame_count=30,
            electrons_per_px=1.0,
            motion=family,
            local_motion_px=5.0,
            seed=seed,
        )
        params = params_for(movie, files, psd=False)
        both = align_movie(files["movie"], params)
        rigid = align_movie(files["movie"], replace(params, local=False))
        return movie, both, rigid

    return align


def assert_local_recovery(motion, movie) -> None:
    assert motion_error_px(motion, movie).rms_px < LOCAL_LIMIT_PX


def assert_global_recovery(error_px: float) -> None:
    assert error_px < GLOBAL_LIMIT_PX


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", MOVING)
def test_local_and_global_motion_are_found(aligned, trajectory_error_px, family, seed):
    movie, both, rigid = aligned(family, seed)
    assert_global_recovery(trajectory_error_px(rigid.motion.trajectory.displacement_px, movie))
    assert_local_recovery(both.motion, movie)
    assert both.quality.chosen == "refined"
    assert "still" not in both.quality.flag_names
    assert ("jump" in both.quality.flag_names) == (family == "jump")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_still_movie_is_found_still_and_said_to_be(aligned, seed):
    movie, both, _ = aligned("none", seed)
    assert motion_error_px(both.motion, movie).rms_px < 0.12
    assert "still" in both.quality.flag_names


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["no motion", "swapped axes", "opposite sign"])
def test_a_wrong_estimator_would_not_pass(aligned, trajectory_error_px, wrong):
    """The yardstick itself: what must fail, fails."""
    movie, both, rigid = aligned("bumps", SEEDS[0])
    changed = {
        "no motion": lambda values: np.zeros_like(values),
        "swapped axes": lambda values: values[..., ::-1],
        "opposite sign": lambda values: -values,
    }[wrong]
    path = changed(rigid.motion.trajectory.displacement_px)
    with pytest.raises(AssertionError):
        assert_global_recovery(trajectory_error_px(path, movie))

    class Wrong:
        """The motion found, changed as a wrong estimator would."""

        def displacement_px(self, frame, y, x):
            found = np.stack(both.motion.displacement_px(frame, y, x), axis=-1)
            return tuple(np.moveaxis(changed(found), -1, 0))

    assert_local_recovery(both.motion, movie)
    with pytest.raises(AssertionError):
        assert_local_recovery(Wrong(), movie)


@pytest.mark.slow
def test_the_local_part_alone_would_be_missed(aligned):
    """Leaving the field out must show, or the local limit tests nothing."""
    movie, both, _ = aligned("polynomial", SEEDS[0])
    rigid_error = motion_error_px(Motion(both.motion.trajectory), movie).rms_px
    assert rigid_error > 1.5 * motion_error_px(both.motion, movie).rms_px


@pytest.mark.slow
def test_pairs_alone_find_the_path_without_refinement(save_movie, params_for, trajectory_error_px):
    movie, files = save_movie(
        shape_px=(1536, 2048), frame_count=24, motion="bumps", local_motion_px=2.0, seed=203
    )
    params = params_for(movie, files, psd=False, refine=False, local=False)
    result = align_movie(files["movie"], params)
    assert result.quality.chosen == "global"
    path = result.motion.trajectory.displacement_px
    assert trajectory_error_px(path, movie) < 2 * GLOBAL_LIMIT_PX


@pytest.mark.slow
def test_bad_frames_do_not_harm_the_others(save_movie, params_for, tmp_path):
    """A blank frame is left out of motion and sum; the rest is found as well as without it."""
    movie, files = save_movie(shape_px=(1280, 1280), frame_count=20, motion="bumps", seed=204)
    counts = movie.counts.copy()
    counts[7] = 0
    spoiled = replace(movie, counts=counts).save(tmp_path, "spoiled", file_format="mrc")
    params = params_for(movie, files, psd=False)
    good, bad = align_movie(files["movie"], params), align_movie(spoiled["movie"], params)
    others = [frame for frame in range(20) if frame != 7]
    assert "bad-frames" in bad.quality.flag_names
    assert any("frame 8" in warning for warning in bad.record.warnings)
    assert not bad.motion.trajectory.is_measured[7]
    before = motion_error_px(good.motion, movie, others).rms_px
    assert motion_error_px(bad.motion, movie, others).rms_px < 1.15 * before + 0.02
    np.testing.assert_allclose(bad.sums.plain.mean(), good.sums.plain.mean(), rtol=1e-3)


def test_simulated_truth_and_trajectory_agree(trajectory_error_px):
    """The yardstick gives zero for the truth itself."""
    movie = simulate_movie(shape_px=(256, 320), frame_count=4, local_motion_px=0.0, seed=1)
    path = movie.displacement_px.mean(axis=(1, 2))
    assert trajectory_error_px(path, movie) < 1e-9
    truth = Motion(Trajectory(path, np.ones(4, bool), 0))
    assert motion_error_px(truth, movie).rms_px < 1e-6
