"""Agreement of GPU and CPU, and time of the GPU stages relative to their lower bounds.

Every stage of the two passes is measured alone, by events on the device, beside its two bounds: the
bytes it has to move over the bandwidth of a plain copy, and cuFFT's own time for the transform.
Then both passes run over frames that are in memory already, which shows whether the transfers and
the host keep up.  Last comes the whole of ``align_movie`` on both devices: motion and sums are
compared, and the times stand beside decoding alone on the host; of EER also with frames that are
decoded on the host instead of rendered on the GPU.  With ``--session``, so many
copies of each movie are aligned in runs: on the GPU with stages that overlap and without, and on
the CPU; micrographs are compared first.  The tables are Markdown::

    python benchmarks/gpu.py --classes falcon-mrc superres --threads 16
    python benchmarks/gpu.py --classes falcon-mrc --session 50

Movies are those of speed.py.  Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import gpu_session
import numpy as np
import speed
from store import CACHE

from flexalign import AlignParams, FlexAlignError, align_movie
from flexalign.alignment_result import AlignmentResult
from flexalign.arrays import fourier, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
from flexalign.arrays.detector import make_correction
from flexalign.arrays.device import Device, resolve
from flexalign.arrays.downsample import axis_filter, sum_dtype
from flexalign.arrays.gpu.passes import GpuAlignedSums, GpuDownsampler, kernels
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.batch.gpus import Gpus
from flexalign.batch.local_processes import MOVIES_PER_GPU, LocalProcesses, default_jobs
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.packed_movie import PackedMovie
from flexalign.io.movies.reader import MovieReader
from flexalign.plan import CORRELATION_NYQUIST_SHARE, Plan, make_plan
from flexalign.simulate import SimulationSettings

REPEATS = 20
MOTION_LIMIT_PX, SUMS_LIMIT = 1e-3, 1e-4
UPLOAD = "upload"
BAD_PIXELS = 2000
PLACES = 5  # on each axis, where the motion is compared
# 3 to 10 ms of copying, while the host puts what is measured into the queue.
BUSY_BYTES, BUSY_COPIES = 500_000_000, 10
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


def deviation(cpu: AlignmentResult, gpu: AlignmentResult) -> str:
    """Deviation of the motion and sums of the GPU from those of the CPU, in one line.

    Raises
    ------
    FlexAlignError
        If they are further than they may be.
    """
    shape = (cpu.record.movie.height_px, cpu.record.movie.width_px)
    frame, y, x = np.ix_(
        range(cpu.record.movie.frame_count), *(np.linspace(0, n - 1, PLACES) for n in shape)
    )
    moved = (np.array(result.motion.displacement_px(frame, y, x)) for result in (cpu, gpu))
    largest_px = float(np.abs(np.subtract(*moved)).max())
    relative = 0.0
    for name in SUMS:
        expected, found = getattr(cpu.sums, name), getattr(gpu.sums, name)
        if expected is not None:
            relative = max(relative, float(np.abs(found - expected).max() / np.abs(expected).max()))
    agreement = (
        f"motion differs by at most {largest_px:.1e} px, sums by {relative:.1e} of their maximum"
    )
    if largest_px > MOTION_LIMIT_PX or relative > SUMS_LIMIT:
        raise FlexAlignError(f"expected {MOTION_LIMIT_PX} px and {SUMS_LIMIT}, found: {agreement}")
    return agreement


def seconds_on(device: Device, work: Callable[[], object]) -> float:
    """Median time of `work` on the device, by device events.

    The device is kept busy until all of it is in the queue: the host's time does not count.
    """
    events, found = device.xp.cuda, []
    busy, buffer = (device.xp.zeros(BUSY_BYTES // 4, np.float32) for _ in range(2))
    work()
    for _ in range(REPEATS):
        start, stop = events.Event(), events.Event()
        for _ in range(BUSY_COPIES):
            buffer[...] = busy
        start.record()
        work()
        stop.record()
        stop.synchronize()
        found.append(events.get_elapsed_time(start, stop) / 1e3)
    return statistics.median(found)


def stages(plan: Plan, device: Device) -> tuple[list[Stage], float, float]:
    """The stages of both passes for one frame; cuFFT's seconds for it; bytes/s of a copy."""
    xp, shape = device.xp, (plan.movie.height_px, plan.movie.width_px)
    dtype = np.dtype(plan.movie.pixel_dtype)
    host = device.empty_on_host(shape, dtype)
    raw, counts = xp.zeros(shape, dtype), xp.zeros(shape, sum_dtype(host))
    frame, buffer, gain = (xp.ones(shape, np.float32) for _ in range(3))
    nodes = [resample.lattice_nodes(size, LATTICE_STEP_PX).size for size in shape]
    lattice = xp.ones((2, *nodes), np.float32) * np.float32(1.3)
    spectrum = fourier.rfft2_cropped(frame, plan.output_shape_px)
    weighted = xp.zeros_like(spectrum)
    rate = xp.zeros(spectrum.shape, np.float32)
    down, across = (
        axis_filter(a, b, CORRELATION_NYQUIST_SHARE)
        for a, b in zip(shape, plan.correlation_shape_px, strict=True)
    )
    along_y = xp.array(down.start), xp.array(down.weight)
    along_x = xp.array(across.start), xp.array(np.ascontiguousarray(across.weight.T))
    small = xp.empty(plan.correlation_shape_px, np.float32)
    rows = xp.empty((small.shape[0], shape[1]), np.float32)
    px, half = 4 * frame.size, 8 * spectrum.size

    work: list[tuple[str, Callable[[], object], float]] = [
        (UPLOAD, lambda: raw.set(host), raw.nbytes),
        ("correct", lambda: kernels.correct(raw, None, gain, frame), raw.nbytes + 2 * px),
        ("raw sum", lambda: np.add(counts, raw, out=counts), raw.nbytes + 2 * counts.nbytes),
        ("down-sample", lambda: kernels.downsample(frame, along_y, along_x, rows, small),
         px + 2 * rows.nbytes + small.nbytes),
        ("prefilter", lambda: kernels.prefilter(frame, buffer), 4 * px),
        ("sample", lambda: kernels.sample(frame, lattice, LATTICE_STEP_PX, buffer), 2 * px),
        ("sum", lambda: np.add(frame, buffer, out=frame), 3 * px),
        ("spectrum", lambda: fourier.rfft2_cropped(buffer, plan.output_shape_px), px + 3 * half),
        ("weighted sum", lambda: kernels.add_weighted(spectrum, weighted, rate, 1.0), 3.5 * half),
    ]  # fmt: skip
    found = [Stage(name, seconds_on(device, act), moved) for name, act, moved in work]
    again = {stage.name: stage for stage in found}
    found[4:4] = [again[UPLOAD], again["correct"]]
    transforms_s = seconds_on(device, lambda: fourier.rfft2(frame))
    copied_s = seconds_on(device, lambda: buffer.__setitem__(slice(None), frame))
    return found, transforms_s, 2 * px / copied_s


def stage_table(found: list[Stage], transforms_s: float, bandwidth: float, frames: int) -> str:
    """The stages of all frames, in Markdown, and their sum with its bounds.

    What is sent to the device is no part of the sum: that happens meanwhile.
    """
    lines = ["| stage | ms | bytes / bandwidth, ms | ratio |", "| --- | --: | --: | --: |"]
    for stage in found:
        taken = f"| {stage.name} | {1e3 * frames * stage.seconds:.1f} "
        bound_s = stage.moved_bytes / bandwidth
        if stage.name == UPLOAD:
            lines.append(f"{taken}| at {stage.moved_bytes / stage.seconds / 1e9:.0f} GB/s | |")
        else:
            bound = f"| {1e3 * frames * bound_s:.1f} | {stage.seconds / bound_s:.1f} |"
            lines.append(taken + bound)
    on_device = [stage for stage in found if stage.name != UPLOAD]
    total_s = frames * sum(stage.seconds for stage in on_device)
    moved_s = frames * sum(stage.moved_bytes for stage in on_device) / bandwidth
    bound_s = max(moved_s, frames * transforms_s)
    return "\n".join(lines) + (
        f"\n\nComputing {total_s:.3f} s; bytes {moved_s:.3f} s at {bandwidth / 1e9:.0f} GB/s; "
        f"cuFFT {frames * transforms_s:.3f} s: {total_s / bound_s:.2f} x the larger bound."
    )


def passes_s(plan: Plan, device: Device) -> tuple[float, float]:
    """Elapsed seconds of each pass over frames in memory."""
    shape = (plan.movie.height_px, plan.movie.width_px)
    rng, count = np.random.default_rng(1), plan.movie.frame_count
    dtype = np.dtype(plan.movie.pixel_dtype)
    raw = [rng.integers(0, 4, shape, np.uint8).astype(dtype) for _ in range(2)]
    bad = np.zeros(shape, np.bool_)
    bad.reshape(-1)[rng.integers(0, bad.size, BAD_PIXELS)] = True
    correction = make_correction(rng.random(shape, np.float32), None, bad)
    nodes = [resample.lattice_nodes(size, LATTICE_STEP_PX).size for size in shape]
    lattice = rng.normal(0, 3, (2, *nodes)).astype(np.float32)
    small = np.zeros((count, *plan.correlation_shape_px), plan.small_frame_dtype)
    weights = ExponentialWeights(
        lambda ky, kx: -0.05 * np.hypot(ky, kx), plan.output_shape_px,
        time=np.arange(count, dtype=np.float64), noise=np.ones(count),
    )  # fmt: skip

    def measure_all() -> float:
        downsampler = GpuDownsampler(correction, shape, small, device, CORRELATION_NYQUIST_SHARE)
        total = downsampler.empty_sum(raw[0])
        started = time.perf_counter()
        for k in range(count):
            downsampler.add(raw[k % 2], k, k, [total])
        downsampler.flush()
        return time.perf_counter() - started

    def sum_all() -> float:
        sums = GpuAlignedSums(
            correction, shape, plan.output_shape_px, device, names=("all",),
            weights=weights,
        )  # fmt: skip
        started = time.perf_counter()
        for k in range(count):
            sums.add(raw[k % 2], k, lattice, ("all",), k)
        device.finish()
        return time.perf_counter() - started

    return min(measure_all() for _ in range(2)), min(sum_all() for _ in range(2))


def decoding_s(movie: Path, params: AlignParams, threads: int) -> float:
    """Seconds to decode every frame in each of two passes."""
    with open_for(movie, params) as reader:
        started = time.perf_counter()
        for _ in range(2):
            for _raw in reader.frames(threads=threads):
                pass
        return time.perf_counter() - started


def aligned(
    movie: Path | MovieReader, params: AlignParams, device: str
) -> tuple[AlignmentResult, float]:
    """The alignment of the movie, and its elapsed time; of a reader the host decodes all frames."""
    started = time.perf_counter()
    result = align_movie(movie, replace(params, device=device))
    return result, time.perf_counter() - started


def warm_up(cache: Path, threads: int, device: Device) -> None:
    """Align a small movie on both devices, so that all loops are compiled."""
    settings = SimulationSettings(**speed.CLASSES["quick"].settings)
    files = speed.movie_of("quick", cache, threads)
    params = speed.params_of(files, settings, threads)
    cpu, gpu = (aligned(files.movie, params, name)[0] for name in ("cpu", device.name))
    print(f"quick: {deviation(cpu, gpu)}", flush=True)


def measure(name: str, cache: Path, threads: int, device: Device) -> str:
    """The tables of one class of movie, in Markdown."""
    settings = SimulationSettings(**speed.CLASSES[name].settings)
    files = speed.movie_of(name, cache, threads)
    params = speed.params_of(files, settings, threads)
    with open_for(files.movie, params) as reader:
        plan = make_plan(reader.info, params)
    with device.active():
        table = stage_table(*stages(plan, device), plan.movie.frame_count)
        first_s, second_s = passes_s(plan, device)
        pool = device.xp.get_default_memory_pool()
        pool.free_all_blocks()
    gpu, gpu_s = min(
        (aligned(files.movie, params, device.name) for _ in range(2)), key=itemgetter(1)
    )
    results = {device.name: (gpu, gpu_s)}
    held_GB = pool.total_bytes() / 1e9
    results["cpu"] = aligned(files.movie, params, "cpu")
    cpu = results["cpu"][0]
    with open_for(files.movie, params) as reader:
        if isinstance(reader, PackedMovie):
            decoded = aligned(reader, params, device.name)
            results[f"{device.name}, frames decoded on the host"] = decoded
            print(f"{name}, decoded on the host: {deviation(cpu, decoded[0])}", flush=True)
    decode_s = decoding_s(files.movie, params, threads)
    return (
        f"{speed.describe(name, files, settings)}\n\n{table}\n"
        f"Passes over frames in memory: {first_s:.3f} s and {second_s:.3f} s.\n\n"
        f"{whole_table(results, decode_s)}\n\n"
        f"Decoding alone {decode_s:.2f} s with {threads} threads; {deviation(cpu, gpu)}. "
        f"The GPU held {held_GB:.1f} GB, of {plan.gpu_memory_bytes / 1e9:.1f} GB planned without "
        "the spectra of patches."
    )


def sessions(name: str, cache: Path, threads: int, device: Device, count: int) -> str:
    """The table of runs over `count` copies of a movie, in Markdown."""
    settings = SimulationSettings(**speed.CLASSES[name].settings)
    files = speed.movie_of(name, cache, threads)
    params = speed.params_of(files, settings, threads)

    def used_bytes() -> int:
        with device.active():
            free, total = device.xp.cuda.runtime.memGetInfo()
        return int(total - free)

    on_gpu, on_cpu = replace(params, device=device.name), replace(params, device="cpu")
    kinds = {
        "CPU": (on_cpu, LocalProcesses(default_jobs(None))),
        f"{device.name}, one after the other": (
            on_gpu, LocalProcesses(1, threads=threads, gpus=Gpus([device.name])),
        ),
        f"{device.name}, stages overlap": (
            on_gpu, LocalProcesses(MOVIES_PER_GPU, threads=threads, gpus=Gpus([device.name])),
        ),
    }  # fmt: skip
    found = {}
    with tempfile.TemporaryDirectory(dir=cache) as place:
        folders = {kind: Path(place) / str(n) for n, kind in enumerate(kinds)}
        for kind, (chosen, executor) in kinds.items():
            folder = folders[kind]
            found[kind] = gpu_session.run(files.movie, chosen, folder, count, executor, used_bytes)
            expected = folders["CPU"]
            largest = gpu_session.deviation(expected, folder, ["m0", f"m{count - 1}"])
            print(f"{kind}: micrographs differ from those of the CPU by {largest:.1e}", flush=True)
    return f"{speed.describe(name, files, settings)}\n\n{gpu_session.table(found)}"


def whole_table(results: dict[str, tuple[AlignmentResult, float]], decode_s: float) -> str:
    """Time of the stages of `align_movie` on each device, in Markdown."""
    names = list(next(iter(results.values()))[0].record.timings_s)
    lines = [
        f"| device | {' | '.join(names)} | s | / decoding |",
        "| --- |" + " --: |" * (len(names) + 2),
    ]
    for device, (result, whole_s) in results.items():
        parts = " | ".join(f"{result.record.timings_s.get(name, 0.0):.2f}" for name in names)
        lines.append(f"| {device} | {parts} | {whole_s:.2f} | {whole_s / decode_s:.1f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", nargs="+", choices=speed.CLASSES, metavar="CLASS",
                        default=["falcon-mrc", "superres", "eer"],
                        help=f"of {', '.join(speed.CLASSES)}")  # fmt: skip
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--session", type=int, default=0, metavar="MOVIES",
                        help="runs over so many copies of each movie")  # fmt: skip
    parser.add_argument("--cache", type=Path, default=CACHE)
    chosen = parser.parse_args()
    cache = chosen.cache.resolve()
    try:
        device = resolve(chosen.device)
        print(f"{device.describe()}, {chosen.threads} threads on the host", flush=True)
        warm_up(cache, chosen.threads, device)
        for name in chosen.classes:
            if chosen.session:
                text = sessions(name, cache, chosen.threads, device, chosen.session)
            else:
                text = measure(name, cache, chosen.threads, device)
            print(f"\n{text}", flush=True)
    except FlexAlignError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
