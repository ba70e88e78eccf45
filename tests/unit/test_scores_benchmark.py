"""An over-fitted motion has no more signal than no motion where there is nothing to align."""

from __future__ import annotations

import numpy as np
import pytest
from scripts import benchmarks

from flexalign import AlignParams
from flexalign.motion import Motion
from flexalign.progress import silent
from flexalign.scoring.freedom import INDEPENDENT, freedom_of
from flexalign.scoring.score_movie import Scored, score_movie
from flexalign.scoring.session_scores import best_of, compare_scores
from flexalign.simulate import SimulationSettings, simulate_movie

DOSE_E_A2, PIXEL_A = 2.0, 1.5
SETTINGS = SimulationSettings(
    shape_px=(640, 640), frame_count=12, pixel_size_A=PIXEL_A, dose_per_frame_e_A2=DOSE_E_A2,
    global_motion_px=1e-3, local_motion_px=0.0, detector_seed=1, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def modules():
    """The scripts exposures, overfitted and scores, which are no package."""
    with benchmarks("exposures", "overfitted", "scores") as scripts:
        yield scripts


@pytest.fixture
def scored(modules, tmp_path):
    """Scores of no motion and of an over-fitted one."""

    def score(movie):
        files = movie.save(tmp_path, "movie")
        params = AlignParams(
            pixel_size_A=PIXEL_A, dose_per_frame_e_A2=DOSE_E_A2, gain=str(files["gain"]), threads=1,
            dose_weight=False, psd=False,
        )  # fmt: skip
        fitted = modules["overfitted"].overfitted_motion(files["movie"], params, rounds=3)
        motions = {
            "none": Scored(Motion.still(SETTINGS.frame_count), INDEPENDENT),
            "over-fitted": Scored(fitted, freedom_of(fitted)),
        }
        return score_movie(files["movie"], motions, params, silent)

    return score


def test_a_movie_at_rest_has_less_signal_along_an_overfitted_motion(scored):
    found = scored(simulate_movie(SETTINGS, threads=1))

    assert found.has_signal
    assert best_of([found]) == "none"
    assert compare_scores([found] * 8, "none", "over-fitted").overall.high < 0


def test_frames_of_other_specimens_have_no_signal_along_an_overfitted_motion(modules, scored):
    found = scored(modules["exposures"].shuffled(SETTINGS))

    assert found["over-fitted"].log_likelihood.sum() > found["none"].log_likelihood.sum()
    assert not modules["scores"].is_above_none(found, "over-fitted")
    assert not found.has_signal


@pytest.fixture(scope="module")
def displaced(modules, tmp_path_factory):
    """A movie at rest, with and without noise, along random errors of some size."""
    exposure = modules["exposures"].Exposure(
        "still", 1, tmp_path_factory.mktemp("cache"), 1,
        shape_px=(384, 384), frame_count=6, pixel_size_A=1.5, dose_per_frame_e_A2=2.0,
    )  # fmt: skip
    errors_px = np.random.default_rng(1).normal(size=(6, 2))
    path = Motion.still(6).trajectory
    motions = {
        size: Scored(Motion(type(path)(size * errors_px, path.is_measured, 0)), INDEPENDENT)
        for size in (0.0, 0.3, 0.6)
    }
    losses = {size: exposure.true_losses(one) for size, one in motions.items()}
    return losses, exposure.scores_without_noise({str(k): one for k, one in motions.items()})


def test_true_losses_grow_with_errors_and_toward_fine_bands(displaced):
    losses, _ = displaced

    assert losses[0.0] == pytest.approx([0.0] * 5, abs=1e-4)
    assert losses[0.3][:4] == sorted(losses[0.3][:4])
    assert all(a < b for a, b in zip(losses[0.3][:4], losses[0.6][:4], strict=True))


def test_scores_without_noise_lack_what_errors_cost(displaced):
    losses, clean = displaced

    for size in (0.3, 0.6):
        changes = compare_scores([clean], "0.0", str(size)).bands
        lost = [-change.percent / 100 for change in changes]
        assert lost == pytest.approx(losses[size][: len(lost)], rel=0.15)
