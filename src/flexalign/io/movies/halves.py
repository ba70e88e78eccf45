"""The electrons of a movie divided at random into two movies.

A count of n electrons becomes two: each electron falls to either movie with probability 1/2.  If
counts are Poisson variables, so are those of both movies, and their noise is independent.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import tifffile

from flexalign.atomic import replacing
from flexalign.errors import InputError
from flexalign.io.micrographs import new_header
from flexalign.io.movies.reader import MovieReader
from flexalign.naming import movie_root
from flexalign.progress import Progress

Counts = npt.NDArray[Any]

SUFFIXES = {"mrc": ".mrc", "tiff": ".tiff"}
_MRC_MODES = {"i1": 0, "i2": 1, "u2": 6}
# Counted electrons have a ratio of at most one, integrated signals one that is far larger.
_MAX_VARIANCE_RATIO = 1.5
_ROWS_PER_BATCH = 512


def half_suffix(file_format: str) -> str:
    """Suffix of the halves of a movie of this format.

    Examples
    --------
    >>> half_suffix("tiff"), half_suffix("bz2 mrc")
    ('.tiff', '.mrc')
    """
    return SUFFIXES[file_format.split()[-1]]


def check_countable(reader: MovieReader) -> None:
    """Check that a movie holds whole numbers in a format whose halves can be written.

    Raises
    ------
    InputError
        If it does not.
    """
    info = reader.info
    if info.file_format == "eer":
        raise InputError(
            f"{info.path}: expected counts in MRC or TIFF, found EER, which cannot be divided; "
            "score its alignments on the movie itself"
        )
    if np.dtype(info.pixel_dtype).kind not in "iu":
        raise InputError(
            f"{info.path}: expected counts of electrons in whole numbers, found "
            f"{info.pixel_dtype}; give the movie as the detector wrote it, before the gain"
        )


def write_halves(
    reader: MovieReader, paths: tuple[Path, Path], seed: int, progress: Progress
) -> None:
    """Write two movies of half the electrons each, frame by frame.

    They have the format of the movie, MRC or TIFF, and the order of its rows.

    Parameters
    ----------
    seed : of the random division; movies of other names are divided otherwise
    progress : called as ``progress(stage, done, total)``

    Raises
    ------
    InputError
        If the movie holds no counts of electrons, or a frame cannot be read.
    OutputError
        If the halves cannot be written.  Nothing is left behind after an error.
    """
    check_countable(reader)
    info = reader.info
    rng = np.random.default_rng([seed, zlib.crc32(movie_root(info.path).encode())])
    with ExitStack() as stack:
        writers = [stack.enter_context(_writer(path, reader)) for path in paths]
        previous: Counts | None = None
        for done, counts in enumerate(_counts(reader)):
            progress("divide", done, info.frame_count)
            if done == 1 and previous is not None:
                _check_poisson(info.path, previous, counts)
            first = thinned(counts, rng)
            writers[0](first)
            writers[1](counts - first)
            previous = counts if done == 0 else None


def thinned(counts: Counts, rng: np.random.Generator) -> Counts:
    """How many of each number of electrons fall to the first of two halves.

    Examples
    --------
    >>> counts = np.array([0, 1, 2, 300])
    >>> half = thinned(counts, np.random.default_rng(1))
    >>> half.dtype == counts.dtype, bool((half <= counts).all())
    (True, True)
    """
    # The bits that are set among n random ones are binomially distributed.
    bits = rng.integers(256, size=counts.shape, dtype=np.uint8)
    small = np.minimum(counts, 8).astype(np.uint16)
    kept: Counts = np.bitwise_count(bits & ((1 << small) - 1).astype(np.uint8)).astype(counts.dtype)
    large = counts > 8
    kept[large] = rng.binomial(counts[large], 0.5)
    return kept


def _counts(reader: MovieReader) -> Iterator[Counts]:
    """The frames, checked."""
    path = reader.info.path
    for frame in reader.frames():
        if frame.pixels is None or frame.problem:
            raise InputError(f"{path}: frame {frame.index + 1}: {frame.problem}")
        if frame.pixels.min() < 0:
            raise InputError(
                f"{path}: expected counts of electrons, found {frame.pixels.min()} in frame "
                f"{frame.index + 1}; an offset was subtracted, or unsigned numbers are declared as "
                "signed"
            )
        yield frame.pixels


def _check_poisson(path: str, first: Counts, second: Counts) -> None:
    """Check that the variance of counts is not above their mean, from two frames.

    What the frames share, such as the gain, has no effect on their difference.
    """
    total = difference = 0.0
    limit = np.quantile(second, 0.9999)  # hot pixels are left out
    for top in range(0, len(first), _ROWS_PER_BATCH):
        one, other = (frame[top : top + _ROWS_PER_BATCH].astype(float) for frame in (first, second))
        used = (one <= limit) & (other <= limit)
        total += float((one + other)[used].sum())
        difference += float(((one - other)[used] ** 2).sum())
    if difference > _MAX_VARIANCE_RATIO * total:
        raise InputError(
            f"{path}: expected counts of electrons, whose variance is at most their mean; found "
            f"{difference / total:.3g} times it: the movie was integrated or scaled"
        )


@contextmanager
def _writer(path: Path, reader: MovieReader) -> Iterator[Callable[[Counts], None]]:
    """A function that appends a frame to a movie, which appears when the block ends."""
    with replacing(path) as temporary:
        if path.suffix == SUFFIXES["tiff"]:
            with tifffile.TiffWriter(temporary, bigtiff=True) as tiff:
                yield lambda counts: _append_page(tiff, counts, reader.info.pixel_size_A)
        else:
            with temporary.open("wb") as file:
                yield _stack_appender(file, reader)


def _append_page(tiff: tifffile.TiffWriter, counts: Counts, pixel_size_A: float | None) -> None:
    """Append a frame, its last row first, as it is read."""
    per_cm = None if pixel_size_A is None else (1e8 / pixel_size_A, 1e8 / pixel_size_A)
    tiff.write(
        np.ascontiguousarray(counts[::-1]), compression="lzw", photometric="minisblack",
        resolution=per_cm, resolutionunit=None if per_cm is None else "CENTIMETER", metadata=None,
    )  # fmt: skip


def _stack_appender(file: IO[bytes], reader: MovieReader) -> Callable[[Counts], None]:
    """A function that appends a frame to an MRC file, whose header is written here."""
    info = reader.info
    # Unsigned bytes have no mode of their own.
    kind = {"uint8": "u2", "int8": "i1", "int16": "i2", "uint16": "u2"}[info.pixel_dtype]
    shape = (info.frame_count, info.height_px, info.width_px)
    header = new_header(shape, 4, info.pixel_size_A or 0.0, is_stack=True)
    header.mode = _MRC_MODES[kind]
    # By the convention of MRC2014: not determined.
    header.dmin, header.dmax, header.dmean, header.rms = 0, -1, -2, -1
    file.write(header.tobytes())
    return lambda counts: _append_plane(file, counts.astype(f"<{kind}"))


def _append_plane(file: IO[bytes], plane: Counts) -> None:
    file.write(np.ascontiguousarray(plane).data)
