"""Replacement for Xmipp's movie alignment programs: reads and writes their files.

Numbers have Xmipp's meaning; the motion is estimated by our method.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import flexalign
from flexalign.alignment_result import AlignmentResult
from flexalign.atomic import explained, replacing
from flexalign.errors import InputError, ParameterError
from flexalign.io.micrographs import axis_pixel_sizes_A, write_mrc
from flexalign.io.motion_formats.frame_list import FrameList, read_frame_list
from flexalign.io.movies.open_movie import open_for
from flexalign.io.writing.ownership import refuse_existing, refuse_inputs
from flexalign.model import FrameRange, MovieRecord, PixelArray
from flexalign.params import AlignParams
from flexalign.progress import Progress, silent

PROGRAMS = ("xmipp_movie_alignment_correlation", "xmipp_cuda_movie_alignment_correlation")
IMAGE_SUFFIXES = (".mrc", ".mrcs")
ALL_FRAMES = (-1, -1)


@dataclass(frozen=True, slots=True)
class XmippFiles:
    """The files that Xmipp's program reads and writes; None = not requested.

    Attributes
    ----------
    frames : list of frames (``.xmd``), or a movie
    shifts : metadata with the motion
    average, unaligned_average : mean of the summed frames, after and before
    movie : the aligned frames
    """

    frames: Path
    shifts: Path
    average: Path | None = None
    unaligned_average: Path | None = None
    movie: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.average, self.unaligned_average, self.movie):
            if path is not None and path.suffix.lower() not in IMAGE_SUFFIXES:
                raise ParameterError(f"{path}: expected a name in {' or '.join(IMAGE_SUFFIXES)}")


def align_as_xmipp(
    files: XmippFiles,
    params: AlignParams,
    *,
    align_range: tuple[int, int] = ALL_FRAMES,
    sum_range: tuple[int, int] = ALL_FRAMES,
    progress: Progress = silent,
) -> MovieRecord:
    """Align the frames of a list, write the files of Xmipp's program and return the record.

    Rows of TIFF movies and references stay in the order of the file, and the gain multiplies,
    as in Xmipp.  The metadata is written last, so its presence means that the images are complete.

    Parameters
    ----------
    params : parameters that do not follow from the list, the ranges and the files
    align_range, sum_range : first and last frame, counted from zero in the list; -1 = first and
        last of the list, and of `align_range`

    Raises
    ------
    InputError
        If the list or its movie cannot be used, if a file would replace one that is read, or
        cannot be written.
    ParameterError
        If a range does not fit.
    """
    from flexalign.align import align_movie
    from flexalign.io.motion_formats.xmd import write_shifts

    outputs = [files.shifts, files.average, files.unaligned_average, files.movie]
    written = [path for path in outputs if path is not None]
    references = (params.gain, params.dark, params.defects)
    refuse_inputs(written, [files.frames, *references])
    listed = read_frame_list(files.frames)
    refuse_inputs(written, [listed.movie])
    align = _range_of_list("--frameRange", align_range, FrameRange(0, listed.frames.count))
    summed = _range_of_list("--frameRangeSum", sum_range, align)
    chosen = replace(
        params,
        align_first=listed.frames.first + align.first + 1,
        align_last=listed.frames.first + align.stop,
        sum_first=listed.frames.first + summed.first + 1,
        sum_last=listed.frames.first + summed.stop,
        eer_fractions=listed.eer_fractions or params.eer_fractions,
        tiff_rows="file",
        gain_sense="multiply",
        dose_weight=False,
        psd=False,
        save_movie=files.movie is not None,
    )
    _check_listed(listed, chosen, files.frames)
    result = align_movie(listed.movie, chosen, progress=progress)
    _write_images(result, files)
    write_shifts(
        files.shifts, result.motion, listed.name,
        binning=params.binning, tracks=result.tracks, listed=listed.frames,
    )  # fmt: skip
    return result.record


def install_programs(home: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Install scripts with the names of Xmipp's programs in ``<home>/bin`` that start flexalign.

    They use the current interpreter and package, independent of the caller's environment.

    Raises
    ------
    InputError
        If a file of such a name is there already, or cannot be written.
    """
    folder = Path(home) / "bin"
    paths = [folder / name for name in PROGRAMS]
    for path in paths:
        refuse_existing(path, overwrite=overwrite)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        with replacing(path) as temporary:
            temporary.write_text(_script(path.name), encoding="utf-8")
            temporary.chmod(0o755)
    return paths


def _script(name: str) -> str:
    """The script that replaces Xmipp's program `name`."""
    package_folder = Path(flexalign.__file__).absolute().parents[1]
    return "\n".join([
        "#!/bin/sh",
        f"# Written by `flexalign xmipp-install`, in place of Xmipp's {name}.",
        "unset PYTHONHOME",
        f"export PYTHONPATH={shlex.quote(str(package_folder))}",
        f'exec {shlex.quote(sys.executable)} -m flexalign xmipp-movie-alignment "$@"',
        "",
    ])  # fmt: skip


def _check_listed(listed: FrameList, params: AlignParams, source: Path) -> None:
    """Raise `InputError` if a list has frames that its movie has not."""
    with open_for(listed.movie, params) as reader:
        info = reader.info
    if listed.frames.stop <= info.frame_count:
        return
    advice = ""
    if info.eer is not None:
        advice = (
            "; frames of an EER movie are sums of raw frames, whose number follows its name as in "
            f"{listed.movie.name}#{info.frame_count},4K,uint16"
        )
    raise InputError(
        f"{source}: expected frames up to {info.frame_count}, as {listed.movie.name} has, found "
        f"frame {listed.frames.stop}{advice}"
    )


def _range_of_list(option: str, typed: tuple[int, int], allowed: FrameRange) -> FrameRange:
    """Check a frame range, counted from zero in the list, against the `allowed` one."""
    first = allowed.first if typed[0] == -1 else typed[0]
    last = allowed.stop - 1 if typed[1] == -1 else typed[1]
    if not allowed.first <= first <= last < allowed.stop:
        raise ParameterError(
            f"{option} {typed[0]} {typed[1]}: expected a first and a last frame from "
            f"{allowed.first} to {allowed.stop - 1}, counted from zero in the list"
        )
    return FrameRange(first, last + 1)


def _write_images(result: AlignmentResult, files: XmippFiles) -> None:
    """Write the requested images."""
    sums, movie = result.sums, result.record.movie
    pixel_A = axis_pixel_sizes_A(
        result.plan.pixel_size_A,
        (movie.height_px, movie.width_px),
        sums.plain.shape,
    )
    if files.average is not None:
        write_mrc(files.average, sums.plain, pixel_A)
    if files.unaligned_average is not None and sums.unaligned is not None:
        write_mrc(files.unaligned_average, sums.unaligned, pixel_A)
    if files.movie is not None:
        write_mrc(files.movie, _by_frame_index(result), pixel_A, is_stack=True)


def _by_frame_index(result: AlignmentResult) -> PixelArray:
    """The aligned frames (t, h, w), indexed by their number in the align range.

    Frames that were not summed are blank.
    """
    import numpy as np

    align, summed = result.plan.align, result.plan.sum
    if result.sums.aligned is None:
        raise ValueError("expected aligned frames, which were not requested")
    is_measured = result.motion.trajectory.is_measured
    places = [frame - align.first for frame in summed if is_measured[frame]]
    stack = np.zeros((align.count, *result.sums.plain.shape), np.float32)
    stack[places] = result.sums.aligned
    return stack
