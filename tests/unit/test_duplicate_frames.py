"""Frames that were written twice."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays.duplicate_frames import DuplicateFrames, sampled_pixels


def found_in(frames):
    copies = DuplicateFrames()
    for index, pixels in enumerate(frames):
        copies.add(index, sampled_pixels(pixels))
    return copies.found()


@pytest.mark.parametrize("counts", [0.02, 1.0, 200.0])
def test_a_frame_that_is_there_twice_is_found(counts):
    frames = np.random.default_rng(1).poisson(counts, (12, 300, 400)).astype(np.uint16)
    frames[5] = frames[4]
    frames[10] = frames[9]

    assert found_in(frames) == {5: 4, 10: 9}


def test_frames_that_share_a_strong_pattern_and_a_specimen_are_no_copies():
    """A hundred times as strong as the noise, as without the gain of an integrating camera."""
    rng = np.random.default_rng(2)
    pattern = rng.normal(0, 100, (300, 400))
    frames = pattern + rng.normal(0, 1, (12, 300, 400))

    assert found_in(frames.astype(np.float32)) == {}


@pytest.mark.parametrize("count", [3, 4])
def test_of_few_frames_only_identical_ones_are_copies(count):
    frames = np.random.default_rng(3).poisson(1.0, (count, 100, 100)).astype(np.float32)
    frames[1] = frames[0]

    assert found_in(frames) == {1: 0}
    frames[1] += np.random.default_rng(4).normal(0, 0.01, (100, 100))
    assert found_in(frames) == ({} if count < 4 else {1: 0})


def test_a_frame_that_is_there_three_times_is_found():
    frames = np.random.default_rng(5).poisson(0.1, (4, 100, 100))
    frames[1:3] = frames[0]

    assert found_in(frames) == {1: 0, 2: 1}


def test_frames_with_hardly_any_electrons_are_no_copies():
    frames = np.zeros((3, 100, 100), np.uint8)
    frames[:, 50, 50] = 1

    assert found_in(frames) == {}


@pytest.mark.parametrize("count", [2, 3, 8])
def test_frames_that_are_all_alike_are_no_copies(count):
    assert found_in(np.ones((count, 100, 100), np.uint8)) == {}
    frame = np.random.default_rng(6).poisson(1.0, (100, 100))
    assert found_in(np.repeat(frame[None], count, axis=0)) == {}
