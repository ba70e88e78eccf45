"""Cropping, shifting and sizes, judged by sinusoids whose samples are known."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays import fourier


def wave(shape_px, cycles, from_shape_px=None):
    """A sinusoid of whole `cycles` (y, x) per field, sampled at i * h / new h, around a mean."""
    height, width = from_shape_px or shape_px
    y = np.arange(shape_px[0])[:, None] * height / shape_px[0]
    x = np.arange(shape_px[1])[None, :] * width / shape_px[1]
    phase = 2 * np.pi * (cycles[0] * y / height + cycles[1] * x / width)
    return (3 + np.cos(phase + 0.4)).astype(np.float32)


def cropped(image, new_shape_px):
    spectrum = fourier.cropped(fourier.rfft2(image), image.shape, new_shape_px)
    return fourier.irfft2(spectrum, new_shape_px)


@pytest.mark.parametrize("new_shape_px", [(24, 30), (25, 31), (24, 31), (25, 30), (48, 31)])
@pytest.mark.parametrize("shape_px", [(48, 60), (49, 61), (48, 61), (49, 60)])
def test_cropping_samples_a_coarse_wave_where_the_smaller_pixels_are(shape_px, new_shape_px):
    for cycles in [(0, 0), (5, 7), (-11, 3), (11, 14), (0, 14), (-11, 0)]:
        expected = wave(new_shape_px, cycles, shape_px)

        np.testing.assert_allclose(
            cropped(wave(shape_px, cycles), new_shape_px), expected, atol=1e-5
        )


@pytest.mark.parametrize("cycles", [(12, 15), (-12, 15), (12, 0), (-12, 3)], ids=str)
def test_an_odd_size_keeps_its_finest_wave(cycles):
    np.testing.assert_allclose(
        cropped(wave((48, 60), cycles), (25, 31)), wave((25, 31), cycles, (48, 60)), atol=1e-5
    )


def test_cropping_takes_out_what_the_smaller_image_cannot_hold():
    for cycles in [(12, 0), (-12, 3), (0, 15), (20, 25)]:
        np.testing.assert_allclose(cropped(wave((48, 60), cycles), (24, 30)), 3, atol=1e-5)


def test_cropping_keeps_the_mean_of_noise_and_works_on_a_stack():
    images = np.random.default_rng(1).normal(5, 1, (3, 50, 41)).astype(np.float32)
    spectra = fourier.cropped(fourier.rfft2(images), (50, 41), (20, 33))

    small = fourier.irfft2(spectra, (20, 33))

    np.testing.assert_allclose(small.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-6)


def test_cropping_to_the_same_size_changes_nothing():
    image = np.random.default_rng(2).normal(size=(20, 30)).astype(np.float32)

    np.testing.assert_allclose(cropped(image, (20, 30)), image, atol=1e-6)


@pytest.mark.parametrize("new_shape_px", [(21, 30), (20, 31)])
def test_a_larger_size_is_refused(new_shape_px):
    with pytest.raises(ValueError, match="at most"):
        fourier.cropped(np.zeros((20, 16), np.complex64), (20, 30), new_shape_px)


@pytest.mark.parametrize("new_shape_px", [(24, 30), (25, 31), (150, 31), (24, 61), (150, 61)])
def test_transforming_only_what_stays_is_transforming_and_cropping(new_shape_px):
    shape_px = (150, 61)
    images = np.random.default_rng(6).normal(3, 1, (2, *shape_px)).astype(np.float32)

    spectra = fourier.rfft2_cropped(images, new_shape_px)

    expected = fourier.cropped(fourier.rfft2(images), shape_px, new_shape_px)
    assert spectra.dtype == np.complex64
    np.testing.assert_allclose(spectra, expected, atol=1e-5 * np.abs(expected).max())
    assert np.array_equal(spectra == 0, expected == 0)
    assert np.array_equal(spectra[1], fourier.rfft2_cropped(images[1], new_shape_px, threads=3))


@pytest.mark.parametrize("new_shape_px", [(21, 30), (20, 31)])
def test_transforming_to_a_larger_size_is_refused(new_shape_px):
    with pytest.raises(ValueError, match="at most"):
        fourier.rfft2_cropped(np.zeros((20, 30), np.float32), new_shape_px)


def test_a_positive_shift_moves_content_to_a_larger_index():
    image = np.random.default_rng(3).normal(size=(32, 45)).astype(np.float32)

    shifted = fourier.phase_shifted(fourier.rfft2(image), (32, 45), (3, -5))

    np.testing.assert_allclose(
        fourier.irfft2(shifted, (32, 45)), np.roll(image, (3, -5), (0, 1)), atol=1e-5
    )


def test_each_image_of_a_stack_has_its_own_shift():
    images = np.random.default_rng(3).normal(size=(2, 32, 45)).astype(np.float32)

    shifted = fourier.phase_shifted(fourier.rfft2(images), (32, 45), [[3, -5], [-1, 7]])

    expected = [np.roll(images[0], (3, -5), (0, 1)), np.roll(images[1], (-1, 7), (0, 1))]
    np.testing.assert_allclose(fourier.irfft2(shifted, (32, 45)), expected, atol=1e-5)


@pytest.mark.parametrize("shape_px", [(32, 45), (33, 44)])
@pytest.mark.parametrize("reach_px", [0, 5, 15, 16, 40])
def test_rows_near_the_origin_are_those_of_the_whole_image(shape_px, reach_px):
    images = np.random.default_rng(3).normal(size=(2, *shape_px)).astype(np.float32)

    rows = fourier.irfft2_near(fourier.rfft2(images), shape_px, reach_px)

    near = np.abs(np.fft.fftfreq(shape_px[0]) * shape_px[0]).round() <= reach_px
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, images[:, near], atol=1e-5)


def test_a_fraction_of_a_pixel_shifts_a_wave_by_its_phase():
    shape_px, cycles, shift_px = (40, 50), (4, 9), (0.3, -1.6)
    y, x = np.mgrid[:40, :50]
    phase = 2 * np.pi * (4 * (y - shift_px[0]) / 40 + 9 * (x - shift_px[1]) / 50)

    shifted = fourier.phase_shifted(fourier.rfft2(wave(shape_px, cycles)), shape_px, shift_px)

    expected = 3 + np.cos(phase + 0.4)
    np.testing.assert_allclose(fourier.irfft2(shifted, shape_px), expected, atol=1e-5)


def test_threads_and_precision_do_not_change_the_transform():
    image = np.random.default_rng(4).normal(size=(2, 30, 44)).astype(np.float32)

    spectrum = fourier.rfft2(image, threads=3)

    assert spectrum.dtype == np.complex64
    assert np.array_equal(spectrum, fourier.rfft2(image, threads=1))
    np.testing.assert_allclose(spectrum, np.fft.rfft2(image), atol=1e-4)
