"""What stays with the detector is told from what moves with the specimen, and taken out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.estimate import fixed_pattern, pattern_removal
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.spectral_powers import ring_powers

SHAPE_PX = (128, 160)
COUNT = 12


@pytest.fixture
def moving(make_drifting_frames):
    """Frames whose specimen drifts by 12 small pixels, and its path."""
    path = np.stack([np.linspace(0, 12, COUNT), np.linspace(0, -7, COUNT)], axis=1)
    return make_drifting_frames(path, SHAPE_PX, noise=2.0), path


def with_pattern(frames, size):
    """The frames with the same white pattern of standard deviation `size` in each."""
    fixed = np.random.default_rng(3).normal(0, size, frames.shape_px).astype(np.float32)
    return replace(frames, pixels=frames.pixels + fixed)


def seen_closely(frames, path):
    at = np.repeat((path * np.array(frames.scale))[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), at)
    powers = ring_powers(patches, sweep(patches, at, None))
    return fixed_pattern.measure_anisotropic(patches, at, at[0], powers)


@pytest.fixture
def striped(make_drifting_frames):
    """Frames of a specimen with power along y that drifts along x, and its path.

    So they have more in common than a ring makes expect.
    """
    path = np.stack([np.zeros(COUNT), np.linspace(0, 6, COUNT)], axis=1)
    frames = make_drifting_frames(path, SHAPE_PX, noise=2.0)
    rng = np.random.default_rng(5)
    y, x = np.fft.fftfreq(SHAPE_PX[0])[:, None], np.fft.rfftfreq(SHAPE_PX[1])
    spectrum = np.fft.rfft2(rng.normal(size=SHAPE_PX)) * np.exp(-200 * x**2 - 10 * y**2)
    moved = [np.fft.irfft2(spectrum * np.exp(-2j * np.pi * x * dx), SHAPE_PX) for dx in path[:, 1]]
    pixels = 2 * np.array(moved) / np.std(moved) + rng.normal(0, 2, frames.pixels.shape)
    return replace(frames, pixels=pixels.astype(np.float32)), path


def measured(frames, path):
    path_px = path * np.array(frames.scale)
    at = np.repeat(path_px[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), at)
    powers = ring_powers(patches, sweep(patches, at, None))
    still = sweep(patches, 0 * at, powers.weight).cross.sum(axis=0)
    return fixed_pattern.measure(patches, still, path_px, powers)


def test_without_a_pattern_none_is_found(moving):
    frames, path = moving

    assert abs(measured(frames, path).significance) < 4


def test_a_pattern_is_found_and_grows_with_its_power(moving):
    frames, path = moving
    weak, strong = (measured(with_pattern(frames, size), path) for size in (0.5, 1.0))

    assert weak.significance > 6
    ratio = strong.power_over_noise.mean() / weak.power_over_noise.mean()
    assert ratio == pytest.approx(4, rel=0.25)
    # Variance 1 of the pattern, 4 of the noise; patches of 64 pixels cut up to 12 pixels apart lose
    # some of what stays in place.
    assert 0.15 < np.median(strong.power_over_noise[5:]) < 0.27


def test_a_specimen_at_rest_is_called_a_pattern_of_unknown_pull(make_drifting_frames):
    frames = make_drifting_frames(np.zeros((COUNT, 2)), SHAPE_PX, noise=2.0)
    found = measured(frames, np.zeros((COUNT, 2)))

    assert found.pull == 0
    assert found.significance == 0
    assert found.power_over_noise.max() > 0.1


def half_with_pattern(frames, size):
    """As `with_pattern`, in the right half alone."""
    fixed = with_pattern(frames, size).pixels - frames.pixels
    fixed[:, :, : SHAPE_PX[1] // 2] = 0
    return replace(frames, pixels=frames.pixels + fixed)


def in_patches(frames, path):
    path_px = path * np.array(frames.scale)
    at = np.repeat(path_px[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), at)
    return fixed_pattern.measure_in_patches(patches, path_px, (2, 2), measured(frames, path))


def test_a_pattern_in_a_part_of_the_field_is_found_there(moving):
    frames, path = moving
    found = in_patches(half_with_pattern(frames, 1.0), path)

    assert found.strength.shape == (2, 2)
    assert found.strength[:, 1] == pytest.approx([2, 2], abs=0.4)
    assert found.strength[:, 0] == pytest.approx([0, 0], abs=0.4)


def test_patches_that_are_left_out_have_the_mean_strength(moving):
    frames, path = moving
    taper = np.ones(SHAPE_PX, np.float32)
    taper[: SHAPE_PX[0] // 2, SHAPE_PX[1] // 2 :] = 0
    path_px = path * np.array(frames.scale)
    grid = make_grid(replace(frames, taper=taper), (2, 2))
    patches = cut_spectra(frames, grid, np.repeat(path_px[None], 3, axis=0))

    found = fixed_pattern.measure_in_patches(
        patches, path_px, (2, 2), measured(half_with_pattern(frames, 1.0), path)
    )

    assert found.strength.shape == (2, 2)
    assert found.strength[0, 1] == 1


def test_a_pattern_that_is_the_same_everywhere_is_as_strong_everywhere(moving):
    frames, path = moving

    assert in_patches(with_pattern(frames, 1.0), path).strength == pytest.approx(
        np.ones((2, 2)), abs=0.3
    )


def test_a_pattern_is_taken_out_where_it_is(make_drifting_frames):
    noise = np.random.default_rng(4).normal(0, 2, (COUNT, *SHAPE_PX)).astype(np.float32)
    frames = replace(make_drifting_frames(np.zeros((COUNT, 2)), SHAPE_PX), pixels=noise)
    spoiled = half_with_pattern(frames, 1.0)
    known = fixed_pattern.FixedPattern(
        np.full(9, 0.125), np.linspace(0, 1, 9), 0.0, 0.0, strength=np.array([[0.0, 2.0]])
    )

    lost = spoiled.pixels[0] - pattern_removal.remove_pattern(spoiled, known).pixels[0]

    quarter = SHAPE_PX[1] // 4
    assert np.abs(lost[:, :quarter]).max() < 1e-5
    # 1 - 1 / sqrt(1 + 12 * 0.25) is one half of the mean of all frames.
    mean = spoiled.pixels.mean(axis=0)[:, -quarter:]
    assert lost[:, -quarter:] == pytest.approx(0.5 * (mean - mean.mean()), abs=0.1)


def test_frames_have_nothing_in_common_once_it_is_taken_out(moving):
    frames, path = moving
    noise = replace(
        frames,
        pixels=np.random.default_rng(4).normal(0, 2, frames.pixels.shape).astype(np.float32),
    )
    spoiled = with_pattern(noise, 1.0)
    count = len(measured(spoiled, path).ring_frequency_per_A)
    known = fixed_pattern.FixedPattern(
        np.full(count, 0.25), measured(spoiled, path).ring_frequency_per_A, 0.0, 0.0
    )

    cleaned = pattern_removal.remove_pattern(spoiled, known).pixels

    def common(pixels):
        total = pixels.sum(axis=0)
        return (total**2).mean() - (pixels**2).sum(axis=0).mean()

    assert abs(common(cleaned)) < 0.05 * common(spoiled.pixels)
    # Taking out the whole mean would have gone as far to the other side as noise allows.
    assert common(spoiled.pixels - spoiled.pixels.mean(axis=0)) < -30


def test_a_specimen_with_more_power_along_some_direction_is_no_pattern(striped):
    frames, path = striped

    assert measured(frames, path).is_harmful
    assert abs(seen_closely(frames, path).significance) < 4


def test_beside_such_a_specimen_a_pattern_is_found_all_the_same(striped):
    frames, path = striped
    found = seen_closely(with_pattern(frames, 0.5), path)

    assert found.is_harmful
    # Variance 0.25 of the pattern, 4 of the noise.
    assert np.median(found.power_over_noise[5:]) == pytest.approx(0.25 / 4, rel=0.3)
