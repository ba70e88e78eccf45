"""Small frames made strip by strip are those made step by step."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays import detector, fourier
from flexalign.arrays.downsample import Downsampler, downsampled_images, mean_corrected, sum_dtype
from flexalign.arrays.threads import ThreadPool

SHAPE_PX, SMALL_SHAPE_PX, KEPT_SHARE = (150, 202), (70, 96), 0.93


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
def test_strips_of_a_few_frames_give_what_whole_frames_give(correction, kind, threads):
    rng, small = np.random.default_rng(2), np.empty((3, *SMALL_SHAPE_PX), np.float32)
    raws = [rng.poisson(3.0, SHAPE_PX).astype(kind)[::-1] for _ in range(6)]

    with ThreadPool(threads) as workers:
        downsampler = Downsampler(correction, SHAPE_PX, small, workers, KEPT_SHARE)
        total = downsampler.empty_sum(raws[0])
        done = [downsampler.add(raw, k, k // 2, [total]) for k, raw in enumerate(raws)]
        done.append(downsampler.flush())

    whole = [detector.correct(raw, correction, k) for k, raw in enumerate(raws)]
    each = downsampled_images(np.stack(whole), SMALL_SHAPE_PX, KEPT_SHARE)
    np.testing.assert_allclose(small, each[::2] + each[1::2], atol=1e-4)
    np.testing.assert_array_equal(total, np.sum(raws, axis=0, dtype=int))
    noted = [frame for part in done for frame in part]
    assert [frame.frame_index for frame in noted] == list(range(6))
    np.testing.assert_allclose([f.mean for f in noted], each.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose([f.spread for f in noted], each.std(axis=(1, 2)), rtol=1e-4)
    assert downsampler.flush() == []


@pytest.mark.parametrize("small_shape_px", [(140, 160), (200, 256), (96, 230)])
def test_what_is_kept_is_as_the_cropped_transform_has_it(small_shape_px):
    """Away from the edges, where one image goes on as its mirror and the other from the start."""
    shape_px, rng = (360, 512), np.random.default_rng(4)
    image = rng.normal(size=shape_px).astype(np.float32)
    window = np.outer(np.hanning(360), np.hanning(512)).astype(np.float32)

    found = fourier.rfft2(downsampled_images((image * window)[None], small_shape_px, KEPT_SHARE)[0])

    expected = fourier.cropped(fourier.rfft2(image * window), shape_px, small_shape_px)
    ky, kx = fourier.frequencies(small_shape_px)
    kept = (np.abs(ky) < 0.5 * KEPT_SHARE) & (kx < 0.5 * KEPT_SHARE)
    inner = (np.abs(ky) < 0.4 * KEPT_SHARE) & (kx < 0.4 * KEPT_SHARE)
    size = np.sqrt(np.mean(np.abs(expected[kept]) ** 2))
    assert np.sqrt(np.mean(np.abs(found - expected)[kept] ** 2)) < 0.01 * size
    assert np.sqrt(np.mean(np.abs(found - expected)[inner] ** 2)) < 0.006 * size


def test_an_even_image_stays_even_and_its_edges_are_mirrors():
    ramp = np.broadcast_to(np.arange(60.0, dtype=np.float32), (48, 60))

    even = downsampled_images(np.full((1, 48, 60), 3.0, np.float32), (21, 26), KEPT_SHARE)
    small = downsampled_images(ramp[None], (48, 30), KEPT_SHARE)[0]

    np.testing.assert_allclose(even, 3.0, rtol=1e-6)
    np.testing.assert_allclose(small[:, 14:17], [[28, 30, 32]] * 48, atol=0.05)
    assert small[0, 0] > 0.2  # a periodic image would have the mean of 0 and 59 there
    assert small[0, 0] < 10


def test_an_axis_that_keeps_its_size_is_left_alone():
    image = np.random.default_rng(5).normal(size=(1, 40, 52)).astype(np.float32)

    np.testing.assert_array_equal(downsampled_images(image, (40, 52), KEPT_SHARE), image)


def test_the_mean_of_corrected_frames_comes_from_the_sum_of_raw_ones(correction):
    rng = np.random.default_rng(3)
    frames = rng.poisson(200.0, (50, *SHAPE_PX)).astype(np.uint16)
    total = np.zeros(SHAPE_PX, sum_dtype(frames[0]))
    for frame in frames:
        total += frame

    with ThreadPool(2) as workers:
        mean = mean_corrected(total, len(frames), correction, workers)

    one_by_one = [detector.correct(f, correction, 0).astype(float) for f in frames]
    np.testing.assert_allclose(mean, np.mean(one_by_one, axis=0), rtol=1e-5)


def test_small_whole_numbers_are_summed_exactly():
    kinds = (np.uint16, np.int8, np.float32, np.int32)

    found = [sum_dtype(np.ones((2, 2), kind)) for kind in kinds]

    assert found == [np.int32, np.int32, np.float32, np.float32]
