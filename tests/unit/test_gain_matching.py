"""The pattern of a detector in the mean of frames: found where it is, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.gain import matching
from flexalign.orientation import FLIPS, ORIENTATIONS, Orientation

SHAPE = (192, 256)


def sensitivity(seed=0, shape=SHAPE, pixels=0.02, columns=0.0):
    rng = np.random.default_rng(seed)
    image = 1 + pixels * rng.standard_normal(shape) + columns * rng.standard_normal(shape[1])
    return image.astype(np.float32)


def counts(image, electrons, seed=1):
    return np.random.default_rng(seed).poisson(electrons * image).astype(np.float32)


def score(image, reference):
    scene = matching.make_scene(matching.relative_excess(image))
    return matching.match(scene, matching.reference_pattern(reference)).score


def test_the_score_is_that_of_counting_statistics():
    true = sensitivity()
    expected = 0.02 * np.sqrt(true.size * 10)

    found = score(counts(true, 10), true)

    assert found == pytest.approx(expected, rel=0.15)
    assert score(counts(true, 10), 1 / true) == pytest.approx(-found, rel=1e-2)


@pytest.mark.parametrize("columns", [0.0, 0.05])
def test_scores_of_other_detectors_are_of_unit_variance(columns):
    image = counts(sensitivity(columns=columns), 20)
    scores = [score(image, sensitivity(seed, columns=columns)) for seed in range(100, 160)]

    assert 0.75 < np.std(scores) < 1.25
    assert np.abs(scores).max() < 4.5


def test_all_of_a_pattern_that_is_there_is_found_beside_illumination_and_hot_pixels():
    true = sensitivity(pixels=0.04)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / 200
    image = counts(true * np.exp(-(y**2) - x), 200)
    image.flat[::1009] = 1e6
    scene = matching.make_scene(matching.relative_excess(image))

    found = matching.match(scene, matching.reference_pattern(true))

    assert found.overlap / found.energy == pytest.approx(1, abs=0.1)


def test_outside_the_beam_nothing_counts():
    image = counts(sensitivity(), 100)
    image[:, :100] = counts(np.ones((SHAPE[0], 100)), 1)

    assert (matching.relative_excess(image)[:, :90] == 0).all()
    assert (matching.relative_excess(image)[:, 110:] != 0).mean() > 0.9


def test_frames_without_counts_have_no_excess():
    assert (matching.relative_excess(np.zeros(SHAPE, np.float32)) == 0).all()


@pytest.mark.parametrize("value", [0.0, -3.0, np.nan, np.inf])
def test_unusable_pixels_of_a_reference_have_no_part_in_it(value):
    reference = sensitivity()
    reference[50] = value

    pattern = matching.reference_pattern(reference)

    assert (pattern[50] == 0).all()
    near = slice(45, 56)
    assert np.std(pattern[near]) == pytest.approx(0.02, rel=0.15)
    assert np.isfinite(pattern).all()


def test_a_reference_without_pattern_is_flat():
    reference = np.full(SHAPE, 1.7, np.float32)
    reference[:, 30] = 0
    reference[70:72, 10:20] = np.nan

    assert np.abs(matching.reference_pattern(reference)).max() < 1e-6
    assert (matching.reference_pattern(np.zeros(SHAPE, np.float32)) == 0).all()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("max_px", [None, 100, 101])
def test_turning_and_taking_the_middle_change_places(orientation, max_px):
    image = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    shape = matching.central_shape_px(orientation.shape_px(SHAPE), max_px)

    first = orientation.apply(matching.central(image, orientation.shape_px(shape)))

    np.testing.assert_array_equal(first, matching.central(orientation.apply(image), shape))


def test_every_turn_and_flip_is_one_of_the_eight_orientations():
    image = np.arange(6).reshape(2, 3)
    kinds = {o.apply(image).tobytes() + bytes(o.apply(image).shape) for o in ORIENTATIONS}

    assert len(kinds) == 8
    for rotate in (0, 90, 180, 270):
        for flip in FLIPS:
            one = Orientation(rotate, flip)
            np.testing.assert_array_equal(one.apply(image), one.canonical().apply(image))
            assert one.canonical() in ORIENTATIONS
