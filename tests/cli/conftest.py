"""The command line, called as a user would, on small movies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from flexalign.cli import main
from flexalign.simulate import simulate_movie


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Outcome]:
    """Call ``flexalign`` with some words, in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["flexalign", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return Outcome(int(stop.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def movie_folder(tmp_path_factory) -> Path:
    """A folder with ``a.tiff``, ``b.mrc`` and the gain of each, 192 x 160 pixels, 6 frames."""
    folder = tmp_path_factory.mktemp("movies")
    for seed, name, file_format in [(1, "a", "tiff"), (2, "b", "mrc")]:
        movie = simulate_movie(
            shape_px=(160, 192), frame_count=6, seed=seed, pixel_size_A=1.5, electrons_per_px=3.0,
            global_motion_px=6.0, local_motion_px=0.0,
        )  # fmt: skip
        movie.save(folder, name, file_format)
    return folder
