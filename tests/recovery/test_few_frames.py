"""Two and three frames: a motion that others find is kept, and none is made up."""

from __future__ import annotations

import pytest

from flexalign import align_movie
from flexalign.motion import Motion
from flexalign.simulate import SimulationSettings, motion_error_px


@pytest.fixture
def aligned(save_movie, params_for):
    """Function: what becomes of a movie, and the distance from its motion before and after."""

    def align(settings):
        movie, files = save_movie(settings=settings)
        result = align_movie(files["movie"], params_for(movie, files, psd=False, dose_weight=False))
        motions = Motion.still(settings.frame_count), result.motion
        before, after = (motion_error_px(motion, movie).rms_px for motion in motions)
        return result.quality.chosen, before, after

    return align


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "seed"), [(2, 54), (3, 53)])
def test_a_motion_ten_times_more_probable_than_none_is_kept(aligned, frames, seed):
    settings = SimulationSettings(
        shape_px=(1024, 1024), frame_count=frames, electrons_per_px=1.0, motion="bumps",
        global_motion_px=5.0, local_motion_px=2.5, ice_thickness_A=500.0, contrast=0.9,
        defocus_um=1.5, pixel_size_A=1.0, seed=seed,
    )  # fmt: skip

    chosen, before, after = aligned(settings)

    assert chosen == "refined"
    assert after < 0.4 * before


def test_coarse_detail_moves_no_specimen_at_rest(aligned):
    settings = SimulationSettings(
        shape_px=(640, 640), frame_count=2, electrons_per_px=1.7258660181978804,
        pixel_size_A=1.5, global_motion_px=0.0, local_motion_px=0.0, seed=48,
    )  # fmt: skip

    chosen, _, after = aligned(settings)

    assert (chosen, after) == ("none", 0.0)
