import re

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.motion_formats.xmd import fit_xmipp_spline, read_shifts, write_shifts
from flexalign.model import FrameRange, PatchTracks
from flexalign.motion import Motion, MotionField, Trajectory

FRAMES, HEIGHT, WIDTH = 12, 300, 400


def asymmetric_trajectory(first=0, stop=FRAMES):
    frame = np.arange(FRAMES)
    displacement = np.stack([0.3 * frame, -0.02 * frame**2], axis=1)  # down, and to the left
    return Trajectory(displacement, (frame >= first) & (frame < stop), 4)


def smooth_motion(points=(4, 4, 5)):
    rng = np.random.default_rng(5)
    coefficients = rng.normal(scale=2.0, size=(2, *points))
    still = Trajectory(np.zeros((FRAMES, 2)), np.ones(FRAMES, bool), 4)
    return Motion(still, MotionField(coefficients, HEIGHT, WIDTH, FrameRange(0, FRAMES)))


def parse(path):
    """Blocks of an Xmipp file as lists of rows, written without looking at the package."""
    blocks = {}
    for part in path.read_text().split("data_")[1:]:
        name, loop, *lines = part.splitlines()
        assert loop == "loop_"
        labels = [line.strip()[1:] for line in lines if line.startswith(" _")]
        rows = [line for line in lines if line and not line.startswith(" _")]
        cells = [re.findall(r"'[^']*'|\S+", row) for row in rows]
        blocks[name] = [dict(zip(labels, row, strict=True)) for row in cells]
    return blocks


def vector(cell):
    return np.array([float(word) for word in cell.strip("'").split()])


def bspline(u):
    u = abs(u)
    if u < 1:
        return u * u * (u - 2) / 2 + 2 / 3
    return (2 - u) ** 3 / 6 if u < 2 else 0.0


def xmipp_correction(coefficients, control_points, size, x, y, t):
    """Value of Xmipp's spline, term by term, from its published formula."""
    spacing = [n / (c - 3) if c > 3 else n for n, c in zip(size, control_points, strict=True)]
    count_x, count_y, count_t = control_points
    total = 0.0
    for it in range(count_t):
        for iy in range(count_y):
            for ix in range(count_x):
                weight = (
                    bspline(x / spacing[0] - (ix - 1))
                    * bspline(y / spacing[1] - (iy - 1))
                    * bspline(t / spacing[2] - (it - 1))
                )
                total += coefficients[(it * count_y + iy) * count_x + ix] * weight
    return total


def test_shifts_are_minus_the_displacement_in_unbinned_pixels(tmp_path):
    trajectory = asymmetric_trajectory()

    write_shifts(tmp_path / "m.xmd", Motion(trajectory), "movies/m.mrc", binning=2.0)

    rows = parse(tmp_path / "m.xmd")["frameShifts"]
    written = np.array([[float(row["shiftY"]), float(row["shiftX"])] for row in rows])
    np.testing.assert_allclose(written, -trajectory.displacement_px, atol=1e-6)
    assert rows[0]["image"] == "000001@movies/m.mrc"
    assert rows[-1]["image"] == "000012@movies/m.mrc"


def test_frames_outside_the_aligned_range_are_disabled_and_have_no_shift(tmp_path):
    write_shifts(tmp_path / "m.xmd", Motion(asymmetric_trajectory(2, 9)), "m.mrc")

    rows = parse(tmp_path / "m.xmd")["frameShifts"]

    assert [row["enabled"] for row in rows] == ["-1"] * 2 + ["1"] * 7 + ["-1"] * 3
    assert {rows[i][axis] for i in (0, 1, 9, 11) for axis in ("shiftX", "shiftY")} == {"0.000000"}


def test_reference_frame_is_counted_from_zero_in_the_file(tmp_path):
    write_shifts(tmp_path / "m.xmd", Motion(asymmetric_trajectory()), "m.mrc")

    assert parse(tmp_path / "m.xmd")["referenceFrame"] == [{"ref": "4"}]


def test_first_line_is_the_one_xmipp_looks_for(tmp_path):
    write_shifts(tmp_path / "m.xmd", Motion.still(3), "m.mrc")

    assert (tmp_path / "m.xmd").read_text().startswith("# XMIPP_STAR_1 *")
    assert "localAlignment" not in (tmp_path / "m.xmd").read_text()


@pytest.mark.parametrize("name", ["m.mrc", "my movie.mrc", "Ana's movie.mrc", "Ana's.mrc"])
def test_shifts_come_back_whatever_the_movie_is_called(tmp_path, name):
    trajectory = asymmetric_trajectory()
    write_shifts(tmp_path / "m.xmd", Motion(trajectory), name)

    shifts = read_shifts(tmp_path / "m.xmd")

    np.testing.assert_allclose(shifts.displacement_px, trajectory.displacement_px, atol=1e-6)
    assert shifts.is_enabled.all()
    assert shifts.reference_frame == 4


def test_a_file_without_shifts_is_refused(tmp_path):
    (tmp_path / "other.xmd").write_text("# XMIPP_STAR_1 *\ndata_other\nloop_\n _ref\n 1\n")

    with pytest.raises(InputError, match="frameShifts"):
        read_shifts(tmp_path / "other.xmd")


@pytest.mark.parametrize("binning", [1.0, 2.0])
def test_xmipp_would_undo_a_smooth_motion_with_the_written_spline(tmp_path, binning):
    motion = smooth_motion()
    write_shifts(tmp_path / "m.xmd", motion, "m.mrc", binning=binning)
    row = parse(tmp_path / "m.xmd")["localAlignment"][0]
    points = tuple(vector(row["localAlignmentControlPoints"]).astype(int))
    size = (WIDTH / binning, HEIGHT / binning, FRAMES)

    for x, y, t in [(20, 30, 0), (350, 40, 7), (111, 250, 11), (220, 150, 3)]:
        dy, dx = motion.displacement_px(t, y, x)
        place = (points, size, x / binning, y / binning, t)
        found_x = xmipp_correction(vector(row["localAlignmentCoeffsX"]), *place)
        found_y = xmipp_correction(vector(row["localAlignmentCoeffsY"]), *place)
        assert (found_x * binning, found_y * binning) == pytest.approx((-dx, -dy), abs=0.05)
    assert points == (5, 4, 4)


def test_spline_of_a_motion_in_its_own_space_is_exact():
    """One piece in time and space, so that both bases span the same polynomials."""
    motion = smooth_motion((4, 4, 4))

    spline = fit_xmipp_spline(motion, motion.field)

    y, x = np.array([10.0, 200.0]), np.array([5.0, 120.0, 390.0])
    wanted = np.stack([motion.on_lattice(frame, y, x) for frame in range(FRAMES)], axis=1)
    np.testing.assert_allclose(spline.on_lattice(y, x), -wanted, atol=1e-9)


def test_three_control_points_still_follow_the_motion_as_xmipp_can():
    motion = smooth_motion((3, 3, 3))

    spline = fit_xmipp_spline(motion, motion.field)

    y, x = np.linspace(0, HEIGHT - 1, 9), np.linspace(0, WIDTH - 1, 9)
    wanted = np.stack([motion.on_lattice(frame, y, x) for frame in range(FRAMES)], axis=1)
    error = spline.on_lattice(y, x) + wanted
    assert spline.control_points == (3, 3, 3)
    assert np.sqrt(np.mean(error**2)) < 0.3 * np.sqrt(np.mean(wanted**2))


def test_percentiles_are_the_distance_of_spline_and_trajectory_at_the_patches(tmp_path):
    """A field that grows from 0 to 4 px along x: 0.5 px at the left patches, 3.5 at the right."""
    coefficients = np.zeros((2, 1, 1, 2))
    coefficients[0, 0, 0] = [0.0, 4.0]
    field = MotionField(coefficients, HEIGHT, WIDTH, FrameRange(0, FRAMES))
    motion = Motion(asymmetric_trajectory())
    object.__setattr__(motion, "field", field)  # a field that does not change in time
    centers = np.array([[50.0, 49.5], [50.0, 349.5], [250.0, 49.5], [250.0, 349.5]])
    tracks = PatchTracks(centers, np.arange(3.0), np.zeros((4, 3, 2)), np.ones((4, 3)))

    write_shifts(tmp_path / "m.xmd", motion, "m.mrc", tracks=tracks)

    row = parse(tmp_path / "m.xmd")["localAlignment"][0]
    assert list(vector(row["localAlignmentPatches"])) == [2, 2]
    assert float(row["localAlignmnentConf25Perc"]) == pytest.approx(0.5, abs=0.3)
    assert float(row["localAlignmnentConf955Perc"]) == pytest.approx(3.5, abs=0.3)
