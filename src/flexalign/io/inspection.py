"""What a file is: movie, reference, alignment or record, told by its content."""

from __future__ import annotations

from pathlib import Path

from flexalign.errors import InputError
from flexalign.files import read_json
from flexalign.io import eer, mrc, tiff
from flexalign.io.facts import FileFacts
from flexalign.io.image_facts import inspect_defects, inspect_image
from flexalign.io.motion_facts import inspect_list, inspect_motion, inspect_record
from flexalign.io.movie_facts import inspect_movie
from flexalign.io.reader import TIFF_MAGIC, read_head
from flexalign.io.references import is_rectangle_list
from flexalign.params import AlignParams


def inspect_file(path: str | Path, params: AlignParams, *, read: bool = False) -> FileFacts:
    """What a file is, and of a movie, how it would be aligned.

    Parameters
    ----------
    params : of that alignment; also decide how an EER file is cut into frames
    read : of a movie, read every frame too

    Raises
    ------
    InputError
        If the file is missing, empty or of no known kind.  A movie that is broken is no error but
        has a `problem`.
    """
    path = Path(path)
    head = read_head(path, 4096)
    if head.startswith(TIFF_MAGIC):
        return _inspect_tiff(path, params, read)
    if mrc.compression_of(head) is not None:
        return inspect_movie(path, params, read)
    if mrc.looks_like_mrc(head) or (path.suffix.lower() in mrc.SUFFIXES and b"\0" in head):
        _, planes = mrc.count_planes(path)
        return inspect_image(path) if planes == 1 else inspect_movie(path, params, read)
    if head.lstrip().startswith(b"{"):
        return _inspect_json(path, params)
    if b"\0" not in head and is_rectangle_list(head.decode("utf-8", errors="replace")):
        return inspect_defects(path)
    if b"data_" in head and (found := inspect_list(path)) is not None:
        return found
    return inspect_motion(path, params.pixel_size_A)


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
