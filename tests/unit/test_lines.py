"""Rows and columns left in a sum are measured; noise, specimen and ice are not taken for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flexalign.arrays.lines import line_residuals

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
