import numpy as np
import pytest

from flexalign.arrays.power_spectrum import (
    amplitude_composite,
    amplitude_sum,
    power_spectrum,
    radial_mean,
)

PIXEL_SIZE_A = 1.5


def noise(shape, seed=0):
    image = np.random.default_rng(seed).normal(100.0, 7.0, size=shape).astype(np.float32)
    image.flags.writeable = False
    return image


def wave(shape, cycles_y, cycles_x, tile_px):
    y, x = np.indices(shape)
    return np.cos(2 * np.pi * (cycles_y * y + cycles_x * x) / tile_px).astype(np.float32)


def test_white_noise_has_power_one_at_all_frequencies_whatever_its_scale():
    spectrum = power_spectrum(noise((512, 640)), PIXEL_SIZE_A, tile_px=64)

    np.testing.assert_allclose(spectrum.radial_power[4:], 1.0, atol=0.06)


def test_a_wave_peaks_at_its_frequency_and_direction():
    spectrum = power_spectrum(wave((256, 256), 5, 12, 64), PIXEL_SIZE_A, tile_px=64)

    peaks = np.argwhere(spectrum.power > 0.9 * spectrum.power.max()) - 32
    assert sorted(map(tuple, peaks)) == [(-5, -12), (5, 12)]
    peak_per_A = spectrum.frequency_per_A[np.argmax(spectrum.radial_power)]
    assert peak_per_A == pytest.approx(13 / (64 * PIXEL_SIZE_A), rel=0.01)


def test_frequencies_end_at_nyquist():
    spectrum = power_spectrum(noise((100, 100)), PIXEL_SIZE_A, tile_px=50)

    assert spectrum.frequency_per_A[-1] == pytest.approx(1 / (2 * PIXEL_SIZE_A))
    assert spectrum.radial_power.shape == spectrum.frequency_per_A.shape


def test_power_is_that_of_a_full_transform_of_the_single_tile():
    image = noise((32, 32))
    hann = np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2
    tile = (image - image.mean()) / image.std() * np.outer(hann, hann)
    expected = np.abs(np.fft.fftshift(np.fft.fft2(tile))) ** 2 / np.sum(np.outer(hann, hann) ** 2)

    found = power_spectrum(image, PIXEL_SIZE_A, tile_px=32).power

    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_an_image_smaller_than_a_tile_has_a_smaller_even_tile():
    assert power_spectrum(noise((91, 300)), PIXEL_SIZE_A, tile_px=512).power.shape == (90, 90)


@pytest.mark.parametrize("level", [0.1, 1234.567, -7.77])
def test_an_even_image_has_no_power(level):
    even = np.full((128, 130), level, np.float32)

    assert not power_spectrum(even, 1.0, tile_px=60).power.any()
    assert not amplitude_sum(even, tile_px=40).any()


def test_an_empty_image_has_no_power():
    assert not power_spectrum(np.full((64, 64), 3.0), PIXEL_SIZE_A, tile_px=32).power.any()


def test_threads_do_not_change_the_numbers():
    image = noise((300, 200))

    one, two = (power_spectrum(image, PIXEL_SIZE_A, 64, threads=n).power for n in (1, 2))

    np.testing.assert_array_equal(one, two)


def test_radial_mean_of_rings_is_each_ring_s_value():
    offset = np.arange(64) - 32
    rings = np.rint(np.hypot(offset[:, None], offset))

    np.testing.assert_allclose(radial_mean(rings), np.arange(33))


def test_amplitudes_sum_over_all_tiles_with_the_last_at_the_edge():
    """(100 - 40) / 24 = 2.5 steps: tiles start at 0, 24, 48 and 60, in both directions."""
    image = noise((100, 100))
    offset = np.abs((np.arange(40) + 0.5) / 20 - 1)
    edge = np.where(offset > 0.975, 0.5 + 0.5 * np.cos(np.pi * (offset - 0.975) / 0.025), 1.0)
    expected = np.zeros((40, 40))
    for top in (0, 24, 48, 60):
        for left in (0, 24, 48, 60):
            tile = image[top : top + 40, left : left + 40].astype(np.float64)
            tile = (tile - tile.mean()) / tile.std() * np.outer(edge, edge)
            expected += np.abs(np.fft.fft2(tile))

    np.testing.assert_allclose(amplitude_sum(image, tile_px=40), expected, rtol=2e-3, atol=1e-2)


def test_composite_has_the_corrected_half_first():
    corrected, uncorrected = noise((400, 500), 1), noise((400, 500), 2)

    composite = amplitude_composite(corrected, uncorrected)

    assert composite.shape == (384, 384)
    np.testing.assert_array_equal(composite[:, :192], amplitude_sum(corrected)[:, :192])
    np.testing.assert_array_equal(composite[:, 192:], amplitude_sum(uncorrected)[:, 192:])


def test_composite_has_zero_frequency_at_its_corner():
    image = wave((400, 500), 9, 4, 384)

    composite = amplitude_composite(image, image)

    peaks = np.argwhere(composite > 0.7 * composite.max())
    assert sorted(map(tuple, peaks)) == [(9, 4), (384 - 9, 384 - 4)]


def test_a_single_pixel_is_refused():
    with pytest.raises(ValueError, match="2 x 2"):
        amplitude_sum(np.zeros((1, 100)))
