"""Correction of frames, and the search for hot and dead pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flexalign.arrays.detector import (
    correct,
    find_outlier_lines,
    find_outlier_pixels,
    make_correction,
)

SHAPE = (96, 130)
NONE_BAD = np.zeros(SHAPE, bool)


def random(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4"])
@pytest.mark.parametrize("threads", [1, 2])
def test_dark_is_subtracted_and_then_gain_multiplied(dtype, threads):
    raw = random().integers(0, 100, SHAPE).astype(dtype)
    raw.flags.writeable = False
    gain, dark = random(1).uniform(0.5, 2, (2, *SHAPE)).astype(np.float32)

    found = correct(raw, make_correction(gain, dark, NONE_BAD), 0, threads)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (raw.astype(float) - dark) * gain, rtol=1e-5, atol=1e-4)


def test_without_references_the_frame_is_only_converted():
    raw = random().integers(0, 100, SHAPE)

    np.testing.assert_array_equal(correct(raw, make_correction(None, None, NONE_BAD), 0), raw)


def test_a_bad_pixel_takes_the_value_of_one_of_the_nearest_good_ones():
    bad = NONE_BAD.copy()
    bad[50, 60] = True
    raw = np.arange(bad.size, dtype=np.float32).reshape(SHAPE)

    found = {int(correct(raw, make_correction(None, None, bad), t)[50, 60]) for t in range(200)}

    assert found == {y * 130 + x for y in (49, 50, 51) for x in (59, 60, 61)} - {50 * 130 + 60}


def test_mending_is_the_same_for_the_same_frame_and_differs_between_frames():
    bad = random(2).random(SHAPE) < 0.05
    raw = random().normal(size=SHAPE)
    correction = make_correction(None, None, bad)

    first, again, other = (correct(raw, correction, frame)[bad] for frame in (3, 3, 4))

    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.3


def test_mended_pixels_keep_mean_and_variance():
    bad = random(2).random(SHAPE) < 0.1
    correction = make_correction(None, None, bad)
    frames = random(3).poisson(4.0, (40, *SHAPE)).astype(np.float32)
    frames[:, bad] = 1000

    mended = np.stack([correct(frame, correction, t)[bad] for t, frame in enumerate(frames)])

    # 50 000 values: the standard errors of mean and variance are 0.01 and 0.03.
    assert mended.mean() == pytest.approx(4, abs=0.05)
    assert mended.var() == pytest.approx(4, abs=0.15)
    between = np.mean([np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(mended)])
    assert abs(between) < 0.02


@pytest.mark.parametrize(
    "region",
    [np.s_[:, 40:44], np.s_[10, :], np.s_[:30, :30], np.s_[-1, -1], np.s_[20:70, 20:100]],
)
def test_whole_columns_blocks_and_corners_are_mended_from_nearby(region):
    bad = NONE_BAD.copy()
    bad[region] = True
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]

    correction = make_correction(None, None, bad)

    assert correction.neighbour_index.shape == (bad.sum(), 8)
    assert not bad.flat[correction.neighbour_index].any()
    nearest = correction.neighbour_index[:, 0]
    distance = np.hypot(y.flat[nearest] - y[bad], x.flat[nearest] - x[bad])
    good = np.stack([y[~bad], x[~bad]], 1)
    for index in range(0, bad.sum(), 97):
        place = np.array([y[bad][index], x[bad][index]])
        assert distance[index] == np.sqrt(((good - place) ** 2).sum(axis=1).min())


def test_fewer_good_pixels_than_eight_are_repeated():
    bad = np.ones((4, 5), bool)
    bad[1, 2] = bad[3, 4] = False

    found = make_correction(None, None, bad).neighbour_index

    assert set(found.ravel().tolist()) == {7, 19}
    assert (found[0, :2] == [7, 19]).all()


def test_nothing_but_bad_pixels_is_refused():
    with pytest.raises(ValueError, match="found only bad"):
        make_correction(None, None, np.ones((4, 5), bool))


def test_references_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="expected references of shape"):
        make_correction(np.ones((3, 3), np.float32), None, NONE_BAD)


OUTLIER_SHAPE = (1000, 1024)
NONE_KNOWN = np.zeros(OUTLIER_SHAPE, bool)


@pytest.mark.parametrize("counts", [0.3, 1, 3, 10, 30, 100])
@pytest.mark.parametrize("frames", [1, 40])
def test_poisson_noise_has_no_outliers(counts, frames):
    image = (random(5).poisson(counts, OUTLIER_SHAPE) / frames).astype(np.float32)

    assert find_outlier_pixels(image, NONE_KNOWN).sum() == 0


@pytest.mark.parametrize("level", [-20, 0, 1000])
def test_read_out_noise_around_any_level_has_no_outliers(level):
    image = random(6).normal(level, 5, OUTLIER_SHAPE).astype(np.float32)

    assert find_outlier_pixels(image, NONE_KNOWN).sum() == 0


def test_hot_dead_and_huge_pixels_are_found_and_nothing_else():
    image = random(7).poisson(40, OUTLIER_SHAPE) / 40
    hot, dead, huge = np.split(random(8).choice(image.size, 60, replace=False), 3)
    image.flat[hot] = 3
    image.flat[dead] = 0
    image.flat[huge] = 1e6
    expected = NONE_KNOWN.copy()
    expected.flat[[*hot, *dead, *huge]] = True

    found = find_outlier_pixels(image.astype(np.float32), NONE_KNOWN)

    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("level", [0, 3])
def test_a_whole_column_is_found_and_nothing_else(level):
    image = (random(9).poisson(40, OUTLIER_SHAPE) / 40).astype(np.float32)
    image[:, 1001] = level
    expected = NONE_KNOWN.copy()
    expected[:, 1001] = True

    np.testing.assert_array_equal(find_outlier_pixels(image, NONE_KNOWN), expected)


def test_strong_features_of_the_specimen_from_seven_pixels_on_are_no_outliers():
    # Half the counts in gold, 1.6 times in holes, 20 standard deviations both; a step of the foil.
    expected_counts = np.full(OUTLIER_SHAPE, 1000.0)
    expected_counts[:, 700:] = 600
    dy, dx = np.mgrid[-20:21, -20:21]
    for column in range(40, 1000, 40):
        radius, factor = 3 + column // 80, (0.5, 1.6)[column // 40 % 2]
        for row in range(40, 960, 80):
            disc = np.hypot(dy, dx) <= radius
            expected_counts[row - 20 : row + 21, column - 20 : column + 21][disc] *= factor
    # No detector shows steps sharper than this.
    blurred = gaussian_filter(expected_counts, 0.7)
    image = (random(10).poisson(blurred) / 40).astype(np.float32)

    assert find_outlier_pixels(image, NONE_KNOWN).sum() == 0


def test_pixels_known_to_be_bad_are_left_out_and_do_no_harm():
    image = (random(11).poisson(40, OUTLIER_SHAPE) / 40).astype(np.float32)
    known = NONE_KNOWN.copy()
    known[300:400, 300:400] = True
    image[known] = np.nan
    image[350, 401] = 5

    assert np.argwhere(find_outlier_pixels(image, known)).tolist() == [[350, 401]]


def test_where_nothing_can_be_measured_nothing_is_found():
    assert not find_outlier_pixels(np.zeros(SHAPE, np.float32), NONE_BAD).any()
    assert not find_outlier_pixels(np.eye(20, dtype=np.float32), np.zeros((20, 20), bool)).any()


def test_hot_columns_and_rows_are_found_whole_and_nothing_else():
    rng = np.random.default_rng(12)
    mean = (rng.poisson(30.0, (512, 640)) / 30).astype(np.float32)
    mean[:, [100, 101, 400]] *= 3
    mean[200, :] *= 0.5
    mean[:256, 333] *= 1.8  # half a column: detectors are read out from two sides
    expected = np.zeros(mean.shape, bool)
    expected[:, [100, 101, 400]] = expected[200] = expected[:256, 333] = True

    np.testing.assert_array_equal(find_outlier_lines(mean, np.zeros(mean.shape, bool)), expected)


def test_particles_edges_and_noise_are_no_outlier_lines():
    rng = np.random.default_rng(13)
    y, x = np.mgrid[:512, :640]
    smooth = 1 + 0.3 * np.sin(x / 40) * np.cos(y / 60) + 0.5 * (x > 300)
    mean = (rng.poisson(20 * smooth) / 20).astype(np.float32)

    assert not find_outlier_lines(mean, np.zeros(mean.shape, bool)).any()


def test_known_bad_lines_are_not_found_again():
    rng = np.random.default_rng(14)
    mean = (rng.poisson(30.0, (256, 256)) / 30).astype(np.float32)
    mean[:, 50] = 9.0
    known = np.zeros(mean.shape, bool)
    known[:, 50] = True

    assert not find_outlier_lines(mean, known).any()
