"""Tables of scores in Markdown: changes by resolution with their intervals, costs, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from peers import Watched

from flexalign.scoring.session_scores import Change


def band_titles(bands_A: Sequence[Sequence[float]]) -> list[str]:
    """Titles of the columns of bands.

    Examples
    --------
    >>> band_titles([(45.0, 15.0), (5.0, 4.0)])
    ['45-15 A', '5-4 A']
    """
    return [f"{coarsest_A:g}-{finest_A:g} A" for coarsest_A, finest_A in bands_A]


def change_cell(change: Change) -> str:
    """A change with the limits of its interval.

    Examples
    --------
    >>> change_cell(Change(-6.0, -7.2, -5.0, 0))
    '-6.0 (-7.2; -5.0)'
    """
    return f"{change.percent:+z.1f} ({change.low:+z.1f}; {change.high:+z.1f})"


def comparison_table(
    scores: Mapping[str, Any], costs: Mapping[str, Sequence[Watched]]
) -> Iterator[str]:
    """Cost and signal of each alignment, then the verdicts.

    Parameters
    ----------
    scores : what ``flexalign score --json`` prints
    costs : of the runs of each program, by its name
    """
    if not scores.get("comparisons"):
        yield "No movie could be scored."
        return
    best, found = scores["best"], {one["b"]: one for one in scores["comparisons"]}
    first = next(iter(found.values()))
    bands = band_titles(first["bands_A"])
    yield f"Signal relative to {best} (%) of {first['movies']} movies, with 95 % intervals."
    yield "Costs are medians over movies, memory the largest."
    yield ""
    yield f"| alignment | runs | s | CPU s | GB | {' | '.join(bands)} | all | B (A2) |"
    yield "| --- |" + " --: |" * (len(bands) + 6)
    for name in sorted({best, *found}, key=lambda name: -_percent(found, name)):
        cells = [name, *_cost_cells(costs.get(name, []))]
        if name == best:
            cells += ["0"] * (len(bands) + 1) + [""]
        else:
            changes = [*found[name]["bands"], found[name]["overall"]]
            cells += [change_cell(Change.from_dict(change)) for change in changes]
            cells.append(f"{float(found[name]['b_factor_A2'] or 'nan'):.1f}")
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield from (f"- {one['verdict']}" for one in found.values())


def _percent(found: Mapping[str, Any], name: str) -> float:
    """Change of an alignment; that of the best one, which is not compared with itself, is zero."""
    return float(found[name]["overall"]["percent"]) if name in found else 0.0


def _cost_cells(costs: Sequence[Watched]) -> list[str]:
    """Number of runs, and what they cost; nothing for alignments that were given."""
    if not costs:
        return [""] * 4
    return [
        str(len(costs)),
        f"{median(cost.seconds for cost in costs):.1f}",
        f"{median(cost.cpu_s for cost in costs):.1f}",
        f"{max(cost.peak_memory_bytes for cost in costs) / 1e9:.2f}",
    ]
