"""Align one movie, step by step: from raw frames to the motion and the micrograph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flexalign.alignment_request import (
    Request,
    check_formats,
    check_unchanged,
    device_for,
    params_for,
    state_of,
    with_references,
)
from flexalign.alignment_result import AlignmentResult, write_alignment
from flexalign.arrays import power_spectrum
from flexalign.arrays.detector import load_kd_tree
from flexalign.arrays.device import Device
from flexalign.arrays.downsample import load_compiled_loops
from flexalign.arrays.kernels.warp import compiling_note
from flexalign.arrays.resident_frames import resident_frames
from flexalign.estimate.model_selection import estimate_motion
from flexalign.estimate.result import Estimate, given_motion
from flexalign.estimate.series_prior import SeriesPrior
from flexalign.files import check_name
from flexalign.io.motion_formats.read_motion import check_motion
from flexalign.io.motion_plot import draw_trajectory
from flexalign.io.movies.array_movie import FrameArray
from flexalign.io.movies.open_movie import opened
from flexalign.io.movies.packed_movie import caching
from flexalign.io.movies.reader import MovieReader
from flexalign.io.png import load_drawing
from flexalign.io.references import Reference, references_for
from flexalign.io.results import check_output
from flexalign.model import (
    FrameSums,
    MovieRecord,
    PowerSpectrum,
    References,
)
from flexalign.motion import Motion
from flexalign.naming import SUFFIXES, movie_root
from flexalign.params import AlignParams, given_params
from flexalign.passes import FirstPass, first_pass, second_pass
from flexalign.plan import Plan, make_plan
from flexalign.progress import Progress, silent
from flexalign.provenance import describe_inputs, record_of
from flexalign.quality.gain_residual import line_residuals
from flexalign.quality.metrics import curves, gain_residuals, quality_of
from flexalign.stages import AT_ONCE, Stages
from flexalign.timing import StageTimer

LOG = logging.getLogger("flexalign")
_OnMotion = Callable[[Plan, Estimate], None]


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
    params, images = with_references(given_params(params), gain, dark, defects)
    request = Request(movie, params, motion, series_prior, progress, images)
    with ThreadPoolExecutor(1) as background:
        return _align(request, background, _ignored)


def _ignored(plan: Plan, estimate: Estimate) -> None:
    """Default `on_motion` callback: does nothing."""


def _align(
    request: Request, background: Executor, on_motion: _OnMotion, stages: Stages = AT_ONCE
) -> AlignmentResult:
    """As `align_movie`; `on_motion` is called with the motion before the second pass.

    Work that the second pass does not depend on runs in the executor `background`.
    """
    params = request.params
    if request.motion is not None:
        params = params_for(request.motion, params)
        request = replace(request, params=params)
    if note := compiling_note():
        LOG.info(note)
    clock = StageTimer(request.timings_s)
    with opened(request.movie, params) as reader:
        state = state_of(reader.info)
        check_formats(reader.info, request.images, params)
        if request.motion is not None:
            check_motion(request.motion, reader.info)
        plan = make_plan(reader.info, params)
        ready = stages.read(lambda: _read(request, reader, plan, clock, stages.reads_ahead))
        found = stages.compute(lambda: _compute(request, ready, clock, background, on_motion))
        ready.source.close()  # releases frames in memory
    return stages.write(lambda: _result(request, ready, found, clock, state))


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A movie that is ready to be computed.

    Attributes
    ----------
    source : its frames, on disk or in memory
    """

    source: MovieReader
    plan: Plan
    references: References


def _read(
    request: Request, reader: MovieReader, plan: Plan, clock: StageTimer, reads_ahead: bool
) -> _Ready:
    """The references, and with `reads_ahead` all frames to align, in memory."""
    with clock("references"):
        references = references_for(reader.info, request.params, request.images)
    if not (plan.keeps_frames or reads_ahead):
        return _Ready(reader, plan, references)
    source = caching(reader)
    if reads_ahead:
        with clock("reading"):
            source.load(plan.align, request.params.thread_count, request.progress)
    return _Ready(source, plan, references)


@dataclass(frozen=True, slots=True, eq=False)
class _Computed:
    """What was measured and summed.

    Attributes
    ----------
    lines, inputs : results of the work in the background
    """

    first: FirstPass
    estimate: Estimate
    sums: FrameSums
    device: Device
    lines: Future[tuple[float, float]]
    inputs: Future[dict[str, dict[str, Any]]]


def _compute(
    request: Request,
    ready: _Ready,
    clock: StageTimer,
    background: Executor,
    on_motion: _OnMotion,
) -> _Computed:
    """The motion and the sums of the frames along it: the two passes, and what is between them."""
    params, plan, progress = request.params, ready.plan, request.progress
    threads = params.thread_count
    device = device_for(plan, params)
    with device.active():
        resident = resident_frames(
            device, plan.align.count, plan.gpu_memory_bytes,
            plan.gpu_estimation_bytes + plan.gpu_frames_bytes,
        )  # fmt: skip
        with clock("first pass"):
            frames, first = first_pass(
                ready.source, plan, ready.references, params, threads, progress, device, resident
            )
        progress("estimate", 0, 1)
        if request.motion is None:
            estimate = estimate_motion(frames, plan, params, threads, clock, request.series_prior)
        else:
            estimate = given_motion(request.motion)
        del frames  # the largest allocation, not needed by the second pass
        progress("estimate", 1, 1)
        on_motion(plan, estimate)
        lines = background.submit(line_residuals, first.unaligned)
        inputs = background.submit(describe_inputs, plan, params, request.images)
        with clock("second pass"):
            sums = second_pass(
                ready.source, plan, first, estimate.motion, params, threads, progress, device,
                resident,
            )  # fmt: skip
    return _Computed(first, estimate, sums, device, lines, inputs)


def _result(
    request: Request,
    ready: _Ready,
    found: _Computed,
    clock: StageTimer,
    state: dict[str, int] | None,
) -> AlignmentResult:
    """The result, with spectra, quality and record; `state` is that of the file at the start."""
    params, plan, first, estimate = request.params, ready.plan, found.first, found.estimate
    before, after = _spectra(found.sums, plan, params, params.thread_count, clock)
    with clock("quality"):
        residuals = gain_residuals(found.lines.result(), found.sums, plan, estimate.motion)
        quality = quality_of(plan, params, first, estimate, before, after, residuals)
    record = record_of(
        plan, params, first, estimate, quality, clock.seconds, ready.references.notes,
        found.device, found.inputs.result(),
    )  # fmt: skip
    record = replace(record, curves=curves(first, before, after))
    check_unchanged(plan.movie, state)
    amplitude, pixel_A = found.sums.amplitude, plan.output_pixel_size_A
    for_ctf = None if amplitude is None else power_spectrum.ctf_spectrum(amplitude, pixel_A)
    return AlignmentResult(
        estimate.motion, found.sums, estimate.tracks, before, after, quality, record, plan, for_ctf
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
    stages: Stages = AT_ONCE,
    timings_s: Mapping[str, float] = MappingProxyType({}),
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
    stages : call the stages of the alignment, which may wait for those of other movies
    timings_s : of stages that are over, such as the start of the program, for the record

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

        request = Request(movie, params, motion, series_prior, progress, timings_s=timings_s)
        result = _align(request, pool, draw, stages)
    if series_key:
        decisions = {**result.record.decisions, "series_key": series_key}
        result = replace(result, record=replace(result.record, decisions=decisions))
    return stages.write(
        lambda: write_alignment(
            result, params, folder, root, overwrite=overwrite, suffixes=suffixes,
            plot=drawn[0].result,
        )
    )  # fmt: skip


def _drawn(plan: Plan, estimate: Estimate) -> bytes:
    """The plot of a motion, as PNG."""
    picture, movie = BytesIO(), plan.movie
    draw_trajectory(
        picture, estimate.motion, plan.pixel_size_A, (movie.height_px, movie.width_px),
        title=Path(movie.path).name, tracks=estimate.tracks,
    )  # fmt: skip
    return picture.getvalue()
