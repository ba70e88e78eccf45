"""EER frames of unequal numbers of raw frames, as a file says."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.align import align_movie
from flexalign.batch.jobs import job_key, reference_states
from flexalign.batch.run import with_absolute_references
from flexalign.errors import InputError, ParameterError
from flexalign.io.movies.eer_groups import Groups, Stretch, divide_raw_frames, read_fm_int_file
from flexalign.io.movies.eer_writer import write_eer
from flexalign.io.movies.open_movie import open_for, open_movie, plan_movie
from flexalign.model import MovieInfo
from flexalign.params import AlignParams

SIDE = 96


def write_movie(path, raw_count=24, events_per_frame=800):
    rng = np.random.default_rng(3)
    raw = [rng.integers(0, 4 * SIDE, (events_per_frame, 2)) for _ in range(raw_count)]
    write_eer(path, raw, height_px=SIDE, width_px=SIDE, pixel_size_A=1.5)
    return path


def write_groups(path, text):
    path.write_text(text)
    return str(path)


def test_three_columns_are_read_and_the_third_may_be_missing(tmp_path):
    path = tmp_path / "groups.txt"
    path.write_bytes("\ufeff# raw, per frame, dose\r\n4 2 0.5\r\n\r\n20, 5\r\n".encode())

    assert read_fm_int_file(path) == (Stretch(4, 2, 0.5), Stretch(20, 5, 0.0))


@pytest.mark.parametrize(
    "text",
    ["", "# no\n", "4\n", "4 2 0.5 1\n", "4 0 1\n", "0 2 1\n", "4 2 nan\n", "4 2 -1\n", "a b c\n",
     "4.5 2 1\n", "9" * 5000 + " 1 1\n", "4 2 1e5\n", "{}"],
)  # fmt: skip
def test_anything_else_is_refused_in_one_short_line(tmp_path, text):
    path = write_groups(tmp_path / "groups.txt", text)

    with pytest.raises(InputError, match="expected") as caught:
        read_fm_int_file(path)
    assert len(str(caught.value)) < len(path) + 250


# By the rules of MotionCor3's CFmIntParam.
@pytest.mark.parametrize(
    ("stretches", "raw_count", "groups"),
    [
        ([(24, 6)], 24, (6, 6, 6, 6)),
        ([(24, 6)], 26, (6, 6, 7, 7)),
        ([(24, 6)], 15, (7, 8)),
        ([(5, 2), (19, 6)], 24, (2, 2, 6, 7, 7)),
        ([(8, 2), (100, 4)], 18, (2, 2, 2, 2, 5, 5)),
        ([(8, 2), (8, 4), (8, 8)], 14, (2, 2, 2, 3, 5)),
        ([(4, 1), (8, 8)], 4, (1, 1, 1, 1)),
        ([(3, 3), (2, 4)], 9, (4, 5)),
    ],
)
def test_raw_frames_are_shared_out_as_motioncor_does(stretches, raw_count, groups):
    found = divide_raw_frames("x", [Stretch(*stretch, 0.0) for stretch in stretches], raw_count)

    assert found == Groups(groups, ())
    assert sum(groups) == raw_count


def test_the_dose_of_a_frame_is_that_of_its_raw_frames():
    found = divide_raw_frames("x", [Stretch(5, 2, 0.1), Stretch(7, 4, 0.2)], 12)

    assert found.raw_frames == (2, 2, 4, 4)
    assert found.doses_e_A2 == pytest.approx((0.2, 0.2, 0.7, 0.8))


def test_a_dose_that_is_not_known_throughout_is_not_known():
    assert divide_raw_frames("x", [Stretch(4, 2, 0.1), Stretch(4, 2, 0.0)], 8).doses_e_A2 == ()


def test_too_few_raw_frames_for_a_single_frame_are_refused():
    with pytest.raises(InputError, match="found 5 in the movie and 6 to each frame"):
        divide_raw_frames("groups.txt", [Stretch(24, 6, 0.0)], 5)


def test_huge_numbers_of_raw_frames_cost_nothing():
    huge = [Stretch(1_000_000, 1_000_000, 1.0)] * 1000

    assert divide_raw_frames("x", [Stretch(6, 3, 1.0), *huge], 6) == Groups((3, 3), (3.0, 3.0))


def test_frames_of_an_eer_movie_are_the_sums_of_their_groups(tmp_path):
    path = write_movie(tmp_path / "a.eer")
    groups = write_groups(tmp_path / "groups.txt", "8 2 0.05\n16 8 0.05\n")
    with open_movie(path, eer_fractions=24) as movie:
        raw = [frame.pixels.astype(int) for frame in movie.frames()]

    with open_for(path, AlignParams(eer_groups=groups)) as movie:
        info, frames = movie.info, list(movie.frames(threads=2))

    starts = [0, 2, 4, 6, 8, 16, 24]
    for frame, start, stop in zip(frames, starts[:-1], starts[1:], strict=True):
        np.testing.assert_array_equal(frame.pixels, np.sum(raw[start:stop], axis=0))
    assert info.eer.groups == (2, 2, 2, 2, 8, 8)
    assert info.eer.leftover_raw_frames == 0
    assert MovieInfo.from_dict(info.to_dict()) == info


def test_the_plan_has_the_dose_of_each_group(tmp_path):
    path = write_movie(tmp_path / "a.eer")
    groups = write_groups(tmp_path / "groups.txt", "8 2 0.05\n16 8 0.05\n")

    plan = plan_movie(path, AlignParams(eer_groups=groups))

    assert plan.frame_doses_e_A2 == pytest.approx((0.1, 0.1, 0.1, 0.1, 0.4, 0.4))
    assert "2 to 8 per frame" in plan.describe()


def test_a_total_dose_is_shared_out_by_raw_frames(tmp_path):
    path = write_movie(tmp_path / "a.eer")
    groups = write_groups(tmp_path / "groups.txt", "8 2\n16 8\n")

    plan = plan_movie(path, AlignParams(eer_groups=groups, eer_total_dose_e_A2=48.0))

    assert plan.frame_doses_e_A2 == pytest.approx((4, 4, 4, 4, 16, 16))


def test_equal_groups_are_like_a_number_of_frames(tmp_path):
    path = write_movie(tmp_path / "a.eer")
    groups = write_groups(tmp_path / "groups.txt", "24 6 0.5\n")

    plan = plan_movie(path, AlignParams(eer_groups=groups, write="relion"))

    assert plan.movie.eer.groups == ()
    assert (plan.movie.frame_count, plan.dose_per_frame_e_A2) == (4, 3.0)


def test_unequal_groups_are_not_written_for_relion(tmp_path):
    path = write_movie(tmp_path / "a.eer")
    groups = write_groups(tmp_path / "groups.txt", "8 2\n16 8\n")

    with pytest.raises(ParameterError, match=r"RELION uses the same number.*found 2 to 8"):
        plan_movie(path, AlignParams(eer_groups=groups, write="relion"))


def test_groups_and_a_dose_per_frame_contradict_each_other():
    with pytest.raises(ParameterError, match="`eer_groups` and `eer_dose_per_frame_e_A2`"):
        AlignParams(eer_groups="x", eer_dose_per_frame_e_A2=1.0, eer_total_dose_e_A2=40.0)


def test_groups_that_do_not_fit_are_refused(tmp_path):
    path = write_movie(tmp_path / "a.eer", raw_count=6)

    with pytest.raises(ParameterError, match="6 in all, found 2 with 7 in all"):
        open_movie(path, eer_groups=Groups((3, 4), ()))


def test_a_short_frame_among_long_ones_is_no_blank_one(tmp_path):
    path = write_movie(tmp_path / "a.eer", raw_count=32, events_per_frame=3000)
    groups = write_groups(tmp_path / "groups.txt", "2 1 0.05\n30 10 0.05\n")
    params = AlignParams(eer_groups=groups, local=False, device="cpu", threads=1)

    result = align_movie(path, params)

    assert not [warning for warning in result.record.warnings if "left out" in warning]
    assert result.sums.dose_weighted is not None
    assert result.record.inputs["eer_groups"]["path"] == groups


def test_another_file_of_groups_is_other_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = AlignParams(eer_groups=write_groups(tmp_path / "groups.txt", "8 2\n16 8\n"))
    before = reference_states(params)
    write_groups(tmp_path / "groups.txt", "8 2\n16 16\n")

    assert with_absolute_references(AlignParams(eer_groups="groups.txt")) == params
    assert job_key("same", before) != job_key("same", reference_states(params))
