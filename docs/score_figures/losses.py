"""The loss of signal by score against that by the score without noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from flexalign.scoring.session_scores import compare_scores
from score_figures.results import COLORS, SIZE_IN, benchmark

MARKERS = "osD^v"
Numbers = npt.NDArray[np.float64]


def draw_losses(results: Mapping[str, Sequence[Any]]) -> Figure:
    """Predicted loss of each alignment in each band against the true loss, by kind of movie."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    shown: dict[str, str] = {}
    for axes, (kind, found) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        for name in _names(found):
            shown[name] = COLORS[name]
            for point, marker in zip(_points(found, name, "same"), MARKERS, strict=True):
                true, loss, low, high = point
                axes.errorbar(
                    true, loss, [[max(loss - low, 0)], [max(high - loss, 0)]], fmt=marker,
                    color=COLORS[name], ms=5, lw=0.8, capsize=2, alpha=0.8,
                )  # fmt: skip
        _print_losses(kind, found)
        axes.plot([-5, 105], [-5, 105], "--k", lw=1)
        axes.set(xlim=(-5, 105), ylim=(-8, 105), title=f"{kind}, {len(found)} movies")
        axes.set(xlabel="loss without noise (%)", ylabel="loss by score (%)")
    bands = found[0].on_same.bands_A
    handles = [Line2D([], [], marker="o", ls="", color=c, label=n) for n, c in shown.items()]
    handles += [
        Line2D([], [], marker=m, ls="", color="k", label=f"{coarse:g} to {fine:g} Å")
        for m, (coarse, fine) in zip(MARKERS, bands, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


def _names(found: Sequence[Any]) -> list[str]:
    """The alignments that are drawn."""
    return [n for n in benchmark().in_all(found) if n in COLORS and n != "over-fitted"]


def _points(found: Sequence[Any], name: str, which: str) -> Numbers:
    """Loss without noise, by score, and its limits (bands, 4), in percent of the true signal.

    `which` is "same" for the electrons of the fit, or "other".
    """
    movies = [one.on_same if which == "same" else one.on_other for one in found]
    clean = compare_scores([one.without_noise for one in found], "truth", name).bands
    true = [-change.percent for change in clean]
    changes = compare_scores(movies, "truth", name).bands
    scored = [(-change.percent, -change.high, -change.low) for change in changes]
    return np.column_stack([true, scored])


def _print_losses(kind: str, found: Sequence[Any]) -> None:
    """How well the losses by score agree with those without noise."""
    for which, title in (("same", "electrons of the fit"), ("other", "other electrons")):
        true, loss, low, high = np.concatenate([_points(found, n, which) for n in _names(found)]).T
        inside = (low <= true) & (true <= high)
        print(
            f"losses, {kind}, {title}: {len(found)} movies, loss without noise in the interval for "
            f"{inside.sum()} of {len(inside)} pairs of alignment and band, difference of losses "
            f"{np.mean(loss - true):+.1f} on average, "
            f"{np.sqrt(np.mean((loss - true) ** 2)):.1f} % RMS"
        )
