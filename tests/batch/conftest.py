"""Runs over small movies, with real processes and real files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

SHAPE_PX = (64, 96)
FRAMES = 4


def _write_movie(path: Path, seed: int = 0, shape_px: tuple[int, int] = SHAPE_PX) -> Path:
    """A movie of noise over one picture that drifts, which takes a moment to align."""
    rng = np.random.default_rng(seed)
    picture = rng.poisson(3.0, shape_px) * 4
    frames = [rng.poisson(np.roll(picture, (i, 2 * i), (0, 1))) for i in range(FRAMES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path) as file:
        file.set_data(np.array(frames, np.int16))
        file.set_image_stack()
    return path


def _flexalign(*words: object, **options: object) -> subprocess.Popen[str]:
    """The command ``flexalign`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flexalign", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        **options,
    )


@pytest.fixture(scope="session")
def write_movie() -> Callable[..., Path]:
    """Write a small movie to a path."""
    return _write_movie


@pytest.fixture(scope="session")
def flexalign() -> Callable[..., tuple[int, str, str]]:
    """Call ``flexalign`` with some words; exit code, output and errors."""

    def call(*words: object) -> tuple[int, str, str]:
        with _flexalign(*words) as process:
            out, err = process.communicate(timeout=1800)
        return process.returncode, out, err

    return call


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start ``flexalign`` with some words; what still runs at the end of the test is killed."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*words: object, **options: object) -> subprocess.Popen[str]:
        processes.append(_flexalign(*words, **options))
        return processes[-1]

    yield begin
    for process in processes:
        with process:
            process.kill()


@pytest.fixture
def movies(tmp_path) -> Path:
    """A folder with three movies."""
    for number in range(3):
        _write_movie(tmp_path / "movies" / f"m{number}.mrcs", number)
    return tmp_path / "movies"
