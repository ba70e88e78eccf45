"""The plan of an alignment: all sizes, computed from the header before a pixel is read.

The same movie and parameters give the same plan on every machine.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError, ParameterError
from flexalign.model import EerInfo, FloatArray, FrameRange, JsonValue, MovieInfo
from flexalign.params import AlignParams, option_name, parameters

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
MIN_PATCH_PX = 24
# Memory is planned for this many threads when their number is not known yet.
ASSUMED_THREADS = 8
# Maximum and minimum number of times at which the trajectory is estimated: of more frames than
# that, several are summed, which bounds memory and time.
MAX_TIMES = 80
MIN_TIMES = 20
MIN_CONTROL_POINTS = 3
MIN_PATCHES = 4
# Patches do not overlap; to fill the frame their side may fall to this fraction of the requested
# one.
PATCH_TOLERANCE = 0.9
# Spacing of control points in Angstrom, as in Xmipp's FlexAlign, and in frames.  Small fields get
# more, since the prior and not their number keeps the field smooth.
CONTROL_POINT_SPACING_A = 1000.0
CONTROL_POINT_SPACING_FRAMES = 7
CONTROL_POINTS_OF_SMALL_FIELD = 6
# Number of frames moved and summed per batch.
FRAMES_MOVED_TOGETHER = 8
# Decoded frames up to this size are kept for the second pass, which saves decoding them twice; the
# limit leaves memory for other movies.
MAX_KEPT_BYTES = 1_000_000_000
# Local motion varies smoothly in time, whatever the number of frames.
MAX_CONTROL_POINTS_IN_TIME = 12
# The field is solved with a dense matrix of this many rows and columns.
MAX_CONTROL_POINTS = 4000
# Maximum number chosen along a side, whatever the size of the field.
MAX_CONTROL_POINTS_PER_SIDE = 16
# Smaller frames, or smaller down-sampled frames, hold nothing to correlate.
MIN_MOVIE_PX = 32
MIN_FRAME_PX = 16
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
        return f"float{8 * _small_item_bytes(self.movie)}"

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
             + f"; on a GPU, where one computes, {self.gpu_memory_bytes / 1e9:.2f} GB"),
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
    if min(movie.height_px, movie.width_px) < MIN_MOVIE_PX:
        raise InputError(
            f"{movie.path}: expected frames of at least {MIN_MOVIE_PX} x {MIN_MOVIE_PX} "
            f"px, found {movie.width_px} x {movie.height_px} px: too small to be aligned"
        )
    pixel_size_A = _pixel_size_A(movie, params)
    _check_equal_groups(movie, params)
    align = _frame_range("align", params.align_first, params.align_last, movie.frame_count)
    if align.count < 2:
        raise ParameterError(
            f"{option_name('align_first')}, {option_name('align_last')}: expected at least two "
            f"frames to align, found {align.count} (frames {align})"
        )
    summed = _sum_range(align, params, movie.frame_count)
    field_A = min(movie.height_px, movie.width_px) * pixel_size_A
    if field_A < MIN_FIELD_A:
        raise InputError(
            f"{movie.path}: expected a field of at least {MIN_FIELD_A:g} A, found "
            f"{field_A:.3g} A at {pixel_size_A:.3g} A per pixel: compare the pixel size"
        )
    correlation = _reduced_shape(
        movie, pixel_size_A, CORRELATION_NYQUIST_SHARE * FINEST_RESOLUTION_A / 2
    )
    pairwise = _reduced_shape(
        movie, pixel_size_A, params.max_resolution_A / (2 * PAIRWISE_NYQUIST_RATIO)
    )
    pairwise = (min(pairwise[0], correlation[0]), min(pairwise[1], correlation[1]))
    output = (
        round(movie.height_px / params.binning),
        round(movie.width_px / params.binning),
    )
    if min(output) < MIN_FRAME_PX:
        raise ParameterError(
            f"{option_name('binning')}: expected a micrograph of at least {MIN_FRAME_PX} x "
            f"{MIN_FRAME_PX} px, found {params.binning:g}, which makes it {output[1]} x "
            f"{output[0]} px"
        )
    patches = _patches(movie, pixel_size_A, correlation, params)
    if params.local:
        correlation = _shape_of_fast_patches(movie, correlation, patches)
    dose_per_frame_e_A2, frame_doses_e_A2 = _doses_e_A2(movie, params)
    control_points, fallback = _control_points(movie, pixel_size_A, align, patches, params)
    memory = _fit_to_memory(movie, align, summed, (correlation, pairwise), params)
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
        reference_frame=_reference_frame(align, params),
        keeps_frames=keeps_frames,
        memory_bytes=memory_bytes,
        gpu_memory_bytes=_gpu_memory_bytes(movie, params),
        fallback=fallback,
    )


def fast_size(at_least: int) -> int:
    """The smallest even number from `at_least` on with no prime factor above 11.

    Examples
    --------
    >>> fast_size(461)
    462
    """
    size = max(2, at_least + at_least % 2)
    while _without_factors(size, (2, 3, 5, 7, 11)) != 1:
        size += 2
    return size


def _without_factors(number: int, factors: tuple[int, ...]) -> int:
    """`number` divided by each of `factors` as often as it goes."""
    for factor in factors:
        while number % factor == 0:
            number //= factor
    return number


def _pixel_size_A(movie: MovieInfo, params: AlignParams) -> float:
    """Pixel size of the movie as aligned: as given by the user, else from the header."""
    upsampling = movie.eer.upsampling if movie.eer else 1
    if params.pixel_size_A is not None:
        return params.pixel_size_A / upsampling
    if movie.pixel_size_A is not None and _is_pixel_size(movie.pixel_size_A * upsampling):
        return movie.pixel_size_A
    raise InputError(
        f"{movie.path}: expected a pixel size in the header, found none that can be trusted: "
        f"give {option_name('pixel_size_A')}"
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
            f"{option_name('dose_per_frame_e_A2')}: expected one number, or one for each of the "
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
            f"{option_name('write')}: RELION makes all frames of an EER movie of equally many raw "
            f"frames, found {min(movie.eer.groups)} to {max(movie.eer.groups)} by "
            f"{option_name('eer_groups')}; use {option_name('eer_fractions')}"
        )


def _frame_range(name: str, first: int, last: int, frame_count: int) -> FrameRange:
    """The user's one-based range, 0 = last, as a zero-based half-open one."""
    last = frame_count if last == 0 else last
    options = f"{option_name(name + '_first')} {first}, {option_name(name + '_last')} {last}"
    if first > frame_count or last > frame_count:
        raise ParameterError(f"{options}: the movie has only {frame_count} frames")
    if last < first:
        raise ParameterError(f"{options}: expected the last frame not before the first")
    return FrameRange(first - 1, last)


def _sum_range(align: FrameRange, params: AlignParams, frame_count: int) -> FrameRange:
    """The range to sum, which must lie inside the range that is aligned."""
    first = align.first + 1 if params.sum_first is None else params.sum_first
    last = align.stop if params.sum_last is None else params.sum_last
    summed = _frame_range("sum", first, last, frame_count)
    if summed.first < align.first or summed.stop > align.stop:
        raise ParameterError(
            f"{option_name('sum_first')}, {option_name('sum_last')}: frames {summed} are not all "
            f"among the aligned frames {align}: their motion would be unknown"
        )
    return summed


def _reference_frame(align: FrameRange, params: AlignParams) -> int | None:
    """The reference frame that the user gave by its number."""
    if not params.reference_frame.isdigit():
        return None
    frame = int(params.reference_frame) - 1
    if frame not in align:
        raise ParameterError(
            f"{option_name('reference_frame')}: expected one of the aligned frames {align}, "
            f"found {frame + 1}"
        )
    return frame


def _reduced_shape(movie: MovieInfo, pixel_size_A: float, wanted_A: float) -> tuple[int, int]:
    """Even, FFT-friendly size (h, w) of frames with pixels of about `wanted_A`."""
    ratio = min(1.0, pixel_size_A / wanted_A)
    height, width = (
        min(size - size % 2, fast_size(max(MIN_FRAME_PX, math.ceil(size * ratio))))
        for size in (movie.height_px, movie.width_px)
    )
    return height, width


def _patches(
    movie: MovieInfo,
    pixel_size_A: float,
    correlation_shape_px: tuple[int, int],
    params: AlignParams,
) -> tuple[int, int]:
    """Number of patches (y, x): as given, or as many as the minimum side allows."""
    if params.patches is None:
        side_A = PATCH_TOLERANCE * params.min_patch_A
        y, x = (
            max(1, min(math.floor(size * pixel_size_A / side_A), small // MIN_PATCH_PX))
            for size, small in zip(
                (movie.height_px, movie.width_px), correlation_shape_px, strict=True
            )
        )
        return y, x
    patches = (params.patches[1], params.patches[0])
    for name, count, size in zip("yx", patches, correlation_shape_px, strict=True):
        if count > max(1, size // MIN_PATCH_PX):
            raise ParameterError(
                f"{option_name('patches')}: {count} patches in {name} are too small: "
                f"expected at most {max(1, size // MIN_PATCH_PX)} for this movie"
            )
    return patches


def _shape_of_fast_patches(
    movie: MovieInfo, correlation_shape_px: tuple[int, int], patches: tuple[int, int]
) -> tuple[int, int]:
    """The size of the small frames, adjusted so that their patches too have FFT-friendly sizes."""
    height, width = (
        min(size - size % 2, count * fast_size(math.ceil(small / count)))
        for size, small, count in zip(
            (movie.height_px, movie.width_px), correlation_shape_px, patches, strict=True
        )
    )
    return height, width


def _control_points(
    movie: MovieInfo,
    pixel_size_A: float,
    align: FrameRange,
    patches: tuple[int, int],
    params: AlignParams,
) -> tuple[tuple[int, int, int] | None, str]:
    """Control points (t, y, x) or None, and why there are none although requested."""
    if not params.local:
        return None, ""
    sizes_A = (movie.height_px * pixel_size_A, movie.width_px * pixel_size_A)
    if align.count < MIN_CONTROL_POINTS:
        return None, f"{align.count} frames are too few"
    if patches[0] * patches[1] < MIN_PATCHES:
        size_A = f"{sizes_A[1]:.0f} x {sizes_A[0]:.0f} A"
        return None, f"only {patches[1]} x {patches[0]} patches fit on {size_A}"
    if params.control_points is None:
        y, x = (
            min(
                max(
                    int(size / CONTROL_POINT_SPACING_A) + 2,
                    min(count + 2, CONTROL_POINTS_OF_SMALL_FIELD),
                ),
                MAX_CONTROL_POINTS_PER_SIDE,
            )
            for size, count in zip(sizes_A, patches, strict=True)
        )
        t = math.ceil(align.count / CONTROL_POINT_SPACING_FRAMES) + 2
        return (min(t, MAX_CONTROL_POINTS_IN_TIME), y, x), ""
    x, y, t = params.control_points
    if t > align.count:
        raise ParameterError(
            f"{option_name('control_points')}: expected at most as many in time as there are "
            f"frames ({align.count}), found {t}"
        )
    if t * y * x > MAX_CONTROL_POINTS:
        raise ParameterError(
            f"{option_name('control_points')}: expected at most {MAX_CONTROL_POINTS} in all, "
            f"found {x} x {y} x {t} = {t * y * x}"
        )
    return (t, y, x), ""


def _fit_to_memory(
    movie: MovieInfo,
    align: FrameRange,
    summed: FrameRange,
    small_shapes_px: tuple[tuple[int, int], tuple[int, int]],
    params: AlignParams,
) -> tuple[int, bool, int]:
    """Frames summed before estimation, whether decoded frames are kept, and peak memory in bytes.

    When memory is short, frames are decoded twice before the motion is sampled more coarsely.
    """
    per_time = math.ceil(align.count / MAX_TIMES)
    max_bytes = math.inf if params.max_memory_GB is None else params.max_memory_GB * 1e9
    kept = align.count * movie.height_px * movie.width_px * _item_bytes(movie)
    # An uncompressed file is read again just as fast.
    is_decoded = movie.file_format != "mrc"
    while True:
        times = math.ceil(align.count / per_time)
        needed = _memory_bytes(movie, times, summed, small_shapes_px, params)
        if is_decoded and kept <= MAX_KEPT_BYTES and needed + kept <= max_bytes:
            return per_time, True, needed + kept
        if needed <= max_bytes:
            return per_time, False, needed
        if math.ceil(align.count / (per_time + 1)) < MIN_TIMES:
            raise ParameterError(
                f"{option_name('max_memory_GB')} {params.max_memory_GB:g}: {movie.path} needs "
                f"{needed / 1e9:.1f} GB: allow that much, or use fewer {option_name('threads')}"
            )
        per_time += 1


def _memory_bytes(
    movie: MovieInfo,
    times: int,
    summed: FrameRange,
    small_shapes_px: tuple[tuple[int, int], tuple[int, int]],
    params: AlignParams,
) -> int:
    """Estimated peak memory, the maximum over the two passes and the estimation between them.

    `small_shapes_px` are (h, w) of the small frames, and of those of the pairwise stage.
    """
    px = movie.height_px * movie.width_px
    frame, (small_px, pairwise_px) = 4 * px, (times * math.prod(s) for s in small_shapes_px)
    small = _small_item_bytes(movie) * small_px
    # Raw frames read ahead.
    raw = (params.threads or ASSUMED_THREADS) * px * _item_bytes(movie)
    # The batch of frames: in the first pass at most as many as in the second.
    together = FRAMES_MOVED_TOGETHER * px * min(_item_bytes(movie), 4)
    # Gain, defects; the raw sum, which the mean replaces, and work buffers.
    first = raw + together + 4 * frame + small
    # Gain, unaligned sum, buffers; the small frames, and the spectra of their patches, or before
    # these the frames of the pairwise stage and their spectra. The memory of raw frames may not be
    # released by then.
    estimation = 3 * frame + small + max(int(1.5 * small_px), 8 * pairwise_px)
    estimation += raw + together
    # Gain, defects, unaligned sum; sum, its mean, buffers; up to seven more sums for the weighted
    # sum, and its result.
    sums = 6 + 8 * params.dose_weight + 2 * params.odd_even + 4 * ("relion" in params.formats)
    second = raw + together + sums * frame
    second += min(summed.count, FRAMES_MOVED_TOGETHER) * frame if params.save_movie else 0
    second += summed.count * frame if params.save_movie else 0
    return 300_000_000 + max(first, estimation, second)


def _gpu_memory_bytes(movie: MovieInfo, params: AlignParams) -> int:
    """Estimated peak GPU memory for one frame at a time, in the larger of the two passes.

    Small frames are not kept there; spectra of patches only as far as memory allows.
    """
    frame = 4 * movie.height_px * movie.width_px
    # Raw frames being uploaded; gain and dark; libraries.
    common = 2 * frame * _item_bytes(movie) // 4 + 2 * frame + 500_000_000
    # The frame and two sums; row spectra with their copies and the work area of the transform.
    first = 3 * frame + 4 * frame
    # Coefficients, moved frame, sums; the spectrum likewise; weights and the weighted spectrum.
    second = (3 + 2 * params.odd_even) * frame + 5 * frame + 2 * params.dose_weight * frame
    return common + max(first, second)


def _small_item_bytes(movie: MovieInfo) -> int:
    """Bytes per pixel of the small frames.

    For 8-bit counts, hot pixels included, the rounding of 16-bit floats is below the noise.
    """
    return 2 if _item_bytes(movie) == 1 else 4


def _item_bytes(movie: MovieInfo) -> int:
    """Bytes per pixel in the file's dtype."""
    bits = re.search(r"\d+", movie.pixel_dtype)
    return max(1, int(bits.group()) // 8) if bits else 4
