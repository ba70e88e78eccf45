"""What each Fourier ring weighs while a refinement goes on."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d

from estimation_figures.movies import SIZE_IN, Inside, Numbers, inside, rms_px, tracks_px
from flexalign.estimate import refine
from flexalign.estimate.patch_spectra import PatchSpectra, pair_weight
from flexalign.estimate.refine import Refinement
from flexalign.estimate.spectral_powers import finest_signal_A, independent_share
from flexalign.simulate import SimulatedMovie

# Rounds of refinement whose weights are drawn; the last is where it ends.
ROUNDS = (1, 3, 4, 5)
RESOLUTIONS_A = (40, 20, 10, 8, 6, 5, 4)
# Rings that the curves of weights are averaged over.
SMOOTH_RINGS = 9


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
    shares.set(ylim=(0, 105), ylabel="share of the final information (%)")
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
