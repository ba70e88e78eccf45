"""The first pass: corrected, down-sampled frames, their unaligned mean, hot pixels, bad frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import detector, frame_checks
from flexalign.arrays.backends import FrameDownsampler, make_downsampler
from flexalign.arrays.blank_area import blank_area
from flexalign.arrays.detector import Correction
from flexalign.arrays.device import CPU, Device
from flexalign.arrays.duplicate_frames import DuplicateFrames
from flexalign.arrays.frame_samples import FrameSamples
from flexalign.arrays.hot_pixels import find_outlier_lines, find_outlier_pixels
from flexalign.arrays.resident_frames import ResidentFrames
from flexalign.arrays.threads import ThreadPool
from flexalign.errors import InputError
from flexalign.estimate.frames import SmallFrames
from flexalign.io.movies.reader import MovieReader
from flexalign.model import FloatArray, MaskArray, PixelArray, References
from flexalign.params import AlignParams
from flexalign.passes.frame_selection import (
    broken_frames,
    good_frames,
    relative_counts,
    uneven_frames,
)
from flexalign.passes.raw_frames import raw_frames
from flexalign.passes.raw_sums import RawSums
from flexalign.passes.small_frames import SmallSums
from flexalign.plan import CORRELATION_NYQUIST_SHARE, Plan
from flexalign.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class FirstPass:
    """Results of the first pass, beside the down-sampled frames.

    Attributes
    ----------
    unaligned : (h, w) mean of the good frames to sum, with all bad pixels replaced
    correction : of the detector, including the hot pixels of this movie
    hot_pixels : (h, w) hot and dead pixels found in this movie
    bad_frames : frame index -> why it is left out
    notes : frame index -> what is wrong with a frame that is used nevertheless
    mean_counts : mean corrected value of a good frame
    frame_counts : (frames of the file,) mean corrected value of each, NaN = not read or no image
    uneven_frames : frame index -> relative deviation of its counts from those of the others, where
        it exceeds the limit
    """

    unaligned: PixelArray
    correction: Correction
    hot_pixels: MaskArray
    bad_frames: dict[int, str]
    notes: dict[int, str]
    mean_counts: float
    frame_counts: FloatArray
    uneven_frames: dict[int, float] = field(default_factory=dict)


class _FrameReader:
    """Reads the frames to align, and collects what is measured in each.

    Attributes
    ----------
    small, sums : down-sampled frames, and sums of raw ones
    bad, notes : frame index -> why it is left out, and what is wrong with one that is used
    varied : of each frame in `small`, see `frame_checks.varied_pixels`
    """

    def __init__(
        self,
        reader: MovieReader,
        plan: Plan,
        small: SmallSums,
        downsampler: FrameDownsampler,
        device: Device,
    ) -> None:
        self._reader, self._plan, self._downsampler = reader, plan, downsampler
        self._device = device
        self.small, self.sums = small, RawSums(plan, downsampler)
        self.bad: dict[int, str] = {}
        self.notes: dict[int, str] = {}
        self.varied: list[frame_checks.BlockCounts] = []
        self._copies = DuplicateFrames()

    def read(self, correction: Correction, threads: int, progress: Progress) -> None:
        """Read all frames, except those that cannot be used."""
        align = self._plan.align
        for raw, samples in raw_frames(self._reader, align, threads, self._device):
            progress("measure", raw.index - align.first + 1, align.count)
            if raw.pixels is None or samples is None:
                self.bad[raw.index] = raw.problem
                continue
            if not frame_checks.has_counts(samples.rows):
                problem = frame_checks.problem_with(self._device.host(raw.pixels))
                if problem:
                    self.bad[raw.index] = problem
                    continue
            if self.sums.is_empty:
                _check_level(self._reader.info.path, raw.pixels, correction, self._device)
            if raw.problem:
                self.notes[raw.index] = raw.problem
            self._add(raw.index, raw.pixels, samples)
        for done in self._downsampler.flush():
            self.small.note(done)
        self.sums.fetch()

    def _add(self, index: int, pixels: npt.NDArray[Any], samples: FrameSamples) -> None:
        """Take a frame in."""
        self._copies.add(index, samples.pixels)
        sums = self.sums.taking(index, pixels)
        self.varied.append(frame_checks.varied_pixels(samples.rows))
        for done in self._downsampler.add(pixels, index, self.small.place(index), sums):
            self.small.note(done)

    @property
    def copies(self) -> dict[int, int]:
        """Index of each frame that is a copy -> index of the frame before."""
        return self._copies.found()

    def select(self, relative: FloatArray) -> tuple[MaskArray, set[int]]:
        """Which of the frames read are good, and the indices of those that are broken.

        Broken frames are removed from the raw sums; all that are not good are added to `bad`.
        """
        info, index = self._reader.info, self.small.index
        broken = broken_frames(index, self.varied, (info.height_px, info.width_px))
        self.bad |= broken
        good = good_frames(info.path, self._plan, index, relative, self.bad, self.copies)
        for frame in broken:
            self.sums.remove(self._reader, frame)
        # Nothing more is reported of a frame that turned out to be bad.
        self.notes = {i: note for i, note in self.notes.items() if i not in self.bad}
        return good, set(broken)


def first_pass(
    reader: MovieReader,
    plan: Plan,
    references: References,
    params: AlignParams,
    threads: int,
    progress: Progress,
    device: Device = CPU,
    resident: ResidentFrames | None = None,
) -> tuple[SmallFrames, FirstPass]:
    """Read all frames to align once: the good ones, down-sampled, and what else was measured.

    Raw frames are kept on a GPU in `resident`, for the second pass; None = not kept.

    Raises
    ------
    InputError
        If too few frames are good, or a gain would multiply an offset.
    """
    full_shape = (reader.info.height_px, reader.info.width_px)
    small = SmallSums(plan, device)
    correction = detector.make_correction(references.gain, references.dark, references.defects)
    with ThreadPool(threads) as pool:
        downsampler = make_downsampler(
            device, pool, correction, full_shape, small.pixels, CORRELATION_NYQUIST_SHARE,
            resident, keeps_small=small.is_resident,
        )  # fmt: skip
        frames = _FrameReader(reader, plan, small, downsampler, device)
        frames.read(correction, threads, progress)
        relative = relative_counts(small.means, small.spreads, math.prod(plan.correlation_shape_px))
        good, broken = frames.select(relative)
        mean = frames.sums.aligned_mean(correction, pool)
        searched = device.upload(mean) if device.is_gpu else mean
        blank = blank_area(searched, plan.correlation_shape_px, device)
        hot = np.zeros(full_shape, np.bool_)
        if params.hot_pixels:
            hot = _outliers(searched, references.defects, threads, device)
        del searched
        if hot.any():
            bad_pixels = references.defects | hot
            correction = detector.make_correction(references.gain, references.dark, bad_pixels)
            excess = detector.replace_bad_pixels(mean, correction)
            excess *= downsampler.coding.factor
            small.subtract(correction.bad_index, excess, relative, threads)
        if blank is not None:
            small.fade_out(blank, threads)
        summed = frames.sums.summed_mean(correction, pool)
    unaligned = mean if summed is None else summed
    unaligned *= _count_factor(plan, small, good, broken, relative)
    found = FirstPass(
        unaligned, correction, hot, frames.bad, frames.notes,
        mean_counts=float(np.mean(np.array(small.means)[good])),
        frame_counts=_frame_counts(small, reader.info.frame_count),
        uneven_frames=uneven_frames(plan, small, good, relative),
    )  # fmt: skip
    return small.frames(good, frames.copies), found


def _count_factor(
    plan: Plan, small: SmallSums, good: MaskArray, broken: set[int], relative: FloatArray
) -> np.float32:
    """Factor from the mean of all frames to that of the good ones.

    A nearly blank frame contributes in proportion to its counts.
    """
    weight = np.where(good, 1.0, relative)
    used = [
        w for f, w in zip(small.index, weight, strict=True) if f in plan.sum and f not in broken
    ]
    return np.float32(len(used) / sum(used))


def _frame_counts(small: SmallSums, frame_count: int) -> FloatArray:
    """Mean corrected value (frames of the file,) of each frame; NaN = not read."""
    counts = np.full(frame_count, np.nan)
    counts[small.index] = small.means
    return counts


def _check_level(
    path: str, frame: npt.NDArray[Any], correction: Correction, device: Device
) -> None:
    """Raise `InputError` if the gain would multiply an offset, which imprints its pattern."""
    if correction.gain is None:
        return
    level = detector.level_below_zero(frame, correction, device)
    if level is not None:
        raise InputError(
            f"{path}: expected counts to multiply with the gain, found values around {level:.6g}; "
            "they have an offset, as unsigned counts stored as signed numbers have: give an image "
            "of the offset with `dark`, or make unsigned numbers of the movie"
        )


def _outliers(
    mean_image: PixelArray, known_bad: MaskArray, threads: int, device: Device
) -> MaskArray:
    """Lines and pixels (h, w) that noise does not explain, except the known ones."""
    lines = find_outlier_lines(mean_image, known_bad, threads, device)
    known = known_bad | lines
    return lines | find_outlier_pixels(mean_image, known, threads=threads, device=device)
