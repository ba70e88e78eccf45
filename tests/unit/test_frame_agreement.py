"""Frames at a wrong peak are named, and halves of the detail that lead elsewhere are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.estimate.frame_agreement import halves_apart, lost_frames
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.refine import refine, refine_halves
from flexalign.estimate.spectral_powers import ring_powers

TIMES = 10
PATH = np.stack([np.linspace(0, 5, TIMES), np.linspace(0, -3, TIMES)], axis=1)


def lost_in(frames, path_px, envelope=None):
    """Lost frames along a path (times, 2) in small pixels of half the size."""
    at = np.repeat(2.0 * path_px[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), at, envelope)
    return lost_frames(patches, at, ring_powers(patches, sweep(patches, at, None))).tolist()


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_frames_that_are_far_off_are_named(make_drifting_frames, noise):
    frames = make_drifting_frames(PATH, (128, 160), noise)
    wrong = PATH.copy()
    wrong[3] += [9, -7]
    wrong[9] += [-8, 12]

    assert lost_in(frames, wrong) == [3, 9]


@pytest.mark.parametrize("noise", [0.5, 3.0, 12.0, 1e4])
def test_of_a_motion_that_is_right_none_is_lost(make_drifting_frames, noise):
    for seed in range(4):
        frames = make_drifting_frames(PATH, (128, 160), noise, seed=seed)

        assert lost_in(frames, PATH) == []


def test_late_frames_of_which_radiation_has_left_little_are_not_lost(make_drifting_frames):
    frames = make_drifting_frames(PATH, (128, 160), 2.0)
    decay = np.exp(-0.4 * np.arange(TIMES))[:, None]
    rng = np.random.default_rng(1)
    pixels = decay[:, :, None] * frames.pixels + 2 * rng.normal(size=frames.pixels.shape)
    frames.pixels[:] = pixels

    assert lost_in(frames, PATH, lambda k: np.repeat(decay, len(k), axis=1)) == []


def halves_of(frames):
    """The refinements by either half of the detail, from the right path."""
    at = np.repeat(2.0 * PATH[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), at)
    return refine_halves(patches, at, None, refine(patches, at, None))


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_halves_of_the_detail_are_as_far_apart_as_their_errors_say(make_drifting_frames, noise):
    for seed in range(4):
        halves = halves_of(make_drifting_frames(PATH, (128, 160), noise, seed=seed))

        assert 0.2 < halves_apart(*halves, None) < 2


def test_halves_that_lead_elsewhere_are_farther_apart(make_drifting_frames):
    one, other = halves_of(make_drifting_frames(PATH, (128, 160), 1.0))
    steeper = other.data.linear + other.data.precision @ (0.5 * PATH)
    other = replace(other, data=replace(other.data, linear=steeper))

    assert halves_apart(one, other, None) > 3
