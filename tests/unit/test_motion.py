"""Motion: the B-spline, the sign, the anchor, and the way to a file and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.interpolate import BSpline

from flexalign.bspline import bspline_basis
from flexalign.errors import InputError, OutputError
from flexalign.model import FrameRange
from flexalign.motion import Motion, MotionField, Trajectory

HEIGHT_PX, WIDTH_PX = 300, 400


def _field(rng: np.random.Generator, points: tuple[int, int, int] = (5, 4, 6)) -> MotionField:
    return MotionField(rng.normal(size=(2, *points)), HEIGHT_PX, WIDTH_PX, FrameRange(2, 22))


# Patch centres that cover the frame, and the frames that `_field` runs over.
def _motion(seed: int = 1) -> Motion:
    rng = np.random.default_rng(seed)
    trajectory = Trajectory(rng.normal(size=(24, 2)).cumsum(axis=0), np.ones(24, bool), 7)
    return Motion(trajectory, _field(rng))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_the_basis_sums_to_one_everywhere(count):
    position = np.linspace(-0.2, 1.2, 141)

    np.testing.assert_allclose(bspline_basis(position, count).sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_the_basis_is_the_uniform_b_spline_of_scipy(count):
    degree = min(3, count - 1)
    step = 1 / (count - degree)
    knots = step * np.arange(-degree, count + 1)
    position = np.linspace(0, 1, 57)

    expected = BSpline(knots, np.eye(count), degree)(position)

    np.testing.assert_allclose(bspline_basis(position, count), expected, atol=1e-12)


def test_outside_the_frame_the_nearer_end_counts():
    np.testing.assert_array_equal(bspline_basis([-3.0, 4.0], 6), bspline_basis([0.0, 1.0], 6))


def test_the_field_is_the_product_of_three_splines():
    field = _field(np.random.default_rng(3))
    frame, y, x = 9, 120.25, 33.0

    dy, dx = field.displacement_px(frame, y, x)

    weights = np.einsum(
        "i,j,k->ijk",
        bspline_basis([(9 - 2) / 19], 5)[0],
        bspline_basis([120.75 / HEIGHT_PX], 4)[0],
        bspline_basis([33.5 / WIDTH_PX], 6)[0],
    )
    assert dy == pytest.approx((weights * field.coefficients_px[0]).sum())
    assert dx == pytest.approx((weights * field.coefficients_px[1]).sum())


def test_the_axes_of_the_field_are_time_then_y_then_x():
    coefficients = np.zeros((2, 3, 4, 5))
    coefficients[0, -1] = 1.0  # y displacement grows late
    coefficients[1, :, :, -1] = 1.0  # x displacement grows to the right
    field = MotionField(coefficients, HEIGHT_PX, WIDTH_PX, FrameRange(0, 10))

    dy, dx = field.displacement_px([0, 9, 0, 0], [0, 0, 299, 0], [0, 0, 0, 399])

    assert dy[1] > 0.4
    assert dx[3] > 0.1
    assert [*dy[[0, 2, 3]], *dx[[0, 1, 2]]] == pytest.approx([0] * 6, abs=1e-12)


def test_the_lattice_is_the_field_at_its_crossings():
    motion, y, x = _motion(), np.array([0.0, 77.0, 299.0]), np.array([5.0, 200.0])

    lattice = motion.on_lattice(11, y, x)

    expected = motion.displacement_px(11, y[:, None], x[None, :])
    np.testing.assert_allclose(lattice, expected, atol=1e-12)


def test_arguments_broadcast():
    dy, dx = _motion().displacement_px(
        np.arange(3)[:, None, None], np.arange(4)[:, None], np.arange(5.0)
    )

    assert dy.shape == dx.shape == (3, 4, 5)


def test_motion_is_zero_at_the_reference_frame_at_every_place():
    dy, dx = _motion().displacement_px(7, np.linspace(0, 299, 9)[:, None], np.linspace(0, 399, 7))

    np.testing.assert_allclose([dy, dx], 0.0, atol=1e-12)


def test_anchoring_takes_away_a_map_that_does_not_depend_on_time():
    field = _field(np.random.default_rng(5))
    y, x = np.array([10.0, 200.0]), np.array([300.0, 20.0])

    difference = np.array(field.displacement_px([[3], [12], [20]], y, x)) - np.array(
        field.anchored(7).displacement_px([[3], [12], [20]], y, x)
    )

    np.testing.assert_allclose(difference, difference[:, :1].repeat(3, axis=1), atol=1e-12)


def test_a_trajectory_is_relative_to_its_reference_frame():
    trajectory = Trajectory(np.array([[1.0, 2.0], [4.0, 8.0]]), np.ones(2, bool), 1)

    np.testing.assert_array_equal(trajectory.displacement_px, [[-3.0, -6.0], [0.0, 0.0]])


def test_motion_comes_back_from_its_file_and_from_a_record(tmp_path):
    motion = _motion()
    places = (np.arange(24)[:, None], np.linspace(0, 299, 5), np.linspace(0, 399, 5))
    for name, plain in [("m.json", motion.to_dict()), ("r.json", {"motion": motion.to_dict()})]:
        (tmp_path / name).write_text(json.dumps(plain))

        back = Motion.load(tmp_path / name)

        assert back.reference_frame == 7
        found, expected = back.displacement_px(*places), motion.displacement_px(*places)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_saved_motion_is_what_is_loaded(tmp_path):
    motion = _motion()

    motion.save(tmp_path / "m.json")

    assert json.loads((tmp_path / "m.json").read_text()) == motion.to_dict()
    back = Motion.load(tmp_path / "m.json")
    np.testing.assert_array_equal(
        back.trajectory.displacement_px, motion.trajectory.displacement_px
    )
    np.testing.assert_allclose(back.field.coefficients_px, motion.field.coefficients_px, atol=1e-12)


def test_a_motion_that_cannot_be_saved_leaves_the_earlier_file(tmp_path):
    (tmp_path / "m.json").mkdir()

    with pytest.raises(OutputError, match="cannot write"):
        _motion().save(tmp_path / "m.json")

    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_a_motion_in_words_has_its_frames_its_kind_and_its_largest_displacement():
    drift = Trajectory([[3.0, 4.0], [0.0, 0.0], [-0.3, 0.4]], np.ones(3, bool), 1)
    coefficients = np.zeros((2, 3, 3, 4))
    coefficients[0, 0] = 12.0
    field = MotionField(coefficients, HEIGHT_PX, WIDTH_PX, FrameRange(0, 3))

    assert repr(Motion(drift)) == "<Motion: 3 frames, global, up to 5 px from frame 1>"
    # The first of three quadratic B-splines in time is 1/2 in the first frame, 1/8 in the middle.
    assert repr(Motion(drift, field)) == (
        "<Motion: 3 frames, 300 x 400 px (h, w), local with 3 x 3 x 4 control points (t, y, x), "
        f"up to {np.hypot(3.0 + 12.0 / 2 - 12.0 / 8, 4.0):.3g} px from frame 1>"
    )


def test_global_motion_has_no_field_and_comes_back_without():
    back = Motion.from_dict(json.loads(json.dumps(Motion.still(3).to_dict())))

    assert back.field is None
    assert back.frame_count == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "JSON"), ("not json", "JSON"), ("{}", "a motion"), ('{"motion": {}}', "a motion")],
)
def test_a_file_without_motion_is_an_input_error(tmp_path, text, expected):
    file = tmp_path / "m.json"
    file.write_text(text)

    with pytest.raises(InputError, match=f"expected {expected}"):
        Motion.load(file)


def test_a_missing_motion_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"none\.json"):
        Motion.load(tmp_path / "none.json")


@pytest.mark.parametrize("frame", [24, 99])
def test_a_frame_that_is_not_in_the_file_is_an_index_error(frame):
    with pytest.raises(IndexError):
        _motion().displacement_px(frame, 0, 0)


@pytest.mark.parametrize(
    ("displacement", "measured", "reference"),
    [
        (np.zeros((0, 2)), np.ones(0, bool), 0),
        (np.zeros((3, 3)), np.ones(3, bool), 0),
        (np.full((3, 2), np.nan), np.ones(3, bool), 0),
        (np.zeros((3, 2)), np.ones(4, bool), 0),
        (np.zeros((3, 2)), np.ones(3, bool), 3),
    ],
)
def test_a_trajectory_that_makes_no_sense_is_refused(displacement, measured, reference):
    with pytest.raises(ValueError, match=r"expected|reference frame"):
        Trajectory(displacement, measured, reference)


def test_values_cannot_be_changed_from_outside():
    source = np.zeros((2, 3, 3, 3))
    field = MotionField(source, HEIGHT_PX, WIDTH_PX, FrameRange(0, 5))

    source[:] = 1.0

    assert not field.coefficients_px.any()
    assert not field.coefficients_px.flags.writeable


def test_a_motion_is_equal_after_it_is_written_and_read(tmp_path):
    rng = np.random.default_rng(3)
    trajectory = Trajectory(rng.normal(size=(7, 2)), np.ones(7, bool), 4, rng.random((7, 2)))
    field = MotionField(rng.normal(size=(2, 4, 3, 5)), 64, 96, FrameRange(1, 7))
    motion = Motion(trajectory, field)

    motion.save(tmp_path / "m_motion.json")

    assert Motion.load(tmp_path / "m_motion.json") == motion
    assert Motion(trajectory) != motion


def test_the_text_of_a_motion_has_no_numbers_of_arrays():
    motion = Motion.still(1000)

    assert len(repr(motion)) < 100
    assert "displacement_px=<float64 (1000, 2)>" in repr(motion.trajectory)
