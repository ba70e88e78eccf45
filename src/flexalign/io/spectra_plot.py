"""Plot of the power spectra of one movie before and after correction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from flexalign.figure_style import AFTER_COLOR, BEFORE_COLOR, DOWNWARD
from flexalign.io.png import save_png
from flexalign.io.thumbnails import flattened
from flexalign.model import FloatArray, PixelArray, PowerSpectrum

# Fixed axes (left, bottom, width, height).
BOXES = [(0.065, 0.11, 0.4, 0.77), (0.54, 0.11, 0.44, 0.73)]

# Grey levels of the plane: standard deviations around its background.
SHOWN_SD = 2.5
SMOOTHED_RINGS, SMOOTHED_SHARE = 4.0, 1 / 32
# Correction lowers the power at Nyquist by more than this ratio, relative to two thirds of it.
FALL = 0.9
FALL_TEXT = "fall towards Nyquist: frames are interpolated between pixels (cubic B-spline)"


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
    left, right = (_contrast(spectrum) for spectrum in (before, after))
    plane = np.concatenate([left[:, : side // 2], right[:, side // 2 :]], axis=1)
    edge = side // 2 * step_per_A
    axes.imshow(
        plane, cmap="gray", vmin=-SHOWN_SD, vmax=SHOWN_SD, extent=[-edge, edge, edge, -edge]
    )
    axes.axvline(0, color=AFTER_COLOR, lw=0.8)
    for x, words, align in ((0.02, "before", "left"), (0.98, "after", "right")):
        axes.text(
            x, 0.975, words, transform=axes.transAxes, ha=align, va="top", fontsize=11,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 3},
        )  # fmt: skip
    axes.set_title("Power spectrum, contrast equal at all frequencies", fontsize=11)
    axes.set_xlabel("Spatial frequency x (1/Å)", fontsize=11)
    axes.set_ylabel(f"Spatial frequency y (1/Å, {DOWNWARD})", fontsize=11)


def _contrast(spectrum: PowerSpectrum) -> FloatArray:
    """A spectrum (n, n) less its smooth background, over the standard deviation at each radius.

    Without that the centre would be white and the noise at high frequencies without contrast.
    """
    middle = spectrum.power.shape[0] // 2
    flat = flattened(spectrum, middle)
    # The fall by interpolation is along each axis, not by radius.
    flat = flat / np.maximum(gaussian_filter(flat, 2 * middle * SMOOTHED_SHARE), 1e-6) - 1
    ring = np.hypot(*(np.indices(flat.shape) - middle))
    nearest = np.rint(ring).astype(np.intp)
    count = np.bincount(nearest.ravel())
    variance = np.bincount(nearest.ravel(), flat.ravel() ** 2) / np.maximum(count, 1)
    sd = np.sqrt(gaussian_filter1d(variance, SMOOTHED_RINGS, mode="nearest"))
    return np.asarray(flat / np.maximum(np.interp(ring, np.arange(sd.size), sd), 1e-6))


def _falls_at_nyquist(before: PowerSpectrum, after: PowerSpectrum) -> bool:
    """Whether correction lowers the last rings more than those at two thirds of Nyquist."""
    powers = [np.maximum(s.radial_power, np.finfo(np.float32).tiny) for s in (before, after)]
    ratio = powers[1] / powers[0]
    width = max(1, ratio.size // 6)  # wider than a Thon ring
    return bool(ratio[-width:].mean() < FALL * ratio[3 * width : 4 * width].mean())


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
    if _falls_at_nyquist(before, after):
        axes.text(
            0.98, 0.03, FALL_TEXT, transform=axes.transAxes, ha="right", fontsize=9, color="0.3",
        )  # fmt: skip
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
