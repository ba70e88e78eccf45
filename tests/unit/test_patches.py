"""Patches: where they lie, how they are cut, and that each one is followed on its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.arrays.frame_stack import CpuFrameStack
from flexalign.estimate import patches
from flexalign.model import FrameRange
from flexalign.motion import MotionField

SHAPE_PX = (96, 192)


@pytest.fixture
def still_frames(make_drifting_frames):
    return make_drifting_frames(np.zeros((3, 2)), (50, 67))


def two_halves(make_drifting_frames, path_px, noise):
    """Small frames whose left half moves by the path and whose right half by minus the path."""
    left = make_drifting_frames(path_px, SHAPE_PX, noise, seed=10)
    right = make_drifting_frames(-path_px, SHAPE_PX, noise, seed=20)
    pixels = left.pixels.copy()
    pixels[:, :, SHAPE_PX[1] // 2 :] = right.pixels[:, :, SHAPE_PX[1] // 2 :]
    return replace(left, pixels=pixels)


def path_of(count=12):
    """A straight drift (count, 2) by 6 small pixels in y and -3 in x."""
    return np.linspace(-0.5, 0.5, count)[:, None] * np.array([6.0, -3.0])


@pytest.mark.parametrize("counts", [(1, 1), (2, 3), (3, 2), (4, 5)], ids=str)
def test_patches_lie_within_the_frame_and_do_not_overlap(still_frames, counts):
    grid = patches.make_grid(still_frames, counts)

    used = np.zeros(still_frames.shape_px, int)
    for top, left in grid.corner_px:
        assert top >= 0
        assert left >= 0
        used[top : top + grid.shape_px[0], left : left + grid.shape_px[1]] += 1
    assert used.max() == 1
    # Sides are even, so fewer than two rows or columns per patch stay out.
    assert used.sum() == len(grid.corner_px) * np.prod(grid.shape_px)
    assert all(n - c * s < 2 * c for n, c, s in zip(used.shape, counts, grid.shape_px, strict=True))
    assert len(grid.corner_px) == np.prod(counts)
    assert not np.any(np.array(grid.shape_px) % 2)


def test_centres_are_in_unbinned_pixels_rows_first(make_drifting_frames):
    frames = make_drifting_frames(np.zeros((2, 2)), (40, 60), scale=3.0)

    center = patches.make_grid(frames, (2, 3)).center_px

    # Small pixels 0 to 19 have their middle at 9.5.
    np.testing.assert_allclose(np.unique(center[:, 0]), [28.5, 88.5])
    np.testing.assert_allclose(np.unique(center[:, 1]), [28.5, 88.5, 148.5])


def test_the_taper_has_mean_square_one_and_fades_at_the_edge(still_frames):
    window = patches.make_grid(still_frames, (1, 2)).window

    assert np.mean(window**2) == pytest.approx(1, rel=1e-6)
    assert window[0].max() < 0.1 * window.max()
    np.testing.assert_allclose(window, window[::-1, ::-1], rtol=1e-6)


def test_patches_mostly_without_electrons_are_left_out(still_frames):
    """Three columns of patches: half of the second is blank, and all of the third."""
    taper = np.ones(still_frames.shape_px, np.float32)
    width = taper.shape[1]
    for blank_from, kept in ((width * 7 // 12, [0, 1, 3, 4]), (width * 5 // 12, [0, 3])):
        taper[:, blank_from:] = 0
        grid = patches.make_grid(replace(still_frames, taper=taper), (2, 3))

        assert grid.index.tolist() == kept
        every = patches.make_grid(still_frames, (2, 3))
        np.testing.assert_array_equal(grid.center_px, every.center_px[kept])
        np.testing.assert_array_equal(grid.corner_px, every.corner_px[kept])


def test_small_frames_keep_their_taper_at_a_smaller_size(still_frames):
    taper = np.ones(still_frames.shape_px, np.float32)
    taper[:, taper.shape[1] // 2 :] = 0
    shape_px = tuple(size // 2 for size in still_frames.shape_px)

    smaller = replace(still_frames, taper=taper).downsampled(shape_px)

    assert smaller.taper.shape == smaller.shape_px
    np.testing.assert_allclose(smaller.taper.mean(axis=0), taper[0, : 2 * shape_px[1] : 2])


@pytest.mark.parametrize("offset_px", [(0, 0), (3, -5), (-60, 2), (70, 200)], ids=str)
def test_a_patch_is_cut_from_the_mirrored_frame(still_frames, offset_px):
    grid = patches.make_grid(still_frames, (2, 3))
    pad, which, offset = 210, np.array([0]), np.array([offset_px])
    endless = np.pad(still_frames.pixels[0], pad, mode="reflect")
    stack, buffer = CpuFrameStack(still_frames.pixels), np.empty((1, *grid.shape_px), np.float32)

    for patch in (0, 4):
        found = stack.tapered_spectra(grid.tiles, patch, which, offset, buffer, columns=9)

        top, left = grid.corner_px[patch] + offset_px + pad
        tile = endless[top : top + grid.shape_px[0], left : left + grid.shape_px[1]]
        expected = np.fft.rfft2((tile - tile.mean()) * grid.window)[:, :9]
        np.testing.assert_allclose(found[0], expected, atol=1e-5 * np.abs(expected).max())


def test_two_halves_that_move_against_each_other_are_told_apart(make_drifting_frames):
    path = path_of()
    frames = two_halves(make_drifting_frames, path, noise=0.7)

    tracks, _ = patches.track_patches(frames, np.zeros((12, 2)), (1, 2), 2, 14.0)

    wanted = 2.0 * path.reshape(6, 2, 2).mean(axis=1)
    assert tracks.frame.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    np.testing.assert_allclose(tracks.displacement_px[0], wanted, atol=0.3)
    np.testing.assert_allclose(tracks.displacement_px[1], -wanted, atol=0.3)
    np.testing.assert_allclose(tracks.displacement_px.mean(axis=1), 0, atol=1e-9)


def test_tracks_are_the_whole_motion_whatever_trajectory_was_given(make_drifting_frames):
    path = path_of()
    frames = make_drifting_frames(path, SHAPE_PX, 0.7)
    given = 2.0 * path + np.array([[0.0, 1.0]]) * np.sin(np.arange(12) / 3)[:, None]

    tracks, likelihood = patches.track_patches(frames, given, (1, 2), 1, 14.0)

    both = np.repeat(2.0 * path[None], 2, axis=0)
    np.testing.assert_allclose(tracks.displacement_px, both, atol=0.35)
    # What the likelihood is of is the rest, which the trajectory given leaves.
    rest = np.linalg.pinv(likelihood.precision) @ likelihood.linear
    expected = both - given
    np.testing.assert_allclose(rest, expected - expected.mean(axis=1, keepdims=True), atol=0.35)


def test_more_noise_has_larger_standard_errors(make_drifting_frames):
    quiet, noisy = (
        patches.track_patches(
            make_drifting_frames(path_of(), SHAPE_PX, noise), 2 * path_of(), (1, 2), 2, 14.0
        )[0].standard_error_px
        for noise in (0.5, 3.0)
    )

    assert quiet.shape == (2, 6)
    assert np.median(noisy) > 2 * np.median(quiet)


def test_the_likelihood_peaks_at_the_tracks(make_drifting_frames):
    frames = two_halves(make_drifting_frames, path_of(), noise=0.7)

    tracks, likelihood = patches.track_patches(frames, np.zeros((12, 2)), (1, 2), 2, 14.0)

    expected = likelihood.precision @ tracks.displacement_px
    np.testing.assert_allclose(likelihood.linear, expected, rtol=1e-6, atol=1e-9)
    assert np.array_equal(likelihood.center_px, tracks.center_px)


def test_the_field_follows_the_two_halves(make_drifting_frames):
    path = path_of()
    frames = two_halves(make_drifting_frames, path, noise=0.7)
    _, likelihood = patches.track_patches(frames, np.zeros((12, 2)), (1, 2), 2, 14.0)

    shape = MotionField(np.zeros((2, 4, 3, 3)), 192, 384, FrameRange(0, 12))
    field = patches.fit_local_field(likelihood, shape)

    places = likelihood.center_px
    ends = np.array([
        np.subtract(
            field.displacement_px(10.5, *center), field.displacement_px(0.5, *center)
        )
        for center in places
    ])  # fmt: skip
    step = 2.0 * (path[10:].mean(axis=0) - path[:2].mean(axis=0))
    np.testing.assert_allclose(ends, [step, -step], atol=0.5)


def test_two_frames_are_enough(make_drifting_frames):
    """A movie of three frames with a bad one among them leaves two."""
    frames = make_drifting_frames(np.zeros((2, 2)), SHAPE_PX, 0.5)

    tracks, _ = patches.track_patches(frames, np.zeros((2, 2)), (1, 2), 1, 14.0)

    np.testing.assert_allclose(tracks.displacement_px, 0, atol=0.2)
