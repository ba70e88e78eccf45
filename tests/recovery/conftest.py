"""Movies with known motion, and the one yardstick by which every recovery is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexalign import AlignParams
from flexalign.simulate import SimulatedMovie, simulate_movie


@pytest.fixture(scope="session")
def trajectory_error_px():
    """RMS distance between a path (t, 2) and the true mean path, constant offset removed."""

    def error_px(path_px: np.ndarray, movie: SimulatedMovie) -> float:
        difference = path_px - movie.displacement_px.mean(axis=(1, 2))
        difference -= difference.mean(axis=0)
        return float(np.sqrt((difference**2).sum(axis=1).mean()))

    return error_px


@pytest.fixture(scope="session")
def save_movie(tmp_path_factory: pytest.TempPathFactory):
    """Function that simulates a movie and writes it: (movie, paths of its files)."""

    def save(
        file_format: str = "mrc", **settings: object
    ) -> tuple[SimulatedMovie, dict[str, Path]]:
        movie = simulate_movie(**settings)
        folder = tmp_path_factory.mktemp("movie")
        return movie, movie.save(folder, "movie", file_format=file_format)

    return save


@pytest.fixture(scope="session")
def params_for():
    """Parameters for a simulated movie, as a user would give them."""

    def params(movie: SimulatedMovie, files: dict[str, Path], **changes: object) -> AlignParams:
        return AlignParams(
            pixel_size_A=movie.settings.pixel_size_A,
            dose_per_frame_e_A2=movie.settings.dose_e_A2,
            gain=str(files["gain"]),
            **changes,
        )

    return params
