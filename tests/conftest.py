"""What tests of several folders share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture(scope="session")
def make_session() -> Iterator[Callable[..., None]]:
    """Write the records of a made-up session, as `benchmarks/session.py` does."""
    sys.path.insert(0, BENCHMARKS)
    try:
        yield importlib.import_module("session").write_session
    finally:
        sys.path.remove(BENCHMARKS)
        sys.modules.pop("session", None)
