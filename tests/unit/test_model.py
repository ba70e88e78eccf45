"""Values that pass between modules come back from JSON as they were."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.model import (
    EerInfo,
    Flag,
    FrameRange,
    MovieInfo,
    MovieRecord,
    PairwiseShifts,
    PatchTracks,
    Quality,
    read_only,
    to_plain,
)

MOVIE = MovieInfo(
    path="a.eer", file_format="eer", frame_count=40, height_px=64, width_px=32, pixel_dtype="uint8",
    pixel_size_A=None, size_bytes=12, eer=EerInfo(1234, 30, 34, 1), notes=("one", "two"),
)  # fmt: skip
QUALITY = Quality(
    total_motion_A=10.0, early_motion_A=4.0, late_motion_A=6.0, largest_step_A=2.0,
    local_range_A=1.5, trajectory_error_A=0.1, candidate_scores={"still": 0.0, "local": 2.5},
    chosen="local", hot_pixel_count=3, flags=(Flag("jump", "warning", "far", "look", 40.0, 20.0),),
)  # fmt: skip
RECORD = MovieRecord(
    version="0.1.0", movie=MOVIE, inputs={"movie": {"path": "a.eer", "size_bytes": 12}},
    parameters={"binning": 1.0}, decisions={"patches": [5, 4]}, timings_s={"read": 0.5},
    peak_memory_bytes=1000, quality=QUALITY, outputs={"micrograph": "a.mrc"}, warnings=("faint",),
)  # fmt: skip


def _through_json(value):
    return type(value).from_dict(json.loads(json.dumps(value.to_dict(), allow_nan=False)))


@pytest.mark.parametrize("value", [FrameRange(2, 9), MOVIE, QUALITY, RECORD])
def test_plain_values_come_back_equal(value):
    assert _through_json(value) == value


@pytest.mark.parametrize(
    "value",
    [
        PairwiseShifts(
            first=np.array([0, 0, 1]), second=np.array([1, 2, 2]),
            shift_px=np.array([[0.5, 1.0], [-1.0, 2.0], [0.25, 0.125]]),
            score=np.array([9.0, 8.0, 7.0]), weight=np.array([1.0, 0.5, 0.0]),
        ),
        PatchTracks(
            center_px=np.array([[1.0, 2.0], [3.0, 4.0]]), frame=np.array([0.0, 1.5, 3.0]),
            displacement_px=np.arange(12.0).reshape(2, 3, 2),
            standard_error_px=np.full((2, 3), 0.25),
        ),
    ],
)  # fmt: skip
def test_arrays_come_back_equal_and_in_shape(value):
    back = _through_json(value)

    for field in dataclasses.fields(value):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(value, field.name))


def test_a_number_that_is_not_finite_becomes_null():
    plain = to_plain({"a": float("nan"), "b": np.array([1.0, np.inf]), "c": np.float32("-inf")})

    assert plain == {"a": None, "b": [1.0, None], "c": None}


def test_what_comes_back_from_null_in_an_array_is_nan():
    tracks = PatchTracks(
        center_px=np.zeros((1, 2)), frame=np.zeros(1), displacement_px=np.full((1, 1, 2), np.nan),
        standard_error_px=np.ones((1, 1)),
    )  # fmt: skip

    assert np.isnan(_through_json(tracks).displacement_px).all()


def test_numbers_of_numpy_become_plain_ones():
    plain = to_plain({"i": np.int32(3), "f": np.float32(0.5), "b": np.bool_(True)})

    assert plain == {"i": 3, "f": 0.5, "b": True}
    assert [type(item) for item in plain.values()] == [int, float, bool]


def test_a_newer_schema_is_refused_with_what_to_do():
    plain = RECORD.to_dict() | {"schema": 99}

    with pytest.raises(InputError, match="schema 2 or older, found 99: read it with a newer"):
        MovieRecord.from_dict(plain)


def test_a_field_of_a_later_version_is_passed_over():
    assert FrameRange.from_dict({"first": 0, "stop": 2, "colour": "blue"}) == FrameRange(0, 2)


def test_a_missing_field_is_named():
    with pytest.raises(InputError, match="expected the fields stop, which are missing"):
        FrameRange.from_dict({"first": 0})


@pytest.mark.parametrize(("first", "stop"), [(-1, 3), (3, 3), (4, 3)])
def test_an_empty_or_negative_frame_range_is_refused(first, stop):
    with pytest.raises(ValueError, match="first < stop"):
        FrameRange(first, stop)


def test_a_frame_range_counts_as_users_do_only_in_words():
    frames = FrameRange(2, 5)

    assert list(frames) == [2, 3, 4]
    assert frames.count == 3
    assert 4 in frames
    assert 5 not in frames
    assert str(frames) == "3-5"


def test_read_only_copies_and_cannot_be_written():
    source = np.zeros(3)
    copy = read_only(source)

    source[0] = 1.0

    assert copy[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 2.0


def test_a_record_of_the_first_schema_is_still_read():
    """Flags were names, the error was in pixels, and much was not measured."""
    plain = RECORD.to_dict() | {"schema": 1, "decisions": {"pixel_size_A": 0.5}}
    plain["quality"] = {
        "schema": 1, "total_motion_A": 10.0, "early_motion_A": 4.0, "late_motion_A": 6.0,
        "largest_step_A": 2.0, "local_range_A": 1.5, "trajectory_error_px": 0.1,
        "candidate_scores": {"none": 0.0}, "chosen": "local", "hot_pixel_count": 3,
        "flags": ["jump", "still"],
    }  # fmt: skip
    del plain["curves"]

    record = MovieRecord.from_dict(plain)

    assert record.quality.flag_names == ("jump", "still")
    assert record.quality.trajectory_error_A == 0.05
    assert np.isnan(record.quality.rings_to_A)
    assert record.quality.bad_frame_count is None
    assert record.curves is None
