"""The plan of an alignment: all sizes, computed from the header before a pixel is read.

The same movie and parameters give the same plan on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError, ParameterError
from flexalign.model import EerInfo, FloatArray, FrameRange, JsonValue, MovieInfo
from flexalign.params import AlignParams, parameters, quoted
from flexalign.plan_memory import FRAMES_PER_BATCH as FRAMES_PER_BATCH
from flexalign.plan_memory import (
    fit_to_memory,
    gpu_estimation_bytes,
    gpu_frames_bytes,
    gpu_memory_bytes,
    small_item_bytes,
)
from flexalign.plan_sizes import (
    align_range,
    control_point_counts,
    output_shape,
    patch_counts,
    reduced_shape,
    reference_frame,
    shape_of_fast_patches,
    sum_range,
)

# Resolution limit of the frames of the first pass: few movies have finer signal in single frames.
FINEST_RESOLUTION_A = 4.0
# The resolution limit as a fraction of the small frames' Nyquist frequency; the rest is the
# transition band of the filter.
CORRELATION_NYQUIST_SHARE = 0.93
# Pass-band of the frames of the pairwise stage; beyond it their low-pass is close to zero.
PAIRWISE_NYQUIST_SHARE = 0.75
# The Nyquist frequency of the pairwise stage over that of its resolution limit, where its Gaussian
# is one half.  At PAIRWISE_NYQUIST_SHARE of it correlations have a weight of 1 %, and less beyond.
PAIRWISE_NYQUIST_RATIO = 2.43
# Smaller movies hold nothing to correlate.
MIN_MOVIE_PX = 32
MIN_FIELD_A = 20.0


@dataclass(frozen=True, slots=True)
class Plan(JsonValue):
    """The sizes, ranges and memory of one alignment.

    Attributes
    ----------
    movie : the movie it is for
    pixel_size_A : of a pixel of the movie as aligned
    dose_per_frame_e_A2 : of a frame as aligned, the mean where they differ; None = unknown
    frame_doses_e_A2 : of each frame of the movie where they differ, else empty
    align, sum : frame ranges, zero-based, half open
    correlation_shape_px : (h, w) of the frames kept from the first pass
    pairwise_shape_px : (h, w) of the frames that are correlated pair by pair
    output_shape_px : (h, w) of the micrograph
    patches : (y, x) number of patches that the frame is cut into
    control_points : (t, y, x) of the motion field; None = global only, `fallback` may say why
    frames_per_time : frames summed into one before motion is estimated; more than 1 for many frames
    group_frames : frames summed to measure a patch
    reference_frame : zero-based in the file; None = chosen from the motion
    keeps_frames : whether the frames of the first pass stay in memory for the second
    memory_bytes : estimated peak memory
    gpu_memory_bytes : estimated minimum of free GPU memory, when a GPU is used
    gpu_estimation_bytes : more of it, if it is free, that the estimation needs on the GPU
    gpu_frames_bytes : still more that keeps the raw frames for the second pass
    fallback : why local alignment is left out although requested, "" otherwise
    """

    movie: MovieInfo
    pixel_size_A: float
    dose_per_frame_e_A2: float | None
    frame_doses_e_A2: tuple[float, ...]
    align: FrameRange
    sum: FrameRange
    correlation_shape_px: tuple[int, int]
    pairwise_shape_px: tuple[int, int]
    output_shape_px: tuple[int, int]
    patches: tuple[int, int]
    control_points: tuple[int, int, int] | None
    frames_per_time: int
    group_frames: int
    reference_frame: int | None
    keeps_frames: bool
    memory_bytes: int
    gpu_memory_bytes: int
    gpu_estimation_bytes: int
    gpu_frames_bytes: int
    fallback: str = ""

    def dose_before_e_A2(self, frame: FloatArray) -> FloatArray | None:
        """Accumulated dose at the start of each `frame`; None = unknown.

        Parameters
        ----------
        frame : zero-based in the file, of any shape; fractions are within a frame
        """
        if self.dose_per_frame_e_A2 is None:
            return None
        if not self.frame_doses_e_A2:
            return np.asarray(self.dose_per_frame_e_A2 * frame)
        before = np.concatenate([[0.0], np.cumsum(self.frame_doses_e_A2)])
        return np.asarray(np.interp(frame, np.arange(len(before)), before))

    def relative_counts(self, frame: npt.NDArray[np.int64]) -> FloatArray:
        """Expected counts of each `frame`, from its dose or its number of raw frames; mean 1."""
        groups = self.movie.eer.groups if self.movie.eer is not None else ()
        counts = np.array(self.frame_doses_e_A2 or groups or np.ones(self.movie.frame_count))
        return np.asarray(counts[frame] / counts.mean())

    @property
    def binning(self) -> tuple[float, float]:
        """Exact ratio (y, x) of the movie's size and the micrograph's."""
        return (
            self.movie.height_px / self.output_shape_px[0],
            self.movie.width_px / self.output_shape_px[1],
        )

    @property
    def small_frame_dtype(self) -> str:
        """The dtype of the frames kept from the first pass."""
        return f"float{8 * small_item_bytes(self.movie)}"

    @property
    def output_pixel_size_A(self) -> float:
        """Pixel size of the micrograph, the geometric mean of both axes where they differ.

        They do where the binning does not divide the sides of the movie; MRC headers have each.
        """
        return self.pixel_size_A * math.sqrt(self.binning[0] * self.binning[1])

    def describe(self) -> str:
        """The plan as text."""
        lines = [*movie_lines(self.movie), *self.lines()]
        lines += [("note", note) for note in self.movie.notes]
        return "\n".join(f"{name:16}{text}" for name, text in lines)

    def lines(self) -> list[tuple[str, str]]:
        """The decisions as pairs of label and text."""
        return [
            ("pixel size", f"{self.pixel_size_A:.4g} A"),
            ("dose per frame", self._describe_doses()),
            ("frames", f"{self.align} aligned, {self.sum} summed" + self._describe_times()),
            ("correlation", "{1} x {0} px".format(*self.correlation_shape_px)
             + ", pairs at {1} x {0} px".format(*self.pairwise_shape_px)),
            ("micrograph", "{1} x {0} px".format(*self.output_shape_px)
             + f", {self.output_pixel_size_A:.4g} A/px"),
            ("local", self._describe_local()),
            ("memory", f"about {self.memory_bytes / 1e9:.2f} GB"
             + ", decoded frames included" * self.keeps_frames
             + f"; on a GPU, where one computes, {self.gpu_memory_bytes / 1e9:.2f} GB"
             + f" and, if twice that is free, {self.gpu_estimation_bytes / 1e9:.2f} GB"
             + " for the estimation and"
             + f" {self.gpu_frames_bytes / 1e9:.2f} GB to keep the raw frames"),
        ]  # fmt: skip

    def _describe_doses(self) -> str:
        """The dose of a frame in words."""
        mean, doses = self.dose_per_frame_e_A2, self.frame_doses_e_A2
        if mean is None:
            return "unknown"
        spread = f" on average, from {min(doses):.4g} to {max(doses):.4g}" if doses else ""
        return f"{mean:.4g} e/A2{spread}"

    def _describe_times(self) -> str:
        """The temporal binning before estimation in words."""
        return f"; motion of every {self.frames_per_time} frames" * (self.frames_per_time > 1)

    def _describe_local(self) -> str:
        """One line on local alignment."""
        if self.control_points is None:
            return f"no: {self.fallback}" if self.fallback else "no"
        t, y, x = self.control_points
        return (
            f"{self.patches[1]} x {self.patches[0]} patches, groups of {self.group_frames} frames, "
            f"control points {x} in x, {y} in y, {t} in time"
        )


def movie_lines(movie: MovieInfo) -> list[tuple[str, str]]:
    """The properties of a movie as pairs of label and text."""
    lines = [
        ("movie", movie.path),
        ("format", f"{movie.file_format}, {movie.pixel_dtype}, {movie.size_bytes:,} bytes"),
        ("size", f"{movie.width_px} x {movie.height_px} px, {movie.frame_count} frames"),
    ]
    if movie.eer is not None:
        eer = movie.eer
        lines.append((
            "EER", f"{eer.raw_frame_count} raw frames, {_per_frame(eer)} per frame, "
            f"{eer.leftover_raw_frames} left over, upsampling {eer.upsampling}",
        ))  # fmt: skip
    return lines


def _per_frame(eer: EerInfo) -> str:
    """Number of raw frames per frame, in words."""
    if not eer.groups:
        return str(eer.raw_frames_per_frame)
    return f"{min(eer.groups)} to {max(eer.groups)}"


def make_plan(movie: MovieInfo, params: AlignParams) -> Plan:
    """The plan for one movie.

    Raises
    ------
    InputError
        If the pixel size is not known, or the movie is too small to be aligned.
    ParameterError
        If a frame range does not fit the movie, or patches do not fit the frame.
    """
    _check_size(movie)
    pixel_size_A = _pixel_size_A(movie, params)
    _check_equal_groups(movie, params)
    align = align_range(params, movie.frame_count)
    summed = sum_range(align, params, movie.frame_count)
    _check_field(movie, pixel_size_A)
    correlation = reduced_shape(
        movie, pixel_size_A, CORRELATION_NYQUIST_SHARE * FINEST_RESOLUTION_A / 2
    )
    pairwise = reduced_shape(
        movie, pixel_size_A, params.max_resolution_A / (2 * PAIRWISE_NYQUIST_RATIO)
    )
    pairwise = (min(pairwise[0], correlation[0]), min(pairwise[1], correlation[1]))
    output = output_shape(movie, params)
    patches = patch_counts(movie, pixel_size_A, correlation, params)
    if params.local:
        correlation = shape_of_fast_patches(movie, correlation, patches)
    dose_per_frame_e_A2, frame_doses_e_A2 = _doses_e_A2(movie, params)
    control_points, fallback = control_point_counts(movie, pixel_size_A, align, patches, params)
    memory = fit_to_memory(movie, align, summed, (correlation, pairwise), params)
    frames_per_time, keeps_frames, memory_bytes = memory
    times = math.ceil(align.count / frames_per_time)
    return Plan(
        movie=movie,
        pixel_size_A=pixel_size_A,
        dose_per_frame_e_A2=dose_per_frame_e_A2,
        frame_doses_e_A2=frame_doses_e_A2,
        align=align,
        sum=summed,
        correlation_shape_px=correlation,
        pairwise_shape_px=pairwise,
        output_shape_px=output,
        patches=patches,
        control_points=control_points,
        frames_per_time=frames_per_time,
        group_frames=min(params.group_frames, max(1, times // 3)),
        reference_frame=reference_frame(align, params),
        keeps_frames=keeps_frames,
        memory_bytes=memory_bytes,
        gpu_memory_bytes=gpu_memory_bytes(movie, params),
        gpu_estimation_bytes=gpu_estimation_bytes(movie, times, (correlation, pairwise)),
        gpu_frames_bytes=gpu_frames_bytes(movie, align),
        fallback=fallback,
    )


def _check_size(movie: MovieInfo) -> None:
    """Raise `InputError` if a movie is too small to be aligned."""
    if min(movie.height_px, movie.width_px) < MIN_MOVIE_PX:
        raise InputError(
            f"{movie.path}: expected frames of at least {MIN_MOVIE_PX} x {MIN_MOVIE_PX} "
            f"px, found {movie.width_px} x {movie.height_px} px: too small to be aligned"
        )


def _check_field(movie: MovieInfo, pixel_size_A: float) -> None:
    """Raise `InputError` if the field is smaller than any specimen."""
    field_A = min(movie.height_px, movie.width_px) * pixel_size_A
    if field_A < MIN_FIELD_A:
        raise InputError(
            f"{movie.path}: expected a field of at least {MIN_FIELD_A:g} A, found "
            f"{field_A:.3g} A at {pixel_size_A:.3g} A per pixel: compare the pixel size"
        )


def _pixel_size_A(movie: MovieInfo, params: AlignParams) -> float:
    """Pixel size of the movie as aligned: as given by the user, else from the header."""
    upsampling = movie.eer.upsampling if movie.eer else 1
    if params.pixel_size_A is not None:
        return params.pixel_size_A / upsampling
    if movie.pixel_size_A is not None and _is_pixel_size(movie.pixel_size_A * upsampling):
        return movie.pixel_size_A
    raise InputError(
        f"{movie.path}: expected a pixel size in the header, found none that can be trusted: "
        f"give {quoted('pixel_size_A')}"
    )


def _is_pixel_size(size_A: float) -> bool:
    """Whether a size from a header is one that the user could have given."""
    limits = parameters()["pixel_size_A"]
    assert limits.minimum is not None
    assert limits.maximum is not None
    return limits.minimum <= size_A <= limits.maximum


def _doses_e_A2(movie: MovieInfo, params: AlignParams) -> tuple[float | None, tuple[float, ...]]:
    """Mean dose of a frame as aligned, and the dose of each where they differ."""
    given = params.dose_per_frame_e_A2
    if given is None and movie.eer is not None:
        given = _eer_doses_e_A2(movie.eer, params.eer_total_dose_e_A2)
    if not isinstance(given, tuple):
        return given, ()
    if len(given) != movie.frame_count:
        raise ParameterError(
            f"{quoted('dose_per_frame_e_A2')}: expected one number, or one for each of the "
            f"{movie.frame_count} frames of {movie.path}, found {len(given)}"
        )
    return math.fsum(given) / len(given), given if len(set(given)) > 1 else ()


def _eer_doses_e_A2(
    eer: EerInfo, total_dose_e_A2: float | None
) -> float | tuple[float, ...] | None:
    """Dose of a frame of an EER movie, or of each: from its groups, or a share of the total."""
    if eer.doses_e_A2:
        return eer.doses_e_A2
    if total_dose_e_A2 is None:
        return None
    per_raw_frame = total_dose_e_A2 / eer.raw_frame_count
    if eer.groups:
        return tuple(per_raw_frame * count for count in eer.groups)
    return per_raw_frame * eer.raw_frames_per_frame


def _check_equal_groups(movie: MovieInfo, params: AlignParams) -> None:
    """Raise `ParameterError` if frames of unequal length were to be written for RELION."""
    if movie.eer is not None and movie.eer.groups and "relion" in params.formats:
        raise ParameterError(
            f"{quoted('write')}: RELION uses the same number of raw frames for all EER "
            f"frames, found {min(movie.eer.groups)} to {max(movie.eer.groups)} by "
            f"{quoted('eer_groups')}; use {quoted('eer_fractions')}"
        )
