"""Frames at a wrong peak are brought back, and frames that really jumped are not."""

from __future__ import annotations

import numpy as np

from flexalign.estimate.outlier_frames import relocate_outliers
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid

TIMES = 10
PATH = np.stack([np.linspace(0, 5, TIMES), np.linspace(0, -3, TIMES)], axis=1)


def back_from(frames, start_px):
    """Where (times, 2) the start is brought, in small pixels of half the size."""
    at = np.repeat(2.0 * start_px[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), at)
    kept, found = relocate_outliers(patches, at, sweep(patches, at, None))
    assert found.cross.sum() == sweep(patches, kept, None).cross.sum()
    return kept[0] / 2


def test_a_stray_frame_is_brought_back_also_at_the_end(make_drifting_frames):
    frames = make_drifting_frames(PATH, (128, 160), noise=2.0)
    for stray in (4, TIMES - 1):
        start = PATH.copy()
        start[stray] += [9, -7]

        found = back_from(frames, start)

        assert np.abs(found - PATH).max() < 1


def test_a_start_that_is_right_stays_as_it_is(make_drifting_frames):
    frames = make_drifting_frames(PATH, (128, 160), noise=2.0)

    np.testing.assert_array_equal(back_from(frames, PATH), PATH)


def test_frames_that_jumped_stay_where_they_are(make_drifting_frames):
    """All frames from the sixth on, and the third alone."""
    path = PATH.copy()
    path[5:] += [12, 8]
    path[2] += [0, 11]
    frames = make_drifting_frames(path, (128, 160), noise=2.0)

    np.testing.assert_array_equal(back_from(frames, path), path)


def test_of_equal_places_on_a_lattice_that_on_the_shorter_way_is_taken(make_drifting_frames):
    """A frame beside a jump, put a step of the lattice too far."""
    path = PATH.copy()
    path[5:] += [10, 6]
    cell = np.random.default_rng(3).normal(size=(16, 20))
    frames = make_drifting_frames(path, (128, 160), noise=2.0)
    shape = frames.pixels.shape[1:]
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])
    lattice = np.fft.fft2(np.tile(cell, (8, 8)))
    noise = np.random.default_rng(4).normal(0, 2.0, frames.pixels.shape)
    for pixels, (dy, dx), more in zip(frames.pixels, path, noise, strict=True):
        pixels[:] = np.fft.ifft2(lattice * np.exp(-2j * np.pi * (ky * dy + kx * dx))).real + more
    start = path.copy()
    start[5] += [-32, 20]

    found = back_from(frames, start)

    assert np.abs(found - path).max() < 1


def test_two_frames_have_no_neighbours_to_compare_with(make_drifting_frames):
    frames = make_drifting_frames(PATH[:2], (128, 160), noise=2.0)

    np.testing.assert_array_equal(back_from(frames, PATH[:2]), PATH[:2])
