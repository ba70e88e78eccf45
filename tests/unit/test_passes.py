"""The two passes over real files: which frames count, what is mended, what the sums are."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest

from flexalign import passes
from flexalign.arrays import dose, fourier
from flexalign.arrays.downsample import downsampled_images
from flexalign.errors import InputError
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.references import load_references
from flexalign.model import FrameRange
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.params import AlignParams
from flexalign.plan import CORRELATION_NYQUIST_SHARE, make_plan

FRAMES, HEIGHT_PX, WIDTH_PX = 8, 96, 128
MEAN_COUNTS = 20.0
PLAIN = {"pixel_size_A": 1.0, "local": False, "hot_pixels": False}


@pytest.fixture
def counts():
    """Frames of Poisson counts around one mean."""
    rng = np.random.default_rng(1)
    return rng.poisson(MEAN_COUNTS, (FRAMES, HEIGHT_PX, WIDTH_PX)).astype(np.float32)


def write(folder: Path, frames: np.ndarray, name: str = "movie.mrcs") -> Path:
    # A memory map takes values that are not finite without a word.
    with mrcfile.new_mmap(folder / name, frames.shape, mrc_mode=2, overwrite=True) as file:
        file.data[:] = frames
    return folder / name


def both_passes(
    path, motion=None, threads=1, progress=lambda *_: None, gain=None, dark=None, **parameters
):
    """What the first pass found and the second pass summed."""
    params = AlignParams(**{**PLAIN, **parameters})
    with open_movie(path) as reader:
        plan = make_plan(reader.info, params)
        references = load_references(reader.info, gain=gain, dark=dark)
        frames, first = passes.first_pass(reader, plan, references, params, threads, progress)
        motion = motion or Motion.still(reader.info.frame_count)
        sums = passes.second_pass(reader, plan, first, motion, params, threads, progress)
    found = {f.name: getattr(first, f.name) for f in fields(first)}
    return SimpleNamespace(frames=frames, **found), sums


def drift(path_px):
    return Motion(Trajectory(path_px, np.ones(len(path_px), bool), 0))


def texture(seed=2):
    """A smooth image, so that a spline follows it exactly enough."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT_PX, WIDTH_PX)).astype(np.float32)
    ky, kx = fourier.frequencies(noise.shape)
    spectrum = fourier.rfft2(noise) * (np.hypot(ky, kx) < 0.15)
    return 100 + 100 * fourier.irfft2(spectrum.astype(np.complex64), noise.shape)


def test_the_plain_sum_of_a_still_movie_is_the_mean_of_its_frames(tmp_path, counts):
    first, sums = both_passes(write(tmp_path, counts))

    np.testing.assert_allclose(sums.plain, counts.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sums.unaligned, counts.mean(axis=0), rtol=1e-5)
    assert first.mean_counts == pytest.approx(counts.mean(), rel=1e-5)
    assert first.bad_frames == {}


def test_what_was_not_asked_for_is_not_made(tmp_path, counts):
    _, sums = both_passes(write(tmp_path, counts))

    assert sums.dose_weighted is sums.odd is sums.even is sums.aligned is None


def test_the_small_frames_are_the_frames_shrunk(tmp_path, counts):
    first, _ = both_passes(write(tmp_path, counts))

    small_px = first.frames.shape_px
    expected = downsampled_images(counts.astype(np.float32), small_px, CORRELATION_NYQUIST_SHARE)
    np.testing.assert_allclose(first.frames.pixels, expected, rtol=1e-4)
    assert first.frames.frame.tolist() == list(range(FRAMES))
    assert first.frames.scale == (HEIGHT_PX / small_px[0], WIDTH_PX / small_px[1])


def test_small_frames_of_8_bits_are_as_good_but_for_level_and_unit(tmp_path, counts):
    wide = hot_movie(tmp_path, counts, added=100)
    with mrcfile.open(wide) as file, mrcfile.new(tmp_path / "narrow.mrcs") as narrow:
        narrow.set_data(file.data.astype(np.int8))

    (found, _), (expected, _) = (
        both_passes(path, hot_pixels=True) for path in (tmp_path / "narrow.mrcs", wide)
    )

    assert found.frames.pixels.dtype == np.float16
    assert expected.frames.pixels.dtype == np.float32
    pixels = found.frames.pixels.astype(np.float32)
    unit = 2.0 ** np.round(np.log2(expected.frames.pixels.std() / pixels.std()))
    rest = pixels * unit - expected.frames.pixels
    assert (rest - rest.mean()).std() < 1e-3 * expected.frames.pixels.std()
    assert np.abs(rest - rest.mean()).max() < 0.05  # what a hot pixel is rounded by
    assert found.mean_counts == pytest.approx(expected.mean_counts, rel=1e-6)
    assert found.hot_pixels.sum() == expected.hot_pixels.sum() == 3


def test_frames_are_put_back_where_the_specimen_was(tmp_path):
    path = np.array([[0, 0], [3, -5], [6, 2], [-4, 7]], float)
    frames = [np.roll(texture(), (int(dy), int(dx)), (0, 1)) for dy, dx in path]

    _, sums = both_passes(write(tmp_path, np.stack(frames)), drift(path))

    inside = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(sums.plain[inside], texture()[inside], atol=0.05)
    assert np.abs(sums.unaligned - texture())[inside].max() > 5


def test_a_field_moves_each_place_by_its_own_displacement(tmp_path):
    """The second frame is stretched along x: content at x is found at x + displacement(x)."""
    coefficients = np.zeros((2, 3, 3, 3))
    coefficients[1, 2] = [-4, 0, 4]
    field = MotionField(coefficients, HEIGHT_PX, WIDTH_PX, FrameRange(0, 2))
    motion = Motion(Trajectory(np.zeros((2, 2)), np.ones(2, bool), 0), field)
    x = np.arange(WIDTH_PX, dtype=float)
    wave = [
        np.cos(2 * np.pi * where / 16) * np.ones((HEIGHT_PX, 1)) * 50 + 100
        for where in (x, np.interp(x, x + motion.displacement_px(1, 48.0, x)[1], x))
    ]

    _, sums = both_passes(write(tmp_path, np.stack(wave)), motion)

    inside = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(sums.plain[inside], wave[0][inside], atol=0.5)
    assert np.abs(sums.unaligned - wave[0])[inside].max() > 5


def bad_movie(folder, counts):
    """Frames 2, 4 and 7 of 8 are bad, each in its own way."""
    frames = counts.copy()
    frames[1] = 0
    frames[3, 10, 20] = np.nan
    frames[6] *= 0.05
    return write(folder, frames)


def test_bad_frames_are_left_out_and_named(tmp_path, counts):
    first, sums = both_passes(bad_movie(tmp_path, counts))

    assert sorted(first.bad_frames) == [1, 3, 6]
    assert "blank: every pixel is 0" in first.bad_frames[1]
    assert "not finite" in first.bad_frames[3]
    assert "nearly blank" in first.bad_frames[6]
    good = [0, 2, 4, 5, 7]
    assert first.frames.frame.tolist() == good
    assert len(first.frames.pixels) == 5
    np.testing.assert_allclose(sums.plain, counts[good].mean(axis=0), rtol=1e-5)
    assert first.mean_counts == pytest.approx(counts[good].mean(), rel=1e-3)
    usual = counts.mean(axis=(1, 2))
    # What cannot be read has none; the nearly blank one shows how dark it is.
    expected = [usual[0], np.nan, usual[2], np.nan, usual[4], usual[5], 0.05 * usual[6], usual[7]]
    np.testing.assert_allclose(first.frame_counts, expected, rtol=1e-3)


def test_a_copy_of_a_frame_is_left_out_and_named(tmp_path, counts):
    frames = counts.copy()
    frames[5] = frames[4]

    first, sums = both_passes(write(tmp_path, frames))

    assert first.bad_frames == {5: "it is a copy of frame 5"}
    good = [0, 1, 2, 3, 4, 6, 7]
    assert first.frames.frame.tolist() == good
    np.testing.assert_allclose(sums.plain, counts[good].mean(axis=0), rtol=1e-5)


def test_bad_frames_do_not_darken_the_unaligned_sum(tmp_path, counts):
    """What the nearly blank frame adds to it, 5 % of a frame, may stay."""
    _, sums = both_passes(bad_movie(tmp_path, counts))

    assert sums.unaligned.mean() == pytest.approx(sums.plain.mean(), rel=1e-3)
    np.testing.assert_allclose(sums.unaligned, sums.plain, atol=0.3)


@pytest.mark.parametrize("bad_count", [5, 7, 8])
def test_a_movie_of_mostly_bad_frames_is_refused(tmp_path, counts, bad_count):
    frames = counts.copy()
    frames[:bad_count] = 0

    with pytest.raises(InputError, match=f"found {bad_count} of 8 that cannot be used.*frame 1"):
        both_passes(write(tmp_path, frames))


def test_a_movie_none_of_whose_frames_to_sum_is_good_is_refused(tmp_path, counts):
    frames = counts.copy()
    frames[2:4] = 0

    with pytest.raises(InputError, match="none of the frames 3-4"):
        both_passes(write(tmp_path, frames), sum_first=3, sum_last=4)


def test_frames_whose_mean_was_taken_away_are_not_blank(tmp_path, counts):
    """Some programs store frames with their mean subtracted."""
    frames = counts - counts.mean(axis=(1, 2), keepdims=True)

    first, sums = both_passes(write(tmp_path, frames))

    assert first.bad_frames == {}
    np.testing.assert_allclose(sums.plain, frames.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("value", [0, 20])
def test_a_frame_of_which_a_part_is_blank_is_left_out(tmp_path, counts, value):
    broken = counts.copy()
    broken[2, HEIGHT_PX // 2 :] = value
    good = np.delete(counts, 2, axis=0)

    first, sums = both_passes(write(tmp_path, broken))

    assert list(first.bad_frames) == [2]
    assert "rows 49-96, columns 1-128" in first.bad_frames[2]
    assert first.frames.frame.tolist() == [0, 1, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(sums.unaligned, good.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sums.plain, good.mean(axis=0), rtol=1e-5)
    assert first.mean_counts == pytest.approx(good.mean(), rel=1e-3)


def test_a_broken_frame_is_left_out_of_a_sum_of_its_own_too(tmp_path, counts):
    broken = counts.copy()
    broken[4, :, WIDTH_PX // 2 :] = 0

    _, sums = both_passes(write(tmp_path, broken), sum_first=4, sum_last=6)

    expected = counts[[3, 5]].mean(axis=0)
    np.testing.assert_allclose(sums.unaligned, expected, rtol=1e-5)
    np.testing.assert_allclose(sums.plain, expected, rtol=1e-5)


def test_frames_of_uneven_counts_are_named_unless_their_doses_say_so(tmp_path, counts):
    uneven = counts.copy()
    uneven[:2] *= 0.5
    path, doses = write(tmp_path, uneven), (0.5, 0.5, *[1.0] * 6)

    assert both_passes(path)[0].uneven_frames == pytest.approx({0: -0.5, 1: -0.5}, abs=0.02)
    assert both_passes(path, dose_per_frame_e_A2=doses)[0].uneven_frames == {}


def test_only_frames_in_the_range_are_summed(tmp_path, counts):
    first, sums = both_passes(write(tmp_path, counts), align_first=2, sum_first=4, sum_last=6)

    assert first.frames.frame.tolist() == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(sums.plain, counts[3:6].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sums.unaligned, counts[3:6].mean(axis=0), rtol=1e-5)


def write_image(path, image):
    with mrcfile.new(path) as file:
        file.set_data(image.astype(np.float32))
    return path


@pytest.fixture
def gain():
    return np.random.default_rng(3).uniform(0.8, 1.2, (HEIGHT_PX, WIDTH_PX)).astype(np.float32)


@pytest.mark.parametrize("offset", [-32768, -128])
def test_a_gain_does_not_multiply_an_offset(tmp_path, counts, gain, offset):
    movie = write(tmp_path, counts + np.float32(offset))
    gain_path = write_image(tmp_path / "gain.mrc", gain)
    dark_path = write_image(tmp_path / "dark.mrc", np.full_like(gain, offset))

    with pytest.raises(InputError, match=r"values around -\d+.*`dark`"):
        both_passes(movie, gain=gain_path)
    _, sums = both_passes(movie, gain=gain_path, dark=dark_path)

    np.testing.assert_allclose(sums.plain, counts.mean(axis=0) * gain, rtol=1e-3)


def test_frames_whose_mean_was_taken_away_have_no_offset(tmp_path, counts, gain):
    movie = write(tmp_path, counts - counts.mean(axis=(1, 2), keepdims=True))

    first, _ = both_passes(movie, gain=write_image(tmp_path / "gain.mrc", gain))

    assert not first.bad_frames


def test_the_gain_multiplies_every_frame(tmp_path, counts, gain):
    write_image(tmp_path / "gain.mrc", gain)

    first, sums = both_passes(write(tmp_path, counts), gain=tmp_path / "gain.mrc")

    np.testing.assert_allclose(sums.plain, counts.mean(axis=0) * gain, rtol=1e-5)
    assert first.mean_counts == pytest.approx((counts * gain).mean(), rel=1e-3)


def hot_movie(folder, counts, added=400):
    """Two hot pixels and a dead one, on the grid of the small frames' pixels."""
    frames = counts.copy()
    frames[:, 20, 40] += added
    frames[:, 60, 90] += 0.6 * added
    frames[:, 70, 30] = 0
    return write(folder, frames)


def test_hot_and_dead_pixels_are_found_and_mended_in_the_sums(tmp_path, counts):
    first, sums = both_passes(hot_movie(tmp_path, counts), hot_pixels=True)

    assert np.argwhere(first.hot_pixels).tolist() == [[20, 40], [60, 90], [70, 30]]
    for image in (sums.plain, sums.unaligned):
        assert np.abs(image - MEAN_COUNTS).max() < 8
    elsewhere = ~first.hot_pixels
    np.testing.assert_allclose(sums.plain[elsewhere], counts.mean(axis=0)[elsewhere], rtol=1e-5)


def test_hot_pixels_leave_no_pattern_in_the_small_frames(tmp_path, counts):
    clean, _ = both_passes(write(tmp_path, counts, "clean.mrcs"))
    spoiled, _ = both_passes(hot_movie(tmp_path, counts))
    mended, _ = both_passes(hot_movie(tmp_path, counts), hot_pixels=True)

    pattern, rest = (
        np.abs((f.frames.pixels - clean.frames.pixels).mean(axis=0)).max()
        for f in (spoiled, mended)
    )

    assert pattern > 30
    # What is left is the difference between the noise of a pixel and that of its neighbour.
    assert rest < 2


def test_hot_pixels_of_frames_without_mean_leave_no_pattern_either(tmp_path, counts):
    frames = counts - counts.mean(axis=(1, 2), keepdims=True)
    clean, _ = both_passes(write(tmp_path, frames, "clean.mrcs"))
    frames[:, 20, 40] += 400
    frames -= frames.mean(axis=(1, 2), keepdims=True)

    mended, _ = both_passes(write(tmp_path, frames), hot_pixels=True)

    # Mending changes the mean, which says nothing about motion.
    rest = (mended.frames.pixels - clean.frames.pixels).mean(axis=0)
    assert np.abs(rest - np.median(rest)).max() < 4


def test_odd_and_even_frames_are_counted_from_one_and_average_to_all(tmp_path, counts):
    _, sums = both_passes(write(tmp_path, counts), odd_even=True)

    np.testing.assert_allclose(sums.odd, counts[0::2].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sums.even, counts[1::2].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose((sums.odd + sums.even) / 2, sums.plain, rtol=1e-5)


def test_oddness_is_that_of_the_frame_in_the_file(tmp_path, counts):
    _, sums = both_passes(write(tmp_path, counts), align_first=2, odd_even=True)

    np.testing.assert_allclose(sums.odd, counts[2::2].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sums.even, counts[1::2].mean(axis=0), rtol=1e-5)


def ring_powers(image):
    ky, kx = fourier.frequencies(image.shape)
    ring = np.minimum(np.hypot(ky, kx) * 10, 4.99).astype(int)
    power = np.abs(fourier.rfft2(image - image.mean())) ** 2
    return np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())


@pytest.mark.parametrize("binning", [1.0, 1.5])
def test_the_dose_weighted_sum_has_the_noise_power_and_mean_of_the_plain_one(
    tmp_path, counts, binning
):
    path = write(tmp_path, counts)

    _, sums = both_passes(path, dose_per_frame_e_A2=5.0, binning=binning)

    assert sums.dose_weighted.shape == sums.plain.shape
    np.testing.assert_allclose(ring_powers(sums.dose_weighted), ring_powers(sums.plain), rtol=0.15)
    assert sums.dose_weighted.mean() == pytest.approx(sums.plain.mean(), rel=1e-5)
    assert np.abs(sums.dose_weighted - sums.plain).max() > 1


def test_fine_detail_of_late_frames_counts_less(tmp_path, counts):
    """A wave of 4 A in one frame: early it is nearly all there, late it is nearly gone."""
    wave = 50 * np.cos(2 * np.pi * np.arange(WIDTH_PX) / 4)
    height = {}
    for name, frame in (("early", 0), ("late", 7)):
        frames = counts.copy()
        frames[frame] += wave
        path = write(tmp_path, frames, f"{name}.mrcs")
        _, sums = both_passes(path, dose_per_frame_e_A2=5.0)
        height[name] = (sums.dose_weighted * wave).mean() / (sums.plain * wave).mean()

    ratio = height["late"] / height["early"]
    critical = 0.24499 * 0.25**-1.6649 + 2.8141
    assert ratio == pytest.approx(np.exp(-0.5 * 35 / critical), abs=0.03)


def test_each_frame_is_weighted_by_the_doses_of_those_before_it(tmp_path, counts):
    """Against equation 9 of the paper, the noise of a frame being as its dose."""
    doses = np.array([2.0, 2.0, 8.0, 8.0, 1.0, 1.0, 4.0, 4.0])

    _, sums = both_passes(write(tmp_path, counts), dose_per_frame_e_A2=tuple(doses))

    after = np.cumsum(doses)[:, None, None]
    weight = dose.exposure_weights(np.hypot(*fourier.frequencies(counts.shape[1:])), after)
    noise = (doses[:, None, None] * weight**2).sum(axis=0) / doses.sum()
    spectrum = (weight * fourier.rfft2(counts)).sum(axis=0) / np.sqrt(noise) / FRAMES
    expected = fourier.irfft2(spectrum.astype(np.complex64), counts.shape[1:])
    np.testing.assert_allclose(sums.dose_weighted, expected, atol=0.02)


@pytest.mark.parametrize("pre_exposure_e_A2", [20.0, 150.0])
def test_a_dose_that_all_frames_had_before_cancels_out(tmp_path, counts, pre_exposure_e_A2):
    """As at the end of a tilt series: the noise stays that of the plain sum."""
    path = write(tmp_path, counts)

    fresh, exposed = (
        both_passes(path, dose_per_frame_e_A2=2.0, pre_exposure_e_A2=before)[1].dose_weighted
        for before in (0.0, pre_exposure_e_A2)
    )

    np.testing.assert_allclose(exposed, fresh, atol=0.01)


@pytest.mark.parametrize("binning", [1.5, 2.0, 3.1])
def test_binning_keeps_the_mean_grey_value(tmp_path, counts, binning):
    _, sums = both_passes(write(tmp_path, counts), binning=binning, save_movie=True, odd_even=True)

    assert sums.plain.shape == (round(HEIGHT_PX / binning), round(WIDTH_PX / binning))
    for image in (sums.plain, sums.unaligned, (sums.odd + sums.even) / 2, sums.aligned):
        assert image.mean() == pytest.approx(counts.mean(), rel=1e-5)


@pytest.mark.parametrize("binning", [1.0, 2.0])
def test_the_aligned_movie_averages_to_the_plain_sum(tmp_path, counts, binning):
    path = np.random.default_rng(4).normal(0, 3, (FRAMES, 2))

    _, sums = both_passes(write(tmp_path, counts), drift(path), binning=binning, save_movie=True)

    assert len(sums.aligned) == FRAMES
    np.testing.assert_allclose(sums.aligned.mean(axis=0), sums.plain, rtol=1e-4)


def test_threads_do_not_change_the_sums(tmp_path, counts):
    path = hot_movie(tmp_path, counts)
    motion = drift(np.random.default_rng(5).normal(0, 3, (FRAMES, 2)))

    results = [
        both_passes(path, motion, threads=n, hot_pixels=True, dose_per_frame_e_A2=1.0)
        for n in (1, 3)
    ]

    for name in ("plain", "dose_weighted", "unaligned"):
        one, three = (getattr(sums, name) for _, sums in results)
        assert np.array_equal(one, three), name
    assert np.array_equal(results[0][0].frames.pixels, results[1][0].frames.pixels)


def test_both_passes_report_their_progress_to_the_end(tmp_path, counts):
    steps = []

    both_passes(write(tmp_path, counts), progress=lambda *step: steps.append(step), sum_first=3)

    assert [s for s in steps if s[0] == "measure"] == [("measure", k + 1, 8) for k in range(8)]
    assert [s for s in steps if s[0] == "sum"] == [("sum", k + 1, 6) for k in range(6)]


def test_of_many_frames_several_are_summed_to_one_before_their_motion_is_estimated(tmp_path):
    rng = np.random.default_rng(3)
    frames = rng.poisson(MEAN_COUNTS, (170, 64, 64)).astype(np.float32)
    frames[4] = 0
    path = write(tmp_path, frames)

    found, sums = both_passes(path)

    assert len(found.frames.frame) == 57
    np.testing.assert_allclose(found.frames.frame[:3], [1.0, 4.0, 7.0])
    assert 4 not in found.frames.measured
    assert len(found.frames.measured) == 169
    expected = downsampled_images(
        frames[:3].sum(axis=0)[None], found.frames.shape_px, CORRELATION_NYQUIST_SHARE
    )
    np.testing.assert_allclose(found.frames.pixels[:1], expected, atol=1e-3)
    np.testing.assert_allclose(sums.plain, np.delete(frames, 4, axis=0).mean(axis=0), rtol=1e-4)
