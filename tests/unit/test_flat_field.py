"""A gain reference from the mean of frames: what the detector does, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.gain.flat_field import flat_field, shaded_share, smooth_illumination

SHAPE = (128, 192)


def sensitivity(variation=0.05):
    image = 1 + variation * np.random.default_rng(0).standard_normal(SHAPE)
    return image / image.mean()


def illumination(depth=0.4):
    y, x = (np.linspace(-1, 1, side) for side in SHAPE)
    return np.exp(-depth * (y[:, None] ** 2 + 0.5 * (x - 0.3) ** 2))


def halves(image, electrons, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.poisson(electrons / 2 * image).astype(np.float32) for _ in range(2)]


def test_the_sensitivity_is_found_as_precisely_as_it_says():
    true = sensitivity()

    found = flat_field(*halves(true * illumination(), 4000))

    good = ~found.defects
    error = (found.sensitivity / true)[good].std()
    assert error == pytest.approx(found.noise, rel=0.1)
    # Mean of 1 / counts: where the light is weak, more than the mean would say.
    assert found.noise == pytest.approx(np.sqrt(np.mean(1 / (4000 * illumination()))), rel=0.1)
    assert found.variation == pytest.approx(0.05, rel=0.05)
    assert found.sensitivity[good].mean() == pytest.approx(1, abs=1e-5)


def test_the_illumination_is_taken_out_unless_it_is_to_be_kept():
    light = illumination()
    pair = halves(sensitivity() * light, 4000)

    flat = flat_field(*pair).sensitivity
    kept = flat_field(*pair, keep_illumination=True).sensitivity

    slow = [image.reshape(8, 16, 12, 16).mean(axis=(1, 3)) for image in (flat, kept, light)]
    assert slow[0].std() < 0.005
    assert np.corrcoef(slow[1].ravel(), slow[2].ravel())[0, 1] > 0.999
    assert flat_field(*pair).illumination_range == pytest.approx(light.max() / light.min(), rel=0.1)


def test_steps_between_parts_of_the_detector_stay():
    true = sensitivity(0.01)
    true[:, 96:] *= 1.05

    found = flat_field(*halves(true, 4000)).sensitivity

    near = found[:, 96:104].mean() / found[:, 88:96].mean()
    assert near == pytest.approx(1.05, abs=0.005)


def test_hot_and_dead_pixels_and_columns_are_defects_and_no_others():
    true = sensitivity()
    true[5, 7], true[60, 100:103], true[:, 40] = 30, 0, 0

    found = flat_field(*halves(true, 2000))

    bad = np.zeros(SHAPE, bool)
    bad[5, 7], bad[60, 100:103], bad[:, 40] = True, True, True
    np.testing.assert_array_equal(found.defects, bad)
    assert (found.sensitivity[bad] == 0).all()


@pytest.mark.parametrize("electrons", [3, 12, 50])
def test_few_electrons_make_no_defects(electrons):
    assert flat_field(*halves(sensitivity(), electrons)).defects.sum() == 0


def test_few_electrons_make_no_bad_columns_in_a_large_frame():
    image = np.random.default_rng(0).poisson(2, (2, 1024, 1024)).astype(np.float32)

    assert flat_field(*image).defects.sum() == 0


def test_smooth_light_is_followed():
    light = illumination()
    np.testing.assert_allclose(smooth_illumination(light) / light * light.mean(), 1, atol=0.01)


def test_a_grid_bar_is_seen():
    image = np.ones(SHAPE, np.float32)
    assert shaded_share(image) == 0
    image[:, :24] = 0.2
    assert shaded_share(image) == pytest.approx(24 / 192)


def test_no_counts_are_refused():
    with pytest.raises(ValueError, match="counts"):
        flat_field(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32))
