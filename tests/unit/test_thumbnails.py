"""Small pictures show what the large images hold."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import PIL.Image
import pytest

from flexalign.arrays.power_spectrum import power_spectrum
from flexalign.errors import InputError
from flexalign.io.thumbnails import (
    details_of,
    shown_edge_per_A,
    thumbnails_of,
    write_spectra_thumbnail,
    write_thumbnail,
)


def pixels_of(path):
    with PIL.Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image).astype(float)


def rings(period_px, size=768):
    """White noise whose power has rings in the square of the frequency."""
    rng = np.random.default_rng(3)
    ky, kx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    squared = ky**2 + kx**2
    amplitude = np.sqrt(1 + 0.8 * np.cos(2 * np.pi * squared * period_px**2))
    return np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) * amplitude)


@pytest.mark.parametrize("pictures_of", [thumbnails_of, details_of])
def test_pictures_of_one_movie_have_one_grey_scale(pictures_of):
    """An image of half the contrast is half as rich in contrast."""
    image = np.random.default_rng(1).normal(size=(300, 400)).astype(np.float32)

    one, other = (pixels_of(BytesIO(png)) for png in pictures_of([image, 0.5 * image]))

    assert one.shape == other.shape
    assert other.std() == pytest.approx(0.5 * one.std(), rel=0.1)


def test_details_are_the_middle_at_full_resolution():
    image = np.zeros((700, 900), np.float32)
    image[330:370, 430:470] = 1.0

    (png,) = details_of([image])

    found = pixels_of(BytesIO(png))
    assert found.shape == (256, 256)
    np.testing.assert_allclose(np.argwhere(found > 128).mean(axis=0), 127.5, atol=0.1)
    assert np.sqrt((found > 128).sum()) == pytest.approx(40, abs=1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((600, 1024), (300, 512)), ((1025, 700), (341, 233)), ((512, 512), (512, 512)),
     ((90, 120), (90, 120))],
)  # fmt: skip
def test_the_longer_side_is_at_most_512_px(tmp_path, shape, expected):
    write_thumbnail(tmp_path / "a.png", np.random.default_rng(0).normal(size=shape))

    assert pixels_of(tmp_path / "a.png").shape == expected


def test_a_micrograph_is_seen_through_its_noise(tmp_path):
    """A bright spot in the upper right, weaker than the noise of a pixel."""
    image = np.random.default_rng(1).normal(size=(1024, 2048)).astype(np.float32)
    image[100:300, 1500:1800] += 0.8

    write_thumbnail(tmp_path / "a.png", image)

    small = pixels_of(tmp_path / "a.png")
    spot = small[30:70, 380:445]
    assert spot.mean() > np.median(small) + 3 * small[100:, :300].std()


def test_outliers_and_constants_do_no_harm(tmp_path):
    image = np.random.default_rng(1).normal(size=(256, 256)).astype(np.float32)
    write_thumbnail(tmp_path / "a.png", image)
    image[5, 5] = 1e9
    write_thumbnail(tmp_path / "b.png", image)
    write_thumbnail(tmp_path / "c.png", np.zeros((64, 64), np.float32))

    one, other = pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "b.png")
    assert np.abs(one - other)[20:].max() < 10
    assert np.ptp(pixels_of(tmp_path / "c.png")) == 0


def test_rings_are_seen_after_and_not_before(tmp_path):
    size = 768
    before = power_spectrum(np.random.default_rng(0).normal(size=(size, size)), 1.0)
    after = power_spectrum(rings(12.0), 1.0)

    write_spectra_thumbnail(tmp_path / "a.png", before, after)

    picture = pixels_of(tmp_path / "a.png")
    side = picture.shape[0]
    offset = np.arange(side) - side // 2
    frequency = np.hypot(offset[:, None], offset) / (side // 2) * shown_edge_per_A(after)
    expected = np.cos(2 * np.pi * frequency**2 * 12.0**2)
    inside = (frequency > 0.05) & (frequency < 0.3)
    right = inside & (offset[None] > 0)
    left = inside & (offset[None] < 0)
    assert np.corrcoef(expected[right], picture[right])[0, 1] > 0.7
    assert abs(np.corrcoef(expected[left], picture[left])[0, 1]) < 0.05


@pytest.mark.parametrize(("pixel_A", "edge_per_A"), [(0.8, 1 / 3), (2.0, 1 / 4)])
def test_the_edge_is_at_3_A_or_nyquist(tmp_path, pixel_A, edge_per_A):
    spectrum = power_spectrum(rings(12.0), pixel_A)

    write_spectra_thumbnail(tmp_path / "a.png", spectrum, spectrum)

    step_per_A = spectrum.frequency_per_A[1]
    assert shown_edge_per_A(spectrum) == pytest.approx(edge_per_A)
    assert pixels_of(tmp_path / "a.png").shape[0] == 2 * round(edge_per_A / step_per_A)


def test_a_folder_that_is_missing_is_said(tmp_path):
    with pytest.raises(InputError, match="no"):
        write_thumbnail(tmp_path / "no" / "a.png", np.zeros((64, 64), np.float32))
