"""Draw the figures of docs/explanation and print the numbers in the text.

Run it after a change of how motion is estimated or scored::

    .venv/bin/python docs/make_figures.py                # all
    .venv/bin/python docs/make_figures.py estimation     # of estimation.md
    .venv/bin/python docs/make_figures.py scores         # of scores.md

Everything is measured on simulated movies with known motion.  Scores are those of
benchmarks/scores.py, kept in its cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from estimation_figures.choice import draw_choice
from estimation_figures.errors import draw_errors
from estimation_figures.movies import aligned, simulated
from estimation_figures.tracks import draw_tracks
from estimation_figures.weights import draw_weights
from matplotlib.figure import Figure
from score_figures.losses import draw_losses
from score_figures.nulls import TITLES, draw_nulls
from score_figures.order import draw_order
from score_figures.results import BENCHMARKS, results_of

from flexalign.simulate import SimulatedMovie, motion_error_px

IMAGES = Path(__file__).parent / "images"
NAMES = tuple(f"estimation-{what}.png" for what in ("weights", "errors", "tracks", "choice"))
SCORE_NAMES = tuple(f"scores-{what}.png" for what in ("losses", "order", "nulls"))
DPI = 110
# Movies whose gain is left out.
PATTERN_SEEDS = range(5, 8)


def print_variants(movie: SimulatedMovie) -> None:
    """Errors without local motion, and with fewer and more control points."""
    variants: dict[str, dict[str, Any]] = {"global only": {"local": False}}
    variants |= {f"{n}^3 control points": {"control_points": (n, n, n)} for n in (4, 8)}
    for name, changes in variants.items():
        result = aligned(movie, **changes)
        print(f"{name}: {motion_error_px(result.motion, movie).rms_px:.2f} px RMS")


def print_fixed_pattern(seed: int) -> None:
    """What a movie loses, and what is said about it, when its gain is not applied."""
    movie = simulated(pixel_size_A=1.5, local_motion_px=5.0, seed=seed)
    variants: dict[str, dict[str, Any]] = {"with": {}, "without": {"gain": None}}
    for name, changes in variants.items():
        result = aligned(movie, **changes)
        pull = result.quality.fixed_pattern_pull
        error_px = motion_error_px(result.motion, movie).rms_px
        print(f"seed {seed} {name} gain: pull {pull:.2f}, {error_px:.2f} px RMS", end=" ")
        print(result.quality.chosen, *result.quality.flag_names)


def draw_estimation() -> None:
    """Figures and numbers of estimation.md."""
    movies = {
        "rigid movie": simulated(pixel_size_A=1.5, local_motion_px=0.0, seed=5),
        "movie with local motion": simulated(pixel_size_A=1.5, local_motion_px=5.0, seed=5),
    }
    results = {name: aligned(movie) for name, movie in movies.items()}
    local, refined = movies["movie with local motion"], results["movie with local motion"]
    figures = (
        draw_weights(simulated(frame_count=20, local_motion_px=4.0, seed=5)),
        draw_errors(),
        draw_tracks(local, aligned(local, refine=False), refined),
        draw_choice(movies, results),
    )
    print_variants(local)
    for seed in PATTERN_SEEDS:
        print_fixed_pattern(seed)
    _save(NAMES, figures)


def draw_scores(cache: Path) -> None:
    """Figures and numbers of scores.md."""
    cache.mkdir(parents=True, exist_ok=True)
    moving = {name: results_of(name, cache) for name in ("plain", "faint")}
    nulls = {name: results_of(name, cache, is_small=True) for name in TITLES}
    _save(SCORE_NAMES, (draw_losses(moving), draw_order(moving), draw_nulls(nulls)))


def _save(names: Sequence[str], figures: Sequence[Figure]) -> None:
    """Write the figures as images of these names."""
    IMAGES.mkdir(exist_ok=True)
    for name, figure in zip(names, figures, strict=True):
        figure.savefig(IMAGES / name, dpi=DPI)


def main() -> None:
    """All figures and numbers, or those of one page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", nargs="?", choices=("estimation", "scores"), help="default: both")
    parser.add_argument("--cache", type=Path, default=Path(BENCHMARKS) / "cache")
    chosen = parser.parse_args()
    if chosen.page != "scores":
        draw_estimation()
    if chosen.page != "estimation":
        draw_scores(chosen.cache)


if __name__ == "__main__":
    main()
