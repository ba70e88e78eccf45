"""The coverage of intervals of scores is counted against scores without noise."""

from __future__ import annotations

import numpy as np
import pytest
from scripts import benchmarks

from flexalign.scoring.movie_scores import MotionScore, MovieScores

PATCHES, BANDS_A = 20, ((45.0, 15.0), (15.0, 10.0))
KEPT = np.array([0.9, 0.6])


@pytest.fixture(scope="module")
def script():
    with benchmarks("score_coverage") as scripts:
        yield scripts["score_coverage"]


def movie_of(seed, noise_sd, kept=KEPT):
    """A movie whose alignment "b" has the shares `kept` of the signal of "true", and noise."""
    rng = np.random.default_rng(seed)
    signal = rng.uniform(1, 2, (PATCHES, 1))
    noise = noise_sd * rng.normal(size=(2, PATCHES, 2))
    scores = [
        MotionScore(
            name, values, values.sum(axis=1), np.zeros((PATCHES, 2, 2)), np.zeros((PATCHES, 2)),
            (0.0, 0.0),
        )
        for name, values in (("true", signal + noise[0]), ("b", signal * kept + noise[1]))
    ]  # fmt: skip
    return MovieScores(f"m{seed}", BANDS_A, tuple(scores), 0.1, 10)


@pytest.fixture(scope="module")
def movies():
    return [movie_of(seed, 0.1) for seed in range(200)]


@pytest.fixture(scope="module")
def clean():
    return [movie_of(seed, 0.0) for seed in range(200)]


def counted(found):
    """Numbers over several sessions."""
    return np.sum(found, axis=0)


def test_intervals_include_the_scores_without_noise_of_single_movies(script, movies, clean):
    inside, total = counted(
        [script.coverage(["b"], [a], [b], "true") for a, b in zip(movies, clean, strict=True)]
    )

    assert total == 2 * len(movies)
    assert inside / total == pytest.approx(0.95, abs=0.03)


def test_intervals_of_sessions_include_the_scores_without_noise(script, movies, clean):
    starts = range(0, len(movies), 8)
    inside, total = counted(
        [script.coverage(["b"], movies[at : at + 8], clean[at : at + 8], "true") for at in starts]
    )

    assert total == 2 * len(starts)
    assert inside / total == pytest.approx(0.95, abs=0.06)


def test_wrong_scores_are_outside(script, movies):
    wrong = [movie_of(seed, 0.0, KEPT - 0.1) for seed in range(200)]

    assert script.coverage(["b"], movies, wrong, "true") == (0, 2)


def test_a_row_for_each_kind_of_electrons(script, movies, clean):
    rows = list(script.coverage_lines(["b"], {"others": movies}, clean, "true"))

    assert len(rows) == 3
    assert rows[-1].startswith("| others | 2 of 2 | ")
