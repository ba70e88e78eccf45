"""Align one movie, step by step: from raw frames to the motion and the micrograph."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.alignment_result import AlignmentResult, write_alignment
from flexalign.arrays import power_spectrum
from flexalign.arrays.detector import load_kd_tree
from flexalign.arrays.device import resolve
from flexalign.arrays.downsample import load_compiled_loops
from flexalign.arrays.kernels.warp import compiling_note
from flexalign.arrays.resident_frames import resident_frames
from flexalign.errors import InputError, ParameterError
from flexalign.estimate.model_selection import estimate_motion
from flexalign.estimate.result import Estimate, given_motion
from flexalign.estimate.series_prior import SeriesPrior
from flexalign.files import check_name
from flexalign.io.motion_formats.read_motion import check_motion
from flexalign.io.motion_plot import draw_trajectory
from flexalign.io.movies.array_movie import FrameArray
from flexalign.io.movies.open_movie import opened
from flexalign.io.movies.reader import CachingMovie, MovieReader
from flexalign.io.png import load_drawing
from flexalign.io.record import file_state, movie_file
from flexalign.io.reference_images import reference_image
from flexalign.io.references import Reference, references_for
from flexalign.io.results import check_output
from flexalign.model import FrameSums, MovieInfo, MovieRecord, PixelArray, PowerSpectrum
from flexalign.motion import Motion
from flexalign.naming import SUFFIXES, movie_root
from flexalign.params import AlignParams, given_params, quoted
from flexalign.passes import first_pass, second_pass
from flexalign.plan import Plan, make_plan
from flexalign.progress import Progress, silent
from flexalign.provenance import describe_inputs, record_of
from flexalign.quality.gain_residual import line_residuals
from flexalign.quality.metrics import curves, gain_residuals, quality_of
from flexalign.timing import StageTimer

LOG = logging.getLogger("flexalign")


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """What is to be done: the arguments of `align_movie`, checked.

    Attributes
    ----------
    images : those of "gain", "dark" and "defects" that were given as arrays
    """

    movie: str | Path | FrameArray | MovieReader
    params: AlignParams
    motion: Motion | None = None
    series_prior: SeriesPrior | None = None
    progress: Progress = silent
    images: Mapping[str, PixelArray] = field(default_factory=dict)


def align_movie(
    movie: str | Path | FrameArray | MovieReader,
    params: AlignParams | None = None,
    *,
    gain: Reference | None = None,
    dark: Reference | None = None,
    defects: Reference | None = None,
    motion: Motion | None = None,
    series_prior: SeriesPrior | None = None,
    progress: Progress = silent,
) -> AlignmentResult:
    """Estimate the motion of one movie and correct it; nothing is written to disk.

    Parameters
    ----------
    movie : path of an MRC, TIFF or EER movie; or an array (t, y, x) of NumPy, Zarr, Dask or any
        other kind, of which one frame after the other is taken, with row 0 as in MRC files; or an
        open reader of one's own, see `MovieReader`, which stays open
    params : default: `AlignParams()`
    gain, dark, defects : the references as arrays (y, x), or paths, instead of the paths in
        `params`; their orientation and sense are those in `params`. See `load_references`
    motion : a known motion to apply instead of estimating one, to the frames in which it was
        measured
    series_prior : prior of the motion from the other tilts of a series, see
        `estimate.series.series_priors`; None = the default prior
    progress : called as ``progress(stage, done, total)``, several times in each pass; an exception
        that it raises ends the alignment and is passed on

    Returns
    -------
    The motion, in pixels of the unbinned movie, and the images (h, w) summed along it; quality
    numbers in Angstrom with their flags, the plan, and the record with the provenance

    Raises
    ------
    InputError
        If the movie or a reference cannot be used.
    ParameterError
        If a parameter does not fit the movie, or a reference is given twice.
    DeviceError
        If the requested device cannot be used, or has too little memory.

    Notes
    -----
    There are two passes over the movie.  The first corrects and down-samples the frames.  From
    these the motion is estimated: a trajectory by correlation of pairs of frames, local motion by
    patches, and both together by maximum likelihood under a smoothness prior; the motion with the
    highest held-out likelihood is kept.  The second corrects full frames, interpolates each once
    along the motion, and sums them.  The equations are in ``docs/explanation/estimation.md``.

    The same movie and parameters give the same result.  `AlignmentResult.save` writes it.

    Compiled loops are made at the first use on a machine, which takes some seconds; this is logged
    by the logger ``flexalign``.

    Examples
    --------
    >>> from flexalign import AlignParams, simulate_movie
    >>> movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    >>> params = AlignParams(pixel_size_A=1.5, local=False)
    >>> result = align_movie(movie.counts, params, gain=movie.gain)
    >>> result.sums.plain.shape, result.motion.frame_count
    ((64, 64), 4)
    """
    params, images = _with_references(given_params(params), gain, dark, defects)
    request = _Request(movie, params, motion, series_prior, progress, images)
    with ThreadPoolExecutor(1) as background:
        return _align(request, background, _ignored)


def _with_references(
    params: AlignParams, gain: Reference | None, dark: Reference | None, defects: Reference | None
) -> tuple[AlignParams, dict[str, PixelArray]]:
    """The parameters with the references that are paths, and those that are arrays."""
    images: dict[str, PixelArray] = {}
    changes: dict[str, Any] = {}
    for role, given in (("gain", gain), ("dark", dark), ("defects", defects)):
        if given is None:
            continue
        if getattr(params, role) is not None:
            raise ParameterError(
                f"{quoted(role)}: expected it as an argument or in params, found both"
            )
        if isinstance(given, str | Path):
            changes[role] = os.fspath(given)
        else:
            images[role] = reference_image(given, role)
    return replace(params, **changes), images


def _ignored(plan: Plan, estimate: Estimate) -> None:
    """Default `on_motion` callback: does nothing."""


def _align(
    request: _Request, background: Executor, on_motion: Callable[[Plan, Estimate], None]
) -> AlignmentResult:
    """As `align_movie`; `on_motion` is called with the motion before the second pass.

    Work that the second pass does not depend on runs in the executor `background`.
    """
    params, motion, progress = request.params, request.motion, request.progress
    if motion is not None:
        params = params_for(motion, params)
    if note := compiling_note():
        LOG.info(note)
    clock = StageTimer()
    threads = params.thread_count
    with opened(request.movie, params) as reader:
        state = _file_state(reader.info)
        _check_formats(reader.info, request.images, params)
        if motion is not None:
            check_motion(motion, reader.info)
        plan = make_plan(reader.info, params)
        source: MovieReader = CachingMovie(reader) if plan.keeps_frames else reader
        device = resolve(params.device, plan.gpu_memory_bytes)
        with clock("references"):
            references = references_for(reader.info, params, request.images)
        with device.active():
            resident = resident_frames(
                device, plan.align.count, plan.gpu_memory_bytes,
                plan.gpu_estimation_bytes + plan.gpu_frames_bytes,
            )  # fmt: skip
            with clock("first pass"):
                frames, first = first_pass(
                    source, plan, references, params, threads, progress, device, resident
                )
            progress("estimate", 0, 1)
            if motion is None:
                estimate = estimate_motion(
                    frames, plan, params, threads, clock, request.series_prior
                )
            else:
                estimate = given_motion(motion)
            del frames  # the largest allocation, not needed by the second pass
            progress("estimate", 1, 1)
            on_motion(plan, estimate)
            lines = background.submit(line_residuals, first.unaligned)
            inputs = background.submit(describe_inputs, plan, params, request.images)
            with clock("second pass"):
                sums = second_pass(
                    source, plan, first, estimate.motion, params, threads, progress, device,
                    resident,
                )  # fmt: skip
    before, after = _spectra(sums, plan, params, threads, clock)
    with clock("quality"):
        residuals = gain_residuals(lines.result(), sums, plan, estimate.motion)
        quality = quality_of(plan, params, first, estimate, before, after, residuals)
    record = record_of(
        plan, params, first, estimate, quality, clock.seconds, references.notes, device,
        inputs.result(),
    )  # fmt: skip
    record = replace(record, curves=curves(first, before, after))
    _check_unchanged(plan.movie, state)
    amplitude, pixel_A = sums.amplitude, plan.output_pixel_size_A
    for_ctf = None if amplitude is None else power_spectrum.ctf_spectrum(amplitude, pixel_A)
    return AlignmentResult(
        estimate.motion, sums, estimate.tracks, before, after, quality, record, plan, for_ctf
    )


def _spectra(
    sums: FrameSums, plan: Plan, params: AlignParams, threads: int, clock: StageTimer
) -> tuple[PowerSpectrum | None, PowerSpectrum | None]:
    """Power spectra of the micrograph without and with the motion; None = not requested."""
    if not params.psd or sums.unaligned is None:
        return None, None
    with clock("spectra"):
        pixel_A = plan.output_pixel_size_A
        before = power_spectrum.power_spectrum(sums.unaligned, pixel_A, threads=threads)
        return before, power_spectrum.power_spectrum(sums.plain, pixel_A, threads=threads)


def align_and_write(
    movie: str | Path,
    params: AlignParams,
    folder: str | Path,
    *,
    root: str | None = None,
    overwrite: bool = False,
    motion: Motion | None = None,
    series_prior: SeriesPrior | None = None,
    series_key: str = "",
    suffixes: Mapping[str, str] = SUFFIXES,
    inputs: Sequence[str | Path] = (),
    progress: Progress = silent,
) -> MovieRecord:
    """Align one movie, write all results to `folder` and return the record.

    Parameters
    ----------
    root : common beginning of the file names; default: the movie's name
    motion : a known motion to apply instead of estimating one
    series_prior : as for `align_movie`
    series_key : identifies the measurement of the series in the record
    suffixes : end of each file name, by kind
    inputs : further input files, which must not be replaced

    Raises
    ------
    FlexAlignError
        As `align_movie`, and if results exist already or cannot be written.
    """
    check_name(Path(movie).absolute())
    root = root or movie_root(movie)
    read = (movie, params.gain, params.dark, params.defects, *inputs)
    check_output(folder, root, params, overwrite=overwrite, suffixes=suffixes, inputs=read)
    # Drawn in parallel with the references and the passes, which release the interpreter lock.
    with ThreadPoolExecutor(1) as pool:
        for load in (load_compiled_loops, load_drawing, load_kd_tree):
            pool.submit(load)
        drawn: list[Future[bytes]] = []

        def draw(plan: Plan, estimate: Estimate) -> None:
            drawn.append(pool.submit(_drawn, plan, estimate))

        request = _Request(movie, params, motion, series_prior, progress)
        result = _align(request, pool, draw)
    if series_key:
        decisions = {**result.record.decisions, "series_key": series_key}
        result = replace(result, record=replace(result.record, decisions=decisions))
    return write_alignment(
        result, params, folder, root, overwrite=overwrite, suffixes=suffixes, plot=drawn[0].result
    )


def _drawn(plan: Plan, estimate: Estimate) -> bytes:
    """The plot of a motion, as PNG."""
    picture, movie = BytesIO(), plan.movie
    draw_trajectory(
        picture, estimate.motion, plan.pixel_size_A, (movie.height_px, movie.width_px),
        title=Path(movie.path).name, tracks=estimate.tracks,
    )  # fmt: skip
    return picture.getvalue()


def params_for(motion: Motion, params: AlignParams) -> AlignParams:
    """The parameters with which `motion` is applied: without estimation, of its known frames."""
    measured = np.flatnonzero(motion.trajectory.is_measured)
    if (params.align_first, params.align_last) == (1, 0) and measured.size:
        first, last = int(measured[0]) + 1, int(measured[-1]) + 1
        params = replace(params, align_first=first, align_last=last)
    return replace(params, local=False, refine=False)


def _file_state(movie: MovieInfo) -> dict[str, int] | None:
    """Size and time of the file of a movie; None = it has none, or it is gone."""
    path = movie_file(movie)
    try:
        return None if path is None else file_state(path)
    except OSError:
        return None


def _check_unchanged(movie: MovieInfo, before: dict[str, int] | None) -> None:
    """Raise `InputError` if the file of a movie is not in the state `before` any more."""
    if _file_state(movie) != before:
        raise InputError(
            f"{movie.path}: expected a movie that is complete, found one that changed while it was "
            "read: wait until it is written completely"
        )


def _check_formats(movie: MovieInfo, images: Mapping[str, PixelArray], params: AlignParams) -> None:
    """Raise `ParameterError` if files for RELION would name files that do not exist."""
    if "relion" in params.formats and (movie_file(movie) is None or images):
        raise ParameterError(
            f"{quoted('write')}: RELION reads the movie and its references again, and needs "
            "them in files; found an array"
        )
