"""The two streaming passes over a movie: one to measure small frames, one to sum moved ones.

Whatever the number of frames, each pass holds a few full frames at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import detector, dose, frame_checks, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
from flexalign.arrays.backends import make_downsampler, make_frame_summation
from flexalign.arrays.blank_area import blank_area, fade_out
from flexalign.arrays.detector import Correction
from flexalign.arrays.device import CPU, Device
from flexalign.arrays.downsample import DownsampledFrame, downsampled_pixels, mean_corrected
from flexalign.arrays.duplicate_frames import Copies
from flexalign.arrays.hot_pixels import find_outlier_lines, find_outlier_pixels
from flexalign.arrays.kernels.float16 import add_scaled, stored
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.power_spectrum import GroupedAmplitude
from flexalign.arrays.threads import ThreadPool, share_equally
from flexalign.errors import InputError
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patch_spectra import COARSEST_RESOLUTION_A
from flexalign.io.movies.reader import MovieReader
from flexalign.model import FloatArray, FrameRange, FrameSums, MaskArray, PixelArray, References
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.plan import CORRELATION_NYQUIST_SHARE, FRAMES_MOVED_TOGETHER, Plan
from flexalign.quality_limits import LIMITS

Progress = Callable[[str, int, int], None]

# A frame with less than this part of the median counts is blank: the beam was off.
_BLANK_SHARE = 0.2
# Frames whose mean is within so many standard errors of zero had their mean subtracted.
_LEVEL_ERRORS = 5.0
# With more bad frames than this part, something is wrong with the whole movie.
_MAX_BAD_SHARE = 0.5
# Frames up to about this dose are summed before their amplitudes are, for the CTF; without a
# dose so many frames.
_GROUP_DOSE_E_A2 = 4.0
_GROUP_FRAMES = 4


@dataclass(frozen=True, slots=True, eq=False)
class FirstPass:
    """What the first pass over the file found, beside the small frames.

    Attributes
    ----------
    unaligned : (h, w) mean of the good frames to sum, all bad pixels mended
    correction : the detector's, hot pixels of this movie included
    hot_pixels : (h, w) pixels found bad in this movie
    bad_frames : frame index -> why it is left out
    notes : frame index -> what is wrong with a frame that is used all the same
    mean_counts : mean corrected value of a good frame
    frame_counts : (frames of the file,) mean corrected value of each, NaN = not read or no image
    uneven_frames : frame index -> part by which its counts are off those of the others, where it is
        more than median
    """

    unaligned: PixelArray
    correction: Correction
    hot_pixels: MaskArray
    bad_frames: dict[int, str]
    notes: dict[int, str]
    mean_counts: float
    frame_counts: FloatArray
    uneven_frames: dict[int, float] = field(default_factory=dict)


def _check_level(path: str, frame: npt.NDArray[Any], correction: Correction) -> None:
    """Raise `InputError` where a gain would multiply an offset, and print its pattern on all."""
    if correction.gain is None:
        return
    level = detector.level_below_zero(frame, correction)
    if level is not None:
        raise InputError(
            f"{path}: expected counts to multiply with the gain, found values around {level:.6g}; "
            "they have an offset, as unsigned counts stored as signed numbers have: give an image "
            "of the offset with --dark, or make unsigned numbers of the movie"
        )


def first_pass(
    reader: MovieReader,
    plan: Plan,
    references: References,
    params: AlignParams,
    threads: int,
    progress: Progress,
    device: Device = CPU,
) -> tuple[SmallFrames, FirstPass]:
    """Read all frames to align once: the good ones, made small, and what else was found.

    Raises
    ------
    InputError
        If too few frames are good, or a gain would multiply an offset.
    """
    info = reader.info
    full_shape = (info.height_px, info.width_px)
    small = _SmallSums(plan, device)
    sums: dict[str, Any] = {}
    counts = {"aligned": 0, "summed": 0}
    bad: dict[int, str] = {}
    notes: dict[int, str] = {}
    varied: list[frame_checks.BlockCounts] = []
    copies = Copies()
    correction = detector.make_correction(references.gain, references.dark, references.defects)
    with ThreadPool(threads) as workers:
        downsampler = make_downsampler(
            device, workers, correction, full_shape, small.pixels, CORRELATION_NYQUIST_SHARE
        )
        for raw in reader.frames(plan.align, threads=threads):
            progress("measure", raw.index - plan.align.first + 1, plan.align.count)
            problem = raw.problem if raw.pixels is None else frame_checks.problem_with(raw.pixels)
            if raw.pixels is None or problem:
                bad[raw.index] = problem
                continue
            if not counts["aligned"]:
                _check_level(info.path, raw.pixels, correction)
            copies.see(raw.index, raw.pixels)
            if raw.problem:
                notes[raw.index] = raw.problem
            wanted = ["aligned"] + (["summed"] if _sums_differ(plan, raw.index) else [])
            for name in wanted:
                if name not in sums:
                    sums[name] = downsampler.empty_sum(raw.pixels)
                counts[name] += 1
            varied.append(frame_checks.varied_pixels(raw.pixels))
            place = small.place(raw.index)
            for done in downsampler.add(raw.pixels, raw.index, place, [sums[n] for n in wanted]):
                small.note(done)
        for done in downsampler.flush():
            small.note(done)
        sums = {name: downsampler.fetched(total) for name, total in sums.items()}
        relative = _relative_counts(
            small.means, small.spreads, math.prod(plan.correlation_shape_px)
        )
        broken = _broken_frames(small.index, varied, full_shape)
        bad |= broken
        good = _good_frames(info.path, plan, small.index, relative, bad, copies.found())
        for index in broken:
            _take_out(reader, plan, index, sums, counts)
        total = mean_corrected(sums["aligned"], counts["aligned"], correction, workers)
        blank = blank_area(total, plan.correlation_shape_px)
        hot = np.zeros(full_shape, np.bool_)
        if params.hot_pixels:
            hot = _outliers(total, references.defects, threads)
        if hot.any():
            bad_pixels = references.defects | hot
            correction = detector.make_correction(references.gain, references.dark, bad_pixels)
            excess = detector.mend(total, correction)
            excess *= downsampler.coding.factor
            small.subtract(correction.bad_index, excess, relative, threads)
        if blank is not None:
            scale = full_shape[0] / plan.correlation_shape_px[0]
            fade_px = COARSEST_RESOLUTION_A / (scale * plan.pixel_size_A)
            fade_out(small.pixels, blank, fade_px, threads)
        if counts["summed"]:
            total = mean_corrected(sums["summed"], counts["summed"], correction, workers)
    unaligned = total
    # A nearly blank frame adds hardly any counts, and hardly counts as a frame.
    share = np.where(good, 1.0, relative)
    shares = [
        s for f, s in zip(small.index, share, strict=True) if f in plan.sum and f not in broken
    ]
    unaligned *= np.float32(len(shares) / sum(shares))
    mean = float(np.mean(np.array(small.means)[good]))
    frame_counts = np.full(info.frame_count, np.nan)
    frame_counts[small.index] = small.means
    # Of a frame that turned out blank, that is all there is to say.
    notes = {index: note for index, note in notes.items() if index not in bad}
    uneven = _uneven_frames(plan, small, good, relative)
    return small.frames(good), FirstPass(
        unaligned, correction, hot, bad, notes, mean, frame_counts, uneven
    )


class _SmallSums:
    """The small frames as they come in, several frames of the file summed to one if there are many.

    Attributes
    ----------
    pixels : (times, h, w), filled from outside
    index, means, spreads : of each frame of the file that is in them: its index, mean and deviation
    """

    def __init__(self, plan: Plan, device: Device) -> None:
        self._plan, self._device = plan, device
        max_times = -(-plan.align.count // plan.frames_per_time)
        self.pixels = np.empty((max_times, *plan.correlation_shape_px), plan.small_frame_dtype)
        self._time: list[int] = []  # position in `pixels` of each frame
        self.index: list[int] = []
        self.means: list[float] = []
        self.spreads: list[float] = []

    def place(self, index: int) -> int:
        """Where in `pixels` a frame of the file goes."""
        return (index - self._plan.align.first) // self._plan.frames_per_time

    def note(self, done: DownsampledFrame) -> None:
        """Take down a frame that is in `pixels`, in the order of the file."""
        self._time.append(self.place(done.frame_index))
        self.index.append(done.frame_index)
        self.means.append(done.mean)
        self.spreads.append(done.spread)

    def subtract(
        self, index: npt.NDArray[np.int64], excess: PixelArray, relative: FloatArray, threads: int
    ) -> None:
        """Take the mean `excess` (n,) of bad pixels, flat `index` (n,), out of the small frames.

        AxisFilter is linear, so the pattern that hot pixels leave in every frame, and that would
        pull the motion toward zero, can be taken out afterwards without reading the file again.
        """
        info, small_shape = self._plan.movie, self._plan.correlation_shape_px
        shape = (info.height_px, info.width_px)
        pattern = downsampled_pixels(index, excess, shape, small_shape, CORRELATION_NYQUIST_SHARE)
        # Of all frames of the file that are summed at each time.
        factor = np.bincount(self._time, relative / np.mean(relative)).astype(np.float32)
        images = stored(self.pixels)

        def take_out(start: int, stop: int) -> None:
            for image, part in zip(images[start:stop], factor[start:stop], strict=False):
                add_scaled(pattern, -part, image)

        share_equally(take_out, len(factor), threads)

    def frames(self, good: MaskArray) -> SmallFrames:
        """What is left for the estimation: times with a good frame, at the mean of their frames."""
        time, index = np.array(self._time)[good], np.array(self.index)[good]
        kept, where = np.unique(time, return_inverse=True)
        pixels = self.pixels if len(kept) == len(self.pixels) else self.pixels[kept]
        info = self._plan.movie
        return SmallFrames(
            pixels,
            np.bincount(where, index) / np.bincount(where),
            (info.height_px, info.width_px),
            self._plan.pixel_size_A,
            measured=index,
            device=self._device,
        )


def _sums_differ(plan: Plan, frame: int) -> bool:
    """Whether a frame is to be summed and not all aligned ones are."""
    return plan.sum != plan.align and frame in plan.sum


def _outliers(mean_image: PixelArray, known_bad: MaskArray, threads: int) -> MaskArray:
    """Lines and pixels (h, w) that the noise cannot explain, without the known ones."""
    lines = find_outlier_lines(mean_image, known_bad, threads)
    return lines | find_outlier_pixels(mean_image, known_bad | lines, threads=threads)


def _relative_counts(means: list[float], spreads: list[float], small_px: int) -> FloatArray:
    """Counts of each frame over the median; all one for frames whose mean was subtracted."""
    if not means:
        return np.ones(0)
    median = float(np.median(np.abs(means)))
    if median <= _LEVEL_ERRORS * float(np.median(spreads)) / math.sqrt(small_px):
        return np.ones(len(means))
    return np.abs(means) / median


def _good_frames(
    path: str,
    plan: Plan,
    index: list[int],
    relative: FloatArray,
    bad: dict[int, str],
    copies: dict[int, int],
) -> MaskArray:
    """Which of the frames read are good; adds copies and those with hardly any counts to `bad`."""
    expected = plan.relative_counts(np.array(index, np.int64))
    is_blank = relative <= _BLANK_SHARE * np.minimum(expected, 1.0)
    is_copy = np.isin(index, list(copies))
    good = ~is_blank & ~is_copy & ~np.isin(index, list(bad))
    for frame, part, is_empty in zip(index, relative, is_blank, strict=True):
        if frame in copies and not is_empty:
            bad[frame] = f"it is a copy of frame {copies[frame] + 1}"
        if is_empty:
            bad[frame] = f"it is nearly blank: {100 * part:.2g} % of the median counts"
    if good.sum() < 2 or len(bad) > _MAX_BAD_SHARE * plan.align.count:
        first = min(bad, default=0)
        raise InputError(
            f"{path}: expected good frames, found {len(bad)} of {plan.align.count} that cannot be "
            f"used (frame {first + 1}: {bad.get(first, 'missing')}): record or copy it again"
        )
    if not any(f in plan.sum for f, g in zip(index, good, strict=True) if g):
        raise InputError(f"{path}: none of the frames {plan.sum} to sum is good")
    return np.asarray(good)


def _broken_frames(
    index: list[int], varied: list[frame_checks.BlockCounts], shape_px: tuple[int, int]
) -> dict[int, str]:
    """What is wrong with those frames of which a part is blank that is not so in the others."""
    if not varied:
        return {}
    broken = frame_checks.broken_blocks(np.array(varied))
    return {
        frame: frame_checks.describe_blocks(blocks, shape_px)
        for frame, blocks in zip(index, broken, strict=True)
        if blocks.any()
    }


def _take_out(
    reader: MovieReader, plan: Plan, index: int, sums: dict[str, Any], counts: dict[str, int]
) -> None:
    """Take a frame that has been added to the raw sums out of them again."""
    for raw in reader.frames(FrameRange(index, index + 1)):
        assert raw.pixels is not None
        for name in ["aligned"] + (["summed"] if _sums_differ(plan, index) else []):
            np.subtract(sums[name], raw.pixels, out=sums[name], casting="unsafe")
            counts[name] -= 1


def _uneven_frames(
    plan: Plan, small: _SmallSums, good: MaskArray, relative: FloatArray
) -> dict[int, float]:
    """By how much the counts of frames are off, beyond their doses; see `frame_checks`."""
    index = np.array(small.index)[good]
    share = plan.relative_counts(index)
    share = share / share.mean()
    px = math.prod(plan.correlation_shape_px)
    median = max(float(np.median(np.abs(small.means))), 1e-30)
    error = np.array(small.spreads)[good] / (median * math.sqrt(px))
    return frame_checks.uneven_frames(
        index, relative[good] / share, error / share, LIMITS.uneven_dose
    )


def second_pass(
    reader: MovieReader,
    plan: Plan,
    first: FirstPass,
    motion: Motion,
    params: AlignParams,
    threads: int,
    progress: Progress,
    device: Device = CPU,
) -> FrameSums:
    """Read the frames to sum once more, move each along the motion, and add them up."""
    shape = (reader.info.height_px, reader.info.width_px)
    rows, columns = (resample.lattice_nodes(size, LATTICE_STEP_PX) for size in shape)
    with ThreadPool(threads) as workers:
        sums = make_frame_summation(
            device,
            workers,
            first.correction,
            shape,
            plan.output_shape_px,
            FRAMES_MOVED_TOGETHER,
            names=("all", "odd", "even") if params.odd_even else ("all",),
            weights=frame_weights(plan, params),
            image_count=plan.sum.count if params.save_movie else 0,
        )
        amplitude = _amplitude_sum(plan, params, threads)
        for raw in reader.frames(plan.sum, threads=threads):
            if raw.pixels is not None and raw.index not in first.bad_frames:
                if amplitude is not None:
                    amplitude.add(
                        detector.correct(raw.pixels, first.correction, raw.index, threads)
                    )
                lattice = motion.on_lattice(raw.index, rows, columns).astype(np.float32)
                # Counted from 1, as users count: the first frame of the file is odd.
                parity = "odd" if raw.index % 2 == 0 else "even"
                names = ("all", parity) if params.odd_even else ("all",)
                sums.add(raw.pixels, raw.index, lattice, names, raw.index - plan.sum.first)
            progress("sum", raw.index - plan.sum.first + 1, plan.sum.count)
        return FrameSums(
            plain=sums.mean("all"),
            dose_weighted=sums.weighted_mean(),
            odd=sums.mean("odd") if params.odd_even else None,
            even=sums.mean("even") if params.odd_even else None,
            unaligned=sums.at_output_size(first.unaligned),
            aligned=sums.images(),
            amplitude=None if amplitude is None else amplitude.result(),
        )


def _amplitude_sum(plan: Plan, params: AlignParams, threads: int) -> GroupedAmplitude | None:
    """What adds up the amplitudes of unmoved frames, which RELION's CTF programs ask for."""
    if "relion" not in params.formats:
        return None
    per_frame = plan.dose_per_frame_e_A2
    group_frames = max(1, round(_GROUP_DOSE_E_A2 / per_frame)) if per_frame else _GROUP_FRAMES
    return GroupedAmplitude(plan.output_shape_px, group_frames, threads)


def frame_weights(plan: Plan, params: AlignParams) -> ExponentialWeights | None:
    """What the dose leaves of each frequency, frame by frame; None without dose weights.

    What all frames had before would cancel out in the end.
    """
    if not params.dose_weight or plan.dose_per_frame_e_A2 is None:
        return None
    edges = np.arange(plan.sum.first, plan.sum.stop + 1, dtype=np.float64)
    dose_e_A2 = plan.dose_before_e_A2(edges)
    assert dose_e_A2 is not None
    doses_e_A2 = np.diff(dose_e_A2)
    y_A, x_A = (plan.pixel_size_A * binning for binning in plan.binning)

    def rate_at(ky: FloatArray, kx: FloatArray) -> FloatArray:
        frequency_per_A = np.hypot(ky / y_A, kx / x_A)
        return dose.log_weight_per_dose(frequency_per_A, params.voltage_kV)

    # A frame is weighted by what the specimen has had when it ends; its noise grows with its dose.
    return ExponentialWeights(
        rate_at,
        plan.output_shape_px,
        time=dose_e_A2[1:] - dose_e_A2[1],
        noise=doses_e_A2 / doses_e_A2.mean(),
    )
