"""Draw the pictures of the README (a movie before and after) and of the page on comparing.

Run it after a change that shows (``.venv/bin/python docs/make_images.py``).
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from flexalign import AlignmentResult, AlignParams, align_movie, simulate_movie
from flexalign.comparison import compare_motions, shared_frames
from flexalign.figure_style import DOWNWARD, SERIES_COLORS, draw_downward
from flexalign.io.comparison_plot import draw_comparison
from flexalign.simulate import SimulatedMovie

IMAGES = Path(__file__).parent / "images"
DPI = 110
# What is shown of the micrograph, smoothed to the detail that the eye can follow.
CROP_PX = 420
SMOOTHING_PX = 1.5
# Places (y, x), as parts of the field, whose motion is drawn.
PLACES = ((0.15, 0.15), (0.5, 0.5), (0.85, 0.85))


def simulated_and_aligned() -> tuple[SimulatedMovie, AlignmentResult]:
    """The movie and what flexalign makes of it."""
    movie = simulate_movie(frame_count=30, global_motion_px=20.0, local_motion_px=8.0, seed=2)
    with tempfile.TemporaryDirectory() as folder:
        files = movie.save(folder, "demo")
        params = AlignParams(
            gain=str(files["gain"]),
            pixel_size_A=movie.settings.pixel_size_A,
            dose_per_frame_e_A2=movie.settings.dose_e_A2,
        )
        return movie, align_movie(files["movie"], params)


def draw(movie: SimulatedMovie, result: AlignmentResult) -> Figure:
    """Two crops of the micrograph, and the motion of three places."""
    figure = Figure(figsize=(12.6, 4.4), layout="constrained")
    before, after, paths = figure.subplots(1, 3)
    images = [_crop(result.sums.unaligned), _crop(result.sums.plain)]
    low, high = np.percentile(images[1], [1, 99])
    for axes, image, title in zip(
        (before, after), images, ("mean of the frames", "along the motion found"), strict=True
    ):
        axes.imshow(image, cmap="gray", vmin=low, vmax=high)
        axes.set_title(title)
        axes.set_axis_off()
    _draw_paths(paths, movie, result)
    return figure


def _crop(image: Any) -> Any:
    """The middle of the micrograph, smoothed."""
    start = (image.shape[0] - CROP_PX) // 2
    middle = slice(start, start + CROP_PX)
    return gaussian_filter(image, SMOOTHING_PX)[middle, middle]


def _draw_paths(axes: Any, movie: SimulatedMovie, result: AlignmentResult) -> None:
    """Where three places really went, and where flexalign says they did."""
    height, width = movie.settings.shape_px
    frames = np.arange(movie.settings.frame_count)
    for (part_y, part_x), color in zip(PLACES, SERIES_COLORS, strict=False):
        y, x = part_y * height, part_x * width
        for motion, style in ((movie.motion, "-"), (result.motion, "o")):
            dy, dx = np.stack(motion.displacement_px(frames, y, x)) * movie.settings.pixel_size_A
            axes.plot(dx - dx.mean(), dy - dy.mean(), style, color=color, markersize=3.5)
    axes.plot([], [], "-k", label="true")
    axes.plot([], [], "ok", markersize=3.5, label="found")
    axes.set(title="motion of three places", xlabel="x (Å)", ylabel=f"y (Å, {DOWNWARD})")
    draw_downward(axes)
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(frameon=False)


def draw_two_alignments(path: Path) -> None:
    """Draw how an alignment of the whole frame differs from one with local motion."""
    movie = simulate_movie(shape_px=(1024, 1440), frame_count=24, seed=3)
    with tempfile.TemporaryDirectory() as folder:
        files = movie.save(folder, "movie")
        params = AlignParams(gain=str(files["gain"]), pixel_size_A=movie.settings.pixel_size_A)
        a, b = (
            align_movie(files["movie"], replace(params, local=local)).motion
            for local in (False, True)
        )
    found = compare_motions(a, b, shared_frames(a, b), movie.settings.shape_px)
    names = ("A: with --no-local", "B: with local motion")
    draw_comparison(path, found, params.pixel_size_A, title="movie", names=names)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw(*simulated_and_aligned()).savefig(IMAGES / "demo.png", dpi=DPI)
    draw_two_alignments(IMAGES / "comparison.png")
