"""Odd movies and settings end in a result with flags or in one line that says what is wrong."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from flexalign.align import align_movie
from flexalign.errors import InputError, ParameterError
from flexalign.params import AlignParams

SHAPE, FRAMES = (64, 96), 6


def counts(shape=SHAPE, frames=FRAMES, dtype=np.float32, mean=8.0):
    return np.random.default_rng(0).poisson(mean, (frames, *shape)).astype(dtype)


def aligned(folder, frames, header_A=2.0, **typed):
    # A memory map takes any values without a word.
    mode = 6 if frames.dtype == np.uint16 else 2
    with mrcfile.new_mmap(folder / "m.mrcs", frames.shape, mrc_mode=mode, overwrite=True) as file:
        file.data[:] = frames
        file.voxel_size = header_A
    result = align_movie(folder / "m.mrcs", AlignParams(**typed))
    assert np.isfinite(result.sums.plain).all()
    assert result.sums.dose_weighted is None or np.isfinite(result.sums.dose_weighted).all()
    return result


@pytest.mark.parametrize("patches", [None, (2, 2)])
def test_frames_that_are_all_the_same_are_still(tmp_path, patches):
    frames = np.repeat(counts()[:1], FRAMES, axis=0)

    quality = aligned(tmp_path, frames, patches=patches).quality

    assert (quality.chosen, quality.flag_names) == ("none", ("still",))


@pytest.mark.parametrize("lines", [np.s_[:, ::2], np.s_[:, :, ::3]], ids=["rows", "columns"])
def test_saturated_lines_are_survived(tmp_path, lines):
    frames = counts(dtype=np.uint16)
    frames[lines] = 65535

    assert aligned(tmp_path, frames).quality.flags


def test_a_frame_with_one_value_beyond_reason_is_left_out(tmp_path):
    frames = counts()
    frames[2, 10, 10] = 1e38

    found = aligned(tmp_path, frames)

    assert found.quality.bad_frame_count == 1
    assert found.record.warnings[0].startswith("frame 3 is left out: it holds values from 0 to 1e")


@pytest.mark.parametrize("factor", [1e12, 1e20, 1e30])
def test_values_that_are_all_beyond_reason_are_refused(tmp_path, factor):
    with pytest.raises(InputError, match=r"found 6 of 6 .*which are not counts"):
        aligned(tmp_path, counts() * np.float32(factor))


@pytest.mark.parametrize("shape", [(8, 8), (1000, 8), (1, 64), (31, 64)])
def test_frames_too_small_to_be_aligned_are_refused(tmp_path, shape):
    with pytest.raises(InputError, match="at least 32 x 32 px, found"):
        aligned(tmp_path, counts(shape))


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (32, 500)])
def test_the_smallest_frames_are_aligned(tmp_path, shape):
    assert aligned(tmp_path, counts(shape)).quality.chosen == "none"


@pytest.mark.parametrize(
    ("pixel_size_A", "words"),
    [(0.1, "a field of at least 20 A, found 6.4 A"), (1e30, "expected a pixel size in the header")],
)
def test_a_pixel_size_that_cannot_be_is_refused(tmp_path, pixel_size_A, words):
    with pytest.raises(InputError, match=words):
        aligned(tmp_path, counts(), pixel_size_A)


@pytest.mark.parametrize(
    "typed",
    [
        {"dose_per_frame_e_A2": 500.0},
        {"dose_per_frame_e_A2": 500.0, "patches": (2, 2)},
        {"dose_per_frame_e_A2": 1e-4},
        {"dose_per_frame_e_A2": (1000.0, *[1e-4] * (FRAMES - 1))},
        {"dose_per_frame_e_A2": 1.0, "pre_exposure_e_A2": 10_000.0},
        {"pixel_size_A": 1000.0},
        {"max_resolution_A": 1000.0, "patches": (2, 2)},
        {"max_resolution_A": 0.1},
        {"max_shift_A": 1e5},
        {"max_shift_A": 0.01},
        {"min_patch_A": 1.0},
        {"group_frames": 1000},
        {"binning": 4.0},
    ],
    ids=str,
)
def test_settings_at_their_limits_are_survived(tmp_path, typed):
    assert aligned(tmp_path, counts(), **typed).quality.chosen


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"binning": 40.0}, "`binning`: expected a micrograph of at least 16 x 16 px"),
        ({"patches": (2, 9)}, "`patches`: 9 patches in y are too small"),
        (
            {"patches": (2, 2), "control_points": (100, 100, 5)},
            "`control_points`: expected at most 4000 in all",
        ),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_the_movie_are_refused(tmp_path, typed, words):
    with pytest.raises(ParameterError, match=words):
        aligned(tmp_path, counts(), **typed)
