"""A jump between groups of frames is placed at the right frame, with an error where unknown."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.estimate import pairwise
from flexalign.estimate.jump_position import position_error_px, with_jumps_placed
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.estimate.spectral_powers import ring_powers
from flexalign.estimate.starts import Start
from flexalign.model import PairwiseShifts

TIMES, GROUPS = 30, 5
JUMP = np.array([18.0, -10.0])


def path_with_jump(at):
    """Drift (TIMES, 2) in unbinned pixels with a jump before the frame `at`."""
    path = np.stack([np.linspace(0, 3, TIMES), np.linspace(0, -2, TIMES)], axis=1)
    path[at:] += JUMP
    return path - path.mean(axis=0)


def start_by_groups(path_px, limit_A=5.0):
    """The path interpolated between groups, each at the place of most of its frames."""
    groups = np.array_split(np.arange(TIMES), GROUPS)
    place = np.array([np.median(path_px[group], axis=0) for group in groups])
    middle = [group.mean() for group in groups]
    path = np.stack([np.interp(np.arange(TIMES), middle, p) for p in place.T], axis=1)
    first, second = np.triu_indices(GROUPS, 1)
    zero = np.zeros(len(first))
    pairs = PairwiseShifts(first, second, np.zeros((len(first), 2)), zero, zero)
    frame = np.arange(TIMES, dtype=float)
    return Start(frame, path - path.mean(axis=0), pairs, None, None, limit_A)


def spectra_along(frames, path_px):
    return cut_spectra(frames, make_grid(frames, (2, 2)), np.repeat(path_px[None], 4, axis=0))


@pytest.mark.parametrize("at", [7, 10, 12, 14, 17, 25])
def test_a_jump_is_placed_at_its_frame_wherever_it_is_in_a_group(make_drifting_frames, at):
    path = path_with_jump(at)
    frames = make_drifting_frames(path / 2, (128, 160), noise=3.0)
    start = start_by_groups(path)
    assert np.abs(start.path_px - path).max() > 7

    placed = with_jumps_placed(start, spectra_along(frames, start.path_px))

    assert np.abs(placed.path_px - path).max() < 2


def test_a_path_without_a_jump_stays_as_it_is(make_drifting_frames):
    path = path_with_jump(TIMES)
    frames = make_drifting_frames(path / 2, (128, 160), noise=3.0)
    start = start_by_groups(path)

    assert with_jumps_placed(start, spectra_along(frames, start.path_px)) is start


def test_only_rings_of_the_pairs_decide(make_drifting_frames):
    """Without any ring coarser than the limit of the pairs the start stays as it is."""
    path = path_with_jump(14)
    frames = make_drifting_frames(path / 2, (128, 160), noise=3.0)
    start = start_by_groups(path, limit_A=1e6)

    assert with_jumps_placed(start, spectra_along(frames, start.path_px)) is start


def test_a_fast_drift_is_no_jump(make_drifting_frames):
    """All of the way between two groups, at a constant speed."""
    path = start_by_groups(path_with_jump(12)).path_px
    frames = make_drifting_frames(path / 2, (128, 160), noise=3.0)
    start = start_by_groups(path_with_jump(12))

    placed = with_jumps_placed(start, spectra_along(frames, path))

    np.testing.assert_allclose(placed.path_px, path, atol=1e-9)


@pytest.mark.parametrize(("noise", "lowest", "highest"), [(1.0, 0.0, 0.01), (60.0, 2.0, 10.0)])
def test_the_error_is_that_of_the_frames_near_a_jump(make_drifting_frames, noise, lowest, highest):
    path = path_with_jump(15)
    frames = make_drifting_frames(path / 2, (128, 160), noise=noise)
    patches = spectra_along(frames, path)
    at_px = np.repeat(path[None], 4, axis=0)
    powers = ring_powers(patches, sweep(patches, at_px, None))

    error = position_error_px(patches, at_px, (14.5,), powers)

    assert lowest <= error[[14, 15]].max() <= highest
    assert (error[[0, 1, -1]] == 0).all()


def test_a_frame_beside_a_jump_is_on_the_side_of_its_group():
    """Groups of three frames; the jump may as well be a frame earlier or later."""
    group, frame = np.array([1.0, 4.0, 7.0]), np.arange(9)
    path = np.array([[0.0, 0.0], [12.0, 6.0], [12.0, 6.0]])

    found = pairwise.as_trajectory(path, group, frame, 9, 0, np.zeros((3, 2)), jump_frames=(2.5,))

    assert found.displacement_px[:, 0].tolist() == [0, 0, 0, 12, 12, 12, 12, 12, 12]
    error = 12 * np.sqrt(1 / 3 * 2 / 3)
    np.testing.assert_allclose(found.standard_error_px[:, 0], [0, 0, error, error, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(found.standard_error_px[:, 1], found.standard_error_px[:, 0] / 2)
