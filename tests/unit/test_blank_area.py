"""Areas without electrons are found, and frames fade out toward them."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays.blank_area import blank_area, fade_out, taper_beside

SHAPE_PX, SMALL_PX = (256, 320), (128, 160)


def mean_image(counts, frames=8, *, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.poisson(counts * frames, SHAPE_PX) / frames).astype(np.float32)


@pytest.mark.parametrize("counts", [0.02, 0.05, 0.1, 1.0, 20.0])
def test_a_dead_quadrant_is_found_and_nothing_else(counts):
    image = mean_image(counts)
    image[:128, 160:] = 0

    blank = blank_area(image, SMALL_PX)

    assert blank is not None
    assert blank[:63, 81:].all()
    assert not blank[65:].any()
    assert not blank[:, :79].any()


@pytest.mark.parametrize("counts", [0.005, 0.02, 0.1, 1.0])
def test_pixels_without_counts_are_no_area(counts):
    image = mean_image(counts)
    image[:, 40:43] = 0
    image[7, :] = 0

    assert blank_area(image, SMALL_PX) is None


def test_an_image_without_its_mean_has_no_blank_area():
    image = mean_image(5.0)

    assert blank_area(image - image.mean(), SMALL_PX) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_frames_fade_to_their_mean_near_the_area_and_stay_elsewhere(dtype):
    rng = np.random.default_rng(1)
    images = (3 + rng.normal(0, 0.2, (3, 40, 120))).astype(dtype)
    blank = np.zeros((40, 120), np.bool_)
    blank[:, 90:] = True
    images[:, blank] = -1
    before = images.copy()

    fade_out(images, taper_beside(blank, 20.0), threads=2)

    assert np.array_equal(images[:, :, :63], before[:, :, :63])
    assert images[:, :, 85:] == pytest.approx(3, abs=0.02)
    step = np.abs(np.diff(images.astype(float).mean(axis=(0, 1))))
    assert step.max() < 0.2
