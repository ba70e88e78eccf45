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


def test_true_losses_grow_with_errors_and_toward_fine_bands(modules, tmp_path):
    exposure = modules["exposures"].Exposure(
        "still", 1, tmp_path, 1, shape_px=(256, 256), frame_count=6, pixel_size_A=1.5
    )
    errors_px = np.random.default_rng(1).normal(size=(6, 2))

    def losses(scale):
        path = Motion.still(6).trajectory
        moved = type(path)(scale * errors_px, path.is_measured, 0)
        return exposure.true_losses(Scored(Motion(moved), INDEPENDENT))

    none, small, large = losses(0.0), losses(0.3), losses(0.6)

    assert none == pytest.approx([0.0] * 5, abs=1e-4)
    assert small[:4] == sorted(small[:4])
    assert all(a < b for a, b in zip(small[:4], large[:4], strict=True))
