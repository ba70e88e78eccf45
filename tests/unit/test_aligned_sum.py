"""Frames moved, summed and weighed strip by strip are as those moved and summed as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays import detector, fourier, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX, AlignedSums
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.threads import ThreadPool

SHAPE_PX = (150, 532)  # several tiles
FRAMES = (0, 1, 3, 4, 5, 6, 7, 8, 9)  # more than go together; frame 2 is left out
RELATIVE = 1e-4


@pytest.fixture(scope="module")
def correction():
    rng = np.random.default_rng(1)
    gain = rng.uniform(0.8, 1.2, SHAPE_PX).astype(np.float32)
    return detector.make_correction(gain, None, rng.random(SHAPE_PX) < 0.01)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(2).poisson(3.0, (10, *SHAPE_PX)).astype(np.uint8)


def lattice_of(frame):
    """A displacement of a few pixels that differs from place to place and frame to frame."""
    y, x = (resample.lattice_nodes(size, LATTICE_STEP_PX) for size in SHAPE_PX)
    y, x = np.meshgrid(y, x, indexing="ij")
    lattice = [0.7 * frame + 0.01 * x - 2.2, -0.4 * frame + 0.008 * y + 0.3]
    return np.stack(lattice).astype(np.float32)


def rate_at(ky, kx):
    return -0.9 * np.hypot(ky, kx)


def sums_of(frames, correction, output_shape_px, threads):
    with ThreadPool(threads) as workers:
        sums = AlignedSums(
            correction, SHAPE_PX, output_shape_px, workers, 4,
            names=("all", "odd"),
            weights=ExponentialWeights(rate_at, output_shape_px, np.arange(10.0), np.ones(10)),
            image_count=len(FRAMES),
        )  # fmt: skip
        for frame in FRAMES:
            names = ("all", "odd") if frame % 2 == 0 else ("all",)
            sums.add(frames[frame], frame, lattice_of(frame), names, time=frame)
        return sums.mean("all"), sums.mean("odd"), sums.weighted_mean(), sums.images()


def moved(frames, correction, frame):
    image = detector.correct(frames[frame], correction, frame)
    coefficients = resample.spline_coefficients(image)
    return resample.sample(coefficients, lattice_of(frame), LATTICE_STEP_PX)


def binned(image, shape_px):
    return fourier.irfft2(fourier.cropped(fourier.rfft2(image), SHAPE_PX, shape_px), shape_px)


@pytest.mark.parametrize("output_shape_px", [SHAPE_PX, (100, 354)])
@pytest.mark.parametrize("threads", [1, 3])
def test_strips_give_what_whole_frames_give(frames, correction, output_shape_px, threads):
    mean, odd, weighted, images = sums_of(frames, correction, output_shape_px, threads)

    each = {f: moved(frames, correction, f).astype(np.float64) for f in FRAMES}
    expected = {
        "mean": binned(np.mean(list(each.values()), axis=0), output_shape_px),
        "odd": binned((each[0] + each[4] + each[6] + each[8]) / 4, output_shape_px),
        "weighted": weighted_mean(each, output_shape_px),
    }
    for found, image in zip((mean, odd, weighted), expected.values(), strict=True):
        assert np.sqrt(np.mean((found - image) ** 2)) < RELATIVE * image.std()
    for found, frame in zip(images, FRAMES, strict=True):
        image = binned(each[frame], output_shape_px)
        assert np.sqrt(np.mean((found - image) ** 2)) < RELATIVE * image.std()


def weighted_mean(each, shape_px):
    """Equation 9 of Grant & Grigorieff (2015), as the mean of as many frames."""
    total, power = 0, 0
    for frame, image in each.items():
        weight = np.exp(frame * rate_at(*fourier.frequencies(shape_px)))
        total = total + weight * fourier.cropped(fourier.rfft2(image), SHAPE_PX, shape_px)
        power = power + weight**2
    return fourier.irfft2(total / np.sqrt(power * len(each)), shape_px)


def test_the_number_of_threads_changes_nothing(frames, correction):
    one, three = (sums_of(frames, correction, SHAPE_PX, threads) for threads in (1, 3))

    for first, second in zip(one, three, strict=True):
        assert np.array_equal(first, second)


def test_what_is_not_asked_for_is_not_made(frames, correction):
    with ThreadPool(1) as workers:
        sums = AlignedSums(correction, SHAPE_PX, SHAPE_PX, workers, 2, names=("all",))
        sums.add(frames[0], 0, lattice_of(0), ("all",))

        assert sums.weighted_mean() is None
        assert sums.images() is None


@pytest.mark.parametrize("rate", [np.nan, np.inf, -np.inf, 0.5])
def test_rates_that_are_no_numbers_do_not_reach_the_compiled_sum(rate):
    weights = ExponentialWeights(
        lambda ky, kx: np.full((ky.size, kx.size), rate), SHAPE_PX, np.arange(4.0), np.ones(4)
    )
    nothing = detector.make_correction(None, None, np.zeros(SHAPE_PX, np.bool_))

    with ThreadPool(1) as workers, pytest.raises(ValueError, match="finite rates"):
        AlignedSums(nothing, SHAPE_PX, SHAPE_PX, workers, 4, names=("all",), weights=weights)


@pytest.mark.parametrize("rate", [-1e-30, -1e-40, -1e-300, 0.0])
def test_rates_too_small_to_be_told_from_none_weigh_nothing(rate):
    weights = ExponentialWeights(
        lambda ky, kx: np.full((ky.size, kx.size), rate), SHAPE_PX, np.arange(10.0), np.ones(10)
    )
    nothing = detector.make_correction(None, None, np.zeros(SHAPE_PX, np.bool_))
    with ThreadPool(1) as workers:
        sums = AlignedSums(nothing, SHAPE_PX, SHAPE_PX, workers, 4, names=("all",), weights=weights)
        for frame in FRAMES:
            image = np.random.default_rng(frame).poisson(5, SHAPE_PX).astype(np.uint8)
            sums.add(image, frame, lattice_of(frame), ("all",), time=frame)
        plain, weighted = sums.mean("all"), sums.weighted_mean()

    np.testing.assert_allclose(weighted, plain, atol=1e-3)
