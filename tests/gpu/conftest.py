"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexalign import AlignParams
from flexalign.arrays.device import Device, resolve
from flexalign.simulate import SimulatedMovie, simulate_movie


@pytest.fixture(scope="session")
def device() -> Device:
    """The first GPU."""
    found = resolve("auto")
    if not found.is_gpu or found.is_simulated:
        pytest.skip(f"needs a GPU: {found.note or 'found the simulator'}")
    return found


@pytest.fixture(scope="session")
def movie(device, tmp_path_factory) -> tuple[SimulatedMovie, Path, AlignParams]:
    """A movie with local motion, its file, and what a user would say of it."""
    simulated = simulate_movie(
        shape_px=(1024, 1152), frame_count=16, electrons_per_px=2.0, local_motion_px=4.0, seed=4
    )
    files = simulated.save(tmp_path_factory.mktemp("movie"), "movie", "tiff")
    params = AlignParams(
        pixel_size_A=simulated.settings.pixel_size_A,
        dose_per_frame_e_A2=simulated.settings.dose_e_A2,
        gain=str(files["gain"]),
        odd_even=True,
        psd=False,
    )
    return simulated, files["movie"], params
