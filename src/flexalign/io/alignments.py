"""The front door to motions: look at the content of a file and hand it to the format's reader."""

from __future__ import annotations

from pathlib import Path

from flexalign.errors import InputError
from flexalign.io import motioncor, relion, warp, xmd
from flexalign.io.reader import read_head
from flexalign.io.star import read_star
from flexalign.model import MovieInfo
from flexalign.motion import Motion

FORMATS = (
    "flexalign (_motion.json, _record.json), RELION (the STAR file of one movie), Xmipp "
    "(_shifts.xmd), MotionCor (.aln, logs) or Warp (.xml)"
)


def read_motion(path: str | Path, movie: MovieInfo, pixel_size_A: float) -> Motion:
    """The motion of `movie` in a file of ours or of another program, told by its content.

    Parameters
    ----------
    pixel_size_A : of the unbinned movie

    Raises
    ------
    InputError
        If the file is of no known format, is broken, or is of another movie.
    """
    head = read_head(Path(path), 4096).decode("utf-8", errors="replace").lstrip()
    shape_px = (movie.height_px, movie.width_px)
    try:
        if head.startswith("{"):
            motion = Motion.load(path)
        elif head.startswith("<"):
            motion = warp.read_warp(path, movie.frame_count, shape_px, pixel_size_A)
        elif "data_" in head:
            motion = _from_star(path, shape_px)
        elif "\0" not in head:
            shifts = motioncor.read_motioncor(path)
            motion = motioncor.as_motion(shifts, movie.frame_count, shape_px)
        else:
            raise InputError(f"expected a motion as of {FORMATS}, found an unknown format")
        check_motion(motion, movie)
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error
    return motion


def _from_star(path: str | Path, shape_px: tuple[int, int]) -> Motion:
    """The motion in a STAR file of RELION or metadata of Xmipp."""
    blocks = read_star(path)
    if "global_shift" in blocks:
        return relion.read_motion_star(path)[1]
    if "frameShifts" in blocks:
        return xmd.read_motion(path, shape_px)
    if "micrographs" in blocks:
        raise InputError(
            f"{path}: expected the motion of one movie, found a list of micrographs; give one of "
            "the files in its column rlnMicrographMetadata"
        )
    raise InputError(f"{path}: expected shifts of frames, found the blocks {', '.join(blocks)}")


def check_motion(motion: Motion, movie: MovieInfo) -> None:
    """Make sure that a motion is that of this movie, as it is read now.

    Raises
    ------
    InputError
        If the number of frames or the size differs.
    """
    if motion.frame_count != movie.frame_count:
        hint = "is it the right movie?"
        if movie.eer is not None:
            hint = f"make as many frames with --eer-fractions {motion.frame_count}"
        raise InputError(
            f"expected a motion of {movie.frame_count} frames, as {movie.path} has, found one of "
            f"{motion.frame_count}; {hint}"
        )
    field = motion.field
    if field is None or (field.height_px, field.width_px) == (movie.height_px, movie.width_px):
        return
    raise InputError(
        f"expected a motion of {movie.width_px} x {movie.height_px} pixels, as {movie.path} has, "
        f"found one of {field.width_px} x {field.height_px}; is it the right movie?"
    )
