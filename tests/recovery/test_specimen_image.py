"""A micrograph as the specimen: what it shows is not the same in all directions."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign import align_movie
from flexalign.io.micrographs import write_mrc
from flexalign.simulate import motion_error_px

SIDE_PX, PIXEL_SIZE_A = 1200, 1.2


def image_with_edges(seed):
    """Ice with more detail along one direction, and three edges of a film (h, w)."""
    rng = np.random.default_rng([seed, 77])
    y, x = np.fft.fftfreq(SIDE_PX, PIXEL_SIZE_A)[:, None], np.fft.rfftfreq(SIDE_PX, PIXEL_SIZE_A)
    steep = rng.uniform(0, np.pi)
    along = x * np.cos(steep) + y * np.sin(steep)
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE_PX, SIDE_PX)))
    ice = np.fft.irfft2(spectrum * np.exp(-15 * (x**2 + y**2) - 400 * along**2), (SIDE_PX, SIDE_PX))
    image = 1 + 0.08 * ice / ice.std()
    row, column = np.mgrid[:SIDE_PX, :SIDE_PX] - SIDE_PX / 2
    for _ in range(3):
        angle, middle = rng.uniform(0, np.pi), rng.uniform(-400, 400)
        distance = column * np.cos(angle) + row * np.sin(angle) - middle
        image *= 0.8 - 0.2 * np.tanh(distance / 3)
    return image.astype(np.float32)


@pytest.fixture(scope="module")
def quality_of(save_movie, params_for, tmp_path_factory):
    """Function of the gain's error: what is said of a movie with an edge that drifts by 4 px."""

    def aligned(seed, gain_error=0.0):
        path = tmp_path_factory.mktemp("specimen") / "image.mrc"
        write_mrc(path, image_with_edges(seed), PIXEL_SIZE_A)
        movie, files = save_movie(
            shape_px=(1024, 1024), frame_count=12, electrons_per_px=2.0, seed=seed,
            pixel_size_A=PIXEL_SIZE_A, global_motion_px=4.0, local_motion_px=1.0,
            specimen=str(path), gain_error=gain_error,
        )  # fmt: skip
        result = align_movie(files["movie"], params_for(movie, files, psd=False))
        assert motion_error_px(result.motion, movie).rms_px < 0.5
        return result.quality

    return aligned


@pytest.mark.slow
def test_with_an_exact_gain_there_is_no_pattern(quality_of):
    quality = quality_of(302)

    assert not quality.fixed_pattern_removed
    assert "fixed-pattern" not in quality.flag_names


@pytest.mark.slow
def test_with_a_gain_that_does_not_fit_there_is_one(quality_of):
    assert quality_of(302, gain_error=0.08).fixed_pattern_removed
