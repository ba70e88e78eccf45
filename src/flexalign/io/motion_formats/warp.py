"""Read and write Warp's XML file of one movie: motion on grids.

The grids hold corrections, minus our displacements, in Angstrom; the motion is their sum.  On
their axes, place p of the movie is at p / size and frame z at z / (frames - 1), whatever the
number of nodes.  The number of frames, their size and their pixel size are among the options of
the measurement.

References
----------
https://github.com/warpem/warp, WarpLib/Movie.cs (GetShiftFromPyramid, GetMotionTrack) and
ProcessingOptionsBase.cs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexalign.atomic import replacing
from flexalign.errors import InputError
from flexalign.io.motion_formats.field_fit import fit_field
from flexalign.io.motion_formats.numbers_in_files import MAX_FRAMES, MAX_SIZE_PX
from flexalign.io.motion_formats.warp_grids import Grid, add_grid, grids_of
from flexalign.io.read_errors import reading
from flexalign.io.xml_tree import read_xml
from flexalign.model import FloatArray, FrameRange, MovieInfo
from flexalign.motion import Motion, MotionField, Trajectory

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Nodes for each control point of ours: the natural spline then differs by thousandths of a pixel.
NODES_PER_CONTROL_POINT = 3
MAX_PIXEL_SIZE_RATIO = 1.01

_GRIDS = {
    axis: (f"GridMovement{axis}", f"GridLocalMovement{axis}", f"PyramidShift{axis}")
    for axis in "YX"
}
_OPTIONS = ("OptionsMovement", "OptionsMovieExport")
_SAMPLES_PER_NODE, _MAX_SAMPLES = 3, 25
_WHAT = "Warp's XML of a movie"


@dataclass(frozen=True, slots=True)
class WarpOptions:
    """Facts about the movie in Warp's XML; None = not in the file.

    Attributes
    ----------
    frame_count : EER: of sums of raw frames
    shape_px : (height, width) unbinned
    pixel_size_A : unbinned
    eer_grouping : raw frames in a frame; negative: minus the number of frames
    """

    frame_count: int | None = None
    shape_px: tuple[int, int] | None = None
    pixel_size_A: float | None = None
    eer_grouping: int | None = None


def write_warp(path: str | Path, motion: Motion, pixel_size_A: float, movie: MovieInfo) -> None:
    """Write Warp's XML of a movie, with its motion and the folder of its file.

    Parameters
    ----------
    pixel_size_A : of the unbinned movie

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from xml.etree import ElementTree

    root = ElementTree.Element("Movie", _attributes(motion, pixel_size_A, movie))
    _add_options(root, motion.frame_count, pixel_size_A, movie)
    whole = -motion.trajectory.displacement_px * pixel_size_A
    for axis, name in ((1, "GridMovementX"), (0, "GridMovementY")):
        add_grid(root, name, whole[:, axis].reshape(-1, 1, 1))
    if motion.field is not None:
        local = -_at_nodes(motion.field, motion.frame_count) * pixel_size_A
        for axis, name in ((1, "GridLocalMovementX"), (0, "GridLocalMovementY")):
            add_grid(root, name, local[axis])
    ElementTree.indent(root)
    with replacing(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def read_options(path: str | Path) -> WarpOptions:
    """Facts about the movie in Warp's XML.

    Raises
    ------
    InputError
        If the file is not Warp's XML of a movie, or is that of a tilt series.
    """
    with reading(path, _WHAT):
        root = _movie(path)
        _motion_grids(root)
        return _options(root)


def read_warp(
    path: str | Path,
    frame_count: int | None,
    shape_px: tuple[int, int],
    pixel_size_A: float | None,
) -> Motion:
    """The motion in Warp's XML of a movie, zero in the first frame.

    Parameters
    ----------
    frame_count : of the movie, None where it is not known
    shape_px : (height, width) of the movie
    pixel_size_A : of the unbinned movie, None where it is not known

    Raises
    ------
    InputError
        If the file is not Warp's XML of a movie, holds no motion, or that of another movie, or if
        neither it nor the caller knows the number of frames and the pixel size.
    """
    with reading(path, _WHAT):
        root = _movie(path)
        options, grids = _options(root), _motion_grids(root)
        frames = _known_frame_count(options, frame_count)
        pixel_A = _known_pixel_size_A(options, pixel_size_A)
        return _motion(grids, frames, shape_px, pixel_A)


def _movie(path: str | Path) -> Element:
    """The element of the movie."""
    root = read_xml(path, _WHAT)
    if root.tag == "TiltSeries":
        raise InputError(
            "is Warp's XML of a tilt series, whose grids move tilts and not frames; give that of "
            "one of its movies"
        )
    if root.tag != "Movie":
        raise ValueError(f"found an element {root.tag:.40}")
    return root


def _motion_grids(root: Element) -> list[list[Grid]]:
    """The grids of (y, x)."""
    found = []
    for names in _GRIDS.values():
        count = len(root.findall(names[0]))
        if count != 1:
            raise ValueError(f"expected one {names[0]}, found {count}")
        found.append([grid for name in names for grid in grids_of(root, name)])
    return found


def _options(root: Element) -> WarpOptions:
    """The options with which the motion was measured, or else applied."""
    element = next((found for name in _OPTIONS if (found := root.find(name)) is not None), None)
    if element is None:
        return WarpOptions()
    words = {param.get("Name", ""): param.get("Value", "") for param in element.findall("Param")}
    pixel_A = _number(words.get("PixelSize", words.get("PixelSizeX", "0")))
    width_A, height_A, frames = [
        *map(_number, words.get("Dimensions", "0,0,0").split(",")), 0.0, 0.0, 0.0
    ][:3]  # fmt: skip
    is_binned = _number(words.get("BinTimes", "0")) != 0
    shape_px = None
    if pixel_A > 0 and not is_binned:
        sizes = [round(size_A / pixel_A) for size_A in (height_A, width_A)]
        shape_px = (sizes[0], sizes[1]) if all(0 < n <= MAX_SIZE_PX for n in sizes) else None
    return WarpOptions(
        round(frames) if 1 < frames <= MAX_FRAMES else None,
        shape_px,
        pixel_A if pixel_A > 0 else None,
        int(_number(words.get("EERGroupFrames", "0"))) or None,
    )


def _number(word: str) -> float:
    """A number among the options."""
    value = float(word)
    if not abs(value) <= 1e9:
        raise ValueError(f"expected numbers among the options, found {word:.40}")
    return value


def _known_frame_count(options: WarpOptions, frame_count: int | None) -> int:
    """The number of frames, checked between file and movie."""
    found = options.frame_count
    if found is None and frame_count is None:
        raise InputError(
            "does not say how many frames the movie has, as Warp does among its options "
            f"({_OPTIONS[0]}); apply it to the movie, or compare it with an alignment that says it"
        )
    if found is not None and frame_count is not None and found != frame_count:
        hint = "is it the right movie?"
        if options.eer_grouping is not None:
            hint = f"make as many frames as Warp did with `eer_fractions` {found}"
        raise InputError(f"expected the motion of {frame_count} frames, found {found}; {hint}")
    return found or frame_count or 0


def _known_pixel_size_A(options: WarpOptions, pixel_size_A: float | None) -> float:
    """The pixel size that Warp used to convert pixels to Angstrom, in pixels of this movie.

    EER frames may be twice or four times as fine here.
    """
    found = options.pixel_size_A
    if found is None:
        if pixel_size_A is None:
            raise InputError("Warp's motion is in Angstrom: give `pixel_size_A` of the movie")
        return pixel_size_A
    finer = (1, 2, 4) if options.eer_grouping is not None else (1,)
    for times in finer:
        ratio = times * (pixel_size_A or found) / found
        if 1 / MAX_PIXEL_SIZE_RATIO <= ratio <= MAX_PIXEL_SIZE_RATIO:
            return found / times
    raise InputError(
        f"expected the motion of a movie of {pixel_size_A:.4g} A pixels, found {found:.4g} A in "
        "Warp's options; is it the right movie, and the right pixel size?"
    )


def _motion(
    grids: list[list[Grid]], frame_count: int, shape_px: tuple[int, int], pixel_size_A: float
) -> Motion:
    """The motion of (y, x) grids."""
    time, middle = np.linspace(0, 1, frame_count), np.array([0.5])
    path_px = np.zeros((frame_count, 2))
    local: list[list[Grid]] = []
    for axis, found in enumerate(grids):
        for grid in found:
            if grid.is_uniform:
                path_px[:, axis] -= grid.on_lattice(time, middle, middle)[:, 0, 0] / pixel_size_A
        local.append([grid for grid in found if not grid.is_uniform])
    measured = np.ones(frame_count, np.bool_)
    if not any(grid.values.any() for found in local for grid in found):
        return Motion(Trajectory(path_px, measured, 0))
    field_px, field = _field(local, frame_count, shape_px, pixel_size_A)
    return Motion(Trajectory(path_px + field_px, measured, 0), field)


def _field(
    grids: list[list[Grid]], frame_count: int, shape_px: tuple[int, int], pixel_size_A: float
) -> tuple[FloatArray, MotionField]:
    """Mean over the field (frames, 2) of the sum of grids for each axis, and the residual."""
    nodes = np.array([grid.values.shape for found in grids for grid in found]).max(axis=0)
    samples = [min(_SAMPLES_PER_NODE * int(count), _MAX_SAMPLES) for count in nodes[1:]]
    time = np.linspace(0, 1, frame_count)
    y, x = (np.linspace(0, 1, count) for count in samples)
    local = np.zeros((2, frame_count, *samples))
    for axis, found in enumerate(grids):
        for grid in found:
            local[axis] -= grid.on_lattice(time, y, x) / pixel_size_A
    mean = local.mean(axis=(2, 3))
    local -= mean[:, :, None, None]
    tracks = local.reshape(2, frame_count, -1).transpose(2, 1, 0)
    points = _control_points(nodes, (frame_count, *samples))
    rows, columns = np.meshgrid(y * shape_px[0], x * shape_px[1], indexing="ij")
    frames = FrameRange(0, frame_count)
    return mean.T, fit_field(tracks, rows.ravel(), columns.ravel(), frames, points, shape_px)


def _control_points(nodes: Sequence[int], maximum: Sequence[int]) -> tuple[int, int, int]:
    """Control points (t, y, x), two intervals per grid interval: they represent the grid's spline.

    Splines of coarser grids, with nodes in between, are represented to hundredths of a pixel.
    """
    t, y, x = (min(2 * int(n) + 1, limit) for n, limit in zip(nodes, maximum, strict=True))
    return t, y, x


def _at_nodes(field: MotionField, frame_count: int) -> FloatArray:
    """The field (2, t, y, x) at the nodes of a grid fine enough for it."""
    t, y, x = (NODES_PER_CONTROL_POINT * count for count in field.control_points)
    frames = np.linspace(0, frame_count - 1, min(t, frame_count))
    rows, columns = np.linspace(0, field.height_px, y), np.linspace(0, field.width_px, x)
    return np.stack([field.on_lattice(frame, rows, columns) for frame in frames], axis=1)


def _attributes(motion: Motion, pixel_size_A: float, movie: MovieInfo) -> dict[str, str]:
    """What Warp says of the movie as a whole; it takes what is missing as not measured."""
    steps_px = np.linalg.norm(np.diff(motion.trajectory.displacement_px, axis=0), axis=1)
    early_px = steps_px[: max(1, len(steps_px) // 3)]
    movement_A = float(early_px.mean()) * pixel_size_A if len(early_px) else 0.0
    return {
        "DataDirectory": str(Path(movie.path).absolute().parent),
        "UnselectFilter": "False",
        "UnselectManual": "null",
        "MeanFrameMovement": f"{movement_A:.9g}",
    }


def _add_options(root: Element, frames: int, pixel_size_A: float, movie: MovieInfo) -> None:
    """Add the options that Warp needs to evaluate the motion frame by frame."""
    from xml.etree.ElementTree import SubElement

    width_A, height_A = movie.width_px * pixel_size_A, movie.height_px * pixel_size_A
    values = {
        "PixelSize": f"{pixel_size_A:.9g}",
        "PixelSizeX": f"{pixel_size_A:.9g}",
        "PixelSizeY": f"{pixel_size_A:.9g}",
        "BinTimes": "0",
        "EERGroupFrames": str(movie.eer.raw_frames_per_frame if movie.eer else 0),
        "Dimensions": f"{width_A:.9g},{height_A:.9g},{frames}",
    }
    element = SubElement(root, _OPTIONS[0])
    for name, value in values.items():
        SubElement(element, "Param", {"Name": name, "Value": value})
