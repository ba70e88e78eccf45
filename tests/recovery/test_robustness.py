"""Movies as they should not be: the motion is found all the same, or it is said that it is not."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from flexalign import align_movie
from flexalign.errors import InputError
from flexalign.simulate import motion_error_px


@pytest.fixture(scope="module")
def good(save_movie, params_for):
    """A good movie, its parameters, and the error of its motion."""

    @cache
    def make():
        movie, files = save_movie(
            shape_px=(1280, 1408), frame_count=24, electrons_per_px=1.5, motion="bumps",
            local_motion_px=3.0, seed=221,
        )  # fmt: skip
        params = params_for(movie, files, psd=False)
        result = align_movie(files["movie"], params)
        return movie, params, motion_error_px(result.motion, movie).rms_px

    return make()


def aligned(counts, params, folder):
    """The result for a movie of these counts."""
    path = folder / "movie.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(counts)
        file.set_image_stack()
    return align_movie(path, params)


@pytest.mark.slow
def test_a_frame_of_double_intensity_does_no_harm(good, tmp_path):
    movie, params, error_px = good
    counts = movie.counts.astype(np.int16)
    counts[8] *= 2
    others = [frame for frame in range(24) if frame != 8]

    result = aligned(counts, params, tmp_path)

    assert motion_error_px(result.motion, movie, others).rms_px < 1.15 * error_px + 0.02


@pytest.mark.slow
def test_hot_columns_that_nobody_listed_are_found(good, tmp_path):
    movie, params, error_px = good
    counts, rng = movie.counts.astype(np.int16), np.random.default_rng(1)
    for column in (300, 301, 900, 1300):
        counts[:, :, column] += rng.poisson(3.0, counts.shape[:2]).astype(np.int16)

    result = aligned(counts, params, tmp_path)

    assert result.quality.hot_pixel_count > 4 * 1280
    assert motion_error_px(result.motion, movie).rms_px < 1.15 * error_px + 0.02


@pytest.mark.slow
def test_a_wrong_gain_is_said_and_hardly_harms(good, tmp_path):
    """Without any gain the detector's pattern is stronger than the specimen."""
    movie, params, error_px = good

    result = aligned(movie.counts, replace(params, gain=None), tmp_path)

    assert "fixed-pattern" in result.quality.flag_names
    assert result.quality.chosen == "refined"
    assert motion_error_px(result.motion, movie).rms_px < 1.5 * error_px + 0.05


@pytest.mark.slow
def test_a_right_gain_raises_no_suspicion(good, tmp_path):
    movie, params, _ = good

    assert aligned(movie.counts, params, tmp_path).quality.flag_names == ()


@pytest.mark.slow
def test_noise_alone_is_left_alone(good, tmp_path):
    _, params, _ = good
    counts = np.random.default_rng(9).poisson(1.0, (20, 768, 768)).astype(np.int8)

    result = aligned(counts, replace(params, gain=None), tmp_path)

    assert result.quality.flag_names == ("no-signal",)
    assert not result.motion.trajectory.displacement_px.any()


@pytest.mark.parametrize("change", [os.utime, Path.unlink], ids=["written to", "removed"])
def test_a_movie_that_changes_while_it_is_read_is_refused(save_movie, params_for, tmp_path, change):
    """When its last frame has been summed, so that nothing else could tell."""
    movie, files = save_movie(shape_px=(512, 512), frame_count=8, electrons_per_px=3.0, seed=223)
    path = Path(shutil.copy(files["movie"], tmp_path))

    def meddle(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("sum", total):
            change(path)

    with pytest.raises(InputError, match="found one that changed while it was read"):
        align_movie(path, params_for(movie, files, psd=False), progress=meddle)


@pytest.mark.slow
@pytest.mark.parametrize(("frame_count", "electrons"), [(5, 3.0), (150, 0.2), (300, 0.05)])
def test_few_frames_and_many_faint_ones_are_aligned(save_movie, params_for, frame_count, electrons):
    movie, files = save_movie(
        shape_px=(1024, 1024), frame_count=frame_count, electrons_per_px=electrons,
        local_motion_px=2.0, seed=222,
    )  # fmt: skip

    result = align_movie(files["movie"], params_for(movie, files, psd=False))

    assert result.quality.chosen == "refined"
    assert motion_error_px(result.motion, movie).rms_px < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("electrons", "refine"), [(0.35, True), (0.4, False)])
def test_frames_too_faint_to_be_paired_are_paired_in_groups(
    save_movie, params_for, electrons, refine
):
    movie, files = save_movie(
        shape_px=(1024, 1024), frame_count=40, electrons_per_px=electrons, motion="bumps",
        local_motion_px=0.0, ice_thickness_A=150.0, seed=241,
    )  # fmt: skip
    params = params_for(movie, files, psd=False, local=False, refine=refine)

    result = align_movie(files["movie"], params)

    assert result.quality.chosen != "none"
    assert motion_error_px(result.motion, movie).rms_px < 0.6


@pytest.mark.slow
def test_two_thirds_of_the_errors_lie_within_one_standard_error(save_movie, params_for):
    """Over seeds, for the displacement of the whole frame; constants removed."""
    inside = []
    for seed in range(230, 236):
        movie, files = save_movie(
            shape_px=(896, 896), frame_count=20, electrons_per_px=2.0, motion="bumps",
            local_motion_px=0.0, seed=seed,
        )  # fmt: skip
        result = align_movie(files["movie"], params_for(movie, files, psd=False, local=False))
        trajectory = result.motion.trajectory
        error = trajectory.displacement_px - movie.displacement_px.mean(axis=(1, 2))
        inside.append(np.abs(error - error.mean(axis=0)) < trajectory.standard_error_px)
    assert 0.55 < np.mean(inside) < 0.8


@pytest.mark.slow
def test_two_thirds_of_the_errors_of_the_field_lie_within_one_standard_error(
    save_movie, params_for
):
    """Over seeds, at the places of the control points; means over place and time removed."""
    inside = []
    for seed in range(260, 263):
        movie, files = save_movie(
            shape_px=(1408, 1408), frame_count=20, electrons_per_px=2.0, motion="bumps",
            local_motion_px=2.0, seed=seed,
        )  # fmt: skip
        result = align_movie(files["movie"], params_for(movie, files, psd=False))
        field, patch_y, patch_x = result.motion.field, *result.tracks.center_px.T
        frames = np.arange(movie.settings.frame_count)
        at_frame, y, x = field.control_point_places

        def error_at(y, x, field=field, movie=movie, frames=frames):
            found = field.displacement_px(frames[:, None], y, x)
            true = movie.motion.displacement_px(frames[:, None], y, x)
            return np.array(found) - np.array(true)

        grid_y, grid_x = (grid.ravel() for grid in np.meshgrid(y, x, indexing="ij"))
        error = error_at(grid_y, grid_x)
        error -= error_at(patch_y, patch_x).mean(axis=2, keepdims=True)
        error -= error.mean(axis=1, keepdims=True)
        at_points = np.array(
            [[np.interp(at_frame, frames, place) for place in axis.T] for axis in error]
        )
        points_last = field.standard_error_px.reshape(2, len(at_frame), -1).swapaxes(1, 2)
        inside.append(np.abs(at_points) < points_last)
    assert 0.55 < np.mean(inside) < 0.8
