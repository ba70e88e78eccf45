"""Frame ranges, sizes of frames, and numbers of patches and control points."""

from __future__ import annotations

import math

from flexalign.errors import ParameterError
from flexalign.model import FrameRange, MovieInfo
from flexalign.params import AlignParams, quoted

MIN_PATCH_PX = 24
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
# Local motion varies smoothly in time, whatever the number of frames.
MAX_CONTROL_POINTS_IN_TIME = 12
# The field is solved with a dense matrix of this many rows and columns.
MAX_CONTROL_POINTS = 4000
# Maximum numbers chosen along a side, whatever the size of the field.
MAX_CONTROL_POINTS_PER_SIDE = 16
MAX_PATCHES_PER_SIDE = 16
# Smaller frames, down-sampled or not, hold nothing to correlate.
MIN_FRAME_PX = 16


def frame_range(name: str, first: int, last: int, frame_count: int) -> FrameRange:
    """The user's one-based range, 0 = last, as a zero-based half-open one."""
    last = frame_count if last == 0 else last
    options = f"{quoted(name + '_first')} {first}, {quoted(name + '_last')} {last}"
    if first > frame_count or last > frame_count:
        raise ParameterError(f"{options}: the movie has only {frame_count} frames")
    if last < first:
        raise ParameterError(f"{options}: expected the last frame not before the first")
    return FrameRange(first - 1, last)


def align_range(params: AlignParams, frame_count: int) -> FrameRange:
    """The range from which the motion is estimated, of at least two frames."""
    align = frame_range("align", params.align_first, params.align_last, frame_count)
    if align.count < 2:
        raise ParameterError(
            f"{quoted('align_first')}, {quoted('align_last')}: expected at least two "
            f"frames to align, found {align.count} (frames {align})"
        )
    return align


def output_shape(movie: MovieInfo, params: AlignParams) -> tuple[int, int]:
    """Size (h, w) of the micrograph."""
    height, width = round(movie.height_px / params.binning), round(movie.width_px / params.binning)
    if min(height, width) < MIN_FRAME_PX:
        raise ParameterError(
            f"{quoted('binning')}: expected a micrograph of at least {MIN_FRAME_PX} x "
            f"{MIN_FRAME_PX} px, found {params.binning:g}, which makes it {width} x {height} px"
        )
    return height, width


def sum_range(align: FrameRange, params: AlignParams, frame_count: int) -> FrameRange:
    """The range to sum, which must lie inside the range that is aligned."""
    first = align.first + 1 if params.sum_first is None else params.sum_first
    last = align.stop if params.sum_last is None else params.sum_last
    summed = frame_range("sum", first, last, frame_count)
    if summed.first < align.first or summed.stop > align.stop:
        raise ParameterError(
            f"{quoted('sum_first')}, {quoted('sum_last')}: frames {summed} are not all "
            f"among the aligned frames {align}: their motion would be unknown"
        )
    return summed


def reference_frame(align: FrameRange, params: AlignParams) -> int | None:
    """The reference frame that the user gave by its number."""
    if not params.reference_frame.isdigit():
        return None
    frame = int(params.reference_frame) - 1
    if frame not in align:
        raise ParameterError(
            f"{quoted('reference_frame')}: expected one of the aligned frames {align}, "
            f"found {frame + 1}"
        )
    return frame


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
    """`number` divided by each of `factors` as often as possible."""
    for factor in factors:
        while number % factor == 0:
            number //= factor
    return number


def reduced_shape(movie: MovieInfo, pixel_size_A: float, wanted_A: float) -> tuple[int, int]:
    """Even, FFT-friendly size (h, w) of frames with pixels of about `wanted_A`."""
    ratio = min(1.0, pixel_size_A / wanted_A)
    height, width = (
        min(size - size % 2, fast_size(max(MIN_FRAME_PX, math.ceil(size * ratio))))
        for size in (movie.height_px, movie.width_px)
    )
    return height, width


def patch_counts(
    movie: MovieInfo,
    pixel_size_A: float,
    correlation_shape_px: tuple[int, int],
    params: AlignParams,
) -> tuple[int, int]:
    """Number of patches (y, x): as given, or as many as the minimum side allows."""
    if params.patches is None:
        side_A = PATCH_TOLERANCE * params.min_patch_A
        y, x = (
            max(
                1,
                min(
                    math.floor(size * pixel_size_A / side_A),
                    small // MIN_PATCH_PX,
                    MAX_PATCHES_PER_SIDE,
                ),
            )
            for size, small in zip(
                (movie.height_px, movie.width_px), correlation_shape_px, strict=True
            )
        )
        return y, x
    patches = (params.patches[1], params.patches[0])
    for name, count, size in zip("yx", patches, correlation_shape_px, strict=True):
        if count > max(1, size // MIN_PATCH_PX):
            raise ParameterError(
                f"{quoted('patches')}: {count} patches in {name} are too small: "
                f"expected at most {max(1, size // MIN_PATCH_PX)} for this movie"
            )
    return patches


def shape_of_fast_patches(
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


def control_point_counts(
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
        found = f"{patches[1]} x {patches[0]} patches"
        size_A = f"{sizes_A[1]:.0f} x {sizes_A[0]:.0f} A"
        is_chosen = params.patches is None
        return None, f"only {found} fit on {size_A}" if is_chosen else f"{found} are too few"
    if params.control_points is None:
        y, x = (
            min(
                max(int(size / CONTROL_POINT_SPACING_A) + 2, CONTROL_POINTS_OF_SMALL_FIELD),
                MAX_CONTROL_POINTS_PER_SIDE,
            )
            for size in sizes_A
        )
        t = math.ceil(align.count / CONTROL_POINT_SPACING_FRAMES) + 2
        return (min(t, MAX_CONTROL_POINTS_IN_TIME), y, x), ""
    x, y, t = params.control_points
    if t > align.count:
        raise ParameterError(
            f"{quoted('control_points')}: expected at most as many in time as there are "
            f"frames ({align.count}), found {t}"
        )
    if t * y * x > MAX_CONTROL_POINTS:
        raise ParameterError(
            f"{quoted('control_points')}: expected at most {MAX_CONTROL_POINTS} in all, "
            f"found {x} x {y} x {t} = {t * y * x}"
        )
    return (t, y, x), ""
