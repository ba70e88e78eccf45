"""A drift over more than half of the field is not believed."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flexalign.align import align_movie
from flexalign.params import AlignParams
from flexalign.quality_limits import LIMITS

SIDE_PX, FRAMES = 160, 12


def drifting(folder, part, axis):
    """A movie of clear texture that drifts over a part of the field, row or column by row."""
    rng = np.random.default_rng(3)
    texture = gaussian_filter(rng.normal(size=(3 * SIDE_PX, 3 * SIDE_PX)), 3)
    texture = (1 + 0.5 * texture / texture.std()).clip(0)
    frames = np.empty((FRAMES, SIDE_PX, SIDE_PX), np.float32)
    for k, at in enumerate(np.linspace(0, part * SIDE_PX, FRAMES).round().astype(int)):
        y, x = SIDE_PX - at * (np.arange(2) == axis)
        frames[k] = rng.poisson(10 * texture[y : y + SIDE_PX, x : x + SIDE_PX])
    with mrcfile.new(folder / "m.mrcs") as file:
        file.set_data(frames)
        file.voxel_size = 2.0
    return align_movie(folder / "m.mrcs", AlignParams(local=False, hot_pixels=False)), frames


@pytest.mark.parametrize("axis", [0, 1])
def test_frames_with_less_than_half_in_common_are_not_moved(tmp_path, axis):
    found, frames = drifting(tmp_path, 0.8, axis)

    assert "beyond-field" in found.quality.flag_names
    assert "still" not in found.quality.flag_names
    assert found.quality.flags[0].severity == "problem"
    assert found.quality.drift_part > LIMITS.drift_part
    assert not found.motion.trajectory.displacement_px.any()
    np.testing.assert_allclose(found.sums.plain, frames.mean(axis=0), rtol=1e-4)


def test_frames_with_more_than_half_in_common_are_moved(tmp_path):
    found, _ = drifting(tmp_path, 0.3, 1)

    assert "beyond-field" not in found.quality.flag_names
    moved = np.ptp(found.motion.trajectory.displacement_px[:, 1])
    assert moved == pytest.approx(0.3 * SIDE_PX, abs=1)
