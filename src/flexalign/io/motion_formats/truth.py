"""The known motion of a simulated movie: ``_truth.npz``, read as any other motion.

`flexalign.simulate` writes it: displacements on a lattice of places, in our sign.
"""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.files import check_regular_file
from flexalign.io.motion_formats.field_fit import fit_field
from flexalign.io.motion_formats.numbers_in_files import shifts, size_px
from flexalign.io.read_errors import reading
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion, Trajectory

# Up to this many control points in time the lattice is interpolated exactly; more are unstable.
MAX_TIMES = 60
# For scale: a thousand frames at 50 x 50 places are 40 MB.
MAX_ARRAY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The truth about a simulated movie.

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
    with reading(path, "the true motion of a movie of 'flexalign simulate'"):
        check_regular_file(path)
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(str(_array(archive, "settings")))
            displacement_px, y_px, x_px = (
                shifts(_array(archive, name))
                for name in ("displacement_px", "lattice_y_px", "lattice_x_px")
            )
        height, width = (size_px(str(size)) for size in settings["shape_px"])
        pixel_size_A = float(shifts(settings["pixel_size_A"], "a pixel size"))
    if displacement_px.shape[1:] != (y_px.size, x_px.size, 2) or not displacement_px.size:
        raise InputError(
            f"{path}: expected displacements at {y_px.size} x {x_px.size} places, found an array "
            f"of {displacement_px.shape}"
        )
    return Truth(displacement_px, y_px.ravel(), x_px.ravel(), (height, width), pixel_size_A)


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """One array of a NumPy archive, with its size checked against its header."""
    size_bytes = archive.getinfo(f"{name}.npy").file_size
    if size_bytes > MAX_ARRAY_BYTES:
        raise ValueError(f"expected up to {MAX_ARRAY_BYTES} bytes of {name}, found {size_bytes}")
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"expected version 1.0 of {name}, found {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        data = file.read(MAX_ARRAY_BYTES)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"expected {shape} values of {name}, found {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def true_motion(truth: Truth) -> Motion:
    """The truth as a motion: exact at its lattice (up to 60 frames), a B-spline between."""
    frames = FrameRange(0, len(truth.displacement_px))
    whole = truth.displacement_px.mean(axis=(1, 2))
    trajectory = Trajectory(whole, np.ones(frames.count, np.bool_), 0)
    local = truth.displacement_px - whole[:, None, None]
    if not local.any():
        return Motion(trajectory)
    rows, columns = np.meshgrid(truth.y_px, truth.x_px, indexing="ij")
    points = (min(frames.count, MAX_TIMES), len(truth.y_px), len(truth.x_px))
    tracks = local.reshape(frames.count, -1, 2).transpose(1, 0, 2)
    field = fit_field(tracks, rows.ravel(), columns.ravel(), frames, points, truth.shape_px)
    return Motion(trajectory, field)
