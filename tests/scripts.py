"""Import the scripts of `benchmarks`, which are no package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@contextmanager
def benchmarks(*names: str) -> Iterator[dict[str, ModuleType]]:
    """The scripts of these names; they and what they import are forgotten at the end."""
    before = set(sys.modules)
    sys.path.insert(0, BENCHMARKS)
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(BENCHMARKS)
        for name in set(sys.modules) - before:
            if BENCHMARKS in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
