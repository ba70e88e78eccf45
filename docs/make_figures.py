"""Draw the figures of docs/explanation/estimation.md and print the numbers in its text.

Run it after a change of how motion is estimated (``.venv/bin/python docs/make_figures.py``; two
minutes on one core).  Everything is measured on simulated movies with known motion.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d
from scipy.stats import norm

from flexalign import AlignmentResult, AlignParams, align_movie, simulate_movie
from flexalign.arrays import dose
from flexalign.comparison import AnyMotion
from flexalign.estimate import evidence, held_out_likelihood, pairwise, patches, priors, refine
from flexalign.estimate.patch_spectra import PatchSpectra, cut_spectra, pair_weight, sweep
from flexalign.estimate.refine import Refinement
from flexalign.estimate.spectral_powers import finest_signal_A, independent_share
from flexalign.io.movies.open_movie import open_for
from flexalign.io.references import load_references
from flexalign.motion import MotionField
from flexalign.passes import first_pass
from flexalign.plan import make_plan
from flexalign.simulate import SimulatedMovie, motion_error_px

IMAGES = Path(__file__).parent / "images"
NAMES = tuple(f"estimation-{what}.png" for what in ("weights", "errors", "tracks", "choice"))
SIZE_IN, DPI = (9.0, 4.0), 110
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"
# Movies of known errors: these many, with and without local motion.
ERROR_SEEDS = range(10, 22)
# Rounds of refinement whose weights are drawn; the last is where it ends.
ROUNDS = (1, 3, 4, 5)
RESOLUTIONS_A = (40, 20, 10, 8, 6, 5, 4)
# Rings that the curves of weights are averaged over.
SMOOTH_RINGS = 9
# How many times longer than in the field tracks are drawn.
MAGNIFIED = 70
TRIED_PX = np.geomspace(0.01, 30, 40)
# Movies whose gain is left out.
PATTERN_SEEDS = range(5, 8)

Numbers = npt.NDArray[np.float64]


class Inside(NamedTuple):
    """What the refinement of a movie starts from."""

    spectra: PatchSpectra
    start_px: Numbers
    shape: MotionField


def simulated(**changes: Any) -> SimulatedMovie:
    """A movie of 1024 x 1024 pixels, 2 electrons per pixel and frame, and smooth motion."""
    settings = {"shape_px": (1024, 1024), "frame_count": 24, "electrons_per_px": 2.0}
    return simulate_movie(threads=1, **{**settings, "motion": "bumps", **changes})


@contextmanager
def saved(movie: SimulatedMovie, **changes: Any) -> Iterator[tuple[Path, AlignParams]]:
    """The movie on disk, and the parameters that a user would give."""
    with tempfile.TemporaryDirectory() as folder:
        files = movie.save(folder, "movie")
        params = AlignParams(
            gain=str(files["gain"]),
            pixel_size_A=movie.settings.pixel_size_A,
            dose_per_frame_e_A2=movie.settings.dose_e_A2,
            psd=False,
            threads=1,
        )
        yield files["movie"], replace(params, **changes)


def aligned(movie: SimulatedMovie, **changes: Any) -> AlignmentResult:
    """What flexalign makes of the movie."""
    with saved(movie, **changes) as (path, params):
        return align_movie(path, params)


def inside(movie: SimulatedMovie, *, from_pairs: bool = True) -> Inside:
    """Spectra of the patches as `estimate.choice` makes them, along the pairwise path or none."""
    with saved(movie) as (path, params), open_for(path, params) as reader:
        plan = make_plan(reader.info, params)
        references = load_references(reader.info, gain=params.gain)
        frames, _ = first_pass(reader, plan, references, params, 1, lambda *_: None)
    assert plan.control_points is not None
    found_px, _ = pairwise.global_trajectory(
        frames.downsampled(plan.pairwise_shape_px), params.max_resolution_A, params.max_shift_A
    )
    grid = patches.make_grid(frames, plan.patches)
    path_px = found_px if from_pairs else np.zeros_like(found_px)
    start_px = refine.displacement_at(path_px, None, grid.center_px, frames.frame)
    middle_e_A2 = movie.settings.dose_e_A2 * (frames.frame[:, None] + 0.5)
    spectra = cut_spectra(
        frames, grid, start_px, lambda f: np.asarray(dose.exposure_weights(f, middle_e_A2))
    )
    shape = MotionField(
        np.zeros((2, *plan.control_points)), *movie.settings.shape_px, frames=plan.align
    )
    return Inside(spectra, start_px, shape)


def tracks_px(motion: AnyMotion, centers_px: Numbers, frames: npt.ArrayLike) -> Numbers:
    """Displacements (places, frames, 2), mean over frames removed."""
    index = np.asarray(frames, dtype=np.int64)[None]
    dy_dx = motion.displacement_px(index, centers_px[:, :1], centers_px[:, 1:])
    track = np.stack(dy_dx, axis=-1)
    return np.asarray(track - track.mean(axis=1, keepdims=True))


def rms_px(difference_px: Numbers) -> float:
    """Root mean square length of (..., 2)."""
    return float(np.sqrt((difference_px**2).sum(axis=-1).mean()))


def draw_weights(movie: SimulatedMovie) -> Figure:
    """What each ring weighs while a refinement that starts from no motion goes on."""
    start = inside(movie, from_pairs=False)
    spectra, frequency = start.spectra, start.spectra.ring_frequency_per_A
    end = refine.refine(spectra, start.start_px, start.shape)
    found = [refine.refine(spectra, start.start_px, start.shape, rounds=n) for n in ROUNDS]
    all_there_is = _information(spectra, end).sum()
    true_px = tracks_px(movie.motion, spectra.grid.center_px, spectra.frame)
    print(
        f"weights: effective part {independent_share(spectra.grid):.2f},",
        f"motion {rms_px(true_px):.2f} px RMS",
    )
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    weights, shares = figure.subplots(1, 2)
    for position, result in enumerate([*found, end]):
        style = {
            "color": colormaps["viridis"](0.9 * (1 - position / len(ROUNDS))),
            "label": f"round {result.rounds}",
        }
        weights.plot(frequency, _smoothed(_weight(spectra, result), spectra.ring_count), **style)
        share = np.cumsum(_information(spectra, result)) / all_there_is
        shares.plot(frequency, 100 * share, **style)
        print(
            f"  round {result.rounds}: {100 * share[-1]:.0f} % of the information,",
            f"rings up to {finest_signal_A(result.powers, frequency):.1f} A,",
            f"error after it {rms_px(_error_px(result, start, movie)):.2f} px",
        )
    for limit_A in (30, 8):
        print(f"  finer than {limit_A} A: {100 - 100 * share[frequency <= 1 / limit_A][-1]:.0f} %")
    weights.set(yscale="log", ylim=(3e-4, 20), ylabel=r"$W P \,\sum_{t\neq s} a_t^2 a_s^2$")
    weights.set_title("weight of a Fourier coefficient")
    shares.set(ylim=(0, 105), ylabel="% of what all rings say in the end")
    shares.set_title("information up to each ring")
    for axes in (weights, shares):
        axes.set_xticks([1 / r for r in RESOLUTIONS_A], [str(r) for r in RESOLUTIONS_A])
        axes.set(xlim=(0.01, 0.25), xlabel="resolution (Å)")
    weights.legend(frameon=False)
    return figure


def _weight(spectra: PatchSpectra, found: Refinement) -> Numbers:
    """Expected log-likelihood that each coefficient of a ring gains by alignment."""
    pairs = pair_weight(spectra.envelope)
    per_patch = found.powers.weight * found.powers.patch_signal
    return np.asarray(per_patch.mean(axis=0) * pairs)


def _information(spectra: PatchSpectra, found: Refinement) -> Numbers:
    """Expected curvature that each ring contributes, up to a factor."""
    per_coefficient = _weight(spectra, found) * spectra.ring_frequency_per_A**2
    return np.asarray(spectra.ring_count * per_coefficient)


def _smoothed(values: Numbers, count: Numbers) -> Numbers:
    """Mean over neighbouring rings and their coefficients; NaN where it is zero."""
    total = uniform_filter1d(values * count, SMOOTH_RINGS)
    mean = total / np.maximum(uniform_filter1d(count, SMOOTH_RINGS), 1)
    return np.where(mean > 0, mean, np.nan)


def _error_px(found: Refinement, start: Inside, movie: SimulatedMovie) -> Numbers:
    """Estimated minus true displacement (patches, frames, 2), mean over frames removed."""
    spectra, fit = start.spectra, found.fit
    assert fit.trajectory_px is not None
    centers_px = spectra.grid.center_px
    track = refine.displacement_at(fit.trajectory_px, fit.field, centers_px, spectra.frame)
    error = track - tracks_px(movie.motion, centers_px, spectra.frame)
    return np.asarray(error - error.mean(axis=1, keepdims=True))


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


def draw_tracks(movie: SimulatedMovie, pairs: AlignmentResult, best: AlignmentResult) -> Figure:
    """Local motion at the patches: true, and found by pairs and by refinement."""
    assert pairs.tracks is not None
    centers_px, frames = pairs.tracks.center_px, np.arange(movie.settings.frame_count)
    true_px = _beside_mean(tracks_px(movie.motion, centers_px, frames))
    peaks_px = _beside_mean(pairs.tracks.displacement_px)
    at_groups = np.stack([_at(track, pairs.tracks.frame) for track in true_px])
    error = rms_px(peaks_px - at_groups + at_groups.mean(axis=1, keepdims=True))
    print(
        f"tracks: local motion {rms_px(true_px):.2f} px RMS, tracks of patches {error:.2f} px off"
    )
    figure = Figure(figsize=(SIZE_IN[0], 4.9), layout="constrained")
    titles = ("pairwise stage", "refined")
    for axes, result, title in zip(figure.subplots(1, 2), (pairs, best), titles, strict=True):
        found_px = _beside_mean(tracks_px(result.motion, centers_px, frames))
        print(f"  {title} ({result.quality.chosen}): {rms_px(found_px - true_px):.2f} px off")
        _draw_tracks(axes, centers_px, true_px, "-", color="#bbbbbb", lw=6, label="true")
        if result is pairs:
            style = {"color": BLUE, "markersize": 5, "alpha": 0.6}
            _draw_tracks(axes, centers_px, peaks_px, ".", **style, label="tracks of the patches")
        _draw_tracks(axes, centers_px, found_px, "-", color=ORANGE, lw=1.8, label="field found")
        height, width = movie.settings.shape_px
        axes.set(xlim=(0, width), ylim=(0, height), aspect="equal", title=title)
        axes.set(xlabel="x (px)", ylabel="y (px)")
        axes.plot([40, 40 + MAGNIFIED], [35, 35], "-k", linewidth=2)
        axes.text(50 + MAGNIFIED, 35, "1 px of motion", va="center", fontsize="small")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_tracks(
    axes: Any, centers_px: Numbers, track_px: Numbers, *style: str, **more: Any
) -> None:
    """Each track at its place, magnified."""
    for place in centers_px[:, None] + MAGNIFIED * track_px:
        axes.plot(place[:, 1], place[:, 0], *style, **more)
        more["label"] = None


def _beside_mean(track_px: Numbers) -> Numbers:
    """What the mean over places leaves of tracks (places, times, 2)."""
    return np.asarray(track_px - track_px.mean(axis=0))


def _at(track_px: Numbers, time: Numbers) -> Numbers:
    """A track (frames, 2) at fractional frame indices."""
    frames = np.arange(len(track_px))
    return np.stack([np.interp(time, frames, axis) for axis in track_px.T], axis=1)


def draw_choice(movies: dict[str, SimulatedMovie], results: dict[str, AlignmentResult]) -> Figure:
    """Evidence for fields of several sizes, and scores on unseen data."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    sizes, scores = figure.subplots(1, 2)
    candidates = ("global", "local", "refined")
    for position, (name, color) in enumerate(zip(movies, (BLUE, ORANGE), strict=True)):
        start, judged = inside(movies[name]), results[name].quality
        found = refine.refine(start.spectra, start.start_px, start.shape)
        sizes.plot(TRIED_PX, _evidence(found, start), color=color, label=name)
        none = {"none": (np.zeros_like(start.start_px),) * 2}
        limit_A = AlignParams().max_resolution_A
        of_none = held_out_likelihood.held_out_scores(start.spectra, none, found.powers, limit_A)
        needed = held_out_likelihood.SIGNIFICANT * of_none.noise_sd
        values = [judged.candidate_scores[c] for c in candidates]
        at = np.arange(len(candidates)) + 0.4 * (position - 0.5)
        bars = scores.bar(at, values, 0.38, color=color, label=f"{name}: {judged.chosen} kept")
        scores.bar_label(bars, [f"{v:.0f}" for v in values])
        scores.axhline(needed, color=color, linestyle=":", linewidth=1.5)
        print(
            f"choice, {name}: {judged.chosen} kept, {needed:.0f} needed,",
            f"{motion_error_px(results[name].motion, movies[name]).rms_px:.2f} px RMS,",
            {key: round(value) for key, value in judged.candidate_scores.items()},
            found.field_prior,
        )
    sizes.axhline(0, color=GREY, linewidth=0.8)
    sizes.set(xscale="log", xlabel="size of the field that the prior expects (px)")
    sizes.set(ylabel="log evidence over no field", title="evidence decides the size of the field")
    scores.set_xticks(range(len(candidates)), candidates)
    scores.set(ylabel="log-likelihood over no motion", title="unseen rings decide what is kept")
    scores.set_ylim(0, 1.3 * max(bar.get_height() for bar in scores.patches))
    scores.plot([], [], ":k", label="needed to be significant")
    sizes.legend(frameon=False)
    scores.legend(frameon=False, loc="upper left", fontsize="small")
    return figure


def _evidence(found: Refinement, start: Inside) -> list[float]:
    """Log evidence of fields of the sizes tried over that of none, at the end of a refinement."""
    fit, spectra, shape = found.fit, start.spectra, start.shape
    assert fit.trajectory_px is not None
    at = refine.displacement_at(fit.trajectory_px, fit.field, spectra.grid.center_px, spectra.frame)
    swept = sweep(spectra, at, found.powers.weight)
    data = refine.patch_likelihood(spectra, swept, found.powers, at)
    path = found.trajectory_prior
    none = evidence.fit_motion(data, path, None, None).log_evidence
    # One smoothness for all movies, since that of a field of no size is arbitrary.
    smooth = shape.frames.count, shape.width_px / 3
    fields = [priors.FieldPrior(float(size), *smooth) for size in TRIED_PX]
    return [evidence.fit_motion(data, path, f, shape).log_evidence - none for f in fields]


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


def main() -> None:
    """All figures and numbers."""
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
    IMAGES.mkdir(exist_ok=True)
    for name, figure in zip(NAMES, figures, strict=True):
        figure.savefig(IMAGES / name, dpi=DPI)


if __name__ == "__main__":
    main()
