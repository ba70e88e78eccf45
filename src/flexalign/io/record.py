"""Records in JSON: the processing of a movie and its input files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError, ParameterError
from flexalign.files import MIB_BYTES, check_regular_file, displayed, read_json
from flexalign.model import ARRAY_FORMAT, MovieInfo, MovieRecord
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.plain import field_types, typed_items
from flexalign.plan import Plan

WHOLE_FILE_LIMIT_BYTES = 64 * MIB_BYTES
END_BYTES = 16 * MIB_BYTES
MAX_PIXEL_SIZE_A = 1e6

# Required values of a record and their types, by section and name.
_HINTS: dict[str, dict[str, Any]] = {
    "decisions": {
        **field_types(Plan),
        "output_pixel_size_A": float,
        "hot_pixel_y": tuple[int, ...],
        "hot_pixel_x": tuple[int, ...],
        "device": str,
    },
    "parameters": {"hash": str},
}
_INPUT_HINTS = {
    "name": str, "path": str, "size_bytes": int, "modified_ns": int, "sha256": str,
    "acquired": str,
}  # fmt: skip
_NEEDED = {
    "decisions": ("pixel_size_A", "output_pixel_size_A", "dose_per_frame_e_A2", "align", "patches"),
    "parameters": ("voltage_kV",),
    "inputs": ("movie",),
    "outputs": ("micrograph", "record"),
}


def read_record(path: str | Path) -> MovieRecord:
    """The record in a ``_record.json`` file.

    Parameters
    ----------
    path : of the file

    Returns
    -------
    How the movie was aligned, and its quality; ``Motion.load`` reads the motion from the same file

    Raises
    ------
    InputError
        If the file is missing, is not JSON, is no record, or is from a newer version.

    Examples
    --------
    >>> from flexalign import AlignParams, align_movie, simulate_movie
    >>> movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    >>> folder = getfixture("tmp_path")
    >>> params = AlignParams(pixel_size_A=1.5, local=False)
    >>> saved = align_movie(movie.counts, params).save(folder, "stack_1")
    >>> record = read_record(folder / "stack_1_record.json")
    >>> record.movie.frame_count, record.outputs["micrograph"]
    (4, 'stack_1_aligned_mic.mrc')
    """
    plain = read_json(path)
    try:
        record = MovieRecord.from_dict(plain)
        check_finished(record)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return record


def check_finished(record: MovieRecord) -> None:
    """Check that the record of a finished movie has the required values with the right types.

    The outputs in a record must be files beside it: other names are refused.

    Raises
    ------
    InputError
        If something is missing or of another type; the message names the place.
    """
    for place, hints in _HINTS.items():
        typed_items(hints, getattr(record, place), place)
    for role, facts in record.inputs.items():
        typed_items(_INPUT_HINTS, facts, f"inputs.{role}")
    for place, names in _NEEDED.items():
        found = getattr(record, place)
        missing = [name for name in names if name not in found]
        if missing:
            raise InputError(f"{place}: expected {', '.join(names)}; {missing} are missing")
    try:
        parameters_of(record)
    except ParameterError as error:
        raise InputError(f"parameters: {error}") from error
    if "path" not in record.inputs["movie"]:
        raise InputError("inputs.movie: expected the path of the movie, found none")
    for name in ("pixel_size_A", "output_pixel_size_A"):
        size_A = record.decisions[name]
        if size_A is None or not 0 < size_A < MAX_PIXEL_SIZE_A:
            raise InputError(f"decisions.{name}: expected a size, found {size_A}")
    shape_px = (record.movie.height_px, record.movie.width_px)
    if min(shape_px) < 1 or min(record.patches) < 1:
        raise InputError(f"movie: expected its height and width in pixels, found {shape_px}")
    for kind, output in record.outputs.items():
        if not is_plain_name(output):
            raise InputError(
                f"outputs.{kind}: expected the name of a file beside the record, "
                f"found '{displayed(output)}'"
            )
    motion, frame_count = Motion.from_dict(record.motion), record.movie.frame_count
    align = record.align
    if motion.frame_count != frame_count or align.stop > frame_count:
        raise InputError(
            f"motion: expected that of {frame_count} frames, found {motion.frame_count}"
        )


def parameters_of(record: MovieRecord) -> AlignParams:
    """The parameters of a record, as far as this version knows them.

    Raises
    ------
    ParameterError
        If a value is not within its limits.
    """
    known = field_types(AlignParams)
    return AlignParams.from_dict({k: v for k, v in record.parameters.items() if k in known})


def is_plain_name(name: str) -> bool:
    """Whether `name` is a plain file name, without folder or control characters.

    Examples
    --------
    >>> [is_plain_name(name) for name in ("m_thumb.png", "../m.mrc", "/etc/passwd", "..", "")]
    [True, False, False, False, False]
    """
    return name not in ("", ".", "..") and "/" not in name and displayed(name) == name


def listed_output(folder: Path, name: str) -> Path:
    """The path of a file named by a record, an index or a table in `folder`.

    Raises
    ------
    InputError
        If the name leads out of the folder, itself or by a link, or is not a regular file.
    """
    path = folder / name
    if not is_plain_name(name):
        raise InputError(f"{folder}: expected the name of a file in it, found '{displayed(name)}'")
    check_regular_file(path)
    if path.is_symlink() and folder.resolve() not in path.resolve().parents:
        raise InputError(f"{path}: expected a file in its folder, found a link that leads out")
    return path


def file_state(path: str | Path) -> dict[str, int]:
    """Size and modification time of a file, which identify it without reading it.

    Raises
    ------
    OSError
        If there is no such file.
    """
    found = Path(path).stat()
    return {"size_bytes": found.st_size, "modified_ns": found.st_mtime_ns}


def movie_file(movie: MovieInfo) -> Path | None:
    """The file of a movie; None for an array, or if its reader names none."""
    path = Path(movie.path)
    return path if movie.file_format != ARRAY_FORMAT and path.is_file() else None


def describe_movie(movie: MovieInfo) -> dict[str, Any]:
    """The identity of a movie: of its file or, without one, its name and size.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    path = movie_file(movie)
    if path is not None:
        return describe_file(path)
    name = Path(movie.path).name
    return {"name": name, "path": movie.path, "size_bytes": movie.size_bytes}


def describe_array(name: str, pixels: npt.NDArray[Any]) -> dict[str, Any]:
    """The identity of a reference that was given as an array: size and SHA-256 of its pixels."""
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    return {
        "name": f"{name} ({ARRAY_FORMAT})", "path": "", "size_bytes": pixels.nbytes,
        "sha256": digest, "sha256_of": f"{pixels.dtype} {pixels.shape}",
    }  # fmt: skip


def describe_file(path: str | Path) -> dict[str, Any]:
    """The identity of a file: name, path, size, modification time and SHA-256.

    Files from 64 MiB on are hashed by their first and last 16 MiB only, for speed; the item
    ``sha256_of`` says which.

    Raises
    ------
    InputError
        If the file cannot be read.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "abc.txt"
    >>> _ = path.write_text("abc")
    >>> found = describe_file(path)
    >>> found["size_bytes"], found["sha256"][:8], found["sha256_of"]
    (3, 'ba7816bf', 'whole file')
    """
    path = Path(path)
    digest = hashlib.sha256()
    try:
        state = file_state(path)
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(0)
            is_whole = size_bytes < WHOLE_FILE_LIMIT_BYTES
            if is_whole:
                while block := file.read(MIB_BYTES):
                    digest.update(block)
            else:
                digest.update(file.read(END_BYTES))
                file.seek(-END_BYTES, 2)
                digest.update(file.read(END_BYTES))
    except OSError as error:
        raise InputError(f"{path}: expected a readable file: {error.strerror}") from error
    return {
        "name": path.name,
        "path": str(path.absolute()),
        **state,
        "sha256": digest.hexdigest(),
        "sha256_of": "whole file" if is_whole else "first and last 16 MiB",
    }
