"""Align one movie, step by step: from raw frames to the motion and the micrograph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flexalign.arrays import power_spectrum
from flexalign.arrays.detector import load_kd_tree
from flexalign.arrays.device import resolve
from flexalign.arrays.downsample import load_compiled_loops
from flexalign.arrays.resident_frames import resident_frames
from flexalign.errors import InputError
from flexalign.estimate.model_selection import estimate_motion
from flexalign.estimate.result import Estimate, given_motion, statistics_of
from flexalign.estimate.series import default_prior
from flexalign.estimate.series_prior import SeriesPrior, TiltStatistics
from flexalign.files import check_name
from flexalign.io.motion_formats.read_motion import check_motion
from flexalign.io.motion_plot import draw_trajectory
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.reader import CachingMovie, MovieReader
from flexalign.io.png import load_drawing
from flexalign.io.record import file_state
from flexalign.io.references import references_for
from flexalign.io.results import check_output, write_result
from flexalign.model import (
    WRITING_STAGE,
    AlignmentResult,
    FrameSums,
    MovieRecord,
    PixelArray,
    PowerSpectrum,
)
from flexalign.motion import Motion
from flexalign.naming import SUFFIXES, movie_root
from flexalign.params import AlignParams
from flexalign.passes import Progress, first_pass, second_pass
from flexalign.plan import Plan, make_plan
from flexalign.provenance import describe_inputs, record_of
from flexalign.quality.gain_residual import line_residuals
from flexalign.quality.metrics import curves, gain_residuals, quality_of
from flexalign.timing import StageTimer


def _silent(stage: str, done: int, total: int) -> None:
    """Default progress callback: does nothing."""


def align_movie(
    movie: str | Path,
    params: AlignParams | None = None,
    *,
    motion: Motion | None = None,
    series_prior: SeriesPrior | None = None,
    progress: Progress = _silent,
) -> AlignmentResult:
    """Estimate the motion of one movie and correct it; nothing is written to disk.

    Parameters
    ----------
    movie : path of an MRC, TIFF or EER movie
    params : default: `AlignParams()`
    motion : a known motion to apply instead of estimating one, to the frames in which it was
        measured
    series_prior : prior of the motion from the other tilts of a series, see
        `estimate.series.series_priors`; None = the default prior
    progress : called as ``progress(stage, done, total)``

    Returns
    -------
    The motion, in pixels of the unbinned movie, and the images (h, w) summed along it; quality
    numbers in Angstrom with their flags, the plan, and the record with the provenance

    Raises
    ------
    InputError
        If the movie or a reference cannot be used.
    ParameterError
        If a parameter does not fit the movie.
    DeviceError
        If the requested device cannot be used, or has too little memory.

    Notes
    -----
    The movie is read twice.  The first pass corrects and down-samples the frames.  From these the
    motion is estimated: a trajectory by correlation of pairs of frames, local motion by patches,
    and both together by maximum likelihood under a smoothness prior; the motion with the highest
    held-out likelihood is kept.  The second pass corrects full frames, interpolates each once
    along the motion, and sums them.  The equations are in ``docs/explanation/estimation.md``.

    The same movie and parameters give the same result.
    `align_and_write` writes what this returns.

    Examples
    --------
    >>> from flexalign import AlignParams, simulate_movie
    >>> folder = getfixture("tmp_path")
    >>> movie = simulate_movie(shape_px=(64, 64), frame_count=4, particles=0, threads=1)
    >>> paths = movie.save(folder, "small", "mrc")
    >>> result = align_movie(folder / "small.mrc", AlignParams(pixel_size_A=1.5, local=False))
    >>> result.sums.plain.shape, result.motion.frame_count, result.quality.chosen
    ((64, 64), 4, 'none')
    """
    with ThreadPoolExecutor(1) as background:
        return _align(
            movie, params or AlignParams(), motion, progress, background, _ignored, series_prior
        )


def _ignored(plan: Plan, estimate: Estimate) -> None:
    """Default `on_motion` callback: does nothing."""


def _align(
    movie: str | Path,
    params: AlignParams,
    motion: Motion | None,
    progress: Progress,
    background: Executor,
    on_motion: Callable[[Plan, Estimate], None],
    series_prior: SeriesPrior | None = None,
) -> AlignmentResult:
    """As `align_movie`; `on_motion` is called with the motion before the second pass.

    Work that the second pass does not depend on runs in the executor `background`.
    """
    if motion is not None:
        params = params_for(motion, params)
    clock = StageTimer()
    threads = params.thread_count
    with open_for(movie, params) as reader:
        opened = file_state(movie)
        plan = make_plan(reader.info, params)
        source: MovieReader = CachingMovie(reader) if plan.keeps_frames else reader
        if motion is not None:
            check_motion(motion, reader.info)
        device = resolve(params.device, plan.gpu_memory_bytes)
        with clock("references"):
            references = references_for(reader.info, params)
        with device.active():
            resident = resident_frames(
                device, plan.align.count, plan.gpu_frames_bytes, plan.gpu_memory_bytes
            )
            with clock("first pass"):
                frames, first = first_pass(
                    source, plan, references, params, threads, progress, device, resident
                )
            progress("estimate", 0, 1)
            if motion is None:
                estimate = estimate_motion(frames, plan, params, threads, clock, series_prior)
            else:
                estimate = given_motion(motion)
            del frames  # the largest allocation, not needed by the second pass
            progress("estimate", 1, 1)
            on_motion(plan, estimate)
            lines = background.submit(line_residuals, first.unaligned)
            inputs = background.submit(describe_inputs, plan, params)
            with clock("second pass"):
                sums = second_pass(
                    source, plan, first, estimate.motion, params, threads, progress, device,
                    resident,
                )  # fmt: skip
    before, after = _spectra(sums, plan, params, threads, clock)
    with clock("judgement"):
        residuals = gain_residuals(lines.result(), sums, plan, estimate.motion)
        quality = quality_of(plan, params, first, estimate, before, after, residuals)
    record = record_of(
        plan, params, first, estimate, quality, clock.seconds, references.notes, device,
        inputs.result(),
    )  # fmt: skip
    record = replace(record, curves=curves(first, before, after))
    _check_unchanged(movie, opened)
    for_ctf = None
    if sums.amplitude is not None:
        for_ctf = power_spectrum.ctf_spectrum(sums.amplitude, plan.output_pixel_size_A)
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
    progress: Progress = _silent,
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

        result = _align(movie, params, motion, progress, pool, draw, series_prior)
    if series_key:
        decisions = {**result.record.decisions, "series_key": series_key}
        result = replace(result, record=replace(result.record, decisions=decisions))
    clock = StageTimer()
    with clock(WRITING_STAGE):
        outputs = write_result(
            result,
            folder,
            root,
            overwrite=overwrite,
            float16=params.float16,
            save_unaligned=params.save_unaligned,
            amplitudes=_amplitudes(result.sums, params),
            suffixes=suffixes,
            plot=drawn[0].result,
        )
    timings = {**result.record.timings_s, **clock.seconds}
    return replace(result.record, outputs=outputs, timings_s=timings)


def _amplitudes(sums: FrameSums, params: AlignParams) -> Callable[[], PixelArray] | None:
    """A function that computes the image of both amplitude spectra; None = not requested."""
    if not params.psd or sums.unaligned is None:
        return None
    return partial(
        power_spectrum.amplitude_composite, sums.plain, sums.unaligned, threads=params.thread_count
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


def _check_unchanged(movie: str | Path, opened: dict[str, int]) -> None:
    """Raise `InputError` if the file of a movie has changed since it was `opened`."""
    try:
        is_unchanged = file_state(movie) == opened
    except OSError:
        is_unchanged = False
    if not is_unchanged:
        raise InputError(
            f"{movie}: expected a movie that is complete, found one that changed while it was "
            "read: wait until it is written completely"
        )


class MeasuredTilt(NamedTuple):
    """The motion of one movie of a tilt series, before its frames are summed.

    Attributes
    ----------
    motion : as `align_movie` would apply it with the same prior
    chosen : name of the candidate that was kept
    statistics : for `estimate.series.series_priors`; None when the motion was not refined
    """

    motion: Motion
    chosen: str
    statistics: TiltStatistics | None


def measure_tilt(
    movie: str | Path,
    params: AlignParams | None = None,
    *,
    series_prior: SeriesPrior | None = None,
    progress: Progress = _silent,
) -> MeasuredTilt:
    """The motion of one movie of a tilt series, and its statistics for the priors of the others.

    Parameters
    ----------
    series_prior : prior from the other tilts in an earlier round; None = the default prior, as in
        the first round

    Raises
    ------
    FlexAlignError
        As `align_movie`.
    """
    params, clock = params or AlignParams(), StageTimer()
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        device = resolve(params.device, plan.gpu_memory_bytes)
        references = references_for(reader.info, params)
        threads = params.thread_count
        with device.active():
            frames, _ = first_pass(reader, plan, references, params, threads, progress, device)
            prior = series_prior or default_prior(plan.movie.frame_count)
            estimate = estimate_motion(frames, plan, params, threads, clock, prior)
    return MeasuredTilt(estimate.motion, estimate.chosen, statistics_of(estimate, plan))
