"""Small frames made strip by strip are those made step by step."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays import detector, fourier
from flexalign.arrays.shrink import Shrinker, mean_corrected, sum_dtype
from flexalign.arrays.workers import Workers

SHAPE_PX, SMALL_SHAPE_PX = (150, 202), (70, 96)


@pytest.fixture
def correction():
    rng = np.random.default_rng(1)
    gain = rng.uniform(0.8, 1.2, SHAPE_PX).astype(np.float32)
    dark = rng.uniform(0.0, 0.3, SHAPE_PX).astype(np.float32)
    bad = rng.random(SHAPE_PX) < 0.01
    bad[63:65, 10:14] = True  # across the edge of a strip
    return detector.make_correction(gain, dark, bad)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, ">i2"])
def test_strips_give_what_whole_frames_give(correction, kind, threads):
    raw = np.random.default_rng(2).poisson(3.0, SHAPE_PX).astype(kind)[::-1]

    with Workers(threads) as workers:
        shrinker = Shrinker(correction, SHAPE_PX, SMALL_SHAPE_PX, workers)
        total = shrinker.empty_sum(raw)
        shrinker.shrunk(raw, 6, [total])
        ((index, small),) = shrinker.shrunk(raw, 7, [total])
        assert (index, shrinker.rest()) == (7, [])

    whole = detector.correct(raw, correction, frame_index=7)
    spectrum = fourier.cropped(fourier.rfft2(whole), SHAPE_PX, SMALL_SHAPE_PX)
    expected = fourier.irfft2(spectrum, SMALL_SHAPE_PX)
    np.testing.assert_allclose(small, expected, atol=1e-4 * expected.std())
    np.testing.assert_array_equal(total, 2 * raw.astype(int))


def test_the_mean_of_corrected_frames_comes_from_the_sum_of_raw_ones(correction):
    rng = np.random.default_rng(3)
    frames = rng.poisson(200.0, (50, *SHAPE_PX)).astype(np.uint16)
    total = np.zeros(SHAPE_PX, sum_dtype(frames[0]))
    for frame in frames:
        total += frame

    mean = mean_corrected(total, len(frames), correction)

    one_by_one = [detector.correct(f, correction, 0).astype(float) for f in frames]
    np.testing.assert_allclose(mean, np.mean(one_by_one, axis=0), rtol=1e-5)


def test_small_whole_numbers_are_summed_exactly():
    kinds = (np.uint16, np.int8, np.float32, np.int32)

    found = [sum_dtype(np.ones((2, 2), kind)) for kind in kinds]

    assert found == [np.int32, np.int32, np.float32, np.float32]
