"""Motions of equal error and different freedom are scored alike, when fitted noise is corrected."""

from __future__ import annotations

import numpy as np
import pytest
from scripts import benchmarks

from flexalign.scoring.session_scores import compare_scores


@pytest.fixture(scope="module")
def script():
    with benchmarks("equal_errors") as scripts:
        yield scripts["equal_errors"]


@pytest.fixture(scope="module")
def movie(script, tmp_path_factory):
    """Motions of equal error of one movie, and their scores."""
    return script.equal(601, script.ELECTRONS, tmp_path_factory.mktemp("cache"), 1)


def test_errors_become_equal_in_each_frame(script):
    rng = np.random.default_rng(1)
    errors_px = {"a": rng.normal(size=(9, 6, 2)), "b": 0.1 * rng.normal(size=(9, 6, 2))}

    a, b = script.equalised(errors_px, 1).values()

    rms_px = np.sqrt((a**2).mean(axis=(0, 2)))
    assert np.sqrt((b**2).mean(axis=(0, 2))) == pytest.approx(rms_px, rel=1e-2)
    assert np.abs([a.mean(axis=1), b.mean(axis=1)]).max() < 1e-12


def test_errors_of_the_fits_grow_with_their_freedom(movie):
    frames, quarters, patches = (fit for fit, _ in movie.rms_px.values())

    assert 1.5 * frames < quarters
    assert 1.5 * quarters < patches


def test_equal_errors_cost_equal_signal(movie):
    for name in ("quarters", "patches"):
        found = compare_scores([movie.clean], "frames", name)
        assert [one.percent for one in found.bands[:4]] == pytest.approx([0.0] * 4, abs=5.0)


def test_each_parameter_adds_noise_of_log_likelihood_one(movie):
    assert movie.noise_of("patches") == pytest.approx(1, abs=0.3)


def test_freedom_raises_only_the_uncorrected_score(script, movie):
    raw, corrected = (
        compare_scores([one], "frames", "patches").overall
        for one in (script.uncorrected(movie.same), movie.same)
    )

    assert raw.low > 0
    assert abs(corrected.percent) < raw.percent / 3
