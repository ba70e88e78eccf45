"""Programs that are not ours, and a small RELION project for them to work in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mrcfile
import numpy as np
import pytest

from flexalign.simulate import SimulatedMovie, simulate_movie

PIXEL_SIZE_A = 1.8
DOSE = 1.0
GAIN = "Movies/a.b_gain.mrc"


def call(folder: Path, *words: object) -> str:
    """What a program prints when it is run in `folder`; it must end well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def relion() -> Callable[..., str]:
    """Run a program of RELION in a folder, by its name without ``relion_``."""
    if shutil.which("relion_run_motioncorr") is None:
        pytest.skip("RELION is not installed (apt-get install relion)")
    return lambda folder, program, *words: call(folder, f"relion_{program}", *words)


class OurProgram:
    """Our command line as a program of its own."""

    def __call__(self, folder: Path, *words: object) -> str:
        """What it prints when it is run in `folder`; it must end well."""
        return call(folder, sys.executable, "-m", "flexalign", *words)

    @staticmethod
    def program(folder: Path) -> Path:
        """A file that runs it, for programs that want one."""
        path = folder / "flexalign"
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flexalign "$@"\n')
        path.chmod(0o755)
        return path


@pytest.fixture(scope="session")
def flexalign() -> OurProgram:
    return OurProgram()


class Project(NamedTuple):
    """A folder in which RELION works, with movies of one specimen in several formats."""

    folder: Path
    movie: SimulatedMovie

    def movies_star(self, *names: str) -> str:
        """RELION's list of these movies, as its Import job writes it; the name of the file."""
        path = self.folder / "Import" / "job001" / "movies.star"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{name} 1\n" for name in names)
        path.write_text(
            "# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n"
            "_rlnMicrographOriginalPixelSize #3\n_rlnVoltage #4\n_rlnSphericalAberration #5\n"
            f"_rlnAmplitudeContrast #6\nopticsGroup1 1 {PIXEL_SIZE_A} 300 2.7 0.1\n\n"
            "# version 30001\n\ndata_movies\n\nloop_\n_rlnMicrographMovieName #1\n"
            f"_rlnOpticsGroup #2\n{rows}\n"
        )
        return str(path.relative_to(self.folder))


def make_project(folder: Path) -> Project:
    """A project with Movies/a.b.mrc and Movies/c.tiff, higher than wide, moving askew."""
    movie = simulate_movie(
        shape_px=(800, 640), frame_count=10, pixel_size_A=PIXEL_SIZE_A, electrons_per_px=15.0,
        dose_per_frame_e_A2=1.0, motion="polynomial", global_motion_px=7.0, local_motion_px=5.0,
        seed=3, threads=2,
    )  # fmt: skip
    movie.save(folder / "Movies", "a.b", "mrc")
    movie.save(folder / "Movies", "c", "tiff")
    return Project(folder, movie)


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def our_job(project, relion, flexalign):
    """The folder of our External job, relative to the project."""
    movies = project.movies_star("Movies/a.b.mrc", "Movies/c.tiff")
    flexalign(
        project.folder, "relion-job", "--in_movies", movies, "--o", "External/job003/", "--j", 2,
        "--gain", GAIN, "--dose-per-frame", DOSE, "--patches", 4, 5,
    )  # fmt: skip
    return "External/job003"


@pytest.fixture(scope="session")
def relion_job(project, relion):
    """The folder of RELION's own motion correction with a local model."""
    movies = project.movies_star("Movies/a.b.mrc", "Movies/c.tiff")
    relion(
        project.folder, "run_motioncorr", "--i", movies, "--o", "MotionCorr/job002/", "--use_own",
        "--patch_x", 3, "--patch_y", 4, "--gainref", GAIN, "--dose_per_frame", DOSE,
        "--dose_weighting", "--save_noDW", "--j", 2, "--grouping_for_ps", 4, "--ps_size", 512,
    )  # fmt: skip
    return "MotionCorr/job002"


@pytest.fixture(scope="session")
def correlation() -> Callable[..., float]:
    """Correlation of two images up to a frequency (1/px), away from their edges."""

    def correlate(one: np.ndarray, other: np.ndarray, up_to: float, margin_px: int = 24) -> float:
        inner = slice(margin_px, -margin_px)
        window = np.outer(*(np.hanning(size - 2 * margin_px) for size in one.shape))
        a, b = (
            np.fft.rfft2((part - part.mean()) * window)
            for part in (image[inner, inner] for image in (one, other))
        )
        ky, kx = np.fft.fftfreq(window.shape[0]), np.fft.rfftfreq(window.shape[1])
        frequency = np.hypot(ky[:, None], kx)
        low = (frequency > 0) & (frequency <= up_to)
        power = np.vdot(a[low], a[low]).real * np.vdot(b[low], b[low]).real
        return float(np.vdot(a[low], b[low]).real / np.sqrt(power))

    return correlate


@pytest.fixture(scope="session")
def image() -> Callable[[Path], np.ndarray]:
    """Read the image (h, w) of an MRC file."""

    def read(path: Path) -> np.ndarray:
        with mrcfile.open(path, permissive=True) as mrc:
            return np.asarray(mrc.data, dtype=np.float64).reshape(mrc.data.shape[-2:])

    return read


@pytest.fixture(scope="session")
def stack() -> Callable[[Path], np.ndarray]:
    """Read the images (t, h, w) of an MRC file."""

    def read(path: Path) -> np.ndarray:
        with mrcfile.open(path, permissive=True) as mrc:
            return np.asarray(mrc.data, dtype=np.float64).reshape(-1, *mrc.data.shape[-2:])

    return read
