"""The plan: every size from arithmetic alone, and refusals that name the option."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from flexalign.errors import InputError, ParameterError
from flexalign.machine import GPU_BATCH_BYTES
from flexalign.model import EerInfo, FrameRange, MovieInfo
from flexalign.params import AlignParams
from flexalign.plan import PAIRWISE_NYQUIST_SHARE, Plan, make_plan
from flexalign.plan_memory import ahead_bytes, frames_bytes
from flexalign.plan_sizes import MIN_PATCH_PX, fast_size


def movie(
    height_px=4096, width_px=4096, frame_count=40, pixel_size_A=1.0, eer=None, file_format="mrc",
    pixel_dtype="uint8",
):  # fmt: skip
    return MovieInfo(
        path="movie.mrc", file_format=file_format, frame_count=frame_count, height_px=height_px,
        width_px=width_px, pixel_dtype=pixel_dtype, pixel_size_A=pixel_size_A,
        size_bytes=123_456_789, eer=eer, notes=("the header says so",),
    )  # fmt: skip


def eer_movie(upsampling=1):
    info = EerInfo(
        raw_frame_count=1000, raw_frames_per_frame=25, leftover_raw_frames=0, upsampling=upsampling
    )
    side = 4096 * upsampling
    return movie(side, side, pixel_size_A=None, eer=info, file_format="eer")


def plan_of(info=None, **parameters):
    return make_plan(info or movie(), AlignParams(**parameters))


def test_all_frames_are_aligned_and_summed_by_default():
    plan = plan_of()

    assert plan.align == plan.sum == FrameRange(0, 40)


def test_frames_are_counted_from_one_and_zero_is_the_last():
    plan = plan_of(align_first=3, align_last=0, sum_first=5, sum_last=12)

    assert plan.align == FrameRange(2, 40)
    assert plan.sum == FrameRange(4, 12)
    assert plan_of(align_last=30, sum_last=30).sum == FrameRange(0, 30)


def test_the_sum_follows_the_aligned_range():
    assert plan_of(align_first=3, align_last=20).sum == FrameRange(2, 20)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"align_last": 41}, "`align_first` 1, `align_last` 41: the movie has only 40 frames"),
        ({"align_first": 41}, "`align_first` 41"),
        ({"align_first": 9, "align_last": 8}, "the last frame not before the first"),
        ({"align_first": 9, "align_last": 9}, "at least two frames"),
        ({"sum_last": 50}, "`sum_last` 50"),
        ({"align_last": 20, "sum_last": 0}, "`sum_first`, `sum_last`: frames 1-40"),
        ({"align_first": 5, "sum_first": 4}, "frames 4-40 are not all among the aligned"),
    ],
    ids=str,
)
def test_ranges_that_do_not_fit_are_refused_by_their_names(parameters, words):
    with pytest.raises(ParameterError, match=words):
        plan_of(**parameters)


def test_a_reference_frame_is_counted_from_one_and_must_be_aligned():
    assert plan_of(reference_frame="7").reference_frame == 6
    assert plan_of().reference_frame is None
    with pytest.raises(ParameterError, match=r"`reference_frame`.*found 7"):
        plan_of(reference_frame="7", align_first=8)


def test_the_pixel_size_comes_from_the_user_before_the_header():
    assert plan_of().pixel_size_A == 1.0
    assert plan_of(pixel_size_A=0.83).pixel_size_A == 0.83
    with pytest.raises(InputError, match="`pixel_size_A`"):
        plan_of(movie(pixel_size_A=None))


def test_the_pixel_size_of_an_upsampled_eer_movie_is_half_of_what_was_given():
    assert plan_of(eer_movie(upsampling=2), pixel_size_A=1.2).pixel_size_A == 0.6
    assert plan_of(eer_movie(), pixel_size_A=1.2).pixel_size_A == 1.2


def test_the_dose_of_an_eer_frame_is_its_part_of_the_whole():
    """25 of 1000 raw frames of a movie of 40 e/A2."""
    plan = plan_of(eer_movie(), pixel_size_A=1.0, eer_total_dose_e_A2=40.0)

    assert plan.dose_per_frame_e_A2 == pytest.approx(1.0)
    assert plan_of().dose_per_frame_e_A2 is None
    assert plan_of(dose_per_frame_e_A2=1.3).dose_per_frame_e_A2 == 1.3


def test_frames_of_different_dose_add_up_one_by_one():
    doses = (0.5, 1.5) * 20
    plan = plan_of(dose_per_frame_e_A2=doses)

    assert (plan.dose_per_frame_e_A2, plan.frame_doses_e_A2) == (1.0, doses)
    assert plan.dose_before_e_A2(np.array([0, 1, 1.5, 2, 40])).tolist() == [0, 0.5, 1.25, 2, 40]
    assert "1 e/A2 on average, from 0.5 to 1.5" in plan.describe()
    alike = plan_of(dose_per_frame_e_A2=(1.5,) * 40)
    assert (alike.dose_per_frame_e_A2, alike.frame_doses_e_A2) == (1.5, ())
    assert plan_of().dose_before_e_A2(np.arange(3)) is None


def test_a_list_of_doses_must_have_one_for_each_frame():
    with pytest.raises(ParameterError, match=r"one for each of the 40 frames .*found 3"):
        plan_of(dose_per_frame_e_A2=(1.0, 2.0, 3.0))


def test_sizes_of_a_square_movie_of_4096_px_at_1_A():
    """Small frames of 1.86 A; pairs at 30 A / 4.86 = 6.2 A; 9 patches of 455 A; 1000 A a point."""
    plan = plan_of()

    assert plan.correlation_shape_px == (2250, 2250)
    assert plan.pairwise_shape_px == (672, 672)
    assert plan.output_shape_px == (4096, 4096)
    assert plan.patches == (9, 9)
    assert plan.control_points == (8, 6, 6)
    assert plan.group_frames == 3
    assert plan.fallback == ""


def test_sizes_of_a_wide_movie_of_5760_x_4092_px_at_0_83_A():
    plan = plan_of(movie(4092, 5760, pixel_size_A=0.83))

    assert plan.correlation_shape_px == (1848, 2640)
    assert plan.patches == (7, 10)
    assert plan.control_points == (8, 6, 6)
    assert plan.pairwise_shape_px[0] < plan.pairwise_shape_px[1]


def test_a_large_field_has_a_control_point_every_1000_A_and_a_small_one_as_its_patches_allow():
    wide = plan_of(movie(4092, 9200))
    small = plan_of(movie(1300, 1900))

    assert wide.control_points[1:] == (6, 11)
    assert small.patches == (2, 4)
    assert small.control_points[1:] == (6, 6)


def test_pairwise_frames_are_good_up_to_where_a_correlation_is_weighed_by_1_percent():
    plan = plan_of(max_resolution_A=20.0)

    good_per_A = PAIRWISE_NYQUIST_SHARE * 0.5 * plan.pairwise_shape_px[0] / 4096
    weight = math.exp(-2 * math.log(2) * (good_per_A * 20.0) ** 2)
    # At the next larger size that is fast to transform, it is a little less.
    assert 0.005 < weight <= 0.0102


@pytest.mark.parametrize("pixel_size_A", [0.3, 0.83, 1.9, 2.0, 3.1, 12.0])
@pytest.mark.parametrize("size_px", [(511, 900), (4096, 4096), (3838, 3710)], ids=str)
def test_cropped_frames_are_even_and_never_larger_than_the_movie(pixel_size_A, size_px):
    plan = plan_of(movie(*size_px, pixel_size_A=pixel_size_A))

    for small, full in zip(plan.correlation_shape_px, size_px, strict=True):
        assert small % 2 == 0
        assert small <= full
    assert all(
        p <= c for p, c in zip(plan.pairwise_shape_px, plan.correlation_shape_px, strict=True)
    )


def test_patches_are_not_smaller_than_asked_for():
    plan = plan_of(min_patch_A=800.0)

    assert plan.patches == (5, 5)
    assert 4096 / 5 > 800


@pytest.mark.parametrize("min_patch_A", [1.0, 20.0, 60.0])
def test_automatic_patches_can_still_be_followed(min_patch_A):
    plan = plan_of(movie(512, 640), min_patch_A=min_patch_A)

    for size, count in zip(plan.correlation_shape_px, plan.patches, strict=True):
        assert size // count >= MIN_PATCH_PX


def test_patches_and_control_points_are_given_x_first():
    plan = plan_of(patches=(7, 5), control_points=(6, 4, 3))

    assert plan.patches == (5, 7)
    assert plan.control_points == (3, 4, 6)


def test_patches_that_are_too_small_are_refused():
    """512 px of 1 A are about 280 small pixels: eleven patches of 24."""
    assert plan_of(movie(512, 512), patches=(11, 11)).patches == (11, 11)
    with pytest.raises(ParameterError, match=r"`patches`: 12 patches in x.*at most 11"):
        plan_of(movie(512, 512), patches=(12, 11))


def test_more_control_points_in_time_than_frames_are_refused():
    assert plan_of(control_points=(4, 4, 40)).control_points == (40, 4, 4)
    with pytest.raises(ParameterError, match=r"`control_points`.*\(40\), found 41"):
        plan_of(control_points=(4, 4, 41))


def test_too_few_patches_that_were_asked_for_are_not_blamed_on_the_field():
    assert plan_of(patches=(3, 1)).fallback == "3 x 1 patches are too few"


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (movie(800, 800), "only 1 x 1 patches fit on 800 x 800 A"),
        (movie(frame_count=2), "2 frames are too few"),
    ],
    ids=["small field", "two frames"],
)
def test_what_cannot_be_aligned_locally_says_why(info, words):
    plan = plan_of(info)

    assert plan.control_points is None
    assert plan.control_points is None
    assert words in plan.fallback
    assert words in plan.describe()


def test_local_alignment_that_was_not_asked_for_needs_no_reason():
    plan = plan_of(local=False)

    assert plan.control_points is None
    assert plan.fallback == ""


def test_few_frames_make_small_groups():
    assert [plan_of(movie(frame_count=n)).group_frames for n in (3, 6, 9, 40)] == [1, 2, 3, 3]


def test_any_binning_gives_the_nearest_size_and_the_exact_ratio():
    plan = plan_of(movie(4096, 5760), binning=1.5)

    assert plan.output_shape_px == (2731, 3840)
    assert plan.binning == (4096 / 2731, 1.5)
    assert plan.output_pixel_size_A == pytest.approx(math.sqrt(4096 / 2731 * 1.5))
    assert plan_of(binning=1.5).output_shape_px == (2731, 2731)


def test_memory_grows_with_frames_only_up_to_the_times_that_are_estimated():
    few, more, many = (plan_of(movie(frame_count=n)) for n in (40, 80, 800))

    small_bytes = 4 * more.correlation_shape_px[0] * more.correlation_shape_px[1]
    assert 0 < more.memory_bytes - few.memory_bytes < 40 * 2.5 * small_bytes
    assert many.memory_bytes == more.memory_bytes
    assert (more.frames_per_time, many.frames_per_time) == (1, 10)


def test_frames_of_8_bits_are_kept_in_half_the_memory():
    narrow, wide = (plan_of(movie(pixel_dtype=kind, frame_count=80)) for kind in ("int8", "uint16"))

    assert (narrow.small_frame_dtype, wide.small_frame_dtype) == ("float16", "float32")
    small_px = 80 * narrow.correlation_shape_px[0] * narrow.correlation_shape_px[1]
    assert wide.memory_bytes >= narrow.memory_bytes + 2 * small_px


def test_a_limit_of_memory_is_kept_by_fewer_times():
    free = plan_of(movie(frame_count=80), threads=2)

    limited = plan_of(movie(frame_count=80), threads=2, max_memory_GB=1.8)

    assert free.memory_bytes > 1.8e9 >= limited.memory_bytes
    assert limited.frames_per_time > 1
    assert "motion of every" in limited.describe()


def test_a_limit_that_cannot_be_kept_is_refused_with_what_is_needed():
    with pytest.raises(ParameterError, match=r"`max_memory_GB` 1: movie.mrc needs \d\.\d GB"):
        plan_of(movie(frame_count=40), threads=2, max_memory_GB=1)


def test_memory_holds_the_aligned_movie_when_it_is_saved():
    assert plan_of(save_movie=True).memory_bytes > 40 * 4 * 4096 * 4096
    assert plan_of(save_movie=False).memory_bytes < 40 * 4 * 4096 * 4096


def test_the_description_names_what_was_decided():
    plan = plan_of(eer_movie(), pixel_size_A=1.23, eer_total_dose_e_A2=36.0, align_first=2)

    text = plan.describe()

    for word in (
        "movie.mrc", "eer", "uint8", "123,456,789 bytes", "4096 x 4096 px, 40 frames",
        "1000 raw frames, 25 per frame", "1.23 A", "0.9 e/A2", "2-40 aligned, 2-40 summed",
        "patches", "groups of 3 frames", "control points", "GB", "the header says so",
    ):  # fmt: skip
        assert word in text


def test_the_dose_is_called_unknown_when_it_is():
    assert "unknown" in plan_of().describe()


@pytest.mark.parametrize(
    "info", [movie(), movie(800, 700), eer_movie()], ids=["mrc", "small", "eer"]
)
def test_a_plan_survives_the_way_through_a_dictionary(info):
    plan = plan_of(info, pixel_size_A=1.1)

    assert Plan.from_dict(plan.to_dict()) == plan


def test_the_same_movie_and_parameters_give_the_same_plan():
    assert plan_of() == plan_of()


@pytest.mark.parametrize("at_least", [1, 2, 11, 13, 461, 4093, 5761])
def test_a_fast_size_is_the_next_even_number_without_large_factors(at_least):
    """5760 x 4092 camera frames among them: 4092 = 4 * 3 * 11 * 31 is a slow one."""
    candidates = (n for n in range(max(at_least, 2), 2 * at_least + 4) if n % 2 == 0)

    assert fast_size(at_least) == next(n for n in candidates if is_smooth(n))


def is_smooth(number):
    for factor in (2, 3, 5, 7, 11):
        while number % factor == 0:
            number //= factor
    return number == 1


def test_a_gpu_needs_the_same_memory_for_any_number_of_frames():
    few, many = (plan_of(movie(frame_count=n)).gpu_memory_bytes for n in (10, 400))
    large = plan_of(movie(8184, 11520)).gpu_memory_bytes

    assert few == many
    assert 10 * 4 * 4096**2 < few < large
    assert "on a GPU" in plan_of().describe()


@pytest.mark.parametrize(
    ("dtype", "item_bytes"), [("uint8", 1), ("int16", 2), ("float16", 4), ("float32", 4)]
)
def test_raw_frames_on_a_gpu_take_their_size_in_the_file_or_float32(dtype, item_bytes):
    plan = plan_of(movie(pixel_dtype=dtype))

    assert plan.gpu_frames_bytes == item_bytes * 40 * 4096**2
    assert f"{plan.gpu_frames_bytes / 1e9:.2f} GB to keep the raw frames" in plan.describe()


def test_a_gpu_needs_memory_for_the_codes_of_two_eer_frames_and_their_tables():
    eer = replace(movie(), size_bytes=400_000_000, eer=EerInfo(1000, 25, 0, 1))
    more_bytes = plan_of(eer).gpu_memory_bytes - plan_of(movie()).gpu_memory_bytes

    assert more_bytes == 2.5 * 400_000_000 * 25 / 1000


def test_eer_frames_read_ahead_take_their_size_in_the_file_whatever_the_upsampling():
    eer = replace(movie(), size_bytes=400_000_000, eer=EerInfo(1000, 25, 0, 2))

    assert ahead_bytes(eer, FrameRange(0, 40)) == 400_000_000
    assert ahead_bytes(movie(), FrameRange(0, 40)) == frames_bytes(movie(), FrameRange(0, 40))


def test_the_estimation_on_a_gpu_needs_memory_in_proportion_to_the_small_frames():
    short, long, wide = (
        plan_of(movie(frame_count=n, pixel_dtype=dtype)).gpu_estimation_bytes - 3 * GPU_BATCH_BYTES
        for n, dtype in ((20, "uint8"), (40, "uint8"), (40, "int16"))
    )
    plan = plan_of(movie(frame_count=40, pixel_dtype="uint8"))
    small_px = 40 * math.prod(plan.correlation_shape_px)

    assert long == 2 * short
    # Twice the frames, in 16 bits or 32, and the spectra of patches.
    assert (long, wide) == (6 * small_px, 10 * small_px)
    assert f"{plan.gpu_estimation_bytes / 1e9:.2f} GB for the estimation" in plan.describe()


def test_frames_that_are_slow_to_decode_are_kept_where_there_is_room():
    tiff = movie(4092, 5760, pixel_size_A=0.83, file_format="tiff")

    kept = plan_of(tiff, threads=2)
    scarce = plan_of(tiff, threads=2, max_memory_GB=2.6)
    large = plan_of(movie(8184, 11520, pixel_size_A=0.415, file_format="tiff"), threads=2)
    plain = plan_of(movie(4092, 5760, pixel_size_A=0.83), threads=2)

    assert kept.keeps_frames
    assert kept.memory_bytes == plain.memory_bytes + 40 * 4092 * 5760
    assert scarce.frames_per_time == 1
    assert not scarce.keeps_frames
    assert not large.keeps_frames
    assert not plain.keeps_frames
    assert "decoded frames included" in kept.describe()
