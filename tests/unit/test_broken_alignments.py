"""Alignments whose numbers cannot be: indices beyond the frames, sizes that no file has."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.motion_formats.motioncor import PatchShifts, write_aln
from flexalign.io.motion_formats.read_motion import read_motion
from flexalign.io.motion_formats.relion import RelionMovie, write_motion_star
from flexalign.io.motion_formats.xmd import write_shifts
from flexalign.model import FrameRange, MovieInfo
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.plain import write_json

FRAMES, SHAPE = 4, (60, 80)
ALL = FrameRange(0, FRAMES)
INFO = MovieInfo("m.tiff", "tiff", FRAMES, *SHAPE, "uint8", 1.5, 1)


def motion():
    path = np.outer(np.arange(FRAMES), (1.0, -2.0))
    field = MotionField(np.ones((2, 4, 4, 4)) * np.arange(4)[:, None, None], *SHAPE, ALL)
    return Motion(Trajectory(path, np.ones(FRAMES, bool), 0), field)


def good(tmp_path, name):
    path = tmp_path / name
    if name == "m.star":
        write_motion_star(path, RelionMovie("m.tiff", SHAPE, FRAMES, 1.5, 300.0, ALL), motion())
    elif name == "m.aln":
        whole = -motion().trajectory.displacement_px
        shifts = PatchShifts(whole, np.zeros((0, 2)), np.zeros((0, FRAMES, 2)), ALL)
        write_aln(path, shifts, SHAPE, FRAMES, (0, 0))
    elif name == "m.xmd":
        write_shifts(path, motion(), "m.tiff")
    else:
        write_json(path, motion())
    return path


BROKEN = [
    ("m.star", "\n1 0.000000", "\n0 0.000000", "frame numbers from 1 to 4, found 0"),
    ("m.star", "\n1 0.000000", "\n-1 0.000000", "frame numbers from 1 to 4, found -1"),
    ("m.star", "\n1 0.000000", "\n2 0.000000", "each frame once"),
    ("m.star", "\n1 0.000000", f"\n1{'0' * 30} 0.000000", "frame numbers from 1 to 4"),
    ("m.star", "\n1 0.000000", "\n1 1e300", "expected shifts up to"),
    ("m.star", "rlnImageSizeX                            80", "rlnImageSizeX 0", "size in pixels"),
    ("m.star", "rlnImageSizeZ                            4", "rlnImageSizeZ 1000000000",
     "a number of frames from 1 to 10000"),
    ("m.star", "rlnMicrographStartFrame                  1", "rlnMicrographStartFrame 9",
     "a start frame from 1 to 4"),
    ("m.star", "\n35 ", "\n-1 ", "places of coefficients from 0 to 35"),
    ("m.aln", f"60 {FRAMES} 1", "60 1000000000 1", "a number of frames from 1 to 10000"),
    ("m.aln", "throw: 0 0", "throw: 0 4", "expected 0 <= first < stop"),
    ("m.aln", "     3  ", "     7  ", "rows of all frames from 0 on"),
    ("m.xmd", "4 4 4", "4 4 999999999", "control points from 3 to 100"),
    ("m.xmd", "4 4 4", "0 4 4", "control points from 3 to 25"),
    ("m.json", '"width_px": 80', '"width_px": 0', "a size in pixels"),
    ("m.json", '"width_px": 80', '"width_px": "x"', "expected a whole number"),
    ("m.json", '"stop": 4', '"stop": 1000000000', "field within 4 frames"),
    ("m.json", '"reference_frame": 0', '"reference_frame": 0.5', "expected a whole number"),
    ("m.json", '"reference_frame": 0', '"reference_frame": -1', "reference frame -1 of 4"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "words"), BROKEN)
def test_numbers_that_cannot_be_are_refused(tmp_path, name, old, new, words):
    path = good(tmp_path, name)
    text = path.read_text()
    assert old in text
    read_motion(path, INFO, 1.5)
    path.write_text(text.replace(old, new, 1))

    tracemalloc.start()
    with pytest.raises(InputError, match=f"{name}.*{words}"):
        read_motion(path, INFO, 1.5)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 20_000_000


@pytest.mark.parametrize("text", ["[" * 100_000, '{"trajectory":' + "[" * 100_000, "[1]", "null"])
def test_json_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)

    with pytest.raises(InputError, match=r"m\.json: expected"):
        Motion.load(tmp_path / "m.json")


def test_a_motion_of_words_is_refused(tmp_path):
    plain = json.loads(good(tmp_path, "m.json").read_text())
    plain["trajectory"]["displacement_px"] = "abc"
    (tmp_path / "m.json").write_text(json.dumps(plain))

    with pytest.raises(InputError, match=r"m\.json"):
        read_motion(tmp_path / "m.json", INFO, 1.5)
