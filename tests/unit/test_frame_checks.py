"""Frames that are blank in part, and those of another dose; what is neither is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays.frame_checks import (
    BLOCKS,
    broken_blocks,
    describe_blocks,
    problem_with,
    sampled_rows,
    uneven_frames,
    varied_pixels,
)

SHAPE, FRAMES = (512, 640), 8


def counts(mean, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).poisson(mean, (FRAMES, *SHAPE)).astype(dtype)


def broken(frames):
    return broken_blocks(np.array([varied_pixels(sampled_rows(frame)) for frame in frames]))


@pytest.mark.parametrize("mean", [0.01, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("value", [0, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_half_of_one_frame_that_is_constant_is_found(mean, value, dtype):
    frames = counts(mean, dtype)
    frames[3, SHAPE[0] // 2 :] = value

    found = broken(frames)

    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [3]
    assert found[3, BLOCKS[0] // 2 :].all()
    assert not found[3, : BLOCKS[0] // 2].any()


@pytest.mark.parametrize("frame", [0, FRAMES - 1])
def test_a_tile_of_the_first_or_last_frame_is_found_and_named(frame):
    frames = counts(1.0)
    frames[frame, 128:256, 320:480] = 0

    found = broken(frames)[frame]

    assert describe_blocks(found, SHAPE) == (
        "a part of it is blank (within about rows 129-256, columns 321-480), as in no other frame"
    )


@pytest.mark.parametrize("mean", [0.0005, 0.005, 0.05, 0.5])
def test_few_counts_are_no_blank_part(mean):
    assert not broken(counts(mean)).any()


def test_what_is_blank_in_all_frames_is_a_part_of_the_detector():
    frames = counts(1.0)
    frames[:, :200, :300] = 0

    assert not broken(frames).any()


def test_a_dark_edge_that_moves_is_not_broken():
    frames = counts(1.0)
    for k, frame in enumerate(frames):
        frame[:, : 100 + 15 * k] = 0
        frame[: 150 - 12 * k] = 0

    assert not broken(frames).any()


@pytest.mark.parametrize(
    ("value", "words"),
    [(1e10, "not counts"), (-1e38, "not counts"), (np.nan, "not finite"), (np.inf, "not finite")],
)
def test_one_value_that_cannot_be_a_count_makes_a_frame_useless(value, words):
    frame = counts(5.0, np.float32)[0]
    frame[7, 9] = value

    assert words in problem_with(frame)
    assert problem_with(counts(5.0, np.float32)[0]) == ""


def test_frames_with_a_dose_of_their_own_are_named():
    rng, index = np.random.default_rng(1), np.arange(20)
    level = rng.normal(1, 0.01, 20)
    level[:3] = 0.5
    level[11] = 1.4

    found = uneven_frames(index, level, np.full(20, 0.01), 0.2)

    assert sorted(found) == [0, 1, 2, 11]
    assert found[11] == pytest.approx(0.4, abs=0.05)


def test_half_of_the_frames_with_half_of_the_dose_are_seen():
    level = np.repeat([1.2, 0.6], 10)

    assert uneven_frames(np.arange(20), level, np.full(20, 0.01), 0.2)


@pytest.mark.parametrize(
    "level",
    [np.linspace(1.4, 0.6, 20), np.linspace(0.8, 1.0, 20), np.exp(-np.arange(20) / 30)],
)
def test_a_beam_that_fades_or_grows_is_even(level):
    assert uneven_frames(np.arange(20), level, np.full(20, 0.01), 0.2) == {}


def test_what_chance_explains_is_even():
    level = np.random.default_rng(2).normal(1, 0.15, 40)

    assert uneven_frames(np.arange(40), level, np.full(40, 0.15), 0.2) == {}
