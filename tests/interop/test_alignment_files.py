"""MotionCor's, Xmipp's and Warp's files of a motion come back to the precision they have."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.motion_formats import motioncor, warp, xmd
from flexalign.io.motion_formats.read_motion import read_motion
from flexalign.io.motion_formats.relion import RelionMovie, write_motion_star
from flexalign.model import FrameRange, MovieInfo
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.plain import write_json

SHAPE, FRAMES, PIXEL_SIZE_A = (300, 400), 24, 1.3
ALL = FrameRange(0, FRAMES)
INFO = MovieInfo("m.mrc", "mrc", FRAMES, *SHAPE, "int8", PIXEL_SIZE_A, 1)


def motion(field_px=2.0, used=ALL, seed=0):
    """A motion with a jerky path and a field that is not alike in any two directions."""
    rng = np.random.default_rng(seed)
    path = np.stack([np.linspace(0, 9, FRAMES) ** 1.2, -np.linspace(0, 4, FRAMES)], axis=1)
    path = path + rng.normal(scale=0.3, size=path.shape)
    measured = np.isin(np.arange(FRAMES), np.arange(used.first, used.stop))
    nearest = np.clip(np.arange(FRAMES), used.first, used.stop - 1)
    trajectory = Trajectory(path[nearest], measured, used.first)
    if not field_px:
        return Motion(trajectory)
    coefficients = rng.normal(size=(2, 4, 4, 5)).cumsum(axis=1) * 2 * field_px
    return Motion(trajectory, MotionField(coefficients, *SHAPE, used))


def difference_px(one, other, used=ALL):
    """Largest distance between two motions, their mean over frames removed at each place."""
    y, x = (np.linspace(0, size - 1, 13) for size in SHAPE)
    planes = np.stack([one.on_lattice(f, y, x) - other.on_lattice(f, y, x) for f in used])
    return float(np.linalg.norm(planes - planes.mean(axis=0), axis=1).max())


def flipped(motion):
    """The same motion with other axes: what a swap of x and y would read."""
    return Motion(Trajectory(motion.trajectory.displacement_px[:, ::-1], np.ones(FRAMES, bool), 0))


def written(tmp_path, name, moved, used=ALL):
    """The file of one program with this motion."""
    path = tmp_path / name
    patches = motioncor.patches_for(4), motioncor.patches_for(5)
    shifts = motioncor.as_patch_shifts(moved, used, patches)
    if name == "m.aln":
        motioncor.write_aln(path, shifts, SHAPE, FRAMES, patches)
    elif name.endswith(".log"):
        motioncor.write_full_log(tmp_path / "m-Full.log", shifts)
        motioncor.write_patch_log(tmp_path / "m-Patch-Patch.log", shifts, SHAPE)
    elif name == "m.out":
        motioncor.write_console_log(path, shifts)
    elif name == "m.xml":
        warp.write_warp(path, moved, PIXEL_SIZE_A, INFO)
    elif name == "m.xmd":
        xmd.write_shifts(path, moved, "m.mrc", binning=2.0)
    elif name == "m.star":
        movie = RelionMovie("m.mrc", SHAPE, FRAMES, PIXEL_SIZE_A, 300.0, used)
        write_motion_star(path, movie, moved)
    else:
        write_json(path, moved)
    return path


# Largest error in pixels, of whole frames and of local motion of more than 1 px.
PRECISION = {
    "m.aln": (0.001, 0.005),
    "m-Full.log": (0.01, 0.05),
    "m-Patch-Patch.log": (0.01, 0.05),
    "m.xml": (1e-6, 0.005),
    "m.star": (2e-6, None),
    "m.json": (1e-12, 1e-12),
    "m.out": (0.001, None),
    "m.xmd": (1e-6, None),
}


@pytest.mark.parametrize("name", PRECISION)
def test_whole_frame_motion_comes_back(tmp_path, name):
    moved = motion(field_px=0)

    found = read_motion(written(tmp_path, name, moved), INFO, PIXEL_SIZE_A)

    assert difference_px(found, moved) <= PRECISION[name][0]
    assert difference_px(found, flipped(moved)) > 1
    assert found.field is None


@pytest.mark.parametrize("name", [name for name in PRECISION if PRECISION[name][1]])
def test_local_motion_comes_back(tmp_path, name):
    moved = motion()

    found = read_motion(written(tmp_path, name, moved), INFO, PIXEL_SIZE_A)

    assert difference_px(found, moved) < PRECISION[name][1]
    still = Motion(moved.trajectory)
    assert difference_px(still, moved) > 20 * PRECISION[name][1]


@pytest.mark.parametrize("name", ["m.aln", "m.star"])
def test_frames_that_were_thrown_away_are_not_measured(tmp_path, name):
    used = FrameRange(3, 20)
    moved = motion(field_px=0, used=used)

    found = read_motion(written(tmp_path, name, moved, used), INFO, PIXEL_SIZE_A)

    np.testing.assert_array_equal(found.trajectory.is_measured, moved.trajectory.is_measured)
    assert found.reference_frame == 3
    assert difference_px(found, moved, used) < 0.002


def smooth_motion():
    """A motion that Xmipp's few control points in time can follow."""
    time = np.linspace(0, 1, FRAMES)
    path = np.stack([8 * time**2, -5 * time], axis=1)
    field = motion(0.5).field
    return Motion(Trajectory(path, np.ones(FRAMES, bool), 0), field)


@pytest.mark.parametrize("is_told", [True, False], ids=["ours", "as Xmipp's"])
@pytest.mark.parametrize("binning", [1.0, 1.5, 2.0])
def test_xmipps_spline_comes_back(tmp_path, binning, is_told):
    moved, path = smooth_motion(), tmp_path / "m.xmd"
    xmd.write_shifts(path, moved, "m.mrc", binning=binning)
    if not is_told:
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], "# ", *lines[2:]]))

    found = read_motion(path, INFO, PIXEL_SIZE_A)

    assert difference_px(found, moved) < 0.001
    assert difference_px(Motion(moved.trajectory), moved) > 0.3


def test_logs_of_older_versions_have_a_fit_beside_the_raw_shifts(tmp_path):
    written(tmp_path, "m-Full.log", motion())
    path = tmp_path / "m-Patch-Patch.log"
    lines = [
        " ".join([*line.split()[:5], "9.99", "9.99"]) if line[:1] == " " else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines))

    found = read_motion(path, INFO, PIXEL_SIZE_A)

    assert difference_px(found, motion()) < PRECISION[path.name][1]


def test_console_output_is_found_among_other_lines(tmp_path):
    path = written(tmp_path, "m.out", motion(field_px=0))
    path.write_text("MotionCor2 version 1.5\nFrame 1 read\n" + path.read_text() + "\nDone: 3 s\n")

    assert difference_px(read_motion(path, INFO, PIXEL_SIZE_A), motion(field_px=0)) < 0.001


def test_warps_pyramids_are_added_to_its_grids(tmp_path):
    moved = motion()
    path = written(tmp_path, "m.xml", moved)
    path.write_text(path.read_text().replace("GridLocalMovement", "PyramidShift"))

    assert difference_px(read_motion(path, INFO, PIXEL_SIZE_A), moved) < 0.005


def test_warp_file_is_read_by_warpylib(tmp_path):
    torch = pytest.importorskip("torch", reason="warpylib needs torch, which is large")
    library = pytest.importorskip("warpylib.movie", reason="warpylib is not installed")
    moved = motion()
    written(tmp_path, "m.xml", moved)

    movie = library.Movie(str(tmp_path / "m.mrc"))

    y, x = 211.0, 47.0
    place = [[x / SHAPE[1], y / SHAPE[0], frame / (FRAMES - 1)] for frame in ALL]
    grids = [
        (movie.grid_movement_y, movie.grid_local_y),
        (movie.grid_movement_x, movie.grid_local_x),
    ]
    shift = [sum(g.get_interpolated(torch.tensor(place)) for g in pair) for pair in grids]
    expected = np.stack(moved.displacement_px(np.arange(FRAMES), y, x))
    found = -np.stack([part.numpy() for part in shift]) / PIXEL_SIZE_A
    np.testing.assert_allclose(found, expected, atol=0.005)


@pytest.mark.parametrize("name", PRECISION)
def test_the_motion_of_another_movie_is_refused(tmp_path, name):
    path = written(tmp_path, name, motion())
    longer = MovieInfo("m.mrc", "mrc", FRAMES + 3, *SHAPE, "int8", PIXEL_SIZE_A, 1)

    with pytest.raises(InputError, match=f"{FRAMES + 3} frames.*{FRAMES}"):
        read_motion(path, longer, PIXEL_SIZE_A)


@pytest.mark.parametrize("name", ["m.aln", "m-Patch-Patch.log", "m.xml", "m.star"])
def test_a_global_motion_of_a_movie_of_another_size_is_refused(tmp_path, name):
    path = written(tmp_path, name, motion(field_px=0))
    other = MovieInfo("m.mrc", "mrc", FRAMES, SHAPE[1], SHAPE[0], "int8", PIXEL_SIZE_A, 1)

    with pytest.raises(InputError, match=r"300 x 400 pixels.*400 x 300"):
        read_motion(path, other, PIXEL_SIZE_A)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "hello\n",
        "<xml",
        "<a/>",
        "{",
        json.dumps({"a": 1}),
        "data_x\n_y 1\n",
        "\0\1\2",
        "setting\n stackSize: 1\n",
    ],
)
def test_other_files_are_refused_with_their_name(tmp_path, content):
    path = tmp_path / "other"
    path.write_text(content)

    with pytest.raises(InputError, match="other"):
        read_motion(path, INFO, PIXEL_SIZE_A)
