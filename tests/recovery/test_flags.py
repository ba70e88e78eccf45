"""Each flag is raised by a movie that deserves it, and a good movie raises none."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from flexalign import AlignParams, align_movie
from flexalign.quality.flags import DEFINITIONS
from flexalign.simulate import simulate_movie

SETTINGS = {
    "shape_px": (1024, 1024), "frame_count": 20, "electrons_per_px": 1.5, "motion": "measured",
    "local_motion_px": 2.0, "seed": 271,
}  # fmt: skip

PERFECT_CAMERA = {"gain": False, "hot_pixels": 0, "dead_pixels": 0}


@cache
def simulated(**changes):
    return simulate_movie(**{**SETTINGS, **changes})


def blank(counts):
    counts[6] = 0


def noise_alone(counts):
    counts[:] = np.random.default_rng(3).poisson(1.5, counts.shape)


def many_hot_pixels(counts):
    """Two thousand of a million, twenty times as bright as the others."""
    rng = np.random.default_rng(4)
    where = rng.choice(counts[0].size, 2000, replace=False)
    for frame in counts:
        frame.flat[where] = rng.poisson(30, where.size)


def lost_columns(counts):
    """Every twelfth column is not read out."""
    counts[:, :, ::12] = 0


def dirt(counts):
    """Half of the pixels lose a seventh of their counts."""
    rng = np.random.default_rng(5)
    is_dirty = rng.random(counts.shape[1:]) < 0.5
    for frame in counts:
        frame -= (is_dirty * rng.binomial(frame, 0.15)).astype(frame.dtype)


def late_shutter(counts):
    """The first three frames have half of the dose."""
    counts[:3] = np.random.default_rng(6).binomial(counts[:3], 0.5)


def trembling(counts):
    """Every other frame lies four pixels to the right."""
    counts[1::2] = np.roll(counts[1::2], 4, axis=2)


# What is simulated, what is done to the counts, what is typed; and the flags that must be there.
MOVIES = {
    "good": ({}, None, {}, set()),
    "good, other motion": ({"motion": "bumps", "seed": 272}, None, {}, set()),
    "good, faint": ({"electrons_per_px": 0.6, "motion": "polynomial"}, None, {}, set()),
    "gain turned": ({}, None, {"gain_rotate": 90}, {"gain-residual", "fixed-pattern"}),
    "gain flipped": ({}, None, {"gain_flip": "left-right"}, {"gain-residual", "fixed-pattern"}),
    "gain upside down": ({}, None, {"gain_flip": "upside-down"}, {"fixed-pattern"}),
    "no gain": ({}, None, {"gain": None}, {"gain-residual", "fixed-pattern"}),
    "dirt": ({}, dirt, {}, {"fixed-pattern"}),
    "blank frame": ({}, blank, {}, {"bad-frames"}),
    "late shutter": (PERFECT_CAMERA, late_shutter, {}, {"uneven-dose"}),
    "jump": ({"motion": "jump"}, None, {}, {"jump"}),
    "drift": (
        {"motion": "polynomial", "global_motion_px": 170.0}, None, {}, {"large-motion"}
    ),
    "trembling": (PERFECT_CAMERA, trembling, {}, {"rough-path"}),
    "still": ({"motion": "none"}, None, {}, {"still"}),
    "total dose for that of a frame": ({}, None, {"dose_per_frame_e_A2": 30.0}, {"dose-mismatch"}),
    "pixel size halved": ({}, None, {"pixel_size_A": 0.5}, {"dose-mismatch"}),
    "noise": ({}, noise_alone, {"gain": None}, {"no-signal", "no-rings"}),
    "lost columns": (PERFECT_CAMERA, lost_columns, {}, {"lost-area"}),
    "filaments": (
        {"specimen": "filaments", "ice_thickness_A": 0.0, "electrons_per_px": 4.0},
        None, {}, {"one-direction"},
    ),
    "hot pixels": (PERFECT_CAMERA, many_hot_pixels, {}, {"hot-pixels"}),
}  # fmt: skip
# What else such a movie may raise: a consequence of the same fault.
ALLOWED = {
    "drift": {"jump", "poor-rings", "rough-path", "uncertain"},
    "filaments": {"wide-search", "uncertain", "no-rings", "poor-rings"},
    # What they are filled with stays with the detector.
    "lost columns": {"fixed-pattern"},
    "total dose for that of a frame": {
        "still",
        "uncertain",
        "poor-rings",
        "no-signal",
        "wide-search",
    },
    "pixel size halved": {"still", "uncertain", "poor-rings", "no-signal", "no-rings"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MOVIES)
def test_a_movie_has_the_flags_that_it_deserves_and_no_others(name, tmp_path):
    settings, change, typed, expected = MOVIES[name]
    movie = simulated(**settings)
    if change is not None:
        counts = movie.counts.copy()
        change(counts)
        movie = replace(movie, counts=counts)
    files = movie.save(tmp_path, "movie")
    usual = {
        "pixel_size_A": 1.0,
        "dose_per_frame_e_A2": movie.settings.dose_e_A2,
        "gain": str(files["gain"]) if "gain" in files else None,
    }

    quality = align_movie(files["movie"], AlignParams(**{**usual, **typed})).quality

    found = set(quality.flag_names)
    assert expected <= found
    assert found <= expected | ALLOWED.get(name, set())


def test_every_flag_is_shown_on_a_movie_or_hardly_can_be():
    """What comes with degrees, not with a fault: rings that fade early, and too little signal.

    A drift over more than half of the field is in `test_long_drift`.
    """
    shown = set().union(*(flags for _, _, _, flags in MOVIES.values()))

    assert set(DEFINITIONS) - shown == {
        "uncertain", "poor-rings", "wide-search", "uncorrected", "unsafe-motion",
        "beyond-field",
    }  # fmt: skip
