"""Open a movie: detect the format from the content and return the reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexalign.errors import InputError
from flexalign.io.movies import mrc
from flexalign.io.movies.array_movie import ArrayMovie, FrameArray
from flexalign.io.movies.checked_movie import CheckedMovie
from flexalign.io.movies.compressed import compression_of
from flexalign.io.movies.eer import EerMovie, is_eer
from flexalign.io.movies.eer_groups import Groups, divide_raw_frames, read_fm_int_file
from flexalign.io.movies.reader import TIFF_MAGIC, MovieReader, read_head
from flexalign.io.movies.tiff_movie import TiffMovie
from flexalign.io.reference_images import image_size_px
from flexalign.params import AlignParams
from flexalign.plan import Plan, make_plan

FORMATS = "MRC (.mrc .mrcs .st, also as .bz2 .gz .xz .zst), TIFF (.tif .tiff) or EER (.eer)"


def open_movie(
    path: str | Path,
    *,
    tiff_rows: str = "imod",
    tiff_packed: bool | None = None,
    eer_fractions: int = 40,
    eer_raw_frames_per_frame: int | None = None,
    eer_groups: Groups | None = None,
    eer_upsampling: int = 1,
) -> MovieReader:
    """Open the movie in `path`; only its headers are read.

    The format is detected from the content; the suffix decides only where that is ambiguous.

    Parameters
    ----------
    path : movie of at least two frames
    tiff_rows : "imod" puts the last row of a TIFF first, "file" keeps the order of the file
    tiff_packed : whether each byte of a TIFF holds two counts of 4 bits; None = as its description
        says
    eer_fractions : number of frames to make of an EER file
    eer_raw_frames_per_frame : raw frames summed to each frame, instead of `eer_fractions`
    eer_groups : raw frames summed to each frame, and the dose of each, instead of both
    eer_upsampling : 1, or 2 for a grid twice as fine as the detector's

    Returns
    -------
    A reader with the size of the movie in ``info``; close it, or use it in a ``with`` block

    Raises
    ------
    InputError
        If the file is missing, of no known format, broken, truncated, or holds one frame only.
    ParameterError
        If an EER file has fewer raw frames than requested.

    Examples
    --------
    >>> from flexalign import simulate_movie
    >>> movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    >>> paths = movie.save(getfixture("tmp_path"), "m")
    >>> with open_movie(paths["movie"]) as reader:
    ...     print([frame.pixels.shape for frame in reader.frames()])
    [(64, 64), (64, 64), (64, 64), (64, 64)]
    """
    path = Path(path)
    head = read_head(path)
    if head.startswith(TIFF_MAGIC):
        if is_eer(path):
            return EerMovie(
                path,
                fractions=eer_fractions,
                raw_frames_per_frame=eer_raw_frames_per_frame,
                groups=None if eer_groups is None else eer_groups.raw_frames,
                doses_e_A2=() if eer_groups is None else eer_groups.doses_e_A2,
                upsampling=eer_upsampling,
            )
        return TiffMovie(path, rows=tiff_rows, packed=tiff_packed)
    if compression_of(head) is not None:
        return mrc.CompressedMrcMovie(path)
    if mrc.is_mrc(path, head):
        return mrc.MrcMovie(path)
    raise InputError(f"{path}: expected a movie in {FORMATS}, found an unknown format")


def open_for(movie: str | Path, params: AlignParams) -> MovieReader:
    """Open the movie with the options in the parameters."""
    raw_frames_per_frame, groups = _shares(movie, params)
    reader = open_movie(
        movie,
        tiff_rows=params.tiff_rows,
        eer_fractions=params.eer_fractions,
        eer_raw_frames_per_frame=raw_frames_per_frame,
        eer_groups=groups,
        eer_upsampling=params.eer_upsampling,
    )
    if isinstance(reader, TiffMovie) and _is_packed(reader, params.gain):
        reader.close()
        return open_movie(movie, tiff_rows=params.tiff_rows, tiff_packed=True)
    return reader


@contextmanager
def opened(
    movie: str | Path | FrameArray | MovieReader, params: AlignParams
) -> Iterator[MovieReader]:
    """A reader of a file, of an array (t, y, x), or of a caller's own reader.

    Files are opened with the options in the parameters and closed at the end.

    Raises
    ------
    InputError
        If it is none of these, or cannot be used.
    """
    if isinstance(movie, str | Path):
        with open_for(movie, params) as reader:
            yield reader
    elif isinstance(movie, MovieReader):
        yield CheckedMovie(movie)
    elif hasattr(movie, "shape") and hasattr(movie, "dtype"):
        yield ArrayMovie(movie)
    else:
        raise InputError(
            "expected a path, an array (t, y, x) or a reader with `info` and `frames` as movie, "
            f"found a {type(movie).__name__}"
        )


def _shares(movie: str | Path, params: AlignParams) -> tuple[int | None, Groups | None]:
    """Raw frames per frame of an EER movie, from a dose or a file instead of a number of frames."""
    dose_e_A2, total_e_A2 = params.eer_dose_per_frame_e_A2, params.eer_total_dose_e_A2
    by_dose = dose_e_A2 is not None and total_e_A2 is not None
    if params.eer_groups is None and not by_dose:
        return None, None
    with open_movie(movie, eer_fractions=2) as whole:
        eer = whole.info.eer
    if eer is None:
        return None, None
    if params.eer_groups is not None:
        stretches = read_fm_int_file(params.eer_groups)
        return None, divide_raw_frames(params.eer_groups, stretches, eer.raw_frame_count)
    assert dose_e_A2 is not None
    assert total_e_A2 is not None
    return max(1, round(dose_e_A2 / (total_e_A2 / eer.raw_frame_count))), None


def _is_packed(reader: TiffMovie, gain: str | None) -> bool:
    """Whether the gain reference, in any orientation, fits only if each byte holds two counts."""
    if gain is None or not reader.may_be_packed:
        return False
    size_px = (reader.info.height_px, 2 * reader.info.width_px)
    return image_size_px(gain) in (size_px, size_px[::-1])


def plan_movie(movie: str | Path, params: AlignParams) -> Plan:
    """The plan of `flexalign.align_movie`; reads the movie's header only."""
    with open_for(movie, params) as reader:
        return make_plan(reader.info, params)
