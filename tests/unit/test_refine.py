"""The likelihood and its optimum: derivatives by hand, motion recovered from a coarse start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.arrays.fourier import cropped, irfft2, rfft2
from flexalign.estimate import refine
from flexalign.estimate.patch_spectra import cut_spectra, sweep, sweep_batch
from flexalign.estimate.patches import make_grid
from flexalign.estimate.spectral_powers import (
    RingPowers,
    finest_signal_A,
    half_of_ring,
    independent_share,
    ring_powers,
    score_sd,
)
from flexalign.model import FrameRange
from flexalign.motion import MotionField

TIMES = 12
SCALE = 2.0


def path_of(times=TIMES):
    """A curved path (times, 2) in small pixels: fast at first, y and x unlike each other."""
    u = np.linspace(0, 1, times)
    return np.stack([6 * np.exp(-3 * u), 8 * u - 3 * u**2], axis=1)


def centred(displacement_px):
    return displacement_px - displacement_px.mean(axis=-2, keepdims=True)


def spread_px(found, wanted):
    """Root mean square difference over time and axes, means removed."""
    return float(np.sqrt(np.mean((centred(found) - centred(wanted)) ** 2)))


def everywhere(path_px, patches):
    return np.repeat(np.asarray(path_px)[None], patches, axis=0)


def rounded(values):
    """Values with a mantissa of eight bits, as the sweeps keep them."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent)


PAD_PX = 30


def likelihood(patches, frames, displacement_px, weight, envelope):
    """The sum of W |sum a X|^2 over rings and patches, written out with numpy."""
    grid, total = patches.grid, 0.0
    height, width = grid.shape_px
    ky, kx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    inside = patches.ring >= 0
    for p in range(len(displacement_px)):
        summed = np.zeros((height, width // 2 + 1), complex)
        for t, image in enumerate(frames.pixels):
            offset = patches.offset_px[p, t]
            top, left = grid.corner_px[p] + offset + PAD_PX
            endless = np.pad(image.astype(float), PAD_PX, mode="reflect")
            tile = endless[top : top + height, left : left + width]
            rest = displacement_px[p, t] / SCALE - offset
            kept = np.fft.rfft2((tile - tile.mean()) * grid.window) * envelope[t][patches.ring]
            kept = rounded(kept.real) + 1j * rounded(kept.imag)
            summed += kept * np.exp(2j * np.pi * (ky * rest[0] + kx * rest[1]))
        total += (weight[patches.ring] * np.abs(summed) ** 2)[inside].sum()
    return total


@pytest.fixture
def small_case(make_drifting_frames):
    """Frames, their patches, a displacement, a weight and an envelope, all without symmetry."""
    rng = np.random.default_rng(1)
    frames = make_drifting_frames(rng.normal(0, 2, (4, 2)), (40, 72), noise=0.5)
    grid = make_grid(frames, (1, 2))
    displacement = rng.normal(0, 3, (2, 4, 2))
    rings = len(cut_spectra(frames, grid, displacement).ring_frequency_per_A)
    envelope = rng.uniform(0.5, 1.0, (4, rings))
    patches = cut_spectra(frames, grid, displacement, lambda _: envelope)
    return frames, patches, displacement, rng.uniform(0, 1, rings), envelope


def test_patches_are_cut_where_the_specimen_went(make_drifting_frames):
    """Whole pixels and no noise: the same piece of the specimen in every frame."""
    path = np.array([[0, 0], [9, -14], [-11, 6]])
    frames = make_drifting_frames(path, (96, 128), noise=0.0)
    grid = make_grid(frames, (3, 3))

    patches = cut_spectra(frames, grid, everywhere(SCALE * path, 9))

    middle = patches.spectra[4]
    np.testing.assert_allclose(middle[1:], middle[[0, 0]], atol=1e-3 * np.abs(middle).max())
    assert np.array_equal(patches.offset_px[4], path)


def test_the_gradient_is_the_derivative_of_the_likelihood(small_case):
    frames, patches, displacement, weight, envelope = small_case
    at = displacement + 0.3

    gradient = sweep(patches, at, weight).gradient

    step = 1e-4
    for place in [(0, 0, 0), (0, 0, 1), (0, 3, 0), (1, 2, 1), (1, 1, 0)]:
        values = []
        for sign in (1, -1):
            shifted = at.copy()
            shifted[place] += sign * step
            values.append(likelihood(patches, frames, shifted, weight, envelope))
        slope = (values[0] - values[1]) / (2 * step)
        scale = np.abs(gradient).max()
        assert gradient[place] == pytest.approx(slope, abs=2e-4 * scale)


def test_the_ring_sums_are_those_of_the_likelihood(small_case):
    frames, patches, displacement, weight, envelope = small_case

    found = sweep(patches, displacement, weight)

    expected = likelihood(patches, frames, displacement, weight, envelope)
    assert ((found.cross + found.auto) * weight).sum() == pytest.approx(expected, rel=1e-5)
    powers = np.abs(patches.spectra) ** 2
    by_hand = [
        [powers[p][:, patches.ring == r].sum() for r in range(len(weight))] for p in range(2)
    ]
    np.testing.assert_allclose(found.auto, by_hand, rtol=1e-4)


def test_threads_do_not_change_the_sweep(small_case):
    _, patches, displacement, weight, _ = small_case

    one, two = (sweep(patches, displacement, weight, threads=n) for n in (1, 2))

    assert np.array_equal(one.gradient, two.gradient)
    assert np.array_equal(one.cross, two.cross)


def test_a_sweep_of_some_rings_is_that_part_of_the_whole(small_case):
    _, patches, displacement, weight, _ = small_case
    low = np.where(np.arange(len(weight)) < 6, weight, 0)

    whole = sweep(patches, displacement, low)
    part = sweep(patches, displacement, weight, rings=6)
    blind = sweep(patches, displacement, None)

    np.testing.assert_allclose(part.gradient, whole.gradient, rtol=1e-5)
    np.testing.assert_allclose(part.cross[:, :6], whole.cross[:, :6], rtol=1e-5)
    assert not part.cross[:, 6:].any()
    assert np.array_equal(blind.cross, whole.cross)
    assert not blind.gradient.any()


def test_a_displacement_common_to_all_frames_has_no_gradient(small_case):
    _, patches, displacement, weight, _ = small_case

    gradient = sweep(patches, displacement, weight).gradient

    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-4 * np.abs(gradient).max())


def test_the_powers_are_those_of_specimen_and_noise(make_drifting_frames):
    """White noise of variance 4 has the power 4 n in every coefficient of n pixels."""
    path = path_of()
    frames = make_drifting_frames(path, (96, 128), noise=2.0)
    grid = make_grid(frames, (2, 2))
    displacement = everywhere(SCALE * path, 4)
    patches = cut_spectra(frames, grid, displacement)

    powers = ring_powers(patches, sweep(patches, displacement, None))

    size = np.prod(grid.shape_px)
    fine = slice(8, -2)
    np.testing.assert_allclose(powers.noise[fine], 4 * size, rtol=0.1)
    only = make_drifting_frames(path, (96, 128), noise=0.0)
    pure = cut_spectra(only, grid, displacement)
    own = sweep(pure, displacement, np.zeros(len(pure.ring_count))).auto.sum(axis=0)
    own /= pure.ring_count.clip(1) * 4 * TIMES
    np.testing.assert_allclose(powers.signal[5:12], own[5:12], rtol=0.4)


def test_rings_without_signal_have_hardly_any_weight(make_drifting_frames):
    still = np.zeros((4, TIMES, 2))
    trusted = []
    for seed in range(8):
        frames = make_drifting_frames(still[0], (96, 128), noise=1e4, seed=seed)
        patches = cut_spectra(frames, make_grid(frames, (2, 2)), still)
        powers = ring_powers(patches, sweep(patches, still, None))
        assert not powers.weight[:, powers.trust == 0].any()
        trusted.append(powers.trust)

    assert np.mean(trusted) < 0.08
    assert np.mean(np.array(trusted) >= 0.5) < 0.08  # said to have signal


def test_a_start_one_pixel_off_is_refined_well_below_that(make_drifting_frames):
    path = SCALE * path_of()
    frames = make_drifting_frames(path_of(), (128, 160), noise=2.0)
    grid = make_grid(frames, (2, 2))
    start = path + np.random.default_rng(2).normal(0, SCALE, path.shape)

    fit = refine.refine(
        cut_spectra(frames, grid, everywhere(start, 4)), everywhere(start, 4), None
    ).fit

    assert spread_px(start, path) > 1.5
    assert spread_px(fit.trajectory_px, path) < 0.1


@pytest.mark.parametrize("wrong", [lambda p: p[:, ::-1], lambda p: -p, np.zeros_like])
def test_a_start_on_another_path_is_not_made_good(make_drifting_frames, wrong):
    """So the test above would notice swapped axes, the opposite sign, and no motion at all."""
    path = SCALE * 3 * path_of()
    frames = make_drifting_frames(3 * path_of(), (128, 160), noise=2.0)
    start = everywhere(wrong(path), 4)

    fit = refine.refine(cut_spectra(frames, make_grid(frames, (2, 2)), start), start, None).fit

    assert spread_px(fit.trajectory_px, path) > 1


def test_the_standard_error_is_about_the_error(make_drifting_frames):
    path = SCALE * path_of()
    ratios = []
    for seed in range(4):
        frames = make_drifting_frames(path_of(), (128, 160), noise=3.0, seed=10 * seed)
        start = everywhere(path, 4)
        spectra = cut_spectra(frames, make_grid(frames, (2, 2)), start)
        fit = refine.refine(spectra, start, None).fit
        ratios.append(spread_px(fit.trajectory_px, path) / np.mean(fit.trajectory_error_px))

    assert 0.5 < np.mean(ratios) < 2


def local_movie(noise):
    """Frames (TIMES, 128, 160) whose content is stretched along y more and more, and the field."""
    rng = np.random.default_rng(3)
    fine = (4 * 128, 4 * 160)
    shape = MotionField(np.zeros((2, 4, 3, 3)), 256, 320, FrameRange(0, TIMES))
    growing = np.linspace(0, 1, 4)[:, None, None] * np.linspace(-30, 30, 3)[None, :, None]
    coefficients = np.stack([growing + np.zeros((4, 3, 3)), np.zeros((4, 3, 3))])
    field = replace(shape, coefficients_px=coefficients)
    spectrum = cropped(rfft2(rng.normal(size=fine).astype(np.float32)), fine, (160, 200))
    ky, kx = np.fft.fftfreq(160)[:, None], np.fft.rfftfreq(200)[None, :]
    low = cropped(spectrum / (0.02 + np.hypot(ky, kx)).astype(np.float32), (160, 200), (128, 160))
    ky, kx = np.fft.fftfreq(128) * 128, np.fft.rfftfreq(160) * 160
    image = irfft2(low, (128, 160))
    low = low / image.std()
    y, x = np.arange(128), np.arange(160)
    frames = []
    for t in range(TIMES):
        # The displacement is along y and depends on y only, so each row has one phase.
        dy = field.on_lattice(t, SCALE * y, SCALE * x)[0, :, 0] / SCALE
        columns = np.fft.fft(np.fft.irfft(low, 160, axis=1), axis=1)
        rows = np.exp(2j * np.pi * np.outer(y - dy, ky) / 128) / 128
        frames.append(np.fft.ifft(rows @ columns, axis=1).real)
    frames = np.stack(frames) + noise * rng.normal(size=(TIMES, 128, 160))
    return frames.astype(np.float32), field


def test_a_field_is_refined_together_with_the_trajectory(make_drifting_frames):
    pixels, field = local_movie(noise=1.0)
    frames = replace(make_drifting_frames(np.zeros((TIMES, 2)), (128, 160)), pixels=pixels)
    grid = make_grid(frames, (4, 4))
    start = np.zeros((16, TIMES, 2))
    truth = refine.displacement_at(np.zeros((TIMES, 2)), field, grid.center_px, frames.frame)

    found = refine.refine(cut_spectra(frames, grid, start), start, field)

    refined = refine.displacement_at(
        found.fit.trajectory_px, found.fit.field, grid.center_px, frames.frame
    )
    assert spread_px(start, truth) > 0.5
    assert spread_px(refined, truth) < 0.15
    assert found.field_prior is not None


def test_frames_missing_in_the_middle_keep_their_place_in_time(make_drifting_frames):
    frame = np.array([0, 1, 2, 3, 4, 9, 10, 11, 12, 13])
    whole = path_of(14)
    frames = make_drifting_frames(whole[frame], (128, 160), noise=2.0, frame=frame)
    path = SCALE * whole[frame]
    start = everywhere(path + np.random.default_rng(4).normal(0, 1, path.shape), 4)

    spectra = cut_spectra(frames, make_grid(frames, (2, 2)), start)
    fit = refine.refine(spectra, start, None).fit

    assert spectra.frame.tolist() == frame.tolist()
    assert spread_px(fit.trajectory_px, path) < 0.1


def test_one_half_of_the_rings_is_not_looked_at(make_drifting_frames):
    frames = make_drifting_frames(path_of(), (96, 128), noise=1.0)
    start = everywhere(SCALE * path_of(), 4)
    spectra = cut_spectra(frames, make_grid(frames, (2, 2)), start)

    halves = refine.refine_halves(spectra, start, None, refine.refine(spectra, start, None))

    for half, found in enumerate(halves):
        other = half_of_ring(len(found.powers.signal)) != half
        assert not found.powers.weight[:, other].any()
        assert found.powers.weight.any()


def test_sweeps_along_several_motions_at_once_are_those_along_each(make_drifting_frames):
    frames = make_drifting_frames(path_of(), (96, 128), noise=1.0)
    start = everywhere(SCALE * path_of(), 4)
    spectra = cut_spectra(frames, make_grid(frames, (2, 2)), start)
    rng = np.random.default_rng(3)
    places = [start + rng.normal(size=start.shape) for _ in range(3)]
    weights = [rng.random(len(spectra.ring_count)) for _ in range(3)]

    together = sweep_batch(spectra, places, weights, rings=12)

    for place, weight, found in zip(places, weights, together, strict=True):
        alone = sweep(spectra, place, weight, rings=12)
        assert np.array_equal(found.gradient, alone.gradient)
        assert np.array_equal(found.cross, alone.cross)


def test_the_halves_are_blocks_of_rings_in_turn():
    assert half_of_ring(10).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]


def test_the_finest_signal_is_where_the_weight_ends():
    frequency = np.arange(10) / 100
    weight = np.array([0, 0, 0, 1, 1, 0, 1, 0, 0, 0.0])

    found = finest_signal_A(RingPowers(*[weight] * 5), frequency)

    assert found == pytest.approx(100 / 6)
    assert np.isnan(finest_signal_A(RingPowers(*[0.4 * weight] * 5), frequency))


@pytest.mark.parametrize("seed", range(6))
def test_the_finest_signal_of_a_blurred_specimen_is_where_it_was_cut_off(
    make_drifting_frames, seed
):
    """Nothing finer than 10 A, ring 12.8, is there; the smoothing reaches to 15; 4 A, 32, could."""
    path = path_of()
    sharp = make_drifting_frames(path, (128, 160), noise=0.0, seed=seed)
    ky, kx = np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(160)[None, :]
    low = irfft2(rfft2(sharp.pixels) * (np.hypot(ky, kx) < 0.2).astype(np.float32), (128, 160))
    noise = np.random.default_rng(seed + 50).normal(0, 2, low.shape)
    frames = replace(sharp, pixels=(low + noise).astype(np.float32))
    start = everywhere(SCALE * path, 4)

    found = refine.refine(cut_spectra(frames, make_grid(frames, (2, 2)), start), start, None)

    finest = finest_signal_A(found.powers, found.ring_frequency_per_A)
    assert 128 / 17 < finest < 128 / 12


def test_the_chance_of_a_score_is_its_scatter_on_noise(make_drifting_frames):
    still = np.zeros((4, 5, 2))
    scores = []
    for seed in range(60):
        frames = make_drifting_frames(np.zeros((5, 2)), (64, 80), noise=1e4, seed=seed)
        patches = cut_spectra(frames, make_grid(frames, (2, 2)), still)
        if seed == 0:
            weight = np.linspace(1, 2, len(patches.ring_count))
            flat = np.full(len(weight), 1e8 * np.prod(patches.grid.shape_px))
            chance = score_sd(
                patches, RingPowers(0 * flat, flat, weight, 0 * flat, 0 * flat), weight
            )
        scores.append((sweep(patches, still, weight).cross * weight).sum())

    # The taper makes neighbouring coefficients alike: fewer are independent, sums scatter more.
    chance /= np.sqrt(independent_share(patches.grid))
    assert np.std(scores) == pytest.approx(chance, rel=0.25)


def test_a_motion_at_a_place_is_path_plus_field():
    _, field = local_movie(noise=0.0)
    center = np.array([[10.0, 20.0], [200.0, 300.0]])
    path = path_of()

    found = refine.displacement_at(path, field, center, np.arange(TIMES))

    dy, dx = field.displacement_px(5, 200.0, 300.0)
    np.testing.assert_allclose(found[1, 5], path[5] + [dy, dx], atol=1e-12)
    np.testing.assert_allclose(refine.displacement_at(path, None, center, FrameRange), [path, path])
