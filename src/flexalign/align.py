"""Align one movie, step by step: from raw frames to the motion and the micrograph."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from flexalign import __version__
from flexalign.arrays import power_spectrum
from flexalign.arrays.detector import load_search
from flexalign.arrays.device import Device, resolve
from flexalign.arrays.downsample import load_compiled_loops
from flexalign.errors import InputError
from flexalign.estimate import refine
from flexalign.estimate.model_selection import Estimate, estimate_motion, given_motion
from flexalign.files import check_name
from flexalign.io.motion_formats.read_motion import check_motion
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.reader import MovieReader, RememberingMovie
from flexalign.io.plots import draw_trajectory, load_drawing
from flexalign.io.record import describe_file, file_state
from flexalign.io.references import load_references
from flexalign.io.results import SUFFIXES, check_output, movie_root, write_result
from flexalign.model import AlignmentResult, FrameSums, MovieRecord, Quality
from flexalign.motion import Motion
from flexalign.params import LIMITS, AlignParams
from flexalign.passes import FirstPass, Progress, first_pass, second_pass
from flexalign.plan import Plan, make_plan
from flexalign.quality.gain_residual import line_residuals
from flexalign.quality.metrics import curves, judge


def _silent(stage: str, done: int, total: int) -> None:
    """Default progress callback: does nothing."""


def align_movie(
    movie: str | Path,
    params: AlignParams | None = None,
    *,
    motion: Motion | None = None,
    progress: Progress = _silent,
) -> AlignmentResult:
    """Estimate the motion of one movie and correct it; nothing is written to disk.

    Parameters
    ----------
    movie : path of an MRC, TIFF or EER movie
    params : default: `AlignParams()`
    motion : a known motion to apply instead of estimating one, to the frames in which it was
        measured
    progress : called as ``progress(stage, done, total)``

    Raises
    ------
    InputError
        If the movie or a reference cannot be used.
    ParameterError
        If a parameter does not fit the movie.
    DeviceError
        If the requested device cannot be used, or has too little memory.
    """
    with ThreadPoolExecutor(1) as beside:
        return _align(movie, params or AlignParams(), motion, progress, beside, _ignored)


def _ignored(plan: Plan, estimate: Estimate) -> None:
    """Default `on_motion` callback: does nothing."""


def _align(
    movie: str | Path,
    params: AlignParams,
    motion: Motion | None,
    progress: Progress,
    beside: Executor,
    on_motion: Callable[[Plan, Estimate], None],
) -> AlignmentResult:
    """As `align_movie`; `on_motion` is called with the motion before the second pass.

    Work that the second pass does not depend on runs in the executor `beside`.
    """
    if motion is not None:
        params = _params_for(motion, params)
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
            references = load_references(
                reader.info,
                gain=params.gain,
                gain_rotate=params.gain_rotate,
                gain_flip=params.gain_flip,
                gain_sense=params.gain_sense,
                dark=params.dark,
                defects=params.defects,
                tiff_rows=params.tiff_rows,
            )
        with device.active():
            with clock("first pass"):
                frames, first = first_pass(
                    source, plan, references, params, threads, progress, device
                )
            progress("estimate", 0, 1)
            if motion is None:
                estimate = estimate_motion(frames, plan, params, threads, clock)
            else:
                estimate = given_motion(motion)
            del frames  # the largest allocation, not needed any more
            progress("estimate", 1, 1)
            on_motion(plan, estimate)
            lines = beside.submit(line_residuals, first.unaligned)
            inputs = beside.submit(_describe_inputs, plan, params)
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
        quality = judge(plan, params, first, estimate, before, after, found)
    record = _record(
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
        estimate.motion, sums, estimate.tracks, before, after, quality, record, for_ctf
    )


def align_and_write(
    movie: str | Path,
    params: AlignParams,
    folder: str | Path,
    *,
    root: str | None = None,
    overwrite: bool = False,
    motion: Motion | None = None,
    suffixes: Mapping[str, str] = SUFFIXES,
    inputs: Sequence[str | Path] = (),
    progress: Progress = _silent,
) -> MovieRecord:
    """Align one movie, write all results to `folder` and return the record.

    Parameters
    ----------
    root : common beginning of the file names; default: the movie's name
    motion : a known motion to apply instead of estimating one
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

        result = _align(movie, params, motion, progress, pool, draw)
    sums, amplitudes = result.sums, None
    if params.psd and sums.unaligned is not None:
        amplitudes = partial(
            power_spectrum.amplitude_composite, sums.plain, sums.unaligned, threads=_threads(params)
        )
    unbinned_A = float(result.record.decisions["pixel_size_A"])
    started = time.perf_counter()
    outputs = write_result(
        result,
        folder,
        root,
        pixel_size_A=unbinned_A,
        binned_pixel_size_A=float(result.record.decisions["output_pixel_size_A"]),
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


def _params_for(motion: Motion, params: AlignParams) -> AlignParams:
    """`params` without estimation options, restricted to the frames in which `motion` is known."""
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


def _record(
    plan: Plan,
    params: AlignParams,
    first: FirstPass,
    estimate: Estimate,
    quality: Quality,
    timings_s: dict[str, float],
    notes: tuple[str, ...],
    device: Device,
    inputs: dict[str, dict[str, Any]],
) -> MovieRecord:
    """The record of the movie's processing, except for its curves."""
    decisions: dict[str, Any] = {
        **plan.to_dict(),
        "output_pixel_size_A": plan.output_pixel_size_A,
        "reference_frame": estimate.motion.reference_frame,
        "rejected_pairs": estimate.rejected_pairs,
        "mean_counts": first.mean_counts,
        "references": list(notes),
        "device": device.describe(),
        "device_note": device.note,
    }
    # numpy finds indices much faster along one axis.
    hot_pixels = np.divmod(np.flatnonzero(first.hot_pixels), first.hot_pixels.shape[1])
    decisions["hot_pixel_y"], decisions["hot_pixel_x"] = hot_pixels
    if estimate.refinement is not None:
        decisions["trajectory_prior"] = asdict(estimate.refinement.trajectory_prior)
        if estimate.refinement.field_prior is not None:
            decisions["field_prior"] = asdict(estimate.refinement.field_prior)
        decisions["finest_signal_A"] = refine.finest_signal_A(
            estimate.refinement.powers, estimate.refinement.ring_frequency_per_A
        )
    return MovieRecord(
        version=__version__,
        movie=plan.movie,
        inputs=inputs,
        parameters={**params.to_dict(), "hash": params.hash()},
        decisions=decisions,
        timings_s=timings_s,
        peak_memory_bytes=_peak_memory_bytes(),
        quality=quality,
        outputs={},
        warnings=_warnings(plan, params, first),
        motion=estimate.motion.to_dict(),
    )


def _describe_inputs(plan: Plan, params: AlignParams) -> dict[str, dict[str, Any]]:
    """Identity of the movie and its references."""
    names = ("movie", "gain", "dark", "defects", "eer_groups")
    paths = (plan.movie.path, params.gain, params.dark, params.defects, params.eer_groups)
    given = zip(names, paths, strict=True)
    return {name: describe_file(path) for name, path in given if path is not None}


def _is_unchanged(movie: str | Path, opened: dict[str, int]) -> bool:
    """Whether a movie is unchanged since it was `opened`."""
    try:
        return file_state(movie) == opened
    except OSError:
        return False


def _peak_memory_bytes() -> int:
    """Peak resident memory of this process so far."""
    try:
        # Unlike `getrusage`, this does not count a large parent process.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _warnings(plan: Plan, params: AlignParams, first: FirstPass) -> tuple[str, ...]:
    """Warnings about the alignment, one sentence each."""
    found = [f"frame {i + 1} is left out: {why}" for i, why in sorted(first.bad_frames.items())]
    found += [f"frame {i + 1} is used, but {what}" for i, what in sorted(first.notes.items())]
    if first.uneven_frames:
        named = ", ".join(f"{i + 1} ({off:+.0%})" for i, off in sorted(first.uneven_frames.items()))
        found.append(
            f"frames of uneven counts, compared with the others: {named}; where their doses are "
            "known, give one for each frame to --dose-per-frame"
        )
    if plan.fallback:
        found.append(f"aligned globally only: {plan.fallback}")
    if plan.movie.eer is not None and plan.movie.eer.leftover_raw_frames:
        found.append(f"{plan.movie.eer.leftover_raw_frames} EER raw frames at the end are not used")
    if params.dose_weight and plan.dose_per_frame_e_A2 is None:
        found.append("no dose-weighted micrograph: the dose per frame is not known")
    return tuple(found)
