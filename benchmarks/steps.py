"""The steps of an alignment, each measured alone, and a lower bound for two passes.

Every step is the package's own function with the arguments that `flexalign.passes` gives it, on a
few frames of the movie, one step after the other; in the real passes the next frames are decoded
meanwhile.  The median over the frames times their number is what the movie costs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import peers

from flexalign.alignment_result import AlignmentResult
from flexalign.arrays import detector, downsample, fourier, power_spectrum, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX, AlignedSums
from flexalign.arrays.downsample import Downsampler, mean_corrected
from flexalign.arrays.hot_pixels import find_outlier_lines, find_outlier_pixels
from flexalign.arrays.threads import ThreadPool
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.reader import MovieReader
from flexalign.io.references import load_references
from flexalign.io.results import write_result
from flexalign.model import FrameRange, FrameSums, MovieRecord, PixelArray
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.passes import frame_weights
from flexalign.plan import CORRELATION_NYQUIST_SHARE, FRAMES_PER_BATCH, Plan, make_plan

FRAMES, ROUNDS = 8, 3
OUTSIDE = "outside the stages"
# As users start it, without coverage, which numba loads where it is installed.
_IMPORTS = (
    "import sys; sys.modules['coverage'] = None; import flexalign.cli, flexalign.align, "
    "matplotlib.figure, matplotlib.backends.backend_agg"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One inner step.

    Attributes
    ----------
    seconds : for all frames
    cores : busy on the average
    bytes_touched : by all frames, read and written, each array once per operation; None = not known
    """

    name: str
    seconds: float
    cores: float
    bytes_touched: float | None = None


class Laps:
    """Elapsed and processor seconds of each step and frame."""

    def __init__(self) -> None:
        self._wall_s: dict[str, list[float]] = defaultdict(list)
        self._cpu_s: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Take the time of the block as one lap of `name`."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._wall_s[name].append(time.perf_counter() - wall)
        self._cpu_s[name].append(time.process_time() - cpu)

    def steps(
        self, frame_count: int, frame_bytes: Mapping[str, float], frames_per_lap: int = 1
    ) -> list[Step]:
        """The measured steps, for `frame_count` frames of `frame_bytes` each."""
        return [
            Step(
                name,
                frame_count * float(np.median(wall)) / frames_per_lap,
                sum(self._cpu_s[name]) / max(sum(wall), 1e-9),
                frame_count * frame_bytes[name] if name in frame_bytes else None,
            )
            for name, wall in self._wall_s.items()
        ]


def floor_s(movie: Path, params: AlignParams, threads: int) -> float:
    """Seconds to decode every frame twice, with one full-size real transform each time.

    One pass is measured and counted twice.
    """
    started = time.perf_counter()
    with open_for(movie, params) as reader:
        for raw in reader.frames(threads=threads):
            if raw.pixels is not None:
                fourier.rfft2(raw.pixels.astype(np.float32), threads)
    return 2 * (time.perf_counter() - started)


def copied_bytes_per_s(size_bytes: int = 1 << 28) -> float:
    """Bytes that one core reads and writes per second when it copies memory."""
    source = np.ones(size_bytes, np.uint8)
    target = np.zeros_like(source)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return 2 * size_bytes / min(seconds)


def inner_steps(
    movie: Path, params: AlignParams, record: MovieRecord, threads: int
) -> dict[str, list[Step]]:
    """The steps of each stage of the record, and those outside the stages."""
    motion = Motion.from_dict(record.motion)
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        decode = _decode(reader, plan, threads)
        first, correction, unaligned = _first_pass(reader, plan, params, threads)
        second, sums = _second_pass(reader, plan, correction, motion, unaligned, params, threads)
    outside = _outside(movie, record, plan, motion, sums)
    return {
        "first pass": [decode, *first],
        "second pass": second if plan.keeps_frames else [decode, *second],
        # What the record counts as a stage needs no second line.
        OUTSIDE: [step for step in outside if step.name not in record.timings_s],
    }


def _decode(reader: MovieReader, plan: Plan, threads: int) -> Step:
    """One pass that reads and decodes only."""
    laps, info = Laps(), reader.info
    with laps("read, decode"):
        for raw in reader.frames(plan.align, threads=threads):
            del raw
    decoded = (
        plan.align.count * info.height_px * info.width_px * np.dtype(info.pixel_dtype).itemsize
    )
    return laps.steps(1, {"read, decode": info.size_bytes + decoded})[0]


def _few(reader: MovieReader, frames: FrameRange) -> list[tuple[int, np.ndarray]]:
    """Index and raw pixels of up to `FRAMES` frames, evenly spread."""
    chosen = np.linspace(frames.first, frames.stop - 1, min(FRAMES, frames.count)).astype(int)
    return [
        (index, raw.pixels)
        for index in chosen.tolist()
        for raw in reader.frames(FrameRange(index, index + 1))
        if raw.pixels is not None
    ]


def _first_pass(
    reader: MovieReader, plan: Plan, params: AlignParams, threads: int
) -> tuple[list[Step], detector.Correction, PixelArray]:
    """The steps of `passes.first_pass`; the correction with hot pixels, and the mean frame."""
    info, laps, once = reader.info, Laps(), Laps()
    shape, small_shape = (info.height_px, info.width_px), plan.correlation_shape_px
    references = load_references(info, gain=params.gain, gain_sense=params.gain_sense)
    correction = detector.make_correction(references.gain, references.dark, references.defects)
    few = _few(reader, plan.align)
    with ThreadPool(threads) as workers:
        small = np.empty((len(few), *small_shape), np.float32)
        downsampler = Downsampler(correction, shape, small, workers, CORRELATION_NYQUIST_SHARE)
        total = downsampler.empty_sum(few[0][1])
        for _ in range(ROUNDS):
            with laps("correct, filter, sum"):
                for place, (index, pixels) in enumerate(few):
                    downsampler.add(pixels, index, place, [total])
                downsampler.flush()
        with once("mean frame"):
            mean = mean_corrected(total, ROUNDS * len(few), correction, workers)
    with once("bad pixels"):
        hot = find_outlier_lines(mean, references.defects, threads)
        hot |= find_outlier_pixels(mean, references.defects | hot, threads=threads)
        correction = detector.make_correction(
            references.gain, references.dark, references.defects | hot
        )
    px, raw_bytes = shape[0] * shape[1], np.dtype(info.pixel_dtype).itemsize
    frame_bytes = {
        # Raw, there and back once more; of a few frames, gain and sum once; the small frame.
        "correct, filter, sum": 4 * px * raw_bytes
        + 12 * px / downsample.FRAMES_PER_DOWNSAMPLING
        + 4 * small_shape[0] * small_shape[1],
    }
    steps = laps.steps(plan.align.count, frame_bytes, len(few))
    return [*steps, *once.steps(1, {})], correction, mean


def _second_pass(
    reader: MovieReader,
    plan: Plan,
    correction: detector.Correction,
    motion: Motion,
    unaligned: PixelArray,
    params: AlignParams,
    threads: int,
) -> tuple[list[Step], FrameSums]:
    """The steps of `passes.second_pass`, and sums of as many frames as were measured."""
    info, laps, once = reader.info, Laps(), Laps()
    shape = (info.height_px, info.width_px)
    rows, columns = (resample.lattice_nodes(size, LATTICE_STEP_PX) for size in shape)
    few = _few(reader, plan.sum)
    with ThreadPool(threads) as workers:
        sums = AlignedSums(
            correction, shape, plan.output_shape_px, workers, FRAMES_PER_BATCH,
            names=("all",), weights=frame_weights(plan, params),
        )  # fmt: skip
        for _ in range(ROUNDS):
            with laps("motion on the lattice"):
                lattices = [
                    motion.on_lattice(index, rows, columns).astype(np.float32) for index, _ in few
                ]
            with laps("correct, prefilter, sample, sums"):
                for time_index, (index, pixels) in enumerate(few):
                    sums.add(pixels, index, lattices[time_index], ("all",), time_index)
                sums.flush()
        with once("weighted sum of the sums, and back"):
            weighted = sums.weighted_mean()
        with once("plain mean"):
            plain = sums.mean("all")
        found = FrameSums(
            plain=plain, dose_weighted=weighted, odd=None, even=None,
            unaligned=sums.at_output_size(unaligned), aligned=None,
        )  # fmt: skip
    px, raw_bytes = shape[0] * shape[1], np.dtype(info.pixel_dtype).itemsize
    # Raw, there and back once more; of a few frames together, gain and sums once.
    together = 4 + 8 * sums.sum_count
    moved = 3 * px * raw_bytes + px * together / FRAMES_PER_BATCH
    frame_bytes = {"correct, prefilter, sample, sums": moved}
    return [*laps.steps(plan.sum.count, frame_bytes, len(few)), *once.steps(1, {})], found


def _outside(
    movie: Path, record: MovieRecord, plan: Plan, motion: Motion, sums: FrameSums
) -> list[Step]:
    """The steps of a run before, between and after its stages."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401 - so that writing is measured without it

    here = Path.cwd()
    start = peers.watched([sys.executable, "-c", _IMPORTS], here)
    laps, pixel_A = Laps(), plan.pixel_size_A
    assert sums.unaligned is not None
    before, after = (
        power_spectrum.power_spectrum(image, pixel_A) for image in (sums.unaligned, sums.plain)
    )
    result = AlignmentResult(motion, sums, None, before, after, record.quality, record, plan)
    with laps("amplitudes"):
        amplitudes = power_spectrum.amplitude_composite(sums.plain, sums.unaligned)
    with laps("writing"), tempfile.TemporaryDirectory(dir=movie.parent) as folder:
        write_result(result, folder, "movie", amplitudes=lambda: amplitudes)
    images = [image for image in (sums.plain, sums.dose_weighted) if image is not None]
    written = sum(float(image.nbytes) for image in images)
    return [
        Step("Python and imports", start.seconds, start.cpu_s / start.seconds),
        *laps.steps(1, {"writing": written}),
    ]
