"""RELION's polynomial and the STAR files around it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.motion_formats.polynomial import (
    PolynomialMotion,
    as_motion,
    correction_px,
    fit_polynomial,
    whole_frame_px,
)
from flexalign.io.motion_formats.relion import (
    RelionMicrograph,
    RelionMovie,
    optics_table,
    write_micrographs_star,
    write_motion_star,
)
from flexalign.io.motion_formats.relion_reading import read_motion_star
from flexalign.io.star import read_star
from flexalign.model import FrameRange
from flexalign.motion import Motion, MotionField, Trajectory

SHAPE, FRAMES, USED = (300, 400), 24, FrameRange(2, 22)
PLACES = np.linspace(0, 299, 5), np.linspace(0, 399, 7)


def polynomial(seed=0, size=1e-2):
    """A random motion of RELION's kind."""
    rng = np.random.default_rng(seed)
    path = rng.normal(size=(FRAMES, 2)).cumsum(axis=0)
    orders = np.tile([1.0, 0.1, 0.01], 6)
    return PolynomialMotion(path - path[2], size * rng.normal(size=(2, 18)) * orders, USED.first)


def movie(**changes):
    return dataclasses.replace(
        RelionMovie("Movies/m.mrc", SHAPE, FRAMES, 0.8, 300.0, USED, 2.0, 1.5), **changes
    )


def largest_difference_px(one, other):
    planes = [one.on_lattice(f, *PLACES) - other.on_lattice(f, *PLACES) for f in USED]
    return max(float(np.abs(plane).max()) for plane in planes)


def test_each_coefficient_stands_where_relion_reads_it():
    # x: (z, z2, z3) of 1, x, x2, y, y2, xy, then y
    model = PolynomialMotion(np.zeros((5, 2)), np.arange(36.0).reshape(2, 18)[::-1], 1)
    z, y, x = 3.0, -0.2, 0.4
    terms = [z**i * place for place in (1, x, x**2, y, y**2, x * y) for i in (1, 2, 3)]

    found = correction_px(model, 4, np.array([y]), np.array([x]))[:, 0, 0]

    np.testing.assert_allclose(found[1], np.dot(np.arange(18), terms))
    np.testing.assert_allclose(found[0], np.dot(np.arange(18, 36), terms))


def test_a_motion_of_relions_kind_is_kept_exactly_and_moves_the_other_way():
    model = polynomial()

    motion = as_motion(model, USED, SHAPE)
    dy, dx = motion.displacement_px(20, 299.0, 100.0)

    y, x = 299 / 300 - 0.5, 100 / 400 - 0.5
    local = correction_px(model, 20, np.array([y]), np.array([x]))[:, 0, 0]
    np.testing.assert_allclose([dy, dx], -(local + model.global_px[20]), atol=1e-9)
    assert motion.reference_frame == 2


def test_fitting_finds_the_polynomial_again():
    motion = as_motion(polynomial(), USED, SHAPE)

    again = fit_polynomial(motion, USED)

    assert again.rms_error_px < 1e-9
    assert largest_difference_px(as_motion(again, USED, SHAPE), motion) < 1e-9


def test_the_error_is_the_distance_that_is_left():
    rng = np.random.default_rng(1)
    field = MotionField(rng.normal(size=(2, 5, 6, 7)), *SHAPE, USED)
    still = Trajectory(np.zeros((FRAMES, 2)), np.ones(FRAMES, bool), USED.first)
    motion = Motion(still, field)

    model = fit_polynomial(motion, USED)
    found = as_motion(model, USED, SHAPE)

    y, x = (np.linspace(0, size - 1, 9) for size in SHAPE)
    left = np.stack([found.on_lattice(f, y, x) - motion.on_lattice(f, y, x) for f in USED])
    np.testing.assert_allclose(
        np.sqrt(np.mean(np.sum(left**2, axis=1))), model.rms_error_px, rtol=1e-6
    )
    assert 0 < model.rms_error_px < model.rms_local_px


def test_a_file_comes_back_to_a_millionth_of_a_pixel(tmp_path):
    motion = as_motion(polynomial(), USED, SHAPE)
    facts = movie(
        gain_name="g.mrc", eer_upsampling=1, eer_grouping=7, pre_exposure_e_A2=2.0,
        bad_pixels_yx=np.array([[3, 7], [9, 2]]),
    )  # fmt: skip

    write_motion_star(tmp_path / "m.star", facts, motion)
    facts_read, motion_read = read_motion_star(tmp_path / "m.star")

    assert largest_difference_px(motion_read, motion) < 2e-6
    np.testing.assert_array_equal(facts_read.bad_pixels_yx, facts.bad_pixels_yx)
    for item in dataclasses.fields(facts):
        if item.name != "bad_pixels_yx":
            assert getattr(facts_read, item.name) == getattr(facts, item.name), item.name


def test_blocks_and_labels_are_those_that_relion_reads(tmp_path):
    write_motion_star(tmp_path / "m.star", movie(), as_motion(polynomial(), USED, SHAPE))

    blocks = read_star(tmp_path / "m.star")

    assert list(blocks) == ["general", "global_shift", "local_motion_model", "local_shift"]
    assert blocks["general"]["rlnMicrographStartFrame"] == ["3"]
    assert blocks["general"]["rlnMotionModelVersion"] == ["1"]
    assert "rlnMicrographGainName" not in blocks["general"]
    assert len(blocks["local_motion_model"]["rlnMotionModelCoeff"]) == 36
    shifts = [float(word) for word in blocks["global_shift"]["rlnMicrographShiftX"]]
    assert shifts[:3] == [-9999, -9999, 0]
    assert shifts[-2:] == [-9999, -9999]


def test_a_field_that_the_polynomial_cannot_follow_is_left_out(tmp_path):
    rng = np.random.default_rng(1)
    field = MotionField(20 * rng.normal(size=(2, 5, 9, 9)), *SHAPE, USED)
    still = Trajectory(np.zeros((FRAMES, 2)), np.ones(FRAMES, bool), USED.first)

    model = write_motion_star(tmp_path / "m.star", movie(), Motion(still, field))

    blocks = read_star(tmp_path / "m.star")
    assert model.coefficients_px is None
    assert blocks["general"]["rlnMotionModelVersion"] == ["0"]
    assert "local_motion_model" not in blocks
    assert "differ by" in (tmp_path / "m.star").read_text().splitlines()[0]


def test_micrographs_are_listed_with_what_all_of_them_have(tmp_path):
    rows = [
        RelionMicrograph("J/job1/a.mrc", "J/job1/a.star", (3.0, 1.0, 2.0), "J/job1/a_noDW.mrc"),
        RelionMicrograph("J/job1/b.mrc", "J/job1/b.star", (3.0, 1.0, 2.0), None, optics_group=2),
    ]

    write_micrographs_star(tmp_path / "c.star", optics_table([(0.8, 1.6, 300.0)], 2.7, 0.1), rows)

    blocks = read_star(tmp_path / "c.star")
    assert list(blocks) == ["optics", "micrographs"]
    assert blocks["optics"]["rlnMicrographPixelSize"] == ["1.600000"]
    assert blocks["micrographs"]["rlnOpticsGroup"] == ["1", "2"]
    assert "rlnMicrographNameNoDW" not in blocks["micrographs"]


def test_the_correction_of_the_whole_frame_is_the_mean_over_the_field():
    field = MotionField(np.random.default_rng(5).normal(size=(2, 5, 4, 3)), *SHAPE, USED)
    moved = Motion(Trajectory(np.zeros((FRAMES, 2)), np.ones(FRAMES, dtype=bool), 0), field)
    y, x = np.linspace(0, SHAPE[0] - 1, 9), np.linspace(0, SHAPE[1] - 1, 9)
    last = USED.stop - 1

    found = whole_frame_px(moved, USED)

    expected = [-moved.field.on_lattice(frame, y, x).mean(axis=(1, 2)) for frame in USED]
    np.testing.assert_allclose(found[USED.first : USED.stop], expected, atol=1e-12)
    np.testing.assert_array_equal(found[last:], np.broadcast_to(found[last], (3, 2)))
    assert np.abs(expected).max() > 0.1


def test_a_name_that_relion_cannot_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="spaces"):
        write_motion_star(tmp_path / "m.star", movie(movie_name="my m.mrc"), Motion.still(FRAMES))


@pytest.mark.parametrize(
    "text",
    [
        "data_other\n_a 1\n",
        "data_general\n_rlnImageSizeZ 3\ndata_global_shift\nloop_\n_rlnMicrographFrameNumber\n1\n",
    ],
)
def test_another_star_file_is_refused(tmp_path, text):
    (tmp_path / "m.star").write_text(text)

    with pytest.raises(InputError, match="one movie"):
        read_motion_star(tmp_path / "m.star")
