"""Scores where there is nothing to align."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from score_figures.results import COLORS, SIZE_IN, benchmark

TITLES = {
    "noise": "noise without specimen",
    "shuffled": "each frame of another specimen",
    "still": "specimen at rest",
}


def draw_nulls(results: Mapping[str, Sequence[Any]]) -> Figure:
    """Score of each alignment above no motion, with the limits of its bias, for every movie."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    for axes, (kind, found) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        names = [n for n in benchmark().in_all(found) if n in COLORS and n != "none"]
        for place, name in enumerate(names):
            limits = np.array([_limits(one, name) for one in found])
            above = sum(benchmark().is_above_none(one.on_same, name) for one in found)
            print(
                f"nulls, {kind}, {name}: uncorrected log-likelihood above none in "
                f"{(limits[:, 1] > 0).sum()} of {len(found)} movies, significantly in {above} "
                "with the correction"
            )
            x = place + np.linspace(-0.3, 0.3, len(found))
            axes.vlines(x, *limits.T, color=COLORS[name], lw=2)
            axes.plot(x, limits[:, 1], "o", color=COLORS[name], ms=3.5)
        axes.axhline(0, color="k", lw=1)
        axes.set(title=f"{TITLES[kind]}\n{len(found)} movies")
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    figure.axes[0].set(ylabel="log-likelihood above no motion")
    return figure


def _limits(one: Any, name: str) -> tuple[float, float]:
    """Log-likelihood above no motion less the largest and the smallest correction."""
    movie = one.on_same
    score, none = movie[name], movie["none"].log_likelihood.sum()
    largest, smallest = score.log_likelihood_bias.sum(axis=0)[::-1]
    value = float(score.log_likelihood.sum() - none)
    return value - float(largest), value - float(smallest)
