"""The whole estimate on small movies: what is kept, why, and from where it counts."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flexalign.estimate.model_selection import estimate_motion
from flexalign.estimate.path_search import is_erratic
from flexalign.estimate.search import Search
from flexalign.model import MovieInfo
from flexalign.params import AlignParams
from flexalign.plan import make_plan

SHAPE_PX = (160, 192)
TIMES = 10
PATCHES = {"patches": (3, 3), "control_points": (3, 3, 3), "max_resolution_A": 14.0}


def path_of(times=TIMES):
    """A curved path (times, 2), y and x unlike each other."""
    u = np.linspace(0, 1, times)
    return np.stack([6 * np.exp(-3 * u), 8 * u - 3 * u**2], axis=1)


def plan_of(frame_count=TIMES, **parameters):
    """The plan for a movie of 2 A pixels, which is not cropped, and its parameters."""
    info = MovieInfo("movie.mrc", "mrc", frame_count, *SHAPE_PX, "float32", 2.0, 1000)
    params = AlignParams(**{**PATCHES, **parameters})
    return make_plan(info, params), params


def frames_of(make_drifting_frames, path_px, noise=2.0, **how):
    return make_drifting_frames(path_px, SHAPE_PX, noise, scale=1.0, pixel_size_A=2.0, **how)


def estimate_of(frames, frame_count=TIMES, **parameters):
    plan, params = plan_of(frame_count, **parameters)
    return estimate_motion(frames, plan, params, 1, lambda stage: nullcontext())


def error_px(estimate, path_px, frame=None):
    """Root mean square error over frames and a grid of places, against a path."""
    frame = np.arange(len(path_px)) if frame is None else frame
    y, x = np.mgrid[20:140:4j, 20:172:4j].reshape(2, -1)
    dy, dx = estimate.motion.displacement_px(frame[:, None], y, x)
    wanted = path_px - path_px[list(frame).index(estimate.motion.reference_frame)]
    return float(np.sqrt(np.mean((dy - wanted[:, :1]) ** 2 + (dx - wanted[:, 1:]) ** 2)))


@pytest.mark.parametrize(("noise", "is_weak"), [(2.0, False), (6.0, True)])
def test_only_a_weak_motion_is_averaged_over_its_posterior(make_drifting_frames, noise, is_weak):
    frames = frames_of(make_drifting_frames, path_of(), noise=noise)
    plan, params = plan_of()
    search = Search(frames, plan, params, 1, lambda stage: nullcontext())
    trial = search.from_default_starts()
    most_probable, average = (
        one.candidates["refined"].path_px for one in (trial, search.averaged(trial))
    )

    found = estimate_of(frames).path_px(frames)

    expected, other = (average, most_probable) if is_weak else (most_probable, average)
    np.testing.assert_allclose(found - found.mean(axis=0), expected, atol=1e-6)
    assert np.abs(found - found.mean(axis=0) - other).max() > 1e-5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_frames_that_refinement_leaves_at_a_wrong_place_are_brought_back(
    make_drifting_frames, seed
):
    """Among the scattered places of the start, two that are far away are no outliers."""
    times, lost = 16, [5, 11]
    path = path_of(times)
    frames = frames_of(make_drifting_frames, path)
    plan, params = plan_of(times, local=False)
    search = Search(frames, plan, params, 1, lambda stage: nullcontext())
    scattered = path + np.random.default_rng(seed).normal(0, 2.0, path.shape)
    scattered[lost] = path[lost] + [[18, -12], [-14, 17]]
    start = replace(search.from_pairs(times), path_px=scattered - scattered.mean(axis=0))

    found = search.trial_from(start, None).candidates["refined"].path_px

    assert np.abs(found - (path - path.mean(axis=0))).max() < 0.5


def test_a_rigid_drift_is_found_everywhere_with_sign_and_axes(make_drifting_frames):
    path = path_of()

    found = estimate_of(frames_of(make_drifting_frames, path))

    assert error_px(found, path) < 0.15
    assert error_px(found, path[:, ::-1]) > 1
    assert error_px(found, -path) > 1
    assert found.has_signal
    assert found.chosen != "none"
    assert found.scores["none"] == 0
    assert found.scores[found.chosen] == max(found.scores.values())


def test_the_refined_motion_is_better_than_that_of_the_pairs(make_drifting_frames):
    path = path_of()
    frames = frames_of(make_drifting_frames, path, noise=3.0)

    refined, coarse = (estimate_of(frames, refine=r, local=False) for r in (True, False))

    assert refined.chosen == "refined"
    assert coarse.chosen == "global"
    assert set(coarse.scores) == {"none", "global"}
    assert coarse.refinement is None
    assert error_px(refined, path) < 0.8 * error_px(coarse, path)


def test_only_the_refined_motion_has_a_standard_error(make_drifting_frames):
    path = path_of()
    frames = frames_of(make_drifting_frames, path)

    refined, coarse = (estimate_of(frames, refine=r, local=False) for r in (True, False))

    assert np.isnan(coarse.trajectory_error_px)
    assert coarse.motion.trajectory.standard_error_px is None
    assert 0 < refined.trajectory_error_px < 0.2
    assert refined.motion.trajectory.standard_error_px.shape == (TIMES, 2)


def test_without_local_alignment_there_is_neither_field_nor_track(make_drifting_frames):
    found = estimate_of(frames_of(make_drifting_frames, path_of()), local=False)

    assert found.motion.field is None
    assert found.tracks is None
    assert "local" not in found.scores


def test_noise_alone_does_not_move(make_drifting_frames):
    frames = frames_of(make_drifting_frames, np.zeros((TIMES, 2)), noise=1e4)

    found = estimate_of(frames)

    assert found.chosen == "none"
    assert not found.has_signal
    assert not found.motion.trajectory.displacement_px.any()


def test_a_movie_that_stands_still_is_not_moved_much(make_drifting_frames):
    found = estimate_of(frames_of(make_drifting_frames, np.zeros((TIMES, 2))))

    assert found.has_signal
    assert error_px(found, np.zeros((TIMES, 2))) < 0.15


def test_parts_that_move_apart_are_told_apart(make_drifting_frames):
    """Three bands of rows with their own motion along x: none, half and all of it."""
    path = np.stack([np.zeros(TIMES), np.linspace(0, 6, TIMES)], axis=1)
    bands = [frames_of(make_drifting_frames, part * path, 1.0, seed=7) for part in (0, 0.5, 1)]
    pixels = np.concatenate(
        [b.pixels[:, r] for b, r in zip(bands, np.array_split(np.arange(160), 3), strict=True)],
        axis=1,
    )

    found = estimate_of(replace(bands[0], pixels=pixels))

    assert found.chosen in ("local", "refined")
    assert found.tracks.displacement_px.shape == (9, 3, 2)
    _, dx = found.motion.displacement_px(np.array([[0], [TIMES - 1]]), [26.0, 80, 133], 96.0)
    np.testing.assert_allclose(dx[1] - dx[0], [0, 3, 6], atol=1.2)


@pytest.mark.parametrize(
    ("reference", "expected"), [("first", {0}), ("middle", {5}), ("4", {3}), ("auto", range(2, 6))]
)
def test_the_reference_frame_is_the_one_asked_for(make_drifting_frames, reference, expected):
    frames = frames_of(make_drifting_frames, path_of())

    motion = estimate_of(frames, local=False, reference_frame=reference).motion

    assert motion.reference_frame in expected
    assert not motion.trajectory.displacement_px[motion.reference_frame].any()


def test_bad_frames_and_frames_outside_the_range_are_interpolated(make_drifting_frames):
    """Frames 3 to 14 of 16 are aligned; the seventh and eighth are bad."""
    whole = path_of(16)
    frame = np.array([2, 3, 4, 5, 8, 9, 10, 11, 12, 13])
    frames = frames_of(make_drifting_frames, whole[frame], frame=frame)

    found = estimate_of(frames, frame_count=16, align_first=3, align_last=14)

    assert np.flatnonzero(found.motion.trajectory.is_measured).tolist() == frame.tolist()
    assert found.motion.frame_count == 16
    assert error_px(found, whole[frame], frame) < 0.15
    gap = found.motion.trajectory.displacement_px[5:9]
    np.testing.assert_allclose(np.diff(gap, 2, axis=0), 0, atol=1e-9)


def test_the_dose_makes_early_frames_count_more(make_drifting_frames):
    frames = frames_of(make_drifting_frames, path_of(), noise=2.0)

    found = estimate_of(frames, local=False, dose_per_frame_e_A2=4.0)

    errors = found.motion.trajectory.standard_error_px[:, 0]
    assert errors[0] < 0.8 * errors[-1]
    assert error_px(found, path_of()) < 0.2


@pytest.mark.parametrize(("refine", "local"), [(True, True), (True, False), (False, False)])
def test_the_signal_is_told_by_resolution_before_and_after(make_drifting_frames, refine, local):
    """The specimen moves by 8 px of 2 A: coarse detail is there before, fine detail is not."""
    frames = frames_of(make_drifting_frames, path_of(), noise=1.0)

    bands = estimate_of(frames, refine=refine, local=local).signal

    assert [band.finest_A for band in bands] == [15.0, 10.0, 7.0, 5.0, 4.0]
    assert all(band.after > band.before for band in bands)
    assert all(band.after > 10 * band.error for band in bands)
    lost = [band.before / band.after for band in bands]
    assert lost[0] > 2 * max(lost[2:])


def test_what_is_not_moved_has_the_same_signal_before_and_after(make_drifting_frames):
    found = estimate_of(frames_of(make_drifting_frames, np.zeros((TIMES, 2)), noise=1e4))

    assert found.chosen == "none"
    for band in found.signal:
        assert band.before == pytest.approx(band.after)
        assert abs(band.after) < 5 * band.error


def coarse_frames(make_drifting_frames, path_px, finest_px, noise):
    """Frames of a specimen without detail finer than about `finest_px`."""
    frames = frames_of(make_drifting_frames, path_px, noise=0.0)
    smooth = gaussian_filter(frames.pixels.astype(float), (0, finest_px / 4, finest_px / 4))
    rng = np.random.default_rng(3)
    pixels = smooth / smooth.std() + noise * rng.normal(size=smooth.shape)
    return replace(frames, pixels=pixels.astype(np.float32))


@pytest.mark.parametrize("local", [True, False])
def test_signal_in_coarse_detail_alone_is_enough(make_drifting_frames, local):
    """Nothing finer than 16 A; what usually judges is finer than 8.4 A."""
    path = path_of()

    found = estimate_of(coarse_frames(make_drifting_frames, path, 10.0, 2.0), local=local)

    assert found.is_from_wider_search
    assert found.has_signal
    assert error_px(found, path) < 0.5


def test_a_movie_at_rest_tells_how_far_it_may_have_moved(make_drifting_frames):
    still = estimate_of(frames_of(make_drifting_frames, np.zeros((TIMES, 2))))
    moving = estimate_of(frames_of(make_drifting_frames, path_of()))

    assert still.is_still
    assert 0 < still.motion_bound_px < 0.7
    assert np.isnan(moving.motion_bound_px)


def test_few_frames_are_enough(make_drifting_frames):
    path = path_of(3)

    found = estimate_of(frames_of(make_drifting_frames, path, noise=1.0), frame_count=3)

    assert error_px(found, path) < 0.3


def test_a_path_that_goes_to_and_fro_is_told_from_a_drift_a_bend_and_a_jump():
    jumped = path_of() + np.where(np.arange(TIMES) > 4, 40.0, 0.0)[:, None]
    rng = np.random.default_rng(3)

    assert not is_erratic(path_of())
    assert not is_erratic(jumped)
    assert not is_erratic(path_of(2))
    assert all(is_erratic(rng.normal(0, 20, (TIMES, 2)) + path_of()) for _ in range(20))


def test_three_faint_frames_are_aligned_where_they_move_and_left_where_not(make_drifting_frames):
    path = path_of(3)

    moving, still = (
        estimate_of(frames_of(make_drifting_frames, p, noise=6.0, seed=1), frame_count=3)
        for p in (path, 0 * path)
    )

    assert moving.chosen == "refined"
    assert error_px(moving, path) < 0.3
    assert still.is_still
