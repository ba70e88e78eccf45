"""Correction of frames."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from flexalign.arrays.detector import correct, make_correction, replace_bad_pixels

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


def test_mending_an_image_in_place_is_the_correction_of_its_bad_pixels():
    bad = random(3).random(SHAPE) < 0.02
    image = random(4).normal(5, 2, SHAPE).astype(np.float32)
    correction = make_correction(None, None, bad)
    expected, mended = correct(image, correction, 0), image.copy()

    excess = replace_bad_pixels(mended, correction)

    np.testing.assert_array_equal(mended, expected)
    np.testing.assert_array_equal(excess, (image - expected)[bad])
