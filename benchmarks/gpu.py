"""Whether a GPU gives the numbers of the CPU, and how far its stages are from what they can be.

First a small movie is aligned on both, and motion and sums are compared.  Then every stage of the
two passes is measured alone, by events on the device, beside its two bounds: the bytes it has to
move over the bandwidth of a plain copy, and cuFFT's own time for the transforms.  Last comes the
whole of ``align_movie``, beside decoding alone on the host.  The tables are Markdown::

    python benchmarks/gpu.py --classes falcon-mrc superres --threads 16

Movies are those of speed.py.  Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import speed

from flexalign import AlignParams, FlexAlignError, align_movie
from flexalign.arrays import cuda, fourier, resample
from flexalign.arrays.device import Device, resolve
from flexalign.arrays.moving import LATTICE_STEP_PX
from flexalign.io.movies import open_for
from flexalign.plan import Plan, make_plan
from flexalign.simulate import SimulationSettings

REPEATS = 20
MOTION_LIMIT_PX, SUMS_LIMIT = 1e-3, 1e-4
SUMS = ("plain", "dose_weighted", "unaligned")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pass, for one frame.

    Attributes
    ----------
    seconds : on the device
    moved_bytes : least it has to read and write there
    """

    name: str
    seconds: float
    moved_bytes: float


def check(movie: Path, params: AlignParams, device: Device) -> str:
    """How far the GPU's motion and sums are from the CPU's, in one line.

    Raises
    ------
    FlexAlignError
        If they are further than they may be.
    """
    cpu, gpu = (align_movie(movie, replace(params, device=n)) for n in ("cpu", device.name))
    plan = gpu.motion.trajectory.displacement_px - cpu.motion.trajectory.displacement_px
    largest_px = float(np.abs(plan).max())
    if cpu.motion.field is not None and gpu.motion.field is not None:
        field = gpu.motion.field.coefficients_px - cpu.motion.field.coefficients_px
        largest_px += float(np.abs(field).max())
    relative = 0.0
    for name in SUMS:
        expected, found = getattr(cpu.sums, name), getattr(gpu.sums, name)
        if expected is not None:
            relative = max(relative, float(np.abs(found - expected).max() / np.abs(expected).max()))
    said = f"motion differs by at most {largest_px:.1e} px, sums by {relative:.1e} of their maximum"
    if largest_px > MOTION_LIMIT_PX or relative > SUMS_LIMIT:
        raise FlexAlignError(f"expected {MOTION_LIMIT_PX} px and {SUMS_LIMIT}, found: {said}")
    return said


def seconds_on(device: Device, work: Callable[[], object]) -> float:
    """Median time of `work` on the device, by its own events."""
    events, found = device.xp.cuda, []
    work()
    for _ in range(REPEATS):
        start, stop = events.Event(), events.Event()
        start.record()
        work()
        stop.record()
        stop.synchronize()
        found.append(events.get_elapsed_time(start, stop) / 1e3)
    return statistics.median(found)


def stages(plan: Plan, device: Device) -> tuple[list[Stage], float, float]:
    """The stages of both passes for one frame; cuFFT's seconds for both; bytes/s of a copy."""
    xp, shape = device.xp, (plan.movie.height_px, plan.movie.width_px)
    dtype = np.dtype(plan.movie.pixel_dtype)
    host = device.empty_on_host(shape, dtype)
    raw = xp.zeros(shape, dtype)
    frame, room, gain = (xp.ones(shape, np.float32) for _ in range(3))
    nodes = [resample.lattice_nodes(size, LATTICE_STEP_PX).size for size in shape]
    lattice = xp.ones((2, *nodes), np.float32) * np.float32(1.3)
    spectrum = fourier.rfft2_cropped(frame, plan.output_shape_px)
    weighted = xp.zeros_like(spectrum)
    weight, ratio = (xp.ones(spectrum.shape, np.float32) for _ in range(2))
    small = fourier.rfft2_cropped(frame, plan.correlation_shape_px)
    px, half, low = 4 * frame.size, 8 * spectrum.size, 8 * small.size
    rows = shape[0] * 8 * (plan.correlation_shape_px[1] // 2 + 1)

    work: list[tuple[str, Callable[[], object], float]] = [
        ("upload", lambda: raw.set(host), raw.nbytes),
        ("correct", lambda: cuda.correct(raw, None, gain, frame), raw.nbytes + 2 * px),
        ("small spectrum", lambda: fourier.rfft2_cropped(frame, plan.correlation_shape_px),
         px + 3 * rows + low),
        ("small frame", lambda: fourier.irfft2(small, plan.correlation_shape_px), 3 * low),
        ("prefilter", lambda: cuda.prefilter(frame, room), 4 * px),
        ("sample", lambda: cuda.sample(frame, lattice, LATTICE_STEP_PX, room), 2 * px),
        ("sum", lambda: np.add(frame, room, out=frame), 3 * px),
        ("spectrum", lambda: fourier.rfft2_cropped(room, plan.output_shape_px), px + 3 * half),
        ("weigh", lambda: cuda.weigh(spectrum, weighted, weight, ratio, 1), 3.5 * half),
    ]  # fmt: skip
    found = [Stage(name, seconds_on(device, act), moved) for name, act, moved in work]
    again = {stage.name: stage for stage in found}
    found[4:4] = [again["upload"], again["correct"]]
    transforms_s = 2 * seconds_on(device, lambda: fourier.rfft2(frame))
    copied_s = seconds_on(device, lambda: room.__setitem__(slice(None), frame))
    return found, transforms_s, 2 * px / copied_s


def stage_table(found: list[Stage], transforms_s: float, bandwidth: float, frames: int) -> str:
    """The stages of all frames, in Markdown, and the sum beside its bounds."""
    lines = ["| stage | ms | bytes / bandwidth, ms | ratio |", "| --- | --: | --: | --: |"]
    for stage in found:
        bound_s = stage.moved_bytes / bandwidth
        lines.append(
            f"| {stage.name} | {1e3 * frames * stage.seconds:.1f} | {1e3 * frames * bound_s:.1f} "
            f"| {stage.seconds / bound_s:.1f} |"
        )
    on_device = [stage for stage in found if stage.name != "upload"]
    total_s = frames * sum(stage.seconds for stage in on_device)
    moved_s = frames * sum(stage.moved_bytes for stage in on_device) / bandwidth
    bound_s = max(moved_s, frames * transforms_s)
    return "\n".join(lines) + (
        f"\n\nComputing {total_s:.3f} s; bytes {moved_s:.3f} s at {bandwidth / 1e9:.0f} GB/s; "
        f"cuFFT {frames * transforms_s:.3f} s: {total_s / bound_s:.2f} x the larger bound."
    )


def decoding_s(movie: Path, params: AlignParams, threads: int) -> float:
    """Seconds to decode every frame once in each of two passes, and nothing else."""
    with open_for(movie, params) as reader:
        started = time.perf_counter()
        for _ in range(2):
            for _raw in reader.frames(threads=threads):
                pass
        return time.perf_counter() - started


def measure(name: str, cache: Path, threads: int, device: Device) -> str:
    """All about one class of movie, in Markdown."""
    settings = SimulationSettings(**speed.CLASSES[name].settings)
    files = speed.movie_of(name, cache, threads)
    params = replace(speed.params_of(files, settings, threads), device=device.name)
    with open_for(files.movie, params) as reader:
        plan = make_plan(reader.info, params)
    with device.active():
        table = stage_table(*stages(plan, device), plan.movie.frame_count)
    align_movie(files.movie, params)
    started = time.perf_counter()
    record: Any = align_movie(files.movie, params).record
    whole_s, decode_s = time.perf_counter() - started, decoding_s(files.movie, params, threads)
    parts = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in record.timings_s.items())
    return (
        f"{speed.describe(name, files, settings)}\n\n{table}\n\nThe whole {whole_s:.2f} s ({parts})"
        f"; decoding alone {decode_s:.2f} s with {threads} threads: {whole_s / decode_s:.2f} x."
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", nargs="+", choices=speed.CLASSES, metavar="CLASS",
                        default=["falcon-mrc", "superres"],
                        help=f"of {', '.join(speed.CLASSES)}")  # fmt: skip
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--cache", type=Path, default=speed.CACHE)
    chosen = parser.parse_args()
    cache = chosen.cache.resolve()
    try:
        device = resolve(chosen.device)
        settings = SimulationSettings(**speed.CLASSES["quick"].settings)
        files = speed.movie_of("quick", cache, chosen.threads)
        params = speed.params_of(files, settings, chosen.threads)
        print(f"{device.describe()}: {check(files.movie, params, device)}", flush=True)
        for name in chosen.classes:
            print(f"\n{measure(name, cache, chosen.threads, device)}", flush=True)
    except FlexAlignError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
