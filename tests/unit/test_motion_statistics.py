"""Numbers and flags by which a person judges a movie."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.signal_bands import signal_bands
from flexalign.estimate.spectral_powers import ring_powers
from flexalign.model import FrameRange, PatchTracks
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.quality import motion_statistics

FRAMES = FrameRange(0, 5)


def motion_along(path_px, field=None):
    return Motion(Trajectory(path_px, np.ones(len(path_px), bool), 0), field)


def corner_field(size_px):
    """Zero in time at first, and then growing towards the last rows and columns, along x."""
    coefficients = np.zeros((2, 3, 3, 3))
    coefficients[1, 2, 2, 2] = size_px
    return MotionField(coefficients, 200, 300, FrameRange(0, 5))


POLYGON = np.cumsum([[0, 0], [3, 4], [0, -2], [-12, 5], [1, 0]], axis=0).astype(float)


def doses(frames, per_frame=1.0, before=0.0):
    return before + per_frame * (np.arange(frames.first, frames.stop) + 1)


def test_the_length_of_a_polygon_is_the_sum_of_its_sides_in_angstrom():
    """Sides of 5, 2, 13 and 1 px at 1.5 A per px; the second ends with the dose of 3 frames."""
    lengths = motion_statistics.path_lengths_A(
        motion_along(POLYGON), FRAMES, 1.5, doses(FRAMES, per_frame=4 / 3)
    )

    np.testing.assert_allclose(lengths, [31.5, 10.5, 21.0, 19.5])


def test_early_motion_ends_with_the_frame_that_reaches_four_electrons():
    path = np.zeros((6, 2))
    path[:, 1] = [0, 1, 3, 6, 10, 15]
    motion, frames = motion_along(path), FrameRange(0, 6)

    def early(**dose):
        return motion_statistics.path_lengths_A(motion, frames, 1.0, doses(frames, **dose))[:3]

    assert early() == (15, 6, 9)
    assert early(before=2.0) == (15, 1, 14)
    assert early(per_frame=2.5) == (15, 0, 15)


def test_only_the_frames_asked_for_count():
    some, one = FrameRange(1, 3), FrameRange(1, 2)

    lengths = motion_statistics.path_lengths_A(motion_along(POLYGON), some, 1.0, doses(some))

    np.testing.assert_allclose(lengths, [2, 2, 0, 2])
    alone = motion_statistics.path_lengths_A(motion_along(POLYGON), one, 1.0, doses(one))
    assert alone == (0, 0, 0, 0)


def test_the_path_is_that_of_the_mean_over_the_field():
    motion = motion_along(np.zeros((5, 2)), corner_field(8.0))

    total = motion_statistics.path_lengths_A(motion, FRAMES, 1.0, doses(FRAMES))[0]

    y, x = np.mgrid[0:199:101j, 0:299:101j]
    dx = motion.field.displacement_px(4, y, x)[1]
    assert total == pytest.approx(float(dx.mean()), rel=0.2)
    assert total < 0.3 * float(dx.max())


def test_the_local_range_is_the_largest_deviation_from_the_mean_over_places():
    field = corner_field(8.0)

    found = motion_statistics.local_range_px(field, range(5))

    y, x = np.mgrid[0:199:9j, 0:299:9j]
    _, dx = field.displacement_px(4, y, x)
    assert found == pytest.approx(dx.max() - dx.mean())
    assert motion_statistics.local_range_px(None, range(5)) == 0


def test_the_largest_displacement_is_between_any_two_frames_anywhere():
    path = np.array([[0, 0], [0, 3], [0, -4], [1, 0], [2, 0]], float)

    assert motion_statistics.largest_displacement_px(motion_along(path), range(5)) == 7
    still = motion_along(np.zeros((5, 2)), corner_field(8.0))
    assert motion_statistics.largest_displacement_px(still, range(5)) == pytest.approx(
        float(still.displacement_px(4, 199, 299)[1])
    )


def test_steady_drift_is_not_rough_and_one_jump_hardly_is():
    drift = np.stack([np.arange(12.0), -2 * np.arange(12.0)], axis=1)
    jump = drift + 30 * (np.arange(12) > 5)[:, None]

    rough = [
        motion_statistics.roughness_A(motion_along(p), FrameRange(0, 12), 1.5)
        for p in (drift, jump)
    ]

    np.testing.assert_allclose(rough, [0, 0], atol=1e-9)


def test_a_path_that_trembles_is_rough_by_how_much_its_steps_change():
    """Steps of 3 px to and fro change by 6 px each."""
    path = np.zeros((9, 2))
    path[1::2, 1] = 3.0

    assert motion_statistics.roughness_A(
        motion_along(path), FrameRange(0, 9), 0.5
    ) == pytest.approx(3.0)
    assert np.isnan(motion_statistics.roughness_A(motion_along(path), FrameRange(0, 2), 0.5))


def test_tracks_along_the_motion_leave_nothing_and_others_their_distance():
    """A constant does not count, a track that goes twice as far does."""
    path = np.stack([np.arange(5.0), np.zeros(5)], axis=1)
    frame, center = np.arange(5.0), np.array([[50.0, 60.0], [150.0, 200.0]])
    motion = motion_along(path, corner_field(8.0))
    along = np.stack(
        motion.displacement_px(frame.astype(int)[None], center[:, :1], center[:, 1:]), axis=-1
    )

    def residual(displacement_px):
        tracks = PatchTracks(center, frame, displacement_px, np.ones((2, 5)))
        return motion_statistics.track_residual_px(motion, tracks)

    assert residual(along + 7.0) == pytest.approx(0, abs=1e-9)
    assert residual(along + path) == pytest.approx(np.sqrt(2.0))
    assert np.isnan(motion_statistics.track_residual_px(motion, None))


def bands_of(frames, truth, noise_path=None):
    """Signal by resolution of frames whose patches go along `truth` (patches, times, 2)."""
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), truth)
    still = sweep(patches, 0 * truth, None).cross.sum(axis=0)
    return signal_bands(patches, still, ring_powers(patches, sweep(patches, truth, None)))


def test_signal_by_band_is_that_of_the_sum_of_the_frames(make_drifting_frames):
    """White specimen of power 1 under white noise of power 36 in each of 8 frames: 8 / 36."""
    path = np.stack([np.linspace(0, 6, 8), np.linspace(0, -4, 8)], axis=1)
    frames = make_drifting_frames(path, (192, 192), noise=6.0)
    truth = np.repeat(2 * path[None], 4, axis=0)
    clean = make_drifting_frames(path, (192, 192), noise=0.0)
    power = np.abs(np.fft.rfft2(clean.pixels[0])) ** 2
    frequency = np.hypot(np.fft.fftfreq(192)[:, None], np.fft.rfftfreq(192)) / clean_pixel_A(clean)

    bands = bands_of(frames, truth)

    assert [(b.coarsest_A, b.finest_A) for b in bands]
    for band in bands:
        inside = (frequency >= 1 / band.coarsest_A) & (frequency < 1 / band.finest_A)
        expected = 8 * power[inside].mean() / (192**2 * 6.0**2)
        assert band.after == pytest.approx(expected, rel=0.25, abs=3 * band.error)
    assert bands[-1].before < 0.5 * bands[-1].after


def clean_pixel_A(frames):
    return frames.pixel_size_A * frames.scale[0]


def test_noise_has_no_signal_in_any_band_beyond_its_error(make_drifting_frames):
    scores = []
    for seed in range(12):
        frames = make_drifting_frames(np.zeros((6, 2)), (128, 128), noise=1e4, seed=seed)
        bands = bands_of(frames, np.zeros((4, 6, 2)))
        scores += [band.after / band.error for band in bands]
    assert abs(np.mean(scores)) < 0.5
    assert 0.6 < np.std(scores) < 1.5
