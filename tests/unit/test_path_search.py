"""The simple path along which all frames agree best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign.arrays.correlate import ring_index
from flexalign.estimate import pairwise
from flexalign.estimate.path_search import straight_path, straight_path_by_halves
from flexalign.estimate.spectral_powers import half_of_ring

TIMES = 16


def moving(make_drifting_frames, path_px, noise, seed=0):
    """Frames of 2 A pixels that drift along a path (times, 2)."""
    return make_drifting_frames(
        path_px, (160, 192), noise, scale=1.0, pixel_size_A=2.0, seed=seed
    )  # fmt: skip


def off_px(found, path_px):
    """Root mean square distance from the true path."""
    apart = found - path_px
    return float(np.sqrt(((apart - apart.mean(axis=0)) ** 2).sum(axis=1).mean()))


@pytest.mark.parametrize("slowing", [None, 1.0])
def test_a_path_too_faint_for_pairs_is_found_by_all_frames_together(make_drifting_frames, slowing):
    time = np.arange(TIMES)
    pace = time / 15 if slowing is None else np.log1p(time / slowing) / np.log1p(15 / slowing)
    path = pace[:, None] * [9.0, -6.0]
    together, by_pairs = [], []
    for seed in range(4):
        frames = moving(make_drifting_frames, path, 9.0, seed)
        together.append(off_px(straight_path(frames), path))
        by_pairs.append(off_px(pairwise.global_trajectory(frames, 14.0, 50.0)[0], path))

    assert np.median(together) < 1.2
    assert np.median(together) < 0.5 * np.median(by_pairs)


def test_either_half_of_the_rings_is_told_its_own_path_alone(make_drifting_frames):
    """The rings of one half drift one way, those of the other another way."""
    path, rings_per_A = np.linspace(0, 1, TIMES)[:, None] * [-7.0, 8.0], 160.0
    here, there = (moving(make_drifting_frames, p, 2.0) for p in (path, path[:, ::-1]))
    half = half_of_ring(200)[np.rint(ring_index((160, 192), (2.0, 2.0)) * rings_per_A).astype(int)]
    pixels = np.fft.irfft2(
        np.where(half == 0, np.fft.rfft2(here.pixels), np.fft.rfft2(there.pixels)), s=(160, 192)
    )

    one, other = straight_path_by_halves(
        replace(here, pixels=pixels.astype(np.float32)), rings_per_A
    )

    assert off_px(one, path) < 1.5
    assert off_px(other, path[:, ::-1]) < 1.5
