import dataclasses
import hashlib
import json
import math
import os
import re

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io import record as record_module
from flexalign.io.record import describe_file, listed_output, read_record
from flexalign.model import MovieInfo, MovieRecord, Quality
from flexalign.motion import Motion, Trajectory
from flexalign.plain import write_json


@pytest.fixture
def record():
    quality = Quality(3.2, 2.0, 1.2, 0.9, 0.4, {"global": 1.5}, "global", 2)
    return MovieRecord(
        version="0.1.0",
        movie=MovieInfo("x.mrc", "mrc", 5, 40, 60, "uint8", 1.1, 12345),
        inputs={"movie": {"path": "/raw/x.mrc", "sha256": "ab", "size_bytes": 12345}},
        parameters={"binning": 1.0, "gain": None, "voltage_kV": 300.0},
        decisions={
            "pixel_size_A": 1.1, "output_pixel_size_A": 2.2, "dose_per_frame_e_A2": None,
            "align": {"schema": 1, "first": 0, "stop": 5}, "patches": [2, 3],
        },
        timings_s={"read": 0.5},
        peak_memory_bytes=10**9,
        quality=quality,
        outputs={"micrograph": "x_aligned_mic.mrc", "record": "x_record.json"},
        warnings=("the Å is not ASCII",),
        motion=Motion.still(5).to_dict(),
    )  # fmt: skip


def test_a_record_comes_back(tmp_path, record):
    write_json(tmp_path / "r.json", record)

    assert read_record(tmp_path / "r.json") == record


def test_a_motion_comes_back(tmp_path):
    motion = Motion(Trajectory([[0.0, 0.0], [0.1, -1 / 3]], [True, False], 0))
    write_json(tmp_path / "m.json", motion)

    found = Motion.load(tmp_path / "m.json").trajectory

    np.testing.assert_array_equal(found.displacement_px, motion.trajectory.displacement_px)
    assert list(found.is_measured) == [True, False]


def test_what_is_not_a_number_is_null_and_rows_stay_on_a_line(tmp_path):
    write_json(tmp_path / "v.json", {"a": [[1, math.nan], [2, math.inf]], "b": {}, "c": []})

    text = (tmp_path / "v.json").read_text()
    assert json.loads(text) == {"a": [[1, None], [2, None]], "b": {}, "c": []}
    assert "    [1, null],\n" in text


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"schema": 99}', '{"version": 1'])
def test_what_is_no_record_is_refused_with_its_name(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)

    with pytest.raises(InputError, match=r"bad\.json"):
        read_record(tmp_path / "bad.json")


def test_a_record_of_a_newer_version_asks_for_a_newer_program(tmp_path, record):
    plain = {**record.to_dict(), "schema": 99}
    write_json(tmp_path / "new.json", plain)

    with pytest.raises(InputError, match="newer"):
        read_record(tmp_path / "new.json")


def test_a_record_with_a_broken_part_is_refused(tmp_path, record):
    write_json(tmp_path / "bad.json", {**record.to_dict(), "movie": "x.mrc"})

    with pytest.raises(InputError, match=r"bad\.json"):
        read_record(tmp_path / "bad.json")


def test_what_json_cannot_hold_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "v.json", {"a": object()})

    assert not list(tmp_path.iterdir())


def test_a_small_file_is_hashed_whole(tmp_path):
    (tmp_path / "m.mrc").write_bytes(b"abc" * 1000)

    found = describe_file(tmp_path / "m.mrc")

    assert found["sha256"] == hashlib.sha256(b"abc" * 1000).hexdigest()
    assert (found["name"], found["size_bytes"]) == ("m.mrc", 3000)
    assert found["path"] == str(tmp_path / "m.mrc")
    assert found["sha256_of"] == "whole file"


def test_a_large_file_is_hashed_by_its_ends(tmp_path):
    size = record_module.WHOLE_FILE_LIMIT_BYTES
    end = record_module.END_BYTES
    with (tmp_path / "big.mrc").open("wb") as file:  # a hole in the middle, so no room is used
        file.write(b"first")
        file.seek(size - 4)
        file.write(b"last")

    found = describe_file(tmp_path / "big.mrc")

    ends = b"first".ljust(end, b"\0") + b"last".rjust(end, b"\0")
    assert found["sha256"] == hashlib.sha256(ends).hexdigest()
    assert "first and last" in found["sha256_of"]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="readable"):
        describe_file(tmp_path / "nothing.mrc")


def test_changing_one_warning_changes_the_file(tmp_path, record):
    write_json(tmp_path / "r.json", dataclasses.replace(record, warnings=("other",)))

    assert read_record(tmp_path / "r.json").warnings == ("other",)


DAMAGES = {
    "schema": ("schema", "two"),
    "outputs": ("outputs", []),
    "outputs.micrograph": ("outputs.micrograph", 7),
    "parameters": ("parameters", None),
    "parameters: `binning`": ("parameters.binning", "much"),
    "timings_s": ("timings_s", None),
    "timings_s.read": ("timings_s.read", "x"),
    "decisions": ("decisions", [1]),
    "decisions.pixel_size_A": ("decisions.pixel_size_A", None),
    "decisions.align": ("decisions.align", 5),
    "decisions.patches": ("decisions.patches", [1]),
    "quality.total_motion_A": ("quality.total_motion_A", "x"),
    "quality.flags": ("quality.flags", None),
    "quality.flags.0.severity": ("quality.flags", [{"name": "a", "severity": 1}]),
    "quality.chosen": ("quality.chosen", ["none"]),
    "quality.hot_pixel_count": ("quality.hot_pixel_count", 10**400),
    "peak_memory_bytes": ("peak_memory_bytes", True),
    "inputs.movie.modified_ns": ("inputs.movie.modified_ns", "today"),
    "inputs.movie": ("inputs.movie", {}),
    "movie": ("movie.height_px", 0),
    "motion": ("motion", None),
    "trajectory.displacement_px": ("motion.trajectory.displacement_px", [["x", 0.0]] * 5),
    "trajectory": ("motion.trajectory.reference_frame", 99),
    "outputs.record": ("outputs.record", "../x_record.json"),
    "outputs.thumbnail": ("outputs.thumbnail", "/etc/passwd"),
    "outputs.motion": ("outputs.motion", "a\nb"),
}


@pytest.mark.parametrize("named", DAMAGES)
def test_a_damaged_record_is_refused_with_the_place(tmp_path, record, named):
    place, value = DAMAGES[named]
    plain = json.loads(json.dumps(record.to_dict()))
    *outer, last = place.split(".")
    inside = plain
    for key in outer:
        inside = inside[key]
    inside[last] = value
    (tmp_path / "r.json").write_text(json.dumps(plain))

    with pytest.raises(InputError, match=re.escape(f"r.json: {named}")):
        read_record(tmp_path / "r.json")


def test_a_record_without_a_micrograph_is_refused(tmp_path, record):
    plain = record.to_dict()
    del plain["outputs"]["micrograph"]
    (tmp_path / "r.json").write_text(json.dumps(plain))

    with pytest.raises(InputError, match="micrograph"):
        read_record(tmp_path / "r.json")


@pytest.mark.parametrize("brackets", ["[" * 100_000, '{"a": ' + "[" * 500 + "]" * 500 + "}"])
def test_brackets_without_end_are_refused(tmp_path, brackets):
    (tmp_path / "r.json").write_text(brackets)

    with pytest.raises(InputError, match=r"r\.json"):
        read_record(tmp_path / "r.json")


def test_the_name_of_a_reference_may_have_any_bytes(tmp_path, record):
    name = os.fsdecode(b"/data/caf\xe9.mrc")
    gain = {"path": name, "sha256": "ab"}
    write_json(
        tmp_path / "r.json", dataclasses.replace(record, inputs={**record.inputs, "gain": gain})
    )

    (tmp_path / "r.json").read_text(encoding="utf-8")
    assert read_record(tmp_path / "r.json").inputs["gain"]["path"] == name


def test_only_files_in_the_folder_are_followed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "secret").write_text("of another folder")
    (folder / "x.png").write_bytes(b"picture")
    (folder / "inside").symlink_to("x.png")
    (folder / "outside").symlink_to("../secret")
    os.mkfifo(folder / "fifo")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "below").mkdir()

    assert listed_output(folder, "x.png").read_bytes() == b"picture"
    assert listed_output(folder, "inside").read_bytes() == b"picture"
    for name in (
        "outside",
        "fifo",
        "zero",
        "below",
        "nothing",
        "../secret",
        "/etc/passwd",
        "..",
        "",
    ):
        with pytest.raises(InputError):
            listed_output(folder, name)
