"""Correlation peaks: where they are, how far they may be looked for, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays import fourier
from flexalign.arrays.correlate import low_pass, pair_peaks, whiten
from flexalign.arrays.kernels.elementwise import paraboloid_top

SHAPE_PX = (96, 128)
# As in the pairwise stage: the filter is one half at 1 / 3.4 of Nyquist.
HALF = 0.5 / 3.397


def texture(seed=0, shape_px=SHAPE_PX):
    return np.random.default_rng(seed).normal(size=shape_px).astype(np.float32)


def filtered(images):
    shape_px = images.shape[1:]
    spectra = fourier.rfft2(images - images.mean(axis=(1, 2), keepdims=True))
    whiten(spectra, shape_px, low_pass(shape_px, (HALF, HALF)))
    return spectra


def shifted(image, shift_px):
    spectrum = fourier.phase_shifted(fourier.rfft2(image), image.shape, shift_px)
    return fourier.irfft2(spectrum, image.shape)


def peaks_of(images, radius_px=60.0):
    """Peaks of the first image with each of the others."""
    others = np.arange(1, len(images))
    radius = np.full(len(others), radius_px)
    return pair_peaks(
        filtered(np.stack(images)), np.zeros_like(others), others, images[0].shape, radius
    )


def hill(top_px, shape_px=SHAPE_PX, width_px=5.0):
    """A periodic surface with one round hill."""
    away = [
        (np.arange(n) - top + n / 2) % n - n / 2 for n, top in zip(shape_px, top_px, strict=True)
    ]
    return np.exp(-(away[0][:, None] ** 2 + away[1][None, :] ** 2) / width_px**2)


def find_peak(surface, radius_px):
    """Place (y, x) and score of the peak of a surface, as the correlation of a dot with it."""
    dot = np.zeros(surface.shape, np.float32)
    dot[0, 0] = 1
    spectra = fourier.rfft2(np.stack([dot, surface.astype(np.float32)]))
    pair = np.array([0]), np.array([1])
    found = pair_peaks(spectra, *pair, surface.shape, np.array([float(radius_px)]))
    return tuple(found.shift_px[0]), found.score[0]


def test_the_filter_is_one_half_where_said_on_either_axis():
    response = low_pass((200, 400), (0.1, 0.2))

    ky, kx = fourier.frequencies((200, 400))
    near_y = response[(np.abs(ky - 0.1) < 1e-9)[:, 0], 1]
    near_x = response[1, (np.abs(kx - 0.2) < 1e-9)[0]]
    np.testing.assert_allclose([near_y[0], near_x[0]], 0.5, atol=2e-3)


def test_the_filter_leaves_out_the_axes_where_bad_rows_and_columns_live():
    response = low_pass((64, 80), (0.1, 0.1))

    assert not response[0].any()
    assert not response[:, 0].any()
    assert (response[1:, 1:] > 0).any()


def test_whitening_gives_every_ring_the_same_power():
    images = np.stack([texture(k, (128, 128)) for k in range(4)])
    spectra = fourier.rfft2(images)
    ky, kx = fourier.frequencies((128, 128))
    coloured = (spectra / (0.01 + np.hypot(ky, kx))).astype(np.complex64)

    whiten(coloured, (128, 128), np.ones((128, 65), np.float32))

    power = (np.abs(coloured) ** 2).mean(axis=0)

    radius = np.hypot(ky, kx)
    rings = [power[(radius >= r) & (radius < r + 0.05)].mean() for r in (0.02, 0.2, 0.4)]
    np.testing.assert_allclose(rings, 1, rtol=0.05)


def test_whitening_leaves_a_ring_without_power_at_zero():
    empty = np.zeros((2, 32, 17), np.complex64)

    whiten(empty, (32, 32), np.ones((32, 17), np.float32))

    assert not empty.any()


def test_peaks_are_found_to_a_hundredth_of_a_pixel_at_every_fraction():
    image = texture()
    rng = np.random.default_rng(5)
    shifts = rng.uniform(-8, 8, (40, 2))

    found = peaks_of([image, *(shifted(image, s) for s in shifts)])

    assert np.abs(found.shift_px - shifts).max() < 0.01
    assert (found.score > 20).all()


def test_the_sign_and_axes_are_those_of_the_content():
    image = texture()

    found = peaks_of([image, np.roll(image, (7, -13), (0, 1))])

    np.testing.assert_allclose(found.shift_px, [[7, -13]], atol=0.02)


def test_unrelated_images_score_less_than_the_same_one():
    image = texture(0)

    found = peaks_of([image, texture(1), shifted(image, (2.2, 1.1))], radius_px=20)

    assert found.score[0] < 5 < found.score[1]


def test_threads_do_not_change_the_peaks():
    image = texture()
    spectra = filtered(np.stack([shifted(image, (k, -2 * k)) for k in range(5)]))
    first, second = np.triu_indices(5, 1)
    one, three = (
        pair_peaks(spectra, first, second, SHAPE_PX, np.full(10, 20.0), threads)
        for threads in (1, 3)
    )

    assert np.array_equal(one.shift_px, three.shift_px)
    assert np.array_equal(one.score, three.score)


def test_each_pair_is_searched_within_its_own_radius():
    image = texture()
    spectra = filtered(np.stack([image, np.roll(image, 12, 0)]))
    first, second = np.array([0, 0]), np.array([1, 1])

    found = pair_peaks(spectra, first, second, SHAPE_PX, np.array([9.0, 15.0]))

    assert np.hypot(*found.shift_px[0]) < 10
    np.testing.assert_allclose(found.shift_px[1], [12, 0], atol=0.02)
    assert found.score[1] > found.score[0]


@pytest.mark.parametrize("top_px", [(3.0, 5.0), (-20.0, 11.0), (0.0, -4.0), (2.3, -6.6)], ids=str)
def test_a_hill_is_found_around_the_corner_too(top_px):
    place, score = find_peak(hill(top_px), 40)

    np.testing.assert_allclose(place, top_px, atol=0.02)
    assert score > 5


def test_a_maximum_on_the_edge_of_the_search_disc_is_no_peak():
    place, score = find_peak(hill((12.0, 0.0)), 8)

    assert place == (8, 0)
    assert score == 0


def test_a_flat_surface_has_no_peak():
    assert find_peak(np.full(SHAPE_PX, 2, np.float32), 10)[1] == 0


@pytest.mark.parametrize("top_px", [(4.0, 6.0), (4.5, 6.5), (-0.5, 0.3)], ids=str)
def test_the_score_is_the_height_over_the_mean_in_deviations_wherever_pixels_lie(top_px):
    surface = 7 + 50 * hill(top_px, width_px=2.0)

    score = find_peak(surface, 30)[1]

    assert score == pytest.approx((57 - surface.mean()) / surface.std(), rel=2e-3)


def test_the_higher_of_two_hills_is_found_though_its_highest_pixels_are_lower():
    lower, higher = hill((10.0, 5.0), width_px=1.5), 1.05 * hill((-9.5, -6.5), width_px=1.5)
    assert higher.max() < lower.max()

    place, _ = find_peak(lower + higher, 30)

    np.testing.assert_allclose(place, (-9.5, -6.5), atol=0.02)


def test_the_top_of_a_tilted_paraboloid_is_exact():
    y, x = np.mgrid[-1:2, -1:2].astype(float)
    near = 5 - (y - 0.3) ** 2 - 2 * (x + 0.2) ** 2 + 0.7 * (y - 0.3) * (x + 0.2)

    np.testing.assert_allclose(paraboloid_top(near), (0.3, -0.2), atol=1e-12)


@pytest.mark.parametrize("sign", [(1, 1), (1, -1), (-1, 1), (0, 0)], ids=str)
def test_what_is_no_top_has_its_place_in_the_middle(sign):
    y, x = np.mgrid[-1:2, -1:2].astype(float)

    assert paraboloid_top(sign[0] * (y - 0.3) ** 2 + sign[1] * (x - 0.3) ** 2) == (0, 0)
