"""Runs over small tilt series, with real processes and real files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

# Without what a picture of this size does not need.
OPTIONS = ("--threads", "1")


@pytest.fixture(scope="session")
def module_run() -> Callable[..., tuple[int, str, str]]:
    """As `run`, for fixtures that several tests share."""
    return _make_run()


@pytest.fixture
def run() -> Callable[..., tuple[int, str, str]]:
    """Call ``flexalign tilt-series`` with some words; exit code, output and errors."""
    return _make_run()


def _make_run() -> Callable[..., tuple[int, str, str]]:
    def call(
        *words: object, command: str = "tilt-series", jobs: bool = True, refine: bool = False
    ) -> tuple[int, str, str]:
        own = (*(("--jobs", "1") if jobs else ()), *(() if refine else ("--no-refine",)))
        done = subprocess.run(
            [sys.executable, "-m", "flexalign", command, *map(str, words), *OPTIONS, *own],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            env={**os.environ, "COLUMNS": "200"},
        )
        return done.returncode, done.stdout, done.stderr

    return call
