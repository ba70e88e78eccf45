"""Read and write Xmipp's motion: ``<root>_shifts.xmd``, with its own B-spline convention.

Xmipp keeps the correction, minus the displacement; the minus signs are in this module only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexalign.atomic import replacing
from flexalign.errors import InputError
from flexalign.files import read_text
from flexalign.io.motion_formats.field_fit import fit_field
from flexalign.io.motion_formats.numbers_in_files import MAX_FRAMES, shifts, whole_number
from flexalign.io.read_errors import reading
from flexalign.io.star import read_star
from flexalign.model import FloatArray, FrameRange, MaskArray, PatchTracks
from flexalign.motion import Motion, MotionField, Trajectory

MIN_CONTROL_POINTS = 3
LATTICE_POINTS_PER_CONTROL_POINT = 5

_SPLINE_SAMPLES = 25
# (x, y, t), limited by the number of samples of the fit.
_MAX_CONTROL_POINTS = (_SPLINE_SAMPLES, _SPLINE_SAMPLES, 100)
_MIN_MOTION_PX2 = 4.0
_BINNING_COMMENT = "flexalign: the B-spline is binned by"


@dataclass(frozen=True, slots=True, eq=False)
class XmippShifts:
    """The whole-frame part of a ``_shifts.xmd``, in our sign.

    Attributes
    ----------
    displacement_px : (frames, 2) (y, x), pixels of the unbinned movie
    is_enabled : (frames,)
    reference_frame : zero-based in the file
    """

    displacement_px: FloatArray
    is_enabled: MaskArray
    reference_frame: int


@dataclass(frozen=True, slots=True, eq=False)
class XmippSpline:
    """A B-spline as Xmipp evaluates it: the correction, over t, y and x.

    Its value is ``sum_l c_l B(x/hx - lx) B(y/hy - ly) B(t/ht - lt)`` with the centred cubic
    B-spline B, l from -1 to L - 2 and h = size / (L - 3), or size when L = 3.

    Attributes
    ----------
    coefficients_px : (2, points t, points y, points x), components (y, x); pixels of the
        binned movie
    size : (frames, height, width) that it spans, of the unbinned movie
    """

    coefficients_px: FloatArray
    size: tuple[int, int, int]

    @property
    def control_points(self) -> tuple[int, int, int]:
        """Number of control points in (t, y, x)."""
        _, t, y, x = self.coefficients_px.shape
        return t, y, x

    def on_lattice(self, y_px: FloatArray, x_px: FloatArray) -> FloatArray:
        """The correction (2, frames, len(y), len(x)) at rows `y_px`, columns `x_px`."""
        basis = _lattice_basis(self.size, self.control_points, y_px, x_px)
        return np.asarray(
            np.einsum("cabd,ia,jb,kd->cijk", self.coefficients_px, *basis, optimize=True)
        )


def write_shifts(
    path: str | Path,
    motion: Motion,
    movie_path: str | Path,
    *,
    binning: float = 1.0,
    tracks: PatchTracks | None = None,
    listed: FrameRange | None = None,
) -> None:
    """Write the trajectory, the reference frame and, with a field, Xmipp's B-spline of it all.

    The block ``frameShifts`` has the corrections of whole frames in pixels of the unbinned
    movie; a frame that was not measured has ``enabled`` -1, and no shift before the first and
    after the last one that was.  The block ``localAlignment`` has the B-spline of the whole
    motion, in pixels of the movie binned by `binning`, and its distance from the trajectory at the
    centres of the patches (2.5 and 97.5 percentiles).

    Parameters
    ----------
    binning : of the micrograph
    tracks : the measured patches; without them there are as many patches as control points
    listed : frames that get a row, from the first of which the reference frame is counted; within
        the aligned range a frame that was not measured is enabled too, for programs that expect one
        shift per listed frame.  Default: all frames of the movie

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    blocks = [_frame_shifts(motion, movie_path, listed), _reference_frame(motion, listed)]
    if motion.field is not None:
        blocks.append(_local_alignment(motion, motion.field, binning, tracks))
    text = f"# XMIPP_STAR_1 * \n# {_BINNING_COMMENT} {binning:.9g}\n" + "\n".join(blocks)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_shifts(path: str | Path) -> XmippShifts:
    """The whole-frame motion in a ``_shifts.xmd``, in our sign.

    Raises
    ------
    InputError
        If the file cannot be read, or has no ``frameShifts``.
    """
    with reading(path, "Xmipp metadata with the blocks frameShifts and referenceFrame"):
        blocks = read_star(path)
        table = blocks["frameShifts"]
        displacement = -shifts([table["shiftY"], table["shiftX"]]).T
        enabled = [int(item) > 0 for item in table["enabled"]]
        if not 0 < len(enabled) <= MAX_FRAMES:
            raise ValueError(f"expected 1 to {MAX_FRAMES} frames, found {len(enabled)}")
        reference = int(blocks["referenceFrame"]["ref"][0])
    return XmippShifts(displacement + 0.0, np.array(enabled), reference)


def read_motion(path: str | Path, shape_px: tuple[int, int]) -> Motion:
    """The motion that Xmipp applied: its B-spline if there is one, else the whole-frame shifts.

    Xmipp's files do not give the binning of the B-spline; ours do, in a comment.  In other files it
    is estimated as the ratio of the whole-frame shifts to the mean of the B-spline over the frame,
    to the nearest half; 1 if there is hardly any motion.

    Parameters
    ----------
    shape_px : (height, width) of the unbinned movie

    Raises
    ------
    InputError
        If the file cannot be read, or its blocks do not fit each other.
    """
    shifts = read_shifts(path)
    enabled = np.flatnonzero(shifts.is_enabled)
    if not enabled.size:
        raise InputError(f"{path}: expected shifts of frames, found none that is enabled")
    used = FrameRange(int(enabled[0]), int(enabled[-1]) + 1)
    count = len(shifts.is_enabled)
    nearest = np.clip(np.arange(count), used.first, used.stop - 1)
    whole = shifts.displacement_px[nearest]
    reference = min(max(shifts.reference_frame, 0), count - 1)
    table = read_star(path).get("localAlignment")
    if table is None:
        return Motion(Trajectory(whole, shifts.is_enabled, reference))
    with reading(path, "Xmipp's B-spline in the block localAlignment"):
        spline = _spline(table, (used.count, *shape_px))
    y_px, x_px = (np.linspace(0, size - 1, _SPLINE_SAMPLES) for size in shape_px)
    total = -spline.on_lattice(y_px, x_px)  # (2, t, y, x), binned
    mean = total.mean(axis=(2, 3)).T
    binning = _written_binning(path) or _binning(whole[used.first : used.stop], mean)
    tracks = binning * (total - mean.T[:, :, None, None]).reshape(2, used.count, -1)
    rows, columns = np.meshgrid(y_px, x_px, indexing="ij")
    points = (
        min(2 * spline.control_points[0], used.count),
        max(4, spline.control_points[1]),
        max(4, spline.control_points[2]),
    )
    field = fit_field(
        tracks.transpose(2, 1, 0), rows.ravel(), columns.ravel(), used, points, shape_px
    )
    path_px = binning * mean[nearest - used.first]
    return Motion(Trajectory(path_px, shifts.is_enabled, reference), field)


def _spline(table: dict[str, list[str]], size: tuple[int, int, int]) -> XmippSpline:
    """The B-spline in the block ``localAlignment``."""
    x, y, t = (
        whole_number(word, "control points", MIN_CONTROL_POINTS, maximum)
        for word, maximum in zip(
            table["localAlignmentControlPoints"][0].split(), _MAX_CONTROL_POINTS, strict=True
        )
    )
    components = [
        shifts(table[f"localAlignmentCoeffs{axis}"][0].split(), "coefficients") for axis in "YX"
    ]
    return XmippSpline(np.stack(components).reshape(2, t, y, x), size)


def _binning(whole_px: FloatArray, spline_px: FloatArray) -> float:
    """Binning of the B-spline, from the whole-frame motion in both."""
    a, b = (path - path.mean(axis=0) for path in (whole_px, spline_px))
    power = float(np.sum(b * b))
    if power < _MIN_MOTION_PX2:
        return 1.0
    return max(1.0, round(2 * float(np.sum(a * b)) / power) / 2)


def _written_binning(path: str | Path) -> float | None:
    """The binning in the comment of a file of ours."""
    found = re.search(rf"^# {_BINNING_COMMENT} (\S+)$", read_text(path), re.MULTILINE)
    return None if found is None else float(found[1])


def fit_xmipp_spline(motion: Motion, field: MotionField, binning: float = 1.0) -> XmippSpline:
    """Least-squares fit of Xmipp's B-spline to minus the whole motion.

    It has as many control points as `field` (at least three) and is fitted at every frame
    of the field on a lattice over the whole image.  Changes of the trajectory faster than the
    spacing of its control points in time are lost, as in Xmipp itself.
    """
    counts = tuple(max(count, MIN_CONTROL_POINTS) for count in field.control_points)
    size = (field.frames.count, field.height_px, field.width_px)
    y_px, x_px = (
        _cell_centers(LATTICE_POINTS_PER_CONTROL_POINT * count, length)
        for count, length in zip(counts[1:], size[1:], strict=True)
    )
    planes = [motion.on_lattice(frame, y_px, x_px) for frame in field.frames]
    correction = -np.stack(planes, axis=1) / binning  # (2, t, y, x)
    # The least-squares solution for a tensor product of bases is the product of pseudo-inverses.
    inverses = [np.linalg.pinv(basis) for basis in _lattice_basis(size, counts, y_px, x_px)]
    coefficients = np.einsum("cijk,ai,bj,dk->cabd", correction, *inverses, optimize=True)
    return XmippSpline(np.asarray(coefficients), size)


def _cell_centers(count: int, length_px: int) -> FloatArray:
    """Coordinates of the middles of `count` equal parts of an axis."""
    return np.asarray((np.arange(count) + 0.5) * length_px / count - 0.5)


def _lattice_basis(
    size: tuple[int, ...], counts: tuple[int, ...], y_px: FloatArray, x_px: FloatArray
) -> list[FloatArray]:
    """Xmipp's basis along t, y and x at every frame, the rows `y_px` and columns `x_px`."""
    places = (np.arange(size[0], dtype=np.float64), y_px, x_px)
    return [_xmipp_basis(*axis) for axis in zip(places, size, counts, strict=True)]


def _xmipp_basis(position: FloatArray, size: int, count: int) -> FloatArray:
    """Xmipp's basis (n, count) along one axis of `size` pixels or frames, at each position."""
    spacing = size / (count - 3) if count > 3 else size
    distance = np.abs(position[:, None] / spacing - np.arange(-1, count - 1))
    near = distance**2 * (distance - 2) / 2 + 2 / 3
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.asarray(np.where(distance < 1, near, far))


def _frame_shifts(motion: Motion, movie_path: str | Path, listed: FrameRange | None) -> str:
    """The block of whole-frame corrections."""
    trajectory = motion.trajectory
    measured = np.flatnonzero(trajectory.is_measured)
    aligned = FrameRange(int(measured[0]), int(measured[-1]) + 1) if measured.size else ()
    rows = []
    for frame in listed or range(len(trajectory.displacement_px)):
        dy, dx = trajectory.displacement_px[frame]
        shift_x, shift_y = (-dx, -dy) if frame in aligned else (0.0, 0.0)
        is_enabled = trajectory.is_measured[frame] or (listed is not None and frame in aligned)
        enabled = 1 if is_enabled else -1
        image = _quoted(f"{frame + 1:06d}@{movie_path}")
        rows.append([image, f"{shift_x + 0.0:.6f}", f"{shift_y + 0.0:.6f}", enabled, "1.000000"])
    return _block("frameShifts", ["image", "shiftX", "shiftY", "enabled", "weight"], rows)


def _reference_frame(motion: Motion, listed: FrameRange | None) -> str:
    """The block that names the reference frame, counted from zero."""
    first = listed.first if listed else 0
    return _block("referenceFrame", ["ref"], [[motion.reference_frame - first]])


def _local_alignment(
    motion: Motion, field: MotionField, binning: float, tracks: PatchTracks | None
) -> str:
    """The block of the B-spline; two labels are misspelt, as in Xmipp."""
    spline = fit_xmipp_spline(motion, field, binning)
    if tracks is None:
        y_px = _cell_centers(spline.control_points[1], field.height_px)
        x_px = _cell_centers(spline.control_points[2], field.width_px)
    else:
        y_px, x_px = (np.unique(tracks.center_px[:, axis]) for axis in (0, 1))
    frames = slice(field.frames.first, field.frames.stop)
    whole = -motion.trajectory.displacement_px[frames].T[:, :, None, None] / binning
    distance_px = np.linalg.norm(spline.on_lattice(y_px, x_px) - whole, axis=0)
    low, high = np.percentile(distance_px, [2.5, 97.5])
    items = {
        "localAlignmentPatches": _vector([len(x_px), len(y_px)]),
        "localAlignmentCoeffsX": _vector(spline.coefficients_px[1].ravel()),
        "localAlignmentCoeffsY": _vector(spline.coefficients_px[0].ravel()),
        "localAlignmentControlPoints": _vector(spline.control_points[::-1]),
        "localAlignmnentConf25Perc": f"{low:.6f}",
        "localAlignmnentConf955Perc": f"{high:.6f}",
    }
    return _block("localAlignment", list(items), [list(items.values())])


def _block(name: str, labels: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """One table of an Xmipp metadata file."""
    head = [f"data_{name}", "loop_", *(f" _{label}" for label in labels)]
    return "\n".join(head + [" ".join(["", *(str(item) for item in row)]) for row in rows]) + "\n"


def _vector(values: Iterable[float]) -> str:
    """Several numbers as one item."""
    return "' " + " ".join(f"{value:.9g}" for value in values) + " '"


def _quoted(text: str) -> str:
    """`text` quoted as one item."""
    if not any(character.isspace() for character in text):
        return text
    return f'"{text}"' if "'" in text else f"'{text}'"
