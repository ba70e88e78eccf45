"""Results of benchmarks/scores.py, and the colours of the alignments."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
SEEDS = range(401, 409)
SIZE_IN = (9.0, 4.4)
COLORS = {
    "none": "#888888",
    "ours": "#0072B2",
    "ours global": "#56B4E9",
    "RELION": "#D55E00",
    "RELION global": "#E69F00",
    "over-fitted": "#CC79A7",
}


def benchmark() -> Any:
    """The module benchmarks/scores.py, which is in no package."""
    if BENCHMARKS not in sys.path:
        sys.path.insert(0, BENCHMARKS)
    return importlib.import_module("scores")


def results_of(name: str, cache: Path, *, is_small: bool = False) -> list[Any]:
    """Results of movies of one kind; those that the cache lacks are computed."""
    return benchmark().results_of(name, SEEDS, cache, 1, is_small=is_small)
