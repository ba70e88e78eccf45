"""The same counts in an MRC, a TIFF and an EER file give the same answer."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign import align_movie
from flexalign.simulate import simulate_movie

SHAPE_PX = (640, 768)
FRAMES = 8


@pytest.fixture(scope="module")
def movie():
    return simulate_movie(
        shape_px=SHAPE_PX,
        frame_count=FRAMES,
        pixel_size_A=1.2,
        electrons_per_px=3.0,
        motion="bumps",
        hot_pixels=0,
        seed=211,
    )


@pytest.fixture(scope="module")
def aligned(movie, params_for):
    """Function that writes the movie in a format and aligns it."""

    def align(folder, file_format, **changes):
        files = movie.save(folder, "movie", file_format=file_format)
        return align_movie(files["movie"], params_for(movie, files, **changes))

    return align


@pytest.fixture(scope="module")
def from_mrc(aligned, tmp_path_factory):
    return aligned(tmp_path_factory.mktemp("mrc"), "mrc")


@pytest.mark.parametrize("file_format", ["tiff", "eer"])
def test_the_format_does_not_matter(aligned, from_mrc, tmp_path, file_format):
    changes = {"eer_fractions": FRAMES} if file_format == "eer" else {}
    other = aligned(tmp_path, file_format, **changes)
    np.testing.assert_allclose(
        other.motion.trajectory.displacement_px,
        from_mrc.motion.trajectory.displacement_px,
        atol=1e-3,
    )
    spread = from_mrc.sums.plain.std()
    assert np.abs(other.sums.plain - from_mrc.sums.plain).max() < 1e-2 * spread
    assert other.record.movie.file_format.startswith(file_format)


def test_the_motion_is_not_trivial(from_mrc):
    path = from_mrc.motion.trajectory.displacement_px
    assert np.ptp(path[:, 0]) > 1
    assert np.ptp(path[:, 1]) > 1
