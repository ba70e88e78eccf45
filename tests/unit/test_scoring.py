"""Scores of motions: their order, what fitting to noise does to them, and the verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign import AlignParams, align_movie
from flexalign.errors import InputError
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import cut_spectra, sweep
from flexalign.estimate.patches import make_grid
from flexalign.io.motion_formats.truth import read_truth, true_motion
from flexalign.motion import Motion, Trajectory
from flexalign.scoring.freedom import INDEPENDENT, Freedom, freedom_of, parameter_count
from flexalign.scoring.movie_scores import (
    GLOBAL,
    MotionScore,
    MovieScores,
    score_motions,
    with_names,
)
from flexalign.scoring.ring_sums import Places, ring_sums
from flexalign.scoring.score_movie import Scored, read_scored, score_movie
from flexalign.scoring.session_scores import (
    Change,
    SessionScores,
    best_of,
    compare_scores,
    rival_of,
)
from flexalign.simulate import simulate_movie
from flexalign.simulate.detector import make_detector
from flexalign.simulate.layers import make_layers, make_motions
from flexalign.simulate.movie import exposed
from flexalign.simulate.settings import SimulationSettings

SHAPE_PX, FRAMES = (384, 384), 10


def silent(stage, done, total):
    """No progress is shown."""


def settings_of(seed):
    return SimulationSettings(
        shape_px=SHAPE_PX, frame_count=FRAMES, seed=seed, electrons_per_px=4.0,
        dose_per_frame_e_A2=2.0, global_motion_px=6.0, local_motion_px=2.0,
    )  # fmt: skip


def params_of(gain):
    return AlignParams(
        pixel_size_A=1.0, dose_per_frame_e_A2=2.0, gain=str(gain), threads=1, dose_weight=False,
        psd=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exposures(tmp_path_factory):
    """Two movies of one specimen and one motion, with different electrons, for some seeds."""
    folder = tmp_path_factory.mktemp("exposures")
    for seed in (1, 2, 3):
        settings = settings_of(seed)
        simulate_movie(settings, threads=1).save(folder, f"a{seed}")
        again = exposed(
            replace(settings, seed=seed + 100), make_motions(settings), make_detector(settings),
            lambda canvas_px, made=settings: make_layers(made, canvas_px, 1),
        )  # fmt: skip
        again.save(folder, f"b{seed}")
    return folder


@pytest.fixture
def scores(exposures):
    """Score motions, by name, on the electrons 'a' or 'b' of an exposure."""

    def score(motions, seed=1, electrons="a", freedom=INDEPENDENT):
        scored = {
            name: one if isinstance(one, Scored) else Scored(one, freedom)
            for name, one in motions.items()
        }
        params = params_of(exposures / f"a{seed}_gain.mrc")
        return score_movie(exposures / f"{electrons}{seed}.mrc", scored, params, silent)

    return score


@pytest.fixture
def truth(exposures):
    """The true motion of the first exposure."""
    return truth_of(exposures, 1)


def truth_of(folder, seed):
    return true_motion(read_truth(folder / f"a{seed}_truth.npz"))


def disturbed(motion, error_px, seed=0):
    """A motion with a random error in each frame."""
    path = motion.trajectory
    error = np.random.default_rng(seed).normal(size=path.displacement_px.shape) * error_px
    moved = Trajectory(path.displacement_px + error, path.is_measured, path.reference_frame)
    return Motion(moved, motion.field)


def test_the_order_of_scores_is_that_of_the_errors(scores, truth):
    found = scores({f"{error} px": disturbed(truth, error) for error in (0.0, 0.5, 1.0, 2.0, 4.0)})

    assert found.has_signal
    assert found.frames == FRAMES
    totals = [score.log_likelihood.sum() for score in found.scores]
    assert totals == sorted(totals, reverse=True)
    assert best_of([found]) == "0.0 px"


def test_a_constant_and_the_reference_frame_do_not_change_a_score(scores, truth):
    path = truth.trajectory
    shifted = Motion(Trajectory(path.displacement_px + 7.3, path.is_measured, 4), truth.field)

    found = scores({"a": truth, "b": shifted})

    assert found["b"].log_likelihood.sum() == pytest.approx(found["a"].log_likelihood.sum())


def test_fitted_noise_is_subtracted_from_a_score(exposures, scores):
    """The corrected score on the electrons of the fit is closer to that on other electrons."""
    raw, corrected = [], []
    for seed in (1, 2, 3):
        params = params_of(exposures / f"a{seed}_gain.mrc")
        result = align_movie(exposures / f"a{seed}.mrc", params)
        fitted = result.record.decisions["fitted_parameters"]
        assert 2 < fitted < parameter_count(result.motion)
        ours = Scored(result.motion, freedom_of(result.motion, fitted))
        motions = {"truth": truth_of(exposures, seed), "ours": ours}
        same, other = (scores(motions, seed, electrons) for electrons in "ab")
        excess, elsewhere = (
            found["ours"].log_likelihood.sum() - found["truth"].log_likelihood.sum()
            for found in (same, other)
        )
        bias = same["ours"].log_likelihood_bias.sum(axis=0)
        assert bias[0] == bias[1]
        assert 0.7 * fitted < bias[0] < fitted  # less, since errors blur fitted noise as well
        raw.append(excess - elsewhere)
        corrected.append(excess - bias[0] - elsewhere)

    assert np.mean(raw) > 0
    assert abs(np.mean(corrected)) < np.mean(raw)


def test_however_many_parameters_the_correction_is_at_most_the_signal(scores, truth):
    many = 1e5
    found = scores({"truth": Scored(truth, Freedom(many, many))})["truth"]
    corrections = (
        (found.log_likelihood, found.log_likelihood_bias),
        (found.ssnr[:, 0], found.ssnr_bias[:, 0]),
    )

    for value, bias in corrections:
        assert 0.5 * value.sum() < bias[..., 1].sum() < value.sum()


def noise_frames(seed):
    pixels = np.random.default_rng(seed).normal(size=(8, 256, 256)).astype(np.float32)
    index = np.arange(8)
    return SmallFrames(pixels, index.astype(np.float64), (256, 256), 2.0, measured=index)


def fitted_to_noise(frames, grid, parameters_per_frame=2):
    """Displacements (patches, times, 2) that make noise agree, by ascent from the best of some."""
    rng = np.random.default_rng(5)
    best, best_cross = np.zeros((len(grid.center_px), 8, 2)), -np.inf
    for _ in range(30):
        at = np.repeat(rng.uniform(-10, 10, (1, 8, 2)), len(grid.center_px), axis=0)
        for _ in range(4):
            found = sweep(cut_spectra(frames, grid, at), at, None)
            step = found.gradient.sum(axis=0, keepdims=True)
            at = at + 0.5 * step / max(np.abs(step).max(), 1e-30)
        if found.cross.sum() > best_cross:
            best, best_cross = at, found.cross.sum()
    return best


def test_a_motion_that_was_fitted_to_noise_is_not_taken_for_signal():
    frames = noise_frames(2)
    grid = make_grid(frames, (2, 2))
    at = fitted_to_noise(frames, grid)
    sums = {"none": ring_sums(frames, grid, np.zeros_like(at)), "fit": ring_sums(frames, grid, at)}

    found = score_motions("m", sums, {"none": INDEPENDENT, "fit": Freedom(0.0, 14.0)}, 8)

    assert sums["fit"].cross.sum() > sums["none"].cross.sum()
    assert not found.has_signal
    session = compare_scores([found] * 8, "none", "fit")
    assert session.movies == 0
    assert session.without_signal == ("m",) * 8
    assert "no verdict" in session.verdict()


def movie_of(name, of_a, of_b, bias=0.0, seed=0, patches=6):
    """Scores of two motions in two bands over some patches, with noise that they share."""
    noise = np.random.default_rng(seed).normal(size=patches)

    def score(alignment, signal, limits):
        share = (1 + 0.05 * noise) / patches
        return MotionScore(
            alignment, np.outer(signal * share, [1.0, 0.1]), 100 * signal * share,
            np.multiply.outer(np.tile([1.0, 0.1], (patches, 1)) / patches, np.array(limits)),
            np.multiply.outer(np.full(patches, 100 / patches), np.array(limits)),
            (0.0, limits[1]),
        )  # fmt: skip

    bands = ((45.0, 7.0), (7.0, 4.0))
    scores = score("a", of_a, (0.0, 0.0)), score("b", of_b, (0.0, bias))
    return MovieScores(name, bands, scores, 1.0, 10)


@pytest.mark.parametrize("movies", [1, 3, 12])
def test_a_difference_is_found_with_its_interval(movies):
    session = compare_scores([movie_of(f"m{i}", 1.0, 0.9, seed=i) for i in range(movies)], "a", "b")

    for change in (*session.bands, session.overall):
        assert change.percent == pytest.approx(-10)
        assert change.is_significant
        assert change.low - 1e-9 <= change.percent <= change.high + 1e-9
        assert change.more_in == 0
    assert session.verdict().startswith(f"b has less signal than a, in {movies} of {movies} movies")
    assert session.b_factor_A2 == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("movies", "patches"), [(1, 1), (1, 5), (5, 1)])
def test_fewer_than_six_samples_say_nothing(movies, patches):
    session = compare_scores(
        [movie_of(f"m{i}", 1.0, 0.9, seed=i, patches=patches) for i in range(movies)], "a", "b"
    )

    for change in (*session.bands, session.overall):
        assert change.percent == pytest.approx(-10)
        assert (change.low, change.high) == (-100, 100)
    assert "do not differ significantly" in session.verdict()
    assert "(-100.0 to +100.0)" in session.verdict()


def test_a_change_that_is_written_as_zero_is_not_significant():
    assert not Change(-0.01, -0.04, -0.001, 0).is_significant
    assert Change(-0.1, -0.2, -0.06, 0).is_significant


def test_a_verdict_names_both_limits_of_each_interval():
    uneven = Change(8.0, 2.0, 9.5, 7)
    session = SessionScores("x", "y", 8, (), ((7.0, 4.0),), (uneven,), uneven, 0.0)

    assert session.verdict() == (
        "x has less signal than y, in 7 of 8 movies: 8.0 % less (2.0 to 9.5) at 7 to 4 A"
    )


def test_the_rival_is_the_best_alignment_that_was_given():
    one = movie_of("m", 1.0, 0.5)
    named = [("ours", "a"), ("ours global", "a"), ("none", "a"), ("theirs", "b")]
    movie = replace(one, scores=tuple(replace(one[old], name=new) for new, old in named))

    assert rival_of([movie], "ours") == "theirs"
    assert rival_of([with_names(movie, ["ours", "none"])], "ours") == "none"


def test_what_may_be_fitted_noise_is_no_difference():
    """B has a tenth more, but may have been fitted to that much noise."""
    session = compare_scores(
        [movie_of("m", 1.0, 1.1, bias=0.2, seed=i) for i in range(12)], "a", "b"
    )

    assert not session.overall.is_significant
    assert "do not differ significantly" in session.verdict()
    assert session.overall.low < -5
    assert session.overall.high > 5


def test_a_faster_fall_off_is_a_positive_b_factor():
    """Power that falls as exp(-B k^2 / 2) between the middles of the bands."""
    movie = movie_of("m", 1.0, 1.0)
    middle = np.array([2 / 52, 2 / 11]) ** 2
    weaker = movie["b"].ssnr * np.exp(-20.0 * middle / 2)
    changed = replace(movie, scores=(movie["a"], replace(movie["b"], ssnr=weaker)))

    assert compare_scores([changed], "a", "b").b_factor_A2 == pytest.approx(20.0)


def test_freedom_counts_what_changes_the_sum():
    still = Motion.still(5)
    path = Trajectory(np.arange(10.0).reshape(5, 2), [True] * 4 + [False], 0)

    assert freedom_of(still) == INDEPENDENT
    assert freedom_of(Motion(path)) == Freedom(0.0, 6.0)
    assert freedom_of(Motion(path), 3.5) == Freedom(3.5, 3.5)
    assert freedom_of(Motion(path), 30.0) == Freedom(6.0, 6.0)


def test_frames_that_one_motion_lacks_are_left_out_for_all(scores, truth):
    path = truth.trajectory
    known = np.ones(FRAMES, bool)
    known[[0, 5]] = False
    partial = Motion(Trajectory(path.displacement_px, known, 1), truth.field)

    found = scores({"a": truth, "b": partial})

    assert found.frames == FRAMES - 2
    assert found["a"].log_likelihood == pytest.approx(found["b"].log_likelihood)


def test_motions_of_other_numbers_of_frames_are_an_error(scores):
    with pytest.raises(InputError, match="expected motions of the same frames, found 10 in a"):
        scores({"a": Motion.still(FRAMES), "b": Motion.still(9)})


def test_motions_are_read_with_their_freedom(exposures):
    params = params_of(exposures / "a1_gain.mrc")
    files = {"truth": exposures / "a1_truth.npz"}

    found = read_scored(exposures / "a1.mrc", files, params, with_global=True)

    assert list(found) == ["none", "truth", "truth" + GLOBAL]
    assert all(one.freedom == INDEPENDENT for one in found.values())
    assert found["truth" + GLOBAL].motion.field is None


def test_times_of_several_frames_have_their_mean_displacement():
    places = Places(np.zeros((1, 2)), np.array([0, 0, 1, 2, 2, 2]))
    values = np.arange(6.0)[None, :, None] + np.zeros((1, 6, 2))

    assert places.mean_over_time(values)[0, :, 0].tolist() == [0.5, 2.0, 4.0]
