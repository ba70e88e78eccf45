"""Read a motion in any known format, detected by the content of the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.errors import InputError
from flexalign.files import read_json, read_text
from flexalign.io.motion_formats import motioncor, motioncor_logs, relion_reading, truth, warp, xmd
from flexalign.io.motion_formats.frame_list import FRAME
from flexalign.io.movies.reader import head_text, read_head
from flexalign.io.read_errors import reading
from flexalign.io.star import read_star
from flexalign.model import MovieInfo
from flexalign.motion import Motion
from flexalign.plain import typed

FORMATS = (
    "flexalign (_motion.json, _record.json), RELION (the STAR file of one movie), Xmipp "
    "(_shifts.xmd), MotionCor (.aln, logs), Warp (.xml) or a simulation (_truth.npz)"
)
MAX_PIXEL_SIZE_RATIO = 1.01
# Placeholder size for a motion that is the same at every place.
ANY_SHAPE_PX = (1000, 1000)
_HEAD_BYTES = 4096
_STAR_BLOCK = re.compile(r"(?:^|[\r\n])data_")
_OTHERS = {
    "# AreTomo": "AreTomo's alignment of a tilt series",
    "# Output from CTFFind": "the output of CTFFIND",
}


@dataclass(frozen=True, slots=True)
class MovieFacts:
    """Facts about the movie in an alignment file; None = not in the file.

    Attributes
    ----------
    movie : its name
    frame_count : of the file; EER: as many as were made of it
    shape_px : (height, width) unbinned
    pixel_size_A : unbinned
    """

    movie: str | None = None
    frame_count: int | None = None
    shape_px: tuple[int, int] | None = None
    pixel_size_A: float | None = None


def read_motion(
    path: str | Path,
    movie: MovieInfo | None = None,
    pixel_size_A: float | None = None,
    *,
    shape_px: tuple[int, int] | None = None,
) -> Motion:
    """The motion of a movie in a file of ours or of another program, detected by content.

    Parameters
    ----------
    path : ``_motion.json``, ``_record.json``, RELION's STAR file of one movie, ``_shifts.xmd``,
        MotionCor's ``.aln`` or log, Warp's ``.xml`` or ``_truth.npz``
    movie : the ``info`` of the movie, with which the motion must agree; None = the size is taken
        from the file, if it has it
    pixel_size_A : of the unbinned movie, for files in Angstrom without it
    shape_px : (height, width) of the unbinned movie, for files of local motion without it

    Returns
    -------
    The motion in pixels of the unbinned movie, in this project's sign

    Raises
    ------
    InputError
        If the file is of no known format, is broken, is of another movie, or lacks the size of the
        movie and it is not given; or if it holds several motions and `movie` is not given.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "still_motion.json"
    >>> Motion.still(5).save(path)
    >>> read_motion(path)
    <Motion: 5 frames, global, up to 0 px from frame 0>
    """
    with reading(path, "the motion of a movie"):
        if movie is None:
            found = read_all_facts(path)
            if len(found) > 1:
                raise InputError(f"holds the motions of {len(found)} movies: give `movie`")
            given = MovieFacts(shape_px=shape_px, pixel_size_A=pixel_size_A)
            facts = join_facts(found[0], given, ("the file", "the arguments"))
            return read_motion_of(path, facts)
        shape_px = (movie.height_px, movie.width_px)
        facts = MovieFacts(movie.path, movie.frame_count, shape_px, pixel_size_A)
        motion = read_motion_of(path, facts)
        _check_size(_shape_in(path, movie.path), movie)
        check_motion(motion, movie)
    return motion


def _shape_in(path: str | Path, movie: str) -> tuple[int, int] | None:
    """Size (height, width) of a movie in the file of its motion, None if the file lacks it."""
    kind = format_of(path)
    if kind == "MotionCor":
        return motioncor_logs.read_motioncor(path, movie).shape_px
    return _facts_of_one(path, kind).shape_px


def read_motion_of(path: str | Path, facts: MovieFacts) -> Motion:
    """The motion in a file, with facts about its movie from elsewhere.

    Raises
    ------
    InputError
        If the file is of no known format or is broken, if it is of other frames, or if facts needed
        to read it are neither in the file nor in `facts`.
    """
    shape_px = facts.shape_px or ANY_SHAPE_PX
    with reading(path, "the motion of a movie"):
        kind = format_of(path)
        if kind == "flexalign":
            motion = Motion.load(path)
        elif kind == "Warp":
            motion = warp.read_warp(path, facts.frame_count, shape_px, facts.pixel_size_A)
        elif kind == "RELION":
            motion = relion_reading.read_motion_star(path)[1]
        elif kind == "Xmipp":
            motion = xmd.read_motion(path, shape_px)
        elif kind == "simulation":
            motion = truth.true_motion(truth.read_truth(path))
        else:
            found = motioncor_logs.read_motioncor(path, facts.movie)
            count = facts.frame_count or found.frame_count or len(found.whole_px)
            motion = motioncor.as_motion(found, count, shape_px)
        if motion.field is not None and facts.shape_px is None:
            raise InputError(
                "has local motion, and the size of the movie is unknown: give `shape_px`"
            )
    return motion


def read_all_facts(path: str | Path) -> list[MovieFacts]:
    """Facts about each movie in an alignment file; MotionCor's output may hold several.

    Raises
    ------
    InputError
        If the file is of no known format or is broken.
    """
    with reading(path, "the motion of a movie"):
        kind = format_of(path)
        if kind == "MotionCor":
            return [_facts_of_shifts(found) for found in motioncor_logs.read_movies(path)]
        return [_facts_of_one(path, kind)]


def _facts_of_shifts(found: motioncor.PatchShifts) -> MovieFacts:
    """Facts about a movie in MotionCor's files."""
    count = found.frame_count or len(found.whole_px)
    return MovieFacts(found.movie, count, found.shape_px, found.pixel_size_A)


def _facts_of_one(path: str | Path, kind: str) -> MovieFacts:
    """Facts about the movie in a file of any format except MotionCor's."""
    if kind == "flexalign":
        return _facts_of_ours(path)
    if kind == "Warp":
        warp_options = warp.read_options(path)
        return MovieFacts(
            None, warp_options.frame_count, warp_options.shape_px, warp_options.pixel_size_A
        )
    if kind == "RELION":
        movie, _ = relion_reading.read_motion_star(path)
        known = np.isfinite(movie.pixel_size_A)
        pixel_size_A = movie.pixel_size_A if known else None
        return MovieFacts(movie.movie_name, movie.frame_count, movie.shape_px, pixel_size_A)
    if kind == "Xmipp":
        images = read_star(path)["frameShifts"].get("image", [])
        named = FRAME.fullmatch(images[0]) if images else None
        return MovieFacts(named["path"] if named else None, len(images) or None)
    true = truth.read_truth(path)
    return MovieFacts(None, len(true.displacement_px), true.shape_px, true.pixel_size_A)


def join_facts(a: MovieFacts, b: MovieFacts, places: tuple[str, str] = ("A", "B")) -> MovieFacts:
    """Merge the facts about one movie from two files.

    Parameters
    ----------
    places : where each was found, for messages

    Raises
    ------
    InputError
        If they contradict each other in the number of frames, the size or the pixel size.
    """
    count, shape, size_A = (
        tuple(getattr(facts, name) for facts in (a, b))
        for name in ("frame_count", "shape_px", "pixel_size_A")
    )
    if None not in count and count[0] != count[1]:
        raise InputError(
            f"expected as many frames in both, found {count[0]} in {places[0]} and {count[1]} in "
            f"{places[1]}; were EER frames grouped differently, or frames discarded?"
        )
    if None not in shape and shape[0] != shape[1]:
        (one_y, one_x), (other_y, other_x) = shape
        raise InputError(
            f"expected movies of one size, found {one_x} x {one_y} in {places[0]} and "
            f"{other_x} x {other_y} in {places[1]}; was one of them binned, upsampled or rotated?"
        )
    if None not in size_A and max(size_A) > MAX_PIXEL_SIZE_RATIO * min(size_A):
        raise InputError(
            f"expected one pixel size of the movie, found {size_A[0]:.4g} A in {places[0]} and "
            f"{size_A[1]:.4g} A in {places[1]}"
        )
    names = ("movie", "frame_count", "shape_px", "pixel_size_A")
    pairs = {name: (getattr(a, name), getattr(b, name)) for name in names}
    return MovieFacts(**{name: b_ if a_ is None else a_ for name, (a_, b_) in pairs.items()})


def format_of(path: str | Path, expected: str = f"a motion as of {FORMATS}") -> str:
    """The format of a file: flexalign, RELION, Xmipp, MotionCor, Warp or simulation.

    Each has a signature.

    Parameters
    ----------
    expected : what the file should be, for messages

    Raises
    ------
    InputError
        If it is none of these.
    """
    head = read_head(Path(path), _HEAD_BYTES)
    if head.startswith(b"PK"):
        return "simulation"
    text = head_text(head)
    if text is None:
        raise InputError(f"{path}: expected {expected}, found an unknown format")
    text = text.lstrip()
    if text.startswith("{"):
        return "flexalign"
    if text.startswith("<"):
        return "Warp"
    if _STAR_BLOCK.search(text):
        return _format_of_star(path)
    # MotionCor's signature may come after other output.
    if motioncor_logs.is_motioncor(read_text(path, errors="replace")):
        return "MotionCor"
    found = next((words for mark, words in _OTHERS.items() if text.startswith(mark)), None)
    raise InputError(f"{path}: expected {expected}, found {found or 'another kind of text'}")


def _format_of_star(path: str | Path) -> str:
    """Whether the blocks of a STAR file are RELION's or Xmipp's."""
    blocks = read_star(path)
    if "global_shift" in blocks:
        return "RELION"
    if "frameShifts" in blocks:
        return "Xmipp"
    if "micrographs" in blocks:
        raise InputError(
            f"{path}: expected the motion of one movie, found a list of micrographs; give one of "
            "the files in its column rlnMicrographMetadata"
        )
    raise InputError(
        f"{path}: expected shifts of frames, found the blocks {', '.join(blocks):.200}"
    )


def _facts_of_ours(path: str | Path) -> MovieFacts:
    """Facts about the movie in a record or a motion in JSON."""
    plain = read_json(path)
    motion = Motion.from_dict(plain)
    field = motion.field
    shape_px = None if field is None else (field.height_px, field.width_px)
    info = plain.get("movie")
    if not isinstance(info, dict):
        return MovieFacts(None, motion.frame_count, shape_px)
    movie = MovieInfo.from_dict(info)
    decisions = typed(dict[str, Any], plain.get("decisions", {}), "decisions")
    size_A = typed(float | None, decisions.get("pixel_size_A"), "decisions.pixel_size_A")
    return MovieFacts(movie.path, motion.frame_count, (movie.height_px, movie.width_px), size_A)


def check_motion(motion: Motion, movie: MovieInfo) -> None:
    """Check that a motion fits this movie as it is read now.

    Raises
    ------
    InputError
        If the number of frames or the size differs.
    """
    if motion.frame_count != movie.frame_count:
        hint = "is it the right movie?"
        if movie.eer is not None:
            hint = f"make as many frames with `eer_fractions` {motion.frame_count}"
        raise InputError(
            f"expected a motion of {movie.frame_count} frames, as {movie.path} has, found one of "
            f"{motion.frame_count}; {hint}"
        )
    if motion.field is not None:
        _check_size((motion.field.height_px, motion.field.width_px), movie)


def _check_size(shape_px: tuple[int, int] | None, movie: MovieInfo) -> None:
    """Check that the motion of a movie of this size (height, width) is that of `movie`.

    Raises
    ------
    InputError
        If the sizes differ.
    """
    if shape_px is None or shape_px == (movie.height_px, movie.width_px):
        return
    raise InputError(
        f"expected a motion of {movie.width_px} x {movie.height_px} pixels, as {movie.path} has, "
        f"found one of {shape_px[1]} x {shape_px[0]}; is it the right movie?"
    )
