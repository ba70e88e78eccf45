"""The conditions of benchmarks/conditions.py in short form: small fields, few and bright frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scripts import benchmarks

from flexalign import align_movie
from flexalign.motion import Motion
from flexalign.simulate import SimulationSettings, motion_error_px


@pytest.fixture(scope="module")
def rms_px(save_movie, params_for):
    """Function: the distance from the true motion of a condition, without and with alignment."""
    with benchmarks("catalogue") as scripts:
        catalogue = scripts["catalogue"]

    def measured(name: str, size_px: int = 512) -> tuple[float, float]:
        settings = replace(
            catalogue.condition(name, 101).settings,
            shape_px=(size_px, size_px), frame_count=8, electrons_per_px=3.0,
        )  # fmt: skip
        movie, files = save_movie(settings=settings)
        params = params_for(movie, files, psd=False, dose_weight=False)
        motions = Motion.still(8), align_movie(files["movie"], params).motion
        before, after = (motion_error_px(motion, movie).rms_px for motion in motions)
        return before, after

    return measured


@pytest.mark.parametrize(
    "name", ["plain", "jump", "ice-crystals", "carbon", "bad-lines", "gain-5", "dead-quadrant"]
)
def test_the_motion_is_found_all_the_same(name, rms_px):
    before, after = rms_px(name)

    assert after < 0.5 * before


@pytest.mark.parametrize(
    "name",
    ["gold-foil", "contaminant", "shadow", "stuck-blocks", "duplicate-frame",
     "gain-15", "stain-2.4", "filaments", "still-gain-5", "empty"],
)  # fmt: skip
def test_the_motion_kept_is_no_worse_than_none(name, rms_px):
    before, after = rms_px(name)

    assert after <= 1.05 * before + 0.05


@pytest.mark.parametrize(
    ("seed", "part"),
    [
        pytest.param(3134, 1.05, id="only all data favour a motion without the pattern"),
        pytest.param(3111, 1.05, id="noise in one patch"),
        pytest.param(3142, 0.1, id="a jump within a group of faint frames"),
        pytest.param(3138, 0.3, id="the beam ends in the field"),
        pytest.param(3212, 0.6, id="carbon with a gain error of 15 % and stuck pixels"),
    ],
)
def test_the_error_left_in_difficult_movies(seed, part, save_movie, params_for):
    with benchmarks("catalogue") as scripts:
        settings = scripts["catalogue"].random_condition(seed, 1536).settings
    movie, files = save_movie(settings=settings)

    found = align_movie(files["movie"], params_for(movie, files, psd=False, dose_weight=False))

    still_px = motion_error_px(Motion.still(settings.frame_count), movie).rms_px
    assert motion_error_px(found.motion, movie).rms_px <= part * still_px


@pytest.mark.slow
def test_what_stays_in_half_of_the_field_does_not_hold_the_rest(rms_px):
    before, after = rms_px("still-carbon", 1024)

    assert after < 0.3 * before


def test_a_copied_frame_has_the_motion_of_its_original(save_movie, params_for):
    """The frame after the copy jumps by 40 A; half of that is interpolated."""
    settings = SimulationSettings(
        shape_px=(512, 512), frame_count=6, electrons_per_px=4.0, pixel_size_A=1.5, motion="jump",
        global_motion_px=3.0, local_motion_px=0.5, faults=("duplicate-frame",), seed=106,
    )  # fmt: skip
    movie, files = save_movie(settings=settings)

    found = align_movie(files["movie"], params_for(movie, files, psd=False, dose_weight=False))

    assert np.flatnonzero(~found.motion.trajectory.is_measured).tolist() == [3]
    assert motion_error_px(found.motion, movie).worst_px < 2.0
