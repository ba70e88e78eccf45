"""Other motion correction programs, run on the same movie and read as displacements."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import numpy.typing as npt
from scoring import Found

from flexalign.model import FloatArray
from flexalign.simulate import SimulationSettings

RELION = "relion_run_motioncorr"
OUT = "out"
# Both from one run.
RELION_METHODS = ("RELION global", "RELION 5x5")
_TIMES, _PLACES = 3, 6  # terms z, z2, z3 and 1, x, x2, y, y2, xy of the local model
_UNOBSERVED = -9999
# Linux counts the memory of the process that starts a program as the program's own, so a small
# process stands in between.
_WATCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))
"""


class PeerError(Exception):
    """Another program did not write the requested outputs."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Time and memory of a program.

    Attributes
    ----------
    seconds : on the clock on the wall
    cpu_s : of all its threads
    peak_memory_bytes : most that it held at once
    """

    seconds: float
    cpu_s: float
    peak_memory_bytes: int


def watched(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> Watched:
    """Run a program in `folder`, with variables added to its environment.

    Raises
    ------
    PeerError
        If it fails; the message ends with its last output.
    """
    printed = subprocess.run(
        [sys.executable, "-S", "-c", _WATCHER, *map(str, command)],
        cwd=folder, env={**os.environ, **(environment or {})},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, seconds, cpu_s, peak_memory_bytes = json.loads(printed.stdout)
    if code != 0:
        raise PeerError(f"{command[0]} ended with code {code}: {printed.stderr[-500:]}")
    return Watched(seconds, cpu_s, peak_memory_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class RelionMotion:
    """The motion that RELION's per-movie STAR file holds, as displacements.

    RELION writes corrections; here the minus sign has been taken.  Pixels are unbinned.

    Attributes
    ----------
    path_px : (frames, 2) (y, x)
    coefficients_px : (2, 6, 3) of (y, x), the terms 1, x, x2, y, y2, xy, and z, z2, z3
    shape_px : (height, width)
    first_frame : zero-based; z counts from it
    """

    path_px: FloatArray
    coefficients_px: FloatArray
    shape_px: tuple[int, int]
    first_frame: int = 0

    def displacement_px(
        self, frame: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Displacement (dy, dx) of the specimen in `frame` at (y, x); the arguments broadcast."""
        frame, y, x = np.broadcast_arrays(np.asarray(frame, dtype=np.int64), y, x)
        v, u = y / self.shape_px[0] - 0.5, x / self.shape_px[1] - 0.5
        places = np.stack([np.ones_like(u), u, u**2, v, v**2, u * v], axis=-1)
        z = (frame - self.first_frame).astype(np.float64)
        times = np.stack([z, z**2, z**3], axis=-1)
        local = np.einsum("...p,...t,cpt->c...", places, times, self.coefficients_px)
        dy, dx = local + np.moveaxis(self.path_px[frame], -1, 0)
        return dy, dx


def relion_version() -> str | None:
    """The version of the installed RELION; None = not installed."""
    if shutil.which(RELION) is None:
        return None
    printed = subprocess.run([RELION, "--version"], capture_output=True, text=True, check=False)
    words = printed.stdout.split()
    return f"RELION {words[words.index('version:') + 1]}" if "version:" in words else "RELION"


def run_relion(movie: Path, gain: Path | None, settings: SimulationSettings, threads: int) -> Found:
    """RELION's own implementation with 5 x 5 patches.

    Raises
    ------
    PeerError
        If it leaves no micrograph behind.
    """
    with _by_relion(movie, gain, settings, threads) as (folder, cost):
        motion = read_relion_motion(folder / "movie.star")
        return Found(motion, mrcfile.read(folder / "movie.mrc"), cost.seconds)


def keep_relion_star(
    movie: Path, gain: Path | None, settings: SimulationSettings, threads: int, star: Path
) -> None:
    """Run RELION as in `run_relion` and keep its STAR file of the movie as `star`.

    Raises
    ------
    PeerError
        As `run_relion`.
    """
    with _by_relion(movie, gain, settings, threads) as (folder, _):
        shutil.copy(folder / "movie.star", star)


def relion_motions(
    movie: Path, gain: Path | None, settings: SimulationSettings, threads: int
) -> tuple[dict[str, RelionMotion], float]:
    """Both motions of one run of RELION by their method, and its seconds.

    The global motion is the one from which the local one starts.

    Raises
    ------
    PeerError
        As `run_relion`.
    """
    found = run_relion(movie, gain, settings, threads)
    local = found.motion
    rigid = replace(local, coefficients_px=np.zeros_like(local.coefficients_px))
    return dict(zip(RELION_METHODS, (rigid, local), strict=True)), found.seconds


def time_relion(
    movie: Path, gain: Path | None, settings: SimulationSettings, threads: int, eer_grouping: int
) -> Watched:
    """Time and memory of RELION's own implementation, with 5 x 5 patches and both sums.

    Raises
    ------
    PeerError
        If it does not leave both micrographs behind.
    """
    more = ["--dose_weighting", "--save_noDW", "--eer_grouping", str(eer_grouping)]
    with _by_relion(movie, gain, settings, threads, *more) as (folder, cost):
        if not (folder / "movie_noDW.mrc").exists():
            raise PeerError(f"{RELION} made no plain sum of {movie}")
        return cost


@contextmanager
def _by_relion(
    movie: Path, gain: Path | None, settings: SimulationSettings, threads: int, *more: str
) -> Iterator[tuple[Path, Watched]]:
    """A temporary folder with RELION's results, and their time and memory."""
    with tempfile.TemporaryDirectory(dir=movie.parent) as name:
        folder, link = Path(name), f"movie{movie.suffix}"
        (folder / link).symlink_to(movie.resolve())
        command = relion_command(
            link, gain, settings.pixel_size_A, settings.voltage_kV, settings.dose_e_A2, threads,
            *more,
        )  # fmt: skip
        cost = watched(command, folder, thread_limit(threads))
        missing = [
            file for file in ("movie.star", "movie.mrc") if not (folder / OUT / file).exists()
        ]
        if missing:
            raise PeerError(f"{RELION} made no {' and no '.join(missing)} of {movie}")
        yield folder / OUT, cost


def relion_command(
    movie: str,
    gain: Path | None,
    pixel_size_A: float,
    voltage_kV: float,
    dose_e_A2: float | None,
    threads: int,
    *more: str,
    patches: int = 5,
) -> list[str]:
    """The words that run RELION's own implementation, with results in the folder `OUT`.

    Parameters
    ----------
    movie : path relative to the folder in which RELION runs
    dose_e_A2 : per frame; None = unknown
    patches : along each side of a frame; 1 = no local motion
    """
    words = [
        RELION, "--i", movie, "--o", f"{OUT}/", "--use_own", "--j", str(threads),
        "--patch_x", str(patches), "--patch_y", str(patches), "--bfactor", "150",
        "--angpix", str(pixel_size_A), "--voltage", str(voltage_kV),
    ]  # fmt: skip
    if dose_e_A2 is not None:
        words += ["--dose_per_frame", str(dose_e_A2)]
    if gain is not None:
        words += ["--gainref", str(gain.resolve())]
    return [*words, *more]


def thread_limit(threads: int) -> dict[str, str]:
    """The environment that limits the threads of a program that uses OpenMP."""
    return {"OMP_NUM_THREADS": str(threads)}


def read_relion_motion(path: Path) -> RelionMotion:
    """The motion in RELION's STAR file of one movie; missing frames follow their neighbours."""
    blocks = _star_blocks(path)
    general = dict(blocks["general"].rows)
    frames = int(general["rlnImageSizeZ"])
    shape_px = int(general["rlnImageSizeY"]), int(general["rlnImageSizeX"])
    shifts = blocks["global_shift"]
    number = shifts.column("rlnMicrographFrameNumber").astype(np.int64) - 1
    shift_px = np.stack([shifts.column(f"rlnMicrographShift{axis}") for axis in "YX"], axis=1)
    known = (shift_px != _UNOBSERVED).all(axis=1)
    path_px = np.stack(
        [np.interp(np.arange(frames), number[known], -shift_px[known, c]) for c in (0, 1)], axis=1
    )
    coefficients = np.zeros((2, _PLACES, _TIMES))
    if "local_motion_model" in blocks:
        model = blocks["local_motion_model"]
        order = np.argsort(model.column("rlnMotionModelCoeffsIdx"))
        # X comes first in the file, and within an axis the power of z runs fastest.
        by_axis = model.column("rlnMotionModelCoeff")[order].reshape(2, _PLACES, _TIMES)
        coefficients = -by_axis[::-1]
    first = int(general.get("rlnMicrographStartFrame", 1)) - 1
    return RelionMotion(path_px, coefficients, shape_px, first)


@dataclass(frozen=True, slots=True)
class _Block:
    """One data block of a STAR file: a loop with its labels, or pairs of label and value."""

    labels: list[str]
    rows: list[Sequence[str]]

    def column(self, label: str) -> FloatArray:
        index = self.labels.index(label)
        return np.array([float(row[index]) for row in self.rows])


def _star_blocks(path: Path) -> dict[str, _Block]:
    """The blocks of a STAR file by name, without the "data_" in front."""
    blocks: dict[str, _Block] = {}
    block = _Block([], [])
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#") or words[0] == "loop_":
            continue
        if words[0].startswith("data_"):
            block = blocks[words[0].removeprefix("data_")] = _Block([], [])
        elif words[0].startswith("_") and len(words) > 1 and not words[1].startswith("#"):
            block.rows.append((words[0].removeprefix("_"), words[1]))
        elif words[0].startswith("_"):
            block.labels.append(words[0].removeprefix("_"))
        else:
            block.rows.append(words)
    return blocks
