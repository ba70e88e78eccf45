"""Damaged files of motion: a typed error or a motion, in bounded memory and work."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import fuzzing, mutated, mutated_json, mutated_text, only_typed_errors

from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.motion_formats import motioncor, truth, warp, xmd
from flexalign.io.motion_formats.read_motion import read_motion
from flexalign.io.motion_formats.relion import RelionMovie, write_motion_star
from flexalign.model import FrameRange, MovieInfo
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.params import AlignParams
from flexalign.plain import write_json

FRAMES, SHAPE, PIXEL_SIZE_A = 5, (60, 80), 1.5
INFO = MovieInfo("m.tiff", "tiff", FRAMES, *SHAPE, "uint8", PIXEL_SIZE_A, 1)
ALL = FrameRange(0, FRAMES)
# What reading a good file of this size takes, several times over; gigabytes are far above.
MAX_BYTES = 48 << 20


def motion():
    rng = np.random.default_rng(0)
    trajectory = Trajectory(rng.normal(size=(FRAMES, 2)).cumsum(axis=0), np.ones(FRAMES, bool), 0)
    return Motion(trajectory, MotionField(rng.normal(size=(2, 4, 4, 4)), *SHAPE, ALL))


def content(tmp_path_factory, name):
    """A good file of this name."""
    path = tmp_path_factory.mktemp("good") / name
    moved, shifts = motion(), motioncor.as_patch_shifts(motion(), ALL, (3, 3))
    writers = {
        "m.aln": lambda: motioncor.write_aln(path, shifts, SHAPE, FRAMES, (3, 3)),
        "m-Full.log": lambda: motioncor.write_full_log(path, shifts),
        "m-Patch-Patch.log": lambda: motioncor.write_patch_log(path, shifts, SHAPE),
        "m.log": lambda: motioncor.write_console_log(path, shifts),
        "m.xml": lambda: warp.write_warp(path, moved, PIXEL_SIZE_A, INFO),
        "m.xmd": lambda: xmd.write_shifts(path, moved, "m.tiff", binning=2.0),
        "m.star": lambda: write_motion_star(
            path, RelionMovie("m.tiff", SHAPE, FRAMES, PIXEL_SIZE_A, 300.0, ALL), moved
        ),
        "m_motion.json": lambda: write_json(path, moved),
    }
    writers[name]()
    return path.read_text()


CONSOLE = "\n".join([
    "-InMrc           ", "-InTiff          /data/m.tiff", "-InEer           ",
    "-Serial          0", "-PixSize         0.73", "-Throw           0", "-Trunc           0", "",
    "Rendered size mode: 80  60  5  1", "", "Full-frame alignment", "  Frame   x Shift   y Shift",
    *(f"{n:5d} {n:10.3f} {-n:10.3f}" for n in range(1, FRAMES + 1)), "",
    "  1    0     1.11      3.20", "",
])  # fmt: skip
WORDS = {
    "m.aln": ("stackSize:", "globalShift", "localShift", "throw:"),
    "m-Full.log": ("#", "-Full.log"),
    "m-Patch-Patch.log": ("#", "# Movie size: 1 1 1\n"),
    "m.log": ("Frame", "shift:", "Full-frame alignment shift\n"),
    "m.xml": ("TiltSeries", "Movie", "Node", "Depth", "PyramidShiftX", "&amp;", "UTF-16"),
    "m.xmd": ("data_x", "loop_", "'", "_ref"),
    "m.star": ("data_x", "loop_", '"', "rlnMotionModelVersion"),
    "1.6": ("Full-frame", "-InMrc a.mrc\n", "-Serial 1\n", "added: a\n"),
}
TEXTS = [name for name in WORDS if name != "1.6"]


def attempt(path, data):
    """All that is done with such a file: what it is and says, and its motion."""
    path.write_bytes(data)
    max_bytes = MAX_BYTES + 300 * len(data)
    for look in (
        lambda: read_motion(path, INFO, PIXEL_SIZE_A),
        lambda: inspect_file(path, AlignParams(pixel_size_A=PIXEL_SIZE_A)),
    ):
        with only_typed_errors(max_bytes=max_bytes):
            look()


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_text(tmp_path_factory, name):
    good, folder = content(tmp_path_factory, name), tmp_path_factory.mktemp("damaged")
    if name.startswith("m-"):
        other = ({"m-Full.log", "m-Patch-Patch.log"} - {name}).pop()
        (folder / other).write_text(content(tmp_path_factory, other))

    @given(mutated_text(good, words=WORDS[name]))
    @fuzzing
    def attempt_all(data):
        attempt(folder / name, data)

    attempt(folder / name, good.encode())
    attempt_all()


@given(data=mutated_text(CONSOLE, words=WORDS["1.6"]))
@example(data=CONSOLE.encode())
@example(data=(CONSOLE + CONSOLE).encode())
@fuzzing
def test_damaged_console_output(tmp_path, data):
    attempt(tmp_path / "m.log", data)


def test_damaged_json(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    good = json.loads(content(tmp_path_factory, "m_motion.json"))
    record = {"motion": good, "movie": {"path": "m", "height_px": 60, "width_px": 80}}
    record["decisions"] = {"pixel_size_A": 1.5}

    @given(mutated_json(good) | mutated_json(record) | mutated(json.dumps(good).encode()))
    @fuzzing
    def attempt_all(data):
        attempt(folder / "m_motion.json", data)

    attempt_all()


def archive(arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


GOOD_TRUTH = {
    "settings": np.array(json.dumps({"shape_px": SHAPE, "pixel_size_A": PIXEL_SIZE_A})),
    "displacement_px": np.random.default_rng(0).normal(size=(FRAMES, 3, 3, 2)),
    "lattice_y_px": np.linspace(0, 59, 3),
    "lattice_x_px": np.linspace(0, 79, 3),
}


@st.composite
def truths(draw):
    """Archives of which one array is another, or whose bytes are damaged."""
    name = draw(st.sampled_from(list(GOOD_TRUTH)))
    other = draw(st.sampled_from((
        np.zeros(0), np.zeros((5, 3, 3, 2)), np.array("x"), np.array("[1"), np.array('{"a": 1}'),
        np.array(1 << 62), np.full((5, 3, 3, 2), np.nan), np.full(3, 1e300), np.zeros((3, 3)),
        np.zeros((0, 3, 3, 2)), np.array([b"a", b"b", b"c"]),
        np.array(json.dumps({"shape_px": [1 << 60, -1], "pixel_size_A": "x"})),
        np.array("[" * 5000),
    )))  # fmt: skip
    return archive({**GOOD_TRUTH, name: other})


@given(data=truths() | mutated(archive(GOOD_TRUTH)))
@example(data=archive(GOOD_TRUTH))
@fuzzing
def test_damaged_truth(tmp_path, data):
    attempt(tmp_path / "m_truth.npz", data)


def test_an_array_that_asks_for_gigabytes_is_refused(tmp_path):
    """The head says 8 GB, the archive holds 8 bytes."""
    head = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (1_000_000_000,)}
    np.lib.format.write_array_header_1_0(head, shape)
    with zipfile.ZipFile(tmp_path / "m_truth.npz", "w") as file:
        for name in GOOD_TRUTH:
            file.writestr(f"{name}.npy", head.getvalue() + bytes(8))

    with only_typed_errors(max_bytes=1 << 20):
        truth.read_truth(tmp_path / "m_truth.npz")
