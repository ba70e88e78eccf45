"""The search for hot and dead pixels, columns and rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flexalign.arrays.hot_pixels import find_outlier_lines, find_outlier_pixels


def random(seed):
    return np.random.default_rng(seed)


SHAPE_PX = (1000, 1024)
NONE_KNOWN = np.zeros(SHAPE_PX, bool)


@pytest.mark.parametrize("counts", [0.003, 0.02, 0.06, 0.3, 1, 3, 10, 30, 100])
@pytest.mark.parametrize("frames", [1, 40])
def test_poisson_noise_has_no_outliers(counts, frames):
    image = (random(5).poisson(counts, SHAPE_PX) / frames).astype(np.float32)

    assert find_outlier_pixels(image, NONE_KNOWN).sum() == 0


@pytest.mark.parametrize("level", [-20, 0, 1000])
def test_read_out_noise_around_any_level_has_no_outliers(level):
    image = random(6).normal(level, 5, SHAPE_PX).astype(np.float32)

    assert find_outlier_pixels(image, NONE_KNOWN).sum() == 0


def test_hot_dead_and_huge_pixels_are_found_and_nothing_else():
    image = random(7).poisson(40, SHAPE_PX) / 40
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
    image = (random(9).poisson(40, SHAPE_PX) / 40).astype(np.float32)
    image[:, 1001] = level
    expected = NONE_KNOWN.copy()
    expected[:, 1001] = True

    np.testing.assert_array_equal(find_outlier_pixels(image, NONE_KNOWN), expected)


def test_strong_features_of_the_specimen_from_seven_pixels_on_are_no_outliers():
    # Half the counts in gold, 1.6 times in holes, 20 standard deviations both; a step of the foil.
    expected_counts = np.full(SHAPE_PX, 1000.0)
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


def test_blocks_of_hot_pixels_are_found_whole_and_nothing_else():
    expected = NONE_KNOWN.copy()
    for side in range(3, 9):
        expected[100 * side : 100 * side + side, 50 * side : 50 * side + side] = True
    counts = np.where(expected, 400, 60)
    image = (random(21).poisson(counts) / 40).astype(np.float32)

    np.testing.assert_array_equal(find_outlier_pixels(image, NONE_KNOWN), expected)


@pytest.mark.parametrize(("level", "times"), [(50.0, 2.5), (3.0, 4.0), (0.5, 10.0), (0.1, 40.0)])
def test_blocks_that_count_too_much_are_found_at_any_counts(level, times):
    """Whole, with at most the pixels beside them."""
    rng = np.random.default_rng(8)
    expected = np.full((256, 320), level)
    blocks = [slice(40, 45), slice(100, 108)], [slice(200, 206), slice(251, 256)]
    for y, x in blocks:
        expected[y, x] *= times
    image = rng.poisson(expected).astype(np.float32) / 8

    found = find_outlier_pixels(image, np.zeros(image.shape, np.bool_))

    assert all(found[y, x].all() for y, x in blocks)
    for y, x in blocks:
        found[max(y.start - 6, 0) : y.stop + 6, x.start - 6 : x.stop + 6] = False
    assert not found.any()


def test_squares_of_few_counts_in_the_remaining_rows_and_columns_are_found():
    """The image is no multiple of blocks and tiles."""
    expected = np.full((131, 162), 2.0)
    expected[-5:, -6:] = 20.0
    image = np.random.default_rng(9).poisson(expected).astype(np.float32)

    found = find_outlier_pixels(image, np.zeros(image.shape, np.bool_))

    assert found[-5:, -6:].mean() > 0.9
    assert found.sum() < 150


@pytest.mark.parametrize("counts", [60.0, 6.0, 0.6])
def test_holes_in_a_foil_that_lets_little_through_are_no_outliers(counts):
    """The beam fills holes 150 px wide; the foil leaves a tenth of it."""
    y, x = np.mgrid[: SHAPE_PX[0], : SHAPE_PX[1]]
    is_hole = np.hypot(y % 250 - 125, x % 250 - 125) < 75
    image = random(22).poisson(gaussian_filter(np.where(is_hole, counts, counts / 10), 0.7)) / 40

    assert not find_outlier_pixels(image.astype(np.float32), NONE_KNOWN).any()


def test_pixels_known_to_be_bad_are_left_out_and_do_no_harm():
    image = (random(11).poisson(40, SHAPE_PX) / 40).astype(np.float32)
    known = NONE_KNOWN.copy()
    known[300:400, 300:400] = True
    image[known] = np.nan
    image[350, 401] = 5

    assert np.argwhere(find_outlier_pixels(image, known)).tolist() == [[350, 401]]


def test_where_nothing_can_be_measured_nothing_is_found():
    assert not find_outlier_pixels(np.zeros(SHAPE_PX, np.float32), NONE_KNOWN).any()
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


@pytest.mark.parametrize("counts", [0.02, 0.4, 1.7, 2.6, 3.7, 4.5, 20])
def test_poisson_noise_of_few_counts_has_no_outlier_lines(counts):
    image = (random(23).poisson(counts, SHAPE_PX) / 8).astype(np.float32)

    assert not find_outlier_lines(image, NONE_KNOWN).any()


def test_a_hot_column_of_few_counts_is_found_whole():
    expected = NONE_KNOWN.copy()
    expected[:, 311] = True
    image = (random(24).poisson(np.where(expected, 5.0, 1.7)) / 8).astype(np.float32)

    np.testing.assert_array_equal(find_outlier_lines(image, NONE_KNOWN), expected)


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


def test_the_number_of_threads_changes_nothing():
    image = (random(15).poisson(40, (1003, 1024)) / 40).astype(np.float32)
    image.flat[random(16).choice(image.size, 50, replace=False)] = 3
    image[:, 77] *= 2
    known = random(17).random(image.shape) < 0.001
    image[known] = np.inf

    for find in (find_outlier_pixels, find_outlier_lines):
        one, three = (find(image, known, threads=threads) for threads in (1, 3))
        assert one.any()
        np.testing.assert_array_equal(one, three)
