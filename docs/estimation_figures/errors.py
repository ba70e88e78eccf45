"""Errors of the trajectory beside their standard errors."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from estimation_figures.movies import BLUE, GREY, ORANGE, SIZE_IN, Numbers, aligned, simulated
from flexalign.simulate import motion_error_px

# Movies of known errors: these many, with and without local motion.
ERROR_SEEDS = range(10, 22)


def draw_errors() -> Figure:
    """Errors of the trajectory beside their standard errors."""
    # 896 px of 1.2 A are enough for two patches along each side.
    kinds = {
        "rigid": {"local_motion_px": 0.0},
        "with local motion": {"local_motion_px": 4.0, "pixel_size_A": 1.2},
    }
    found = {
        kind: [pair for seed in ERROR_SEEDS if (pair := path_error_px(seed, **settings))]
        for kind, settings in kinds.items()
    }
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    one, many = figure.subplots(1, 2)
    error_px, standard_px = found["rigid"][0]
    frame = np.arange(1, len(error_px) + 1)
    for values, color, name in zip(error_px.T, (BLUE, ORANGE), "yx", strict=True):
        one.plot(frame, values, "o-", color=color, markersize=4, label=f"error in {name}")
    band = standard_px[:, 0]
    one.fill_between(frame, -band, band, color=GREY, alpha=0.3, lw=0, label="± 1 standard error")
    one.set(xlabel="frame", ylabel="error (px)", ylim=(-0.6, 0.8), title="one rigid movie")
    one.set_xticks(range(1, len(frame) + 1, 3))
    one.legend(frameon=False, ncols=2)
    edges = np.linspace(-4, 4, 33)
    for (kind, pairs), color in zip(found.items(), (BLUE, ORANGE), strict=True):
        ratio = np.array([error / standard for error, standard in pairs])
        _print_errors(kind, np.array([error for error, _ in pairs]), ratio)
        many.hist(ratio.ravel(), edges, density=True, histtype="step", color=color, label=kind)
    x = np.linspace(-4, 4, 200)
    many.plot(x, norm.pdf(x), "--k", linewidth=1.2, label="normal curve")
    many.set(xlabel="error / standard error", ylabel="probability density", ylim=(0, 0.66))
    many.set_title(f"{len(ERROR_SEEDS)} movies of each kind")
    many.legend(frameon=False)
    return figure


def path_error_px(seed: int, **settings: float) -> tuple[Numbers, Numbers] | None:
    """Error of the mean path and its standard error, each (frames, 2); None if not refined."""
    movie = simulated(shape_px=(896, 896), frame_count=20, seed=seed, **settings)
    result = aligned(movie, local=settings["local_motion_px"] > 0)
    trajectory = result.motion.trajectory
    if trajectory.standard_error_px is None:
        print(
            f"seed {seed}: {result.quality.chosen} kept,",
            f"{motion_error_px(result.motion, movie).rms_px:.2f} px RMS,",
            {key: round(value) for key, value in result.quality.candidate_scores.items()},
        )
        return None
    y, x = movie.lattice_y_px, movie.lattice_x_px
    found = [result.motion.on_lattice(f, y, x).mean(axis=(1, 2)) for f in range(20)]
    error_px = np.array(found) - movie.displacement_px.mean(axis=(1, 2))
    return error_px - error_px.mean(axis=0), trajectory.standard_error_px


def _print_errors(kind: str, error_px: Numbers, ratio: Numbers) -> None:
    """How well standard errors tell errors, each (movies, frames, 2)."""
    within = [100 * np.mean(np.abs(ratio) < n) for n in (1, 2)]
    size = np.sqrt((ratio**2).mean(axis=(0, 2)))
    print(
        f"errors, {kind}: {len(ratio)} movies,",
        f"RMS {np.sqrt((error_px**2).mean()):.2f} px per axis,",
        f"{within[0]:.0f} % within 1 and {within[1]:.0f} % within 2 standard errors,",
        f"RMS ratio {np.sqrt((ratio**2).mean()):.2f}, first frame {size[0]:.1f},",
        f"last {size[-1]:.1f}, others {size[1:-1].min():.1f} to {size[1:-1].max():.1f}",
    )
