"""Two motions are compared up to a constant at each place, over the frames that both have."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.comparison import (
    compare_motions,
    other_convention,
    places_px,
    rows_reversed,
    shared_frames,
)
from flexalign.errors import InputError
from flexalign.model import FrameRange
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.simulate import SimulationSettings, motion_error_px
from flexalign.simulate.motions import make_motion, truth_lattice

SHAPE, FRAMES = (300, 400), 12
ALL = range(FRAMES)


def motion(seed=0, reference=0, measured=None):
    rng = np.random.default_rng(seed)
    path = rng.normal(size=(FRAMES, 2)).cumsum(axis=0) + np.arange(FRAMES)[:, None] * [0.8, -0.3]
    field = MotionField(rng.normal(size=(2, 4, 4, 5)), *SHAPE, FrameRange(0, FRAMES))
    marks = np.ones(FRAMES, bool) if measured is None else measured
    return Motion(Trajectory(path, marks, reference), field)


def shifted(one, path_px):
    """The motion with `path_px` (frames, 2) added to that of the whole frame."""
    path = one.trajectory.displacement_px + path_px
    return Motion(Trajectory(path, one.trajectory.is_measured, one.reference_frame), one.field)


def test_another_reference_frame_makes_no_difference():
    found = compare_motions(motion(), motion(reference=7), ALL, SHAPE)

    assert found.largest_px < 1e-12
    assert found.motion_rms_px > 1


def test_a_jump_of_one_frame_is_found_there_and_nowhere_else():
    jump = np.zeros((FRAMES, 2))
    jump[4] = [3.0, 4.0]

    found = compare_motions(motion(), shifted(motion(), jump), ALL, SHAPE)

    assert found.worst_frame == 4
    np.testing.assert_allclose(found.per_frame_px[4], 5 * (1 - 1 / FRAMES))
    np.testing.assert_allclose(np.delete(found.per_frame_px, 4), 5 / FRAMES)
    np.testing.assert_allclose(found.per_place_px, found.rms_px)
    assert found.local_rms_px < 1e-12
    assert found.whole_frame_rms_px == pytest.approx(found.rms_px)


def test_a_bad_corner_is_found_by_its_place():
    one = motion()
    coefficients = one.field.coefficients_px.copy()
    coefficients[0, :, -1, 0] += np.linspace(0, 30, 4)  # last rows, first columns
    other = Motion(one.trajectory, MotionField(coefficients, *SHAPE, FrameRange(0, FRAMES)))

    found = compare_motions(one, other, ALL, SHAPE)

    y, x = places_px(SHAPE)
    assert found.worst_place_px == (y[-1], x[0])
    assert found.per_place_px[-1, 0] == found.per_place_px.max()
    assert found.per_place_px[0, -1] < 1e-12
    assert found.local_rms_px > found.whole_frame_rms_px


def test_the_parts_add_up_and_are_those_of_a_direct_sum():
    one, other = motion(0), motion(1)

    found = compare_motions(one, other, ALL, SHAPE)

    y, x = places_px(SHAPE)
    planes = np.stack([other.on_lattice(f, y, x) - one.on_lattice(f, y, x) for f in ALL])
    planes = planes - planes.mean(axis=0)
    lengths = np.linalg.norm(planes, axis=1)
    assert found.rms_px == pytest.approx(np.sqrt((lengths**2).mean()))
    assert found.largest_px == pytest.approx(lengths.max())
    assert found.rms_px**2 == pytest.approx(found.whole_frame_rms_px**2 + found.local_rms_px**2)
    np.testing.assert_allclose(found.b_px - found.a_px, planes.mean(axis=(2, 3)), atol=1e-12)


def test_it_is_the_error_that_the_simulation_counts():
    settings = SimulationSettings(shape_px=SHAPE, frame_count=FRAMES)
    true = make_motion(settings)
    y, x = truth_lattice(SHAPE)
    lattice = {"displacement_px": true.on_lattice(y, x), "lattice_y_px": y, "lattice_x_px": x}
    jump = np.zeros((FRAMES, 2))
    jump[3] = 2.0

    counted = motion_error_px(shifted(Motion.still(FRAMES), jump), lattice, range(2, 9))
    found = compare_motions(true, shifted(Motion.still(FRAMES), jump), range(2, 9), SHAPE)

    # The truth is kept at the edges too, where local motion is largest.
    assert found.rms_px == pytest.approx(counted.rms_px, rel=0.1)


def test_only_frames_measured_in_both_are_shared():
    first, last = np.arange(FRAMES) >= 2, np.arange(FRAMES) < 9

    assert shared_frames(motion(measured=first), motion(measured=last)) == list(range(2, 9))
    with pytest.raises(InputError, match="at least two frames"):
        shared_frames(motion(measured=first), motion(measured=~first))
    with pytest.raises(InputError, match="12 and 3 frames"):
        shared_frames(motion(), Motion.still(3))


def negative(one):
    field = MotionField(-one.field.coefficients_px, *SHAPE, one.field.frames)
    return Motion(Trajectory(-one.trajectory.displacement_px, np.ones(FRAMES, bool), 0), field)


def mirrored(one):
    """The motion of the movie whose rows are stored the other way round."""
    sign = np.array([-1.0, 1.0])
    coefficients = (sign[:, None, None, None] * one.field.coefficients_px)[:, :, ::-1]
    path = one.trajectory.displacement_px * sign
    field = MotionField(coefficients, *SHAPE, one.field.frames)
    return Motion(Trajectory(path, np.ones(FRAMES, bool), 0), field)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (negative, "B has the opposite sign"),
        (mirrored, "the rows of B are in reverse order"),
        (lambda one: motion(5), ""),
        (lambda one: one, ""),
    ],
)
def test_another_convention_is_named_only_where_it_explains_the_difference(change, words):
    assert other_convention(motion(), change(motion()), ALL, SHAPE) == words


def test_swapped_axes_are_named():
    size = (400, 400)
    one, other = (
        Motion(Trajectory(path, np.ones(FRAMES, bool), 0))
        for path in (
            motion().trajectory.displacement_px,
            motion().trajectory.displacement_px[:, ::-1],
        )
    )

    assert other_convention(one, other, ALL, size) == "x and y of B are swapped"


def test_a_motion_turned_over_is_that_of_the_mirrored_movie():
    found = compare_motions(mirrored(motion()), rows_reversed(motion(), SHAPE), ALL, SHAPE)

    assert found.largest_px < 1e-12


def test_a_comparison_becomes_json():
    plain = compare_motions(motion(0), motion(1), ALL, SHAPE).to_dict()

    assert plain["frame"] == list(ALL)
    assert np.shape(plain["per_place_px"]) == (9, 9)
