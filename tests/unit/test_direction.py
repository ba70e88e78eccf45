"""Data that tell of motion in one direction only are told from others, and that is corrected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.estimate import refine
from flexalign.estimate.direction import information_in_directions, only_direction
from flexalign.estimate.pairwise import global_trajectory, path_through
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.spectral_powers import ring_powers

TIMES, SHAPE_PX = 12, (128, 160)
PATH = np.stack([np.linspace(-2, 2, TIMES), np.linspace(1.5, -1.5, TIMES)], axis=1)
ALONG = np.array([np.sin(np.radians(30.0)), np.cos(np.radians(30.0))])


@pytest.fixture
def make_stripes(make_drifting_frames):
    """Function: frames of stripes at right angles to `ALONG` that move along PATH, with noise."""

    def make(noise, path=PATH):
        y, x = np.mgrid[: SHAPE_PX[0], : SHAPE_PX[1]]
        rng = np.random.default_rng(2)
        frequency, phase = rng.uniform(0.03, 0.2, 12), rng.uniform(0, 2 * np.pi, 12)
        frames = make_drifting_frames(path, SHAPE_PX, noise)
        for pixels, (dy, dx) in zip(frames.pixels, path, strict=True):
            place = (y - dy) * ALONG[0] + (x - dx) * ALONG[1]
            pixels[:] = np.cos(
                2 * np.pi * frequency[:, None, None] * place + phase[:, None, None]
            ).sum(0)
            pixels += rng.normal(0, noise, SHAPE_PX)
        return frames

    return make


def spectra_at(frames, path_px):
    at = np.repeat(path_px[None], 4, axis=0)
    patches = cut_spectra(frames, make_grid(frames, (2, 2)), at, coarsest_A=np.inf)
    return patches, at, ring_powers(patches, sweep(patches, at, None))


@pytest.mark.parametrize("noise", [3.0, 12.0])
def test_stripes_tell_of_motion_across_them(make_stripes, noise):
    frames = make_stripes(noise)

    found = only_direction(*spectra_at(frames, PATH * 2))

    assert found is not None
    assert abs(found @ ALONG) > np.cos(np.radians(4))


@pytest.mark.parametrize("noise", [1.0, 4.0, 12.0, 1e3])
def test_what_is_alike_in_all_directions_has_no_only_one(make_drifting_frames, noise):
    for seed in range(4):
        frames = make_drifting_frames(PATH, SHAPE_PX, noise, seed=seed)

        assert only_direction(*spectra_at(frames, PATH * 2)) is None


def test_the_information_of_noise_is_within_its_scatter(make_drifting_frames):
    frames = make_drifting_frames(PATH, SHAPE_PX, 4.0)
    _, at, powers = spectra_at(frames, PATH * 2)
    noise = replace(
        frames, pixels=np.random.default_rng(1).normal(0, 4, frames.pixels.shape).astype(np.float32)
    )
    of_noise = spectra_at(noise, PATH * 2)[0]

    information, chance = information_in_directions(of_noise, at, powers)

    assert np.abs(np.diag(information)).max() < 4 * chance


def test_a_refinement_along_one_direction_stays_there_and_is_right(make_stripes):
    frames = make_stripes(6.0)
    start = np.zeros_like(PATH)
    patches, at, _ = spectra_at(frames, start)

    found = refine.refine(patches, at, None, axes=ALONG[None]).fit

    path = found.trajectory_px / 2
    assert np.abs(path @ [ALONG[1], -ALONG[0]]).max() < 1e-9
    error = (path - path.mean(axis=0) - PATH) @ ALONG
    assert np.sqrt((error**2).mean()) < 0.1
    assert np.sqrt((error**2).mean()) < 3 * np.median(found.trajectory_error_px) / 2


def test_a_path_through_pairs_can_be_along_one_direction(make_stripes):
    frames = make_stripes(1.0)
    _, pairs = global_trajectory(frames, 10.0, 20.0)

    path, _ = path_through(pairs, frames.frame, ALONG[None])

    assert np.abs(path @ [ALONG[1], -ALONG[0]]).max() < 1e-9
    assert path / 2 @ ALONG == pytest.approx(PATH @ ALONG, abs=0.3)
