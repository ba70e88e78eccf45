"""Rows and columns left in a sum are measured; noise, specimen and ice are not taken for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flexalign.quality.gain_residual import line_residuals

SHAPE = (768, 896)
COUNTS = 24.0


def image_of(seed, gain=1.0, specimen=0.0):
    """Mean of 24 frames of one electron each."""
    expected = np.maximum(COUNTS * (1 + specimen) * np.broadcast_to(gain, SHAPE), 0)
    return (np.random.default_rng(seed).poisson(expected) / COUNTS).astype(np.float32)


def lines(size, scatter, seed=9):
    return 1 + np.random.default_rng(seed).normal(scale=scatter, size=size)


@pytest.mark.parametrize("scatter", [0.006, 0.02])
def test_columns_are_measured(scatter):
    rows, columns = line_residuals(image_of(1, lines(SHAPE[1], scatter)))

    assert columns == pytest.approx(scatter, rel=0.15)
    assert rows == 0


@pytest.mark.parametrize("scatter", [0.006, 0.02])
def test_rows_are_measured(scatter):
    rows, columns = line_residuals(image_of(1, lines(SHAPE[0], scatter)[:, None]))

    assert rows == pytest.approx(scatter, rel=0.15)
    assert columns == 0


def drifting(drift_px, scatter, axis, contrast=0.1, frames=16, size=512):
    """Mean of frames of a specimen that drifts along `axis`, the same aligned, and the path.

    The detector is perfect but for lines along the drift, which scatter.
    """
    rng = np.random.default_rng(5)
    detector = np.expand_dims(lines(size, scatter), axis)
    specimen = gaussian_filter(rng.normal(size=(size + drift_px, size + drift_px)), 3)
    specimen = 1 + contrast * specimen / specimen.std()
    unaligned, aligned = np.zeros((2, size, size), np.float32)
    path = np.zeros((frames, 2))
    path[:, axis] = np.round(np.linspace(0, drift_px, frames))
    for at in path.astype(int):
        y, x = drift_px * (np.arange(2) == axis) - at
        frame = rng.poisson(10 * detector * specimen[y : y + size, x : x + size])
        unaligned += frame / frames
        aligned += np.roll(frame, tuple(-at), (0, 1)) / frames
    return unaligned, aligned, path


@pytest.mark.parametrize("axis", [0, 1])
def test_the_smear_of_a_drifting_specimen_is_told_from_lines_by_the_aligned_sum(axis):
    """Along axis 1, the rows, it looks like rows."""
    unaligned, aligned, path = drifting(80, 0.0, axis)

    assert line_residuals(unaligned)[1 - axis] > 0.005
    assert line_residuals(unaligned, aligned, path) == (0, 0)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("drift_px", [0, 30, 80])
def test_lines_of_the_detector_are_still_measured_under_a_drifting_specimen(axis, drift_px):
    found = line_residuals(*drifting(drift_px, 0.02, axis))

    assert found[1 - axis] == pytest.approx(0.02, rel=0.15)
    assert found[axis] == 0


@pytest.mark.parametrize("seed", range(10))
def test_noise_alone_has_none(seed):
    assert line_residuals(image_of(seed)) == (0, 0)


def test_specimen_and_ice_have_none():
    rng = np.random.default_rng(4)
    particles = gaussian_filter(rng.normal(size=SHAPE), 3)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    specimen = 0.05 * particles / particles.std() + 0.1 * x / SHAPE[1] - 0.2 * y / SHAPE[0]
    specimen += 0.3 * (x + 0.4 * y > 700)  # the edge of a hole

    assert max(line_residuals(image_of(4, specimen=specimen))) < 0.002


def test_the_unit_of_the_counts_does_not_matter():
    image = image_of(1, lines(SHAPE[1], 0.02))

    assert line_residuals(100 * image) == pytest.approx(line_residuals(image), rel=1e-4)


@pytest.mark.parametrize(
    "image", [np.ones((96, 512), np.float32), image_of(0) - 1.0], ids=["small", "mean taken out"]
)
def test_what_cannot_be_measured_is_nan(image):
    assert np.isnan(line_residuals(image)).all()


def test_the_image_is_not_changed():
    image = image_of(0)
    before = image.copy()

    line_residuals(image)

    assert np.array_equal(image, before)
