"""Local motion at the patches: true, and found by pairs and by refinement."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from estimation_figures.movies import BLUE, ORANGE, SIZE_IN, Numbers, rms_px, tracks_px
from flexalign import AlignmentResult
from flexalign.figure_style import DOWNWARD
from flexalign.simulate import SimulatedMovie

# How many times longer than in the field tracks are drawn.
MAGNIFIED = 70


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
        _draw_tracks(axes, centers_px, found_px, "-", color=ORANGE, lw=1.8, label="estimated field")
        height, width = movie.settings.shape_px
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", title=title)
        axes.set(xlabel="x (px)", ylabel=f"y (px, {DOWNWARD})")
        axes.plot([40, 40 + MAGNIFIED], [height - 35] * 2, "-k", linewidth=2)
        axes.text(50 + MAGNIFIED, height - 35, "1 px of motion", va="center", fontsize="small")
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
