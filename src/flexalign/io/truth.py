"""The known motion of a simulated movie: ``_truth.npz``, read as any other motion.

`flexalign.simulate` writes it: displacements on a lattice of places, in our sign.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexalign.errors import InputError
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion, Trajectory, fit_field

# With so many control points in time the lattice is met exactly; a system of more is unstable.
MOST_TIMES = 60


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is known of a simulated movie.

    Attributes
    ----------
    displacement_px : (frames, ny, nx, 2) (y, x)
    y_px, x_px : rows (ny,) and columns (nx,) of the lattice
    shape_px : (height, width) of the movie
    pixel_size_A : of the movie
    """

    displacement_px: FloatArray
    y_px: FloatArray
    x_px: FloatArray
    shape_px: tuple[int, int]
    pixel_size_A: float


def read_truth(path: str | Path) -> Truth:
    """The truth in a ``_truth.npz``.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no truth of ours.
    """
    try:
        # numpy leaves a file that it opened itself open when the file is broken.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as saved:
            settings = json.loads(str(saved["settings"]))
            displacement_px, y_px, x_px = (
                np.asarray(saved[name], dtype=np.float64)
                for name in ("displacement_px", "lattice_y_px", "lattice_x_px")
            )
        height, width = settings["shape_px"]
        shape_px, pixel_size_A = (int(height), int(width)), float(settings["pixel_size_A"])
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        SyntaxError,
        zlib.error,
        NotImplementedError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(
            f"{path}: expected the true motion of a movie of 'flexalign simulate': {error!r}"
        ) from error
    if displacement_px.shape[1:] != (len(y_px), len(x_px), 2):
        raise InputError(
            f"{path}: expected displacements at {len(y_px)} x {len(x_px)} places, found an array "
            f"of {displacement_px.shape}"
        )
    return Truth(displacement_px, y_px, x_px, shape_px, pixel_size_A)


def true_motion(truth: Truth) -> Motion:
    """The truth as a motion: exact at its lattice (up to 60 frames), a B-spline between."""
    frames = FrameRange(0, len(truth.displacement_px))
    whole = truth.displacement_px.mean(axis=(1, 2))
    trajectory = Trajectory(whole, np.ones(frames.count, np.bool_), 0)
    local = truth.displacement_px - whole[:, None, None]
    if not local.any():
        return Motion(trajectory)
    rows, columns = np.meshgrid(truth.y_px, truth.x_px, indexing="ij")
    points = (min(frames.count, MOST_TIMES), len(truth.y_px), len(truth.x_px))
    tracks = local.reshape(frames.count, -1, 2).transpose(1, 0, 2)
    field = fit_field(tracks, rows.ravel(), columns.ravel(), frames, points, truth.shape_px)
    return Motion(trajectory, field)
