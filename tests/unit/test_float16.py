"""Images in 16-bit floats: rounded as everyone rounds, and good enough to find the motion in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from flexalign.align import align_movie
from flexalign.arrays.downsample import downsampled_images
from flexalign.arrays.kernels.float16 import (
    UNSCALED,
    as_pixel,
    coding_for,
    number,
    store,
    stored,
    widen,
)
from flexalign.arrays.kernels.tiles import taper_tile
from flexalign.params import AlignParams
from flexalign.simulate import simulate_movie

LARGEST = 65504


@pytest.fixture
def image():
    """Values of all sizes that noise has, and some that it has not."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(48, 64)) * 10.0 ** rng.uniform(-3, 4, (48, 64))
    values[0, :6] = [0.0, -0.0, 2.0**-14, LARGEST, 1 + 2.0**-11, 1 + 3 * 2.0**-11]
    return values.astype(np.float32)


def halves_of(image):
    """What `store` makes of an image."""
    kept = np.empty(image.shape, np.float16)
    store(image, np.float32(0), np.float32(1), False, stored(kept))
    return kept


def test_values_are_rounded_as_numpy_rounds_them(image):
    np.testing.assert_array_equal(halves_of(image), image.astype(np.float16))


def test_what_is_too_large_becomes_the_largest_there_is():
    values = np.array([[65519, 1e6, -1e6, 3e38]], np.float32)

    assert halves_of(values).tolist() == [[LARGEST, LARGEST, -LARGEST, LARGEST]]


def test_all_halves_are_widened_to_what_they_stand_for():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(64, -1)
    wide = np.empty(halves.shape, np.float32)

    widen(stored(halves), wide)

    np.testing.assert_array_equal(wide, halves.astype(np.float32))


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_images_are_added_less_a_level_in_a_unit(kind):
    rng = np.random.default_rng(2)
    one, other = rng.normal(3, 1, (2, 5, 7)).astype(np.float32)
    kept = np.empty(one.shape, kind)

    for image, is_more in ((one, False), (other, True)):
        store(image, np.float32(3), np.float32(0.5), is_more, stored(kept))

    expected = 0.5 * (one + other - 6)
    np.testing.assert_allclose(kept, expected, atol=2e-3 if kind is np.float16 else 1e-6)


@pytest.mark.parametrize("deviation", [1e-30, 3e-8, 0.4, 7.0, 1e5, 1e30])
def test_noise_of_any_size_is_about_one_in_its_unit(deviation):
    coding = coding_for(np.empty(0, np.float16), 2.0, deviation)

    assert coding.level == 2
    assert 0.7 < float(coding.factor) * deviation < 1.5
    assert np.frexp(coding.factor)[0] == 0.5


def test_images_of_32_bits_and_even_ones_are_kept_as_they_are():
    assert coding_for(np.empty(0, np.float32), 2.0, 7.0) == UNSCALED
    assert coding_for(np.empty(0, np.float16), 2.0, 0.0).factor == 1


def test_uncompiled_they_are_the_same():
    half = np.array([1.5], np.float16)

    assert number(stored(half)[0]) == 1.5
    assert number(np.float32(1.5)) == 1.5
    assert as_pixel(np.float32(1.5), stored(half)) == stored(half)[0]
    assert as_pixel(np.float32(1.5), np.zeros(1, np.float32)) == 1.5


def test_loops_take_images_of_either_kind():
    rng = np.random.default_rng(3)
    kept = rng.normal(size=(3, 64, 80)).astype(np.float16)
    wide = kept.astype(np.float32)
    window, tiles = rng.uniform(size=(16, 20)).astype(np.float32), np.empty((2, 16, 20), np.float32)

    for image, out in zip((stored(kept), wide), tiles, strict=True):
        taper_tile(image[0], 55, -4, window, out)

    np.testing.assert_allclose(tiles[0], tiles[1], atol=1e-6)
    shrunk = [downsampled_images(images, (30, 40), 0.7, threads=2) for images in (kept, wide)]
    np.testing.assert_array_equal(shrunk[0], shrunk[1])


@pytest.fixture(scope="module")
def movies(tmp_path_factory) -> tuple[Path, Path, AlignParams]:
    """The same counts in 8 and in 32 bits, and what a user would say of them."""
    folder = tmp_path_factory.mktemp("movies")
    simulated = simulate_movie(
        shape_px=(512, 640), frame_count=12, electrons_per_px=3.0, local_motion_px=3.0, seed=5
    )
    files = simulated.save(folder, "small", "mrc")
    with mrcfile.open(files["movie"]) as narrow, mrcfile.new(folder / "wide.mrcs") as wide:
        assert narrow.data.dtype.itemsize == 1
        wide.set_data(narrow.data.view(np.uint8).astype(np.float32))
    params = AlignParams(
        pixel_size_A=simulated.settings.pixel_size_A,
        dose_per_frame_e_A2=simulated.settings.dose_e_A2,
        gain=str(files["gain"]),
        threads=2,
    )
    return files["movie"], folder / "wide.mrcs", params


def test_the_motion_is_that_of_frames_in_32_bits(movies):
    *paths, params = movies

    narrow, wide = (align_movie(path, params) for path in paths)

    frame, y, x = np.meshgrid(np.arange(12), [0, 255, 511], [0, 320, 639], indexing="ij")
    moved = [np.stack(result.motion.displacement_px(frame, y, x)) for result in (narrow, wide)]
    assert np.ptp(moved[1]) > 2
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-3)
    bands = zip(narrow.quality.signal_bands, wide.quality.signal_bands, strict=True)
    for band, expected in bands:
        assert band.after == pytest.approx(expected.after, rel=0.01, abs=1e-4)
    assert narrow.record.decisions["memory_bytes"] < wide.record.decisions["memory_bytes"]


@pytest.mark.parametrize("scale", [1e4, 1e-8])
def test_the_motion_does_not_depend_on_the_unit_of_the_gain(movies, tmp_path, scale):
    """A reference may be in any unit; frames in it are larger than halves can be, or smaller."""
    path, _, params = movies
    with mrcfile.open(params.gain) as gain, mrcfile.new(tmp_path / "gain.mrc") as scaled:
        scaled.set_data((gain.data * scale).astype(np.float32))

    usual, other = (
        align_movie(path, replace(params, gain=name)).motion.trajectory.displacement_px
        for name in (params.gain, str(tmp_path / "gain.mrc"))
    )

    np.testing.assert_allclose(other, usual, atol=5e-3)
