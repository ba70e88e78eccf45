"""Warp's XML file of one movie: motion on grids, written and read.

The grids hold corrections, minus our displacements, in Angstrom.  Their nodes are spread evenly
from one edge of the frame, and from the first frame, to the other; between them Warp uses a
natural cubic spline.  Place p of the movie is at p / size, frame z at z / (frames - 1).
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from flexalign.errors import InputError
from flexalign.io.atomic import replacing
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion, MotionField, Trajectory, fit_field

# Nodes for each control point of ours: the natural spline then differs by thousandths of a pixel.
NODES_PER_CONTROL_POINT = 3

_WHOLE = ("GridMovementY", "GridMovementX")
_LOCAL = (("GridLocalMovementY", "PyramidShiftY"), ("GridLocalMovementX", "PyramidShiftX"))
_SAMPLES = 25


def write_warp(path: str | Path, motion: Motion, pixel_size_A: float) -> None:
    """Write the XML that Warp keeps beside a movie, with its motion and nothing else.

    Parameters
    ----------
    pixel_size_A : of the unbinned movie

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    root = ElementTree.Element("Movie")
    whole = -motion.trajectory.displacement_px * pixel_size_A
    for axis, name in reversed(list(enumerate(_WHOLE))):
        _add_grid(root, name, whole[:, axis].reshape(-1, 1, 1))
    if motion.field is not None:
        local = -_at_nodes(motion.field, motion.frame_count) * pixel_size_A
        for axis, (name, _) in reversed(list(enumerate(_LOCAL))):
            _add_grid(root, name, local[axis])
    ElementTree.indent(root)
    with replacing(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def read_warp(
    path: str | Path, frame_count: int, shape_px: tuple[int, int], pixel_size_A: float
) -> Motion:
    """The motion in Warp's XML of a movie, zero in the first frame.

    Parameters
    ----------
    frame_count, shape_px : of the movie, (height, width)
    pixel_size_A : of the unbinned movie

    Raises
    ------
    InputError
        If the file is not XML, holds no motion, or that of another number of frames.
    """
    try:
        root = ElementTree.parse(path).getroot()
        whole = [_grid(root, name) for name in _WHOLE]
        local = [[grid for name in names for grid in _grids(root, name)] for names in _LOCAL]
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise InputError(f"{path}: expected Warp's XML of a movie: {error}") from error
    if len(whole[0]) not in (1, frame_count):
        raise InputError(
            f"{path}: expected the motion of {frame_count} frames, found {len(whole[0])}"
        )
    time = np.linspace(0, 1, frame_count)
    middle = np.array([0.5])
    path_px = -np.stack(
        [_values(grid, time, middle, middle)[:, 0, 0] for grid in whole], axis=1
    ) / pixel_size_A  # fmt: skip
    measured = np.ones(frame_count, np.bool_)
    if not any(grid.any() for grids in local for grid in grids):
        return Motion(Trajectory(path_px, measured, 0))
    field_px, field = _field(local, frame_count, shape_px, pixel_size_A)
    return Motion(Trajectory(path_px + field_px, measured, 0), field)


def frame_count(path: str | Path) -> int | None:
    """How many frames Warp's XML is about; None when its movement is one node.

    Raises
    ------
    InputError
        If the file is not XML or holds no motion.
    """
    try:
        grid = _grid(ElementTree.parse(path).getroot(), _WHOLE[0])
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise InputError(f"{path}: expected Warp's XML of a movie: {error}") from error
    return len(grid) if len(grid) > 1 else None


def _field(
    grids: list[list[FloatArray]], frame_count: int, shape_px: tuple[int, int], pixel_size_A: float
) -> tuple[FloatArray, MotionField]:
    """Mean over the field (frames, 2) of the sum of grids for each axis, and what it leaves."""
    time, place = np.linspace(0, 1, frame_count), np.linspace(0, 1, _SAMPLES)
    sums = [sum(_values(grid, time, place, place) for grid in axis) for axis in grids]
    local = -np.stack([np.broadcast_to(s, (frame_count, _SAMPLES, _SAMPLES)) for s in sums])
    local = local / pixel_size_A  # (2, t, y, x)
    mean = local.mean(axis=(2, 3))
    tracks = (local - mean[:, :, None, None]).reshape(2, frame_count, -1).transpose(2, 1, 0)
    nodes = np.array([grid.shape for axis in grids for grid in axis]).max(axis=0)
    t, y, x = (
        min(int(count) + 2, limit)
        for count, limit in zip(nodes, (frame_count, _SAMPLES, _SAMPLES), strict=True)
    )
    rows, columns = np.meshgrid(place * shape_px[0], place * shape_px[1], indexing="ij")
    frames = FrameRange(0, frame_count)
    field = fit_field(tracks, rows.ravel(), columns.ravel(), frames, (t, y, x), shape_px)
    return mean.T, field


def _at_nodes(field: MotionField, frame_count: int) -> FloatArray:
    """The field (2, t, y, x) at the nodes of a grid fine enough for it."""
    t, y, x = (NODES_PER_CONTROL_POINT * count for count in field.control_points)
    frames = np.linspace(0, frame_count - 1, min(t, frame_count))
    rows, columns = np.linspace(0, field.height_px, y), np.linspace(0, field.width_px, x)
    return np.stack([field.on_lattice(frame, rows, columns) for frame in frames], axis=1)


def _add_grid(root: ElementTree.Element, name: str, values: FloatArray) -> None:
    """Add a grid (z, y, x) to the file."""
    depth, height, width = values.shape
    sizes = {"Width": str(width), "Height": str(height), "Depth": str(depth)}
    margins = {f"Margin{axis}": "0" for axis in "XYZ"}
    grid = ElementTree.SubElement(root, name, {**sizes, **margins})
    for (z, y, x), value in np.ndenumerate(values + 0.0):
        place = {"X": str(x), "Y": str(y), "Z": str(z)}
        ElementTree.SubElement(grid, "Node", {**place, "Value": f"{value:.9g}"})


def _grid(root: ElementTree.Element, name: str) -> FloatArray:
    """The one grid (z, y, x) of this name."""
    grids = _grids(root, name)
    if len(grids) != 1:
        raise KeyError(f"expected one {name}, found {len(grids)}")
    return grids[0]


def _grids(root: ElementTree.Element, name: str) -> list[FloatArray]:
    """All grids (z, y, x) of this name."""
    grids = []
    for element in root.findall(name):
        shape = tuple(int(element.get(side, "1")) for side in ("Depth", "Height", "Width"))
        values = np.zeros(shape)
        for node in element.findall("Node"):
            z, y, x = (int(node.get(axis, "0")) for axis in "ZYX")
            values[z, y, x] = float(node.get("Value", "0"))
        grids.append(values)
    return grids


def _values(grid: FloatArray, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """A grid (z, y, x) interpolated on a lattice of places in [0, 1], as Warp does."""
    from scipy.interpolate import CubicSpline  # takes a tenth of a second to load

    for axis, places in enumerate((z, y, x)):
        count = grid.shape[axis]
        if count == 1:
            grid = np.repeat(grid, len(places), axis=axis)
        else:
            nodes = np.linspace(0, 1, count)
            grid = CubicSpline(nodes, grid, axis=axis, bc_type="natural")(places)
    return grid
