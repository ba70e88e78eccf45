"""Align one movie, step by step: from raw frames to the motion and the micrograph."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flexalign.arrays import power_spectrum
from flexalign.arrays.detector import load_search
from flexalign.arrays.device import resolve
from flexalign.arrays.downsample import load_compiled_loops
from flexalign.errors import InputError
from flexalign.estimate.model_selection import (
    Estimate,
    estimate_motion,
    given_motion,
    statistics_of,
)
from flexalign.estimate.series import default_prior
from flexalign.estimate.series_prior import SeriesPrior, TiltStatistics
from flexalign.files import check_name
from flexalign.io.motion_formats.read_motion import check_motion
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.reader import MovieReader, RememberingMovie
from flexalign.io.plots import draw_trajectory, load_drawing
from flexalign.io.record import file_state
from flexalign.io.references import load_references
from flexalign.io.results import check_output, write_result
from flexalign.model import AlignmentResult, FrameSums, MovieRecord, References
from flexalign.motion import Motion
from flexalign.naming import SUFFIXES, movie_root
from flexalign.params import AlignParams
from flexalign.passes import Progress, first_pass, second_pass
from flexalign.plan import Plan, make_plan
from flexalign.provenance import describe_inputs, record_of
from flexalign.quality.gain_residual import line_residuals
from flexalign.quality.metrics import curves, quality_of
from flexalign.quality_limits import LIMITS


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
    series_prior : what the other tilts of a tilt series say of this one, see
        `estimate.series.series_priors`; None = nothing
    progress : called as ``progress(stage, done, total)``

    Returns
    -------
    The motion, in pixels of the unbinned movie, and the images that were summed along it, (h, w);
    quality numbers in Angstrom with their flags, the plan, and the record with all provenance

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
    The movie is read twice.  From frames that were corrected and down-sampled in the first pass the
    motion is estimated: a trajectory by correlation of pairs of frames, local motion by patches,
    and both together by maximum likelihood under a smoothness prior; the model that explains data
    best to which it was not fitted is kept.  The second pass corrects full frames, resamples each
    once along the motion, and sums them.  The equations are in ``docs/explanation/estimation.md``.

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
    with ThreadPoolExecutor(1) as beside:
        return _align(
            movie, params or AlignParams(), motion, progress, beside, _ignored, series_prior
        )


class MeasuredTilt(NamedTuple):
    """The motion of one movie of a tilt series, of which nothing is summed yet.

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
    """The motion of one movie of a tilt series, and what it says about the priors of the others.

    Parameters
    ----------
    series_prior : what the other tilts said in an earlier round; None = nothing yet, as in the
        first round: motion is taken to be as it usually is

    Raises
    ------
    FlexAlignError
        As `align_movie`.
    """
    params, clock = params or AlignParams(), _Clock()
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        device = resolve(params.device, plan.gpu_memory_bytes)
        references = _references(reader, params)
        threads = _threads(params)
        with device.active():
            frames, _ = first_pass(reader, plan, references, params, threads, progress, device)
            prior = series_prior or default_prior(plan.movie.frame_count)
            estimate = estimate_motion(frames, plan, params, threads, clock, prior)
    return MeasuredTilt(estimate.motion, estimate.chosen, statistics_of(estimate, plan))


def _references(reader: MovieReader, params: AlignParams) -> References:
    """The references of a movie that is open."""
    return load_references(
        reader.info,
        gain=params.gain,
        gain_rotate=params.gain_rotate,
        gain_flip=params.gain_flip,
        gain_sense=params.gain_sense,
        dark=params.dark,
        defects=params.defects,
        tiff_rows=params.tiff_rows,
    )


def _ignored(plan: Plan, estimate: Estimate) -> None:
    """Default `on_motion` callback: does nothing."""


def _align(
    movie: str | Path,
    params: AlignParams,
    motion: Motion | None,
    progress: Progress,
    beside: Executor,
    on_motion: Callable[[Plan, Estimate], None],
    series_prior: SeriesPrior | None = None,
) -> AlignmentResult:
    """As `align_movie`; `on_motion` is called with the motion before the second pass.

    Work that the second pass does not depend on runs in the executor `beside`.
    """
    if motion is not None:
        params = params_for(motion, params)
    clock = _Clock()
    threads = _threads(params)
    with open_for(movie, params) as reader:
        opened = file_state(movie)
        plan = make_plan(reader.info, params)
        source: MovieReader = RememberingMovie(reader) if plan.keeps_frames else reader
        if motion is not None:
            check_motion(motion, reader.info)
        device = resolve(params.device, plan.gpu_memory_bytes)
        with clock("references"):
            references = _references(reader, params)
        with device.active():
            with clock("first pass"):
                frames, first = first_pass(
                    source, plan, references, params, threads, progress, device
                )
            progress("estimate", 0, 1)
            if motion is None:
                estimate = estimate_motion(frames, plan, params, threads, clock, series_prior)
            else:
                estimate = given_motion(motion)
            del frames  # the largest allocation, not needed any more
            progress("estimate", 1, 1)
            on_motion(plan, estimate)
            lines = beside.submit(line_residuals, first.unaligned)
            inputs = beside.submit(describe_inputs, plan, params)
            with clock("second pass"):
                sums = second_pass(
                    source, plan, first, estimate.motion, params, threads, progress, device
                )
    before = after = None
    if params.psd and sums.unaligned is not None:
        with clock("spectra"):
            pixel_A = plan.output_pixel_size_A
            before = power_spectrum.power_spectrum(sums.unaligned, pixel_A, threads=threads)
            after = power_spectrum.power_spectrum(sums.plain, pixel_A, threads=threads)
    with clock("judgement"):
        found = _without_smear(lines.result(), plan, sums, estimate.motion)
        quality = quality_of(plan, params, first, estimate, before, after, found)
    record = record_of(
        plan, params, first, estimate, quality, clock.seconds, references.notes, device,
        inputs.result(),
    )  # fmt: skip
    record = replace(record, curves=curves(first, before, after))
    if not _is_unchanged(movie, opened):
        raise InputError(
            f"{movie}: expected a movie that is complete, found one that changed while it was "
            "read: wait until nobody writes to it"
        )
    for_ctf = None
    if sums.amplitude is not None:
        for_ctf = power_spectrum.ctf_spectrum(sums.amplitude, plan.output_pixel_size_A)
    return AlignmentResult(
        estimate.motion, sums, estimate.tracks, before, after, quality, record, plan, for_ctf
    )


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
    series_key : what the record says of the work on the series that gave the prior
    suffixes : end of each file name, by kind
    inputs : further files that were read and must not be replaced

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
        for load in (load_compiled_loops, load_drawing, load_search):
            pool.submit(load)
        drawn: list[Future[bytes]] = []

        def draw(plan: Plan, estimate: Estimate) -> None:
            drawn.append(pool.submit(_drawn, plan, estimate))

        result = _align(movie, params, motion, progress, pool, draw, series_prior)
    if series_key:
        decisions = {**result.record.decisions, "series_key": series_key}
        result = replace(result, record=replace(result.record, decisions=decisions))
    sums, amplitudes = result.sums, None
    if params.psd and sums.unaligned is not None:
        amplitudes = partial(
            power_spectrum.amplitude_composite, sums.plain, sums.unaligned, threads=_threads(params)
        )
    started = time.perf_counter()
    outputs = write_result(
        result,
        folder,
        root,
        overwrite=overwrite,
        float16=params.float16,
        save_unaligned=params.save_unaligned,
        amplitudes=amplitudes,
        suffixes=suffixes,
        plot=drawn[0].result,
    )
    timings = {**result.record.timings_s, "writing": time.perf_counter() - started}
    return replace(result.record, outputs=outputs, timings_s=timings)


def _drawn(plan: Plan, estimate: Estimate) -> bytes:
    """The plot of a motion, as PNG."""
    picture, movie = BytesIO(), plan.movie
    draw_trajectory(
        picture, estimate.motion, plan.pixel_size_A, (movie.height_px, movie.width_px),
        title=Path(movie.path).name, tracks=estimate.tracks,
    )  # fmt: skip
    return picture.getvalue()


def _without_smear(
    lines: tuple[float, float], plan: Plan, sums: FrameSums, motion: Motion
) -> tuple[float, float]:
    """The residual `lines` of the unaligned sum, corrected for drift of the specimen if needed."""
    if not max(lines) > LIMITS.gain_residual or sums.unaligned is None:
        return lines
    frames = [i for i in plan.sum if motion.trajectory.is_measured[i]]
    path_px = motion.trajectory.displacement_px[frames] / np.array(plan.binning)
    found = line_residuals(sums.unaligned, sums.plain, path_px)
    return lines if np.isnan(found).any() else found


def params_for(motion: Motion, params: AlignParams) -> AlignParams:
    """The parameters with which `motion` is applied: without estimation, of its known frames."""
    measured = np.flatnonzero(motion.trajectory.is_measured)
    if (params.align_first, params.align_last) == (1, 0) and measured.size:
        first, last = int(measured[0]) + 1, int(measured[-1]) + 1
        params = replace(params, align_first=first, align_last=last)
    return replace(params, local=False, refine=False)


def _threads(params: AlignParams) -> int:
    """Number of threads: as requested, else as many as the process may use."""
    return params.threads or len(os.sched_getaffinity(0))


class _Clock:
    """Seconds spent in each stage, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        elapsed = time.perf_counter() - started
        self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed


def _is_unchanged(movie: str | Path, opened: dict[str, int]) -> bool:
    """Whether a movie is unchanged since it was `opened`."""
    try:
        return file_state(movie) == opened
    except OSError:
        return False
