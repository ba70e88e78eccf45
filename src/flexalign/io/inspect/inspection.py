"""Identify a file by its content: movie, reference, alignment or record."""

from __future__ import annotations

from pathlib import Path

from flexalign.errors import InputError
from flexalign.files import read_json
from flexalign.io.defects import is_rectangle_list
from flexalign.io.digital_micrograph import is_digital_micrograph
from flexalign.io.inspect.facts import FileFacts
from flexalign.io.inspect.image_facts import (
    inspect_defects,
    inspect_digital_micrograph,
    inspect_image,
)
from flexalign.io.inspect.motion_facts import inspect_list, inspect_motion, inspect_record
from flexalign.io.inspect.movie_facts import inspect_movie
from flexalign.io.inspect.session_facts import inspect_session_file
from flexalign.io.movies import eer, mrc, tiff
from flexalign.io.movies.compressed import compression_of
from flexalign.io.movies.mrc_header import looks_like_mrc
from flexalign.io.movies.reader import TIFF_MAGIC, head_text, read_head
from flexalign.params import AlignParams


def inspect_file(path: str | Path, params: AlignParams, *, read: bool = False) -> FileFacts:
    """Identify and describe a file; of a movie, also the plan of its alignment.

    Parameters
    ----------
    params : of that alignment, including the fractionation of an EER file
    read : read every frame of a movie too

    Raises
    ------
    InputError
        If the file is missing, empty or of no known kind.  A damaged movie does not raise; its
        description has a `problem`.
    """
    path = Path(path)
    head = read_head(path, 4096)
    if head.startswith(TIFF_MAGIC):
        return _inspect_tiff(path, params, read)
    if compression_of(head) is not None:
        return _inspect_compressed(path, params, read)
    if is_digital_micrograph(head):
        return inspect_digital_micrograph(path)
    if looks_like_mrc(head) or (path.suffix.lower() in mrc.SUFFIXES and b"\0" in head):
        _, planes = mrc.count_planes(path)
        return inspect_image(path) if planes == 1 else inspect_movie(path, params, read)
    if head.lstrip().startswith(b"{"):
        return _inspect_json(path, params)
    if is_rectangle_list(head_text(head) or ""):
        return inspect_defects(path)
    if (found := inspect_session_file(path, head)) is not None:
        return found
    if "data_" in (head_text(head) or "") and (found := inspect_list(path)) is not None:
        return found
    return inspect_motion(path, params.pixel_size_A)


def _inspect_compressed(path: Path, params: AlignParams, read: bool) -> FileFacts:
    """A compressed MRC file: a movie, whole or broken, or a single image."""
    try:
        _, header = mrc.header_of(path)
    except InputError:
        return inspect_movie(path, params, read)
    return inspect_image(path) if header.plane_count == 1 else inspect_movie(path, params, read)


def _inspect_tiff(path: Path, params: AlignParams, read: bool) -> FileFacts:
    """A TIFF file: a movie, or a single image."""
    sizes = tiff.whole_pages(path)
    is_movie = eer.is_eer(path) or (len(sizes) != 1 and path.suffix.lower() != ".gain")
    return inspect_movie(path, params, read) if is_movie else inspect_image(path)


def _inspect_json(path: Path, params: AlignParams) -> FileFacts:
    """A record, a motion, or the index of a run."""
    plain = read_json(path)
    if "quality" in plain and "outputs" in plain:
        return inspect_record(path)
    if "movies" in plain and "parameters" in plain:
        raise InputError(f"{path}: is the index of a run: give its folder, {path.parent}")
    return inspect_motion(path, params.pixel_size_A)
