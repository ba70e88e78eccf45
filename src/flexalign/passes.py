"""The two streaming passes over a movie: one to measure small frames, one to sum moved ones.

Whatever the number of frames, each pass holds a few full frames at a time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from flexalign.arrays import detector, dose, fourier, resample
from flexalign.arrays.detector import Correction
from flexalign.errors import InputError
from flexalign.estimate.frames import SmallFrames
from flexalign.io.reader import MovieReader, RawFrame
from flexalign.model import FloatArray, FrameSums, MaskArray, PixelArray, References
from flexalign.motion import Motion
from flexalign.params import AlignParams
from flexalign.plan import Plan

Progress = Callable[[str, int, int], None]
Result = TypeVar("Result")

# A frame with less than this part of the usual counts is blank: the beam was off.
_BLANK_PART = 0.2
# Frames whose mean is within so many standard errors of zero had their mean subtracted.
_LEVEL_ERRORS = 5.0
# With more bad frames than this part, something is wrong with the whole movie.
_BAD_PART_AT_MOST = 0.5
# Nodes of the lattice on which the motion is evaluated, then interpolated between.
_LATTICE_STEP_PX = 16


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
    """

    unaligned: PixelArray
    correction: Correction
    hot_pixels: MaskArray
    bad_frames: dict[int, str]
    notes: dict[int, str]
    mean_counts: float


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A frame of the first pass: corrected pixels (h, w), small frame and mean; or its problem."""

    image: PixelArray | None
    small: PixelArray | None
    mean: float
    problem: str


def side_by_side(
    raws: Iterator[RawFrame], work: Callable[[RawFrame], Result], count: int
) -> Iterator[tuple[RawFrame, Result]]:
    """Each raw frame with the result of `work` on it, in order, `count` worked on at a time.

    Whole frames side by side keep the cores busier than many threads on one frame.
    """
    waiting: deque[tuple[RawFrame, Future[Result]]] = deque()
    with ThreadPoolExecutor(count) as pool:
        for raw in raws:
            waiting.append((raw, pool.submit(work, raw)))
            if len(waiting) > count:
                oldest, result = waiting.popleft()
                yield oldest, result.result()
        while waiting:
            oldest, result = waiting.popleft()
            yield oldest, result.result()


def _measured(
    raw: RawFrame,
    correction: Correction,
    small_shape_px: tuple[int, int],
    threads: int,
) -> _Measured:
    """A raw frame corrected and Fourier-cropped, or what is wrong with it."""
    if raw.pixels is None:
        return _Measured(None, None, 0.0, raw.problem)
    image = detector.correct(raw.pixels, correction, raw.index, threads)
    lowest, highest = float(image.min()), float(image.max())
    if not np.isfinite(lowest + highest):
        return _Measured(None, None, 0.0, "it holds values that are not finite")
    if lowest == highest:
        return _Measured(None, None, 0.0, f"it is blank: every pixel is {lowest:g}")
    spectrum = fourier.rfft2(image, threads)
    mean = float(spectrum[0, 0].real) / image.size
    low = fourier.cropped(spectrum, (image.shape[0], image.shape[1]), small_shape_px)
    return _Measured(image, fourier.irfft2(low, small_shape_px, threads), mean, "")


def first_pass(
    reader: MovieReader,
    plan: Plan,
    references: References,
    params: AlignParams,
    threads: int,
    progress: Progress,
) -> tuple[SmallFrames, FirstPass]:
    """Read all frames to align once: the good ones, Fourier-cropped, and what else was found.

    Raises
    ------
    InputError
        If too few frames are good.
    """
    info = reader.info
    full_shape = (info.height_px, info.width_px)
    small = np.empty((plan.align.count, *plan.correlation_shape_px), np.float32)
    total, summed = np.zeros(full_shape, np.float32), np.zeros(full_shape, np.float32)
    index: list[int] = []
    means: list[float] = []
    spreads: list[float] = []
    bad: dict[int, str] = {}
    notes: dict[int, str] = {}
    correction = detector.make_correction(references.gain, references.dark, references.defects)
    count = min(threads, plan.frames_side_by_side)

    def measure(raw: RawFrame) -> _Measured:
        return _measured(raw, correction, plan.correlation_shape_px, max(1, threads // count))

    raws = reader.frames(plan.align, threads=threads)
    for raw, found in side_by_side(raws, measure, count):
        progress("measure", raw.index - plan.align.first + 1, plan.align.count)
        if found.image is None or found.small is None:
            bad[raw.index] = found.problem
            continue
        if raw.problem:
            notes[raw.index] = raw.problem
        small[len(index)] = found.small
        means.append(found.mean)
        spreads.append(float(found.small.std()))
        index.append(raw.index)
        total += found.image
        if raw.index in plan.sum:
            summed += found.image
    relative = _relative_counts(means, spreads, small[0].size)
    good = _good_frames(info.path, plan, index, relative, bad)
    total /= max(len(index), 1)
    hot = np.zeros(full_shape, np.bool_)
    if params.hot_pixels:
        hot = detector.find_outlier_lines(total, references.defects)
        hot |= detector.find_outlier_pixels(total, references.defects | hot)
    if hot.any():
        correction = detector.make_correction(
            references.gain, references.dark, references.defects | hot
        )
        _subtract_pattern(small, total - _mended(total, correction), relative, threads)
    summed = _mended(summed, correction)
    # A nearly blank frame adds hardly any counts, and hardly counts as a frame.
    share = np.where(good, 1.0, relative)
    summed /= np.float32(sum(s for f, s in zip(index, share, strict=True) if f in plan.sum))
    frames = SmallFrames(
        small[: len(index)][good] if not good.all() else small[: len(index)],
        np.array(index)[good],
        full_shape,
        plan.pixel_size_A,
    )
    mean = float(np.mean(np.array(means)[good]))
    return frames, FirstPass(summed, correction, hot, bad, notes, mean)


def _mended(image: PixelArray, correction: Correction) -> PixelArray:
    """A corrected image with the bad pixels filled from good neighbours, and nothing else done."""
    return detector.correct(image, replace(correction, gain=None, dark=None), frame_index=0)


def _relative_counts(means: list[float], spreads: list[float], small_px: int) -> FloatArray:
    """Counts of each frame over the usual; all one for frames whose mean was subtracted."""
    if not means:
        return np.ones(0)
    usual = float(np.median(np.abs(means)))
    if usual <= _LEVEL_ERRORS * float(np.median(spreads)) / math.sqrt(small_px):
        return np.ones(len(means))
    return np.abs(means) / usual


def _good_frames(
    path: str, plan: Plan, index: list[int], relative: FloatArray, bad: dict[int, str]
) -> MaskArray:
    """Which of the frames read are good; adds those with hardly any counts to `bad`."""
    good = relative > _BLANK_PART
    for frame, part, is_good in zip(index, relative, good, strict=True):
        if not is_good:
            bad[frame] = f"it is nearly blank: {100 * part:.2g} % of the usual counts"
    if good.sum() < 2 or len(bad) > _BAD_PART_AT_MOST * plan.align.count:
        first = min(bad, default=0)
        raise InputError(
            f"{path}: expected good frames, found {len(bad)} of {plan.align.count} that cannot be "
            f"used (frame {first + 1}: {bad.get(first, 'missing')}): record or copy it again"
        )
    if not any(f in plan.sum for f, g in zip(index, good, strict=True) if g):
        raise InputError(f"{path}: none of the frames {plan.sum} to sum is good")
    return np.asarray(good)


def _subtract_pattern(
    small: PixelArray, pattern: PixelArray, relative: FloatArray, threads: int
) -> None:
    """Take the mean excess of bad pixels out of the small frames, in place.

    Cropping is linear, so the pattern that hot pixels leave in every frame, and that would pull the
    motion toward zero, can be taken out afterwards without reading the file again.
    """
    shape, small_shape = (pattern.shape[0], pattern.shape[1]), (small.shape[1], small.shape[2])
    spectrum = fourier.cropped(fourier.rfft2(pattern, threads), shape, small_shape)
    low = fourier.irfft2(spectrum, small_shape, threads)
    usual = float(np.mean(relative))
    for image, part in zip(small, relative, strict=False):
        image -= low * np.float32(part / usual)


def second_pass(
    reader: MovieReader,
    plan: Plan,
    first: FirstPass,
    motion: Motion,
    params: AlignParams,
    threads: int,
    progress: Progress,
) -> FrameSums:
    """Read the frames to sum once more, move each along the motion, and add them up."""
    shape = (reader.info.height_px, reader.info.width_px)
    count = min(threads, plan.frames_side_by_side)
    sums = _Sums(plan, shape, params, max(1, threads // count))
    rows = resample.lattice_nodes(shape[0], _LATTICE_STEP_PX)
    columns = resample.lattice_nodes(shape[1], _LATTICE_STEP_PX)

    def move(raw: RawFrame) -> _Moved | None:
        if raw.pixels is None or raw.index in first.bad_frames:
            return None
        inner = sums.threads
        image = detector.correct(raw.pixels, first.correction, raw.index, inner)
        coefficients = resample.spline_coefficients(image, inner)
        lattice = motion.on_lattice(raw.index, rows, columns).astype(np.float32)
        moved = resample.sample(coefficients, lattice, _LATTICE_STEP_PX, inner, out=image)
        return sums.prepared(raw.index, moved)

    for raw, moved in side_by_side(reader.frames(plan.sum, threads=threads), move, count):
        if moved is not None:
            sums.add(raw.index, moved)
        progress("sum", raw.index - plan.sum.first + 1, plan.sum.count)
    return sums.result(first.unaligned)


@dataclass(frozen=True, slots=True, eq=False)
class _Moved:
    """One moved frame (h, w), its binned spectrum times its weight, the weight, its binned image.

    What is not asked for is None.
    """

    image: PixelArray
    weighted: npt.NDArray[np.complex64] | None
    weight: PixelArray | None
    binned: PixelArray | None


class _Sums:
    """Running sums of moved frames, at full size until the end."""

    def __init__(
        self, plan: Plan, shape_px: tuple[int, int], params: AlignParams, threads: int
    ) -> None:
        self._plan, self._shape, self.threads = plan, shape_px, threads
        self._params = params
        self._count = {"all": 0, "odd": 0, "even": 0}
        wanted = ["all", *(["odd", "even"] if params.odd_even else [])]
        self._total = {name: np.zeros(shape_px, np.float32) for name in wanted}
        self._weighted: npt.NDArray[np.complex64] | None = None
        if params.dose_weight and plan.dose_per_frame_e_A2 is not None:
            height, width = plan.output_shape_px
            self._weighted = np.zeros((height, width // 2 + 1), np.complex64)
            self._weight_power = np.zeros(self._weighted.shape, np.float32)
            ky, kx = fourier.frequencies(plan.output_shape_px)
            frequency_per_A = np.hypot(
                ky / (plan.pixel_size_A * plan.binning[0]),
                kx / (plan.pixel_size_A * plan.binning[1]),
            )
            per_dose = dose.log_weight_per_dose(frequency_per_A, params.voltage_kV)
            self._log_weight_per_dose = per_dose.astype(np.float32)
        self._aligned: PixelArray | None = None
        if params.save_movie:
            self._aligned = np.zeros((plan.sum.count, *plan.output_shape_px), np.float32)

    def prepared(self, frame: int, image: PixelArray) -> _Moved:
        """What `add` needs of a moved frame; may be called from several threads at once."""
        if self._weighted is None and self._aligned is None:
            return _Moved(image, None, None, None)
        spectrum = self._binned_spectrum(image)
        binned = None if self._aligned is None else self._image_of(spectrum)
        if self._weighted is None:
            return _Moved(image, None, None, binned)
        per_frame = self._plan.dose_per_frame_e_A2 or 0.0
        # What all frames had before would cancel out in the end, and underflow first.
        since_first = per_frame * (frame - self._plan.sum.first)
        weight = np.exp(self._log_weight_per_dose * np.float32(since_first))
        spectrum *= weight
        return _Moved(image, spectrum, weight, binned)

    def add(self, frame: int, moved: _Moved) -> None:
        """Add one moved frame; `frame` is its index in the file."""
        # Counted from 1, as users count: the first frame of the file is odd.
        parity = "odd" if frame % 2 == 0 else "even"
        for name in ("all", parity):
            self._count[name] += 1
            if name in self._total:
                self._total[name] += moved.image
        if self._aligned is not None and moved.binned is not None:
            self._aligned[self._count["all"] - 1] = moved.binned
        if self._weighted is not None and moved.weighted is not None and moved.weight is not None:
            self._weighted += moved.weighted
            self._weight_power += np.square(moved.weight, out=moved.weight)

    def result(self, unaligned: PixelArray) -> FrameSums:
        """The sums as means over frames, binned."""
        weighted = None
        if self._weighted is not None:
            # Noise of the mean of n frames: a sum of n of equal weight, divided by n.
            scale = 1 / np.sqrt(np.maximum(self._weight_power, 1e-12) * self._count["all"])
            weighted = self._image_of(self._weighted * scale.astype(np.float32))
        return FrameSums(
            plain=self._mean("all"),
            dose_weighted=weighted,
            odd=self._mean("odd") if self._params.odd_even else None,
            even=self._mean("even") if self._params.odd_even else None,
            unaligned=self._binned(unaligned),
            aligned=None if self._aligned is None else self._aligned[: self._count["all"]],
        )

    def _mean(self, name: str) -> PixelArray:
        """The binned mean of the frames counted under `name`."""
        return self._binned(self._total[name] / np.float32(max(self._count[name], 1)))

    def _binned(self, image: PixelArray) -> PixelArray:
        """`image` Fourier-cropped to the output's size."""
        if self._plan.output_shape_px == self._shape:
            return image
        return self._image_of(self._binned_spectrum(image))

    def _binned_spectrum(self, image: PixelArray) -> npt.NDArray[np.complex64]:
        spectrum = fourier.rfft2(image, self.threads)
        return fourier.cropped(spectrum, self._shape, self._plan.output_shape_px)

    def _image_of(self, spectrum: npt.NDArray[np.complex64]) -> PixelArray:
        return fourier.irfft2(spectrum, self._plan.output_shape_px, self.threads)
