"""Whether the order by score is that of the true errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from flexalign.scoring.movie_scores import with_names
from score_figures.results import SIZE_IN, benchmark

MAX_RATIO, MAX_GAIN = 100.0, 60.0


def draw_order(results: Mapping[str, Sequence[Any]]) -> Figure:
    """Difference of the scores of all pairs of alignments against the ratio of their errors."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    colors = dict(zip(results, ("#0072B2", "#D55E00"), strict=True))
    titles = {"same": "electrons of the fit", "other": "other electrons"}
    for axes, (which, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        counts = []
        for kind, found in results.items():
            pairs = np.array([pair for one in found for pair in _pairs(one, which)])
            ratio, gain = pairs.T
            right = f"{(gain > 0).sum()} of {len(gain)}"
            counts.append(f"{kind} {right}")
            axes.plot(
                ratio.clip(max=MAX_RATIO), gain, "o", color=colors[kind], ms=5,
                alpha=0.6, label=f"{kind}: {right} in order",
            )  # fmt: skip
        print(f"order, {title}: {', '.join(counts)} pairs")
        axes.axhline(0, color="k", lw=1)
        axes.axhspan(-MAX_GAIN, 0, color="#D55E00", alpha=0.08, lw=0)
        axes.set(
            xscale="log", xlim=(1.1, 1.1 * MAX_RATIO), ylim=(-0.5 * MAX_GAIN, MAX_GAIN), title=title
        )
        axes.set_xticks([1.2, 2, 5, 10, 20, 50, 100], ["1.2", "2", "5", "10", "20", "50", "> 100"])
        axes.minorticks_off()
        axes.set(xlabel="larger over smaller true error of a pair")
        axes.set(ylabel="log-likelihood of the better\nminus that of the worse (% of the larger)")
        axes.legend(frameon=False, loc="lower right")
    return figure


def _pairs(one: Any, which: str) -> list[tuple[float, float]]:
    """Ratios of errors and differences of scores of one movie; a program may have failed."""
    movie = one.on_same if which == "same" else one.on_other
    names = [score.name for score in movie.scores if score.name != "over-fitted"]
    return list(benchmark().pairs_of(with_names(movie, names), one.error_px))
