"""Plot of the power spectra of one movie before and after correction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flexalign.io.png import AFTER_COLOR, BEFORE_COLOR, save_png
from flexalign.model import FloatArray, PixelArray, PowerSpectrum

# Fixed axes (left, bottom, width, height).
BOXES = [(0.06, 0.11, 0.4, 0.77), (0.54, 0.11, 0.44, 0.73)]


def draw_spectra(
    path: str | Path, before: PowerSpectrum, after: PowerSpectrum, *, title: str
) -> None:
    """Plot the power spectra before (left half) and after, and their radial means.

    Parameters
    ----------
    path : of a PNG file
    before, after : of the unaligned and the aligned micrograph, of one size
    title : name of the movie

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 5.8))
    left, right = (figure.add_axes(box) for box in BOXES)
    figure.suptitle(title, fontsize=12)
    _draw_plane(left, before, after)
    _draw_radial(right, before, after)
    save_png(figure, path)


def _draw_plane(axes: Any, before: PowerSpectrum, after: PowerSpectrum) -> None:
    """Both spectra in decibels, a half of the plane each."""
    side = after.power.shape[0]
    step_per_A = float(after.frequency_per_A[1])
    plane = np.array(after.power, dtype=np.float64)
    plane[:, : side // 2] = before.power[:, : side // 2]
    decibel = _decibel(plane)
    ring = np.hypot(*(np.indices(plane.shape) - side // 2))
    low, high = np.percentile(decibel[ring > side / 32], [1.0, 99.5])
    edges = [(-side // 2 - 0.5) * step_per_A, (side - side // 2 - 0.5) * step_per_A] * 2
    axes.imshow(decibel, cmap="gray", vmin=low, vmax=high, extent=edges, origin="lower")
    axes.axvline(0, color=AFTER_COLOR, lw=0.8)
    for x, words, align in ((0.02, "before", "left"), (0.98, "after", "right")):
        axes.text(
            x, 0.975, words, transform=axes.transAxes, ha=align, va="top", fontsize=11,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 3},
        )  # fmt: skip
    axes.set_title("Power spectrum (log scale)", fontsize=11)
    axes.set_xlabel("Spatial frequency x (1/Å)", fontsize=11)
    axes.set_ylabel("Spatial frequency y (1/Å)", fontsize=11)


def _draw_radial(axes: Any, before: PowerSpectrum, after: PowerSpectrum) -> None:
    """Radial means of both spectra, with resolutions along the top."""
    shown = slice(2, None)  # the first rings contain the taper and the ice gradient
    for spectrum, color, style, label in (
        (before, BEFORE_COLOR, "--", "before"),
        (after, AFTER_COLOR, "-", "after"),
    ):
        axes.plot(
            spectrum.frequency_per_A[shown], _decibel(spectrum.radial_power)[shown],
            color=color, ls=style, lw=1.6, label=label,
        )  # fmt: skip
    axes.set_xlim(0, float(after.frequency_per_A[-1]))
    top = axes.secondary_xaxis("top")
    nyquist = float(after.frequency_per_A[-1])
    resolutions_A = [r for r in (30, 15, 10, 8, 6, 5, 4, 3.5, 3, 2.5, 2, 1.5, 1) if 1 / r < nyquist]
    apart = _spread([1 / r for r in resolutions_A], nyquist / 14)
    top.set_xticks([1 / resolutions_A[i] for i in apart])
    top.set_xticklabels([f"{resolutions_A[i]:g}" for i in apart])
    top.set_xlabel("Resolution (Å)", fontsize=11)
    axes.set_xlabel("Spatial frequency (1/Å)", fontsize=11)
    axes.set_ylabel("Mean power of a ring (dB, white noise = 0)", fontsize=11)
    axes.grid(color="0.92")
    axes.legend(fontsize=10)


def _decibel(power: PixelArray | FloatArray) -> FloatArray:
    """Power in decibels, floored at 100 dB below the maximum."""
    values = np.asarray(power, dtype=np.float64)
    floor = max(float(values.max()) * 1e-10, float(np.finfo(np.float32).tiny))
    return np.asarray(10 * np.log10(np.maximum(values, floor)))


def _spread(places: list[float], distance: float) -> list[int]:
    """Indices of the ascending `places` that are at least `distance` apart."""
    kept: list[int] = []
    for i, place in enumerate(places):
        if not kept or place - places[kept[-1]] >= distance:
            kept.append(i)
    return kept
