"""Memory that an alignment needs, and what is summed or decoded again where there is less."""

from __future__ import annotations

import math
import re

from flexalign.errors import ParameterError
from flexalign.machine import GPU_BATCH_BYTES
from flexalign.model import FrameRange, MovieInfo
from flexalign.params import AlignParams, quoted

# Memory is planned for this many threads when their number is not known yet.
ASSUMED_THREADS = 8
# Maximum and minimum number of times at which the trajectory is estimated: of more frames than
# that, several are summed, which bounds memory and time.
MAX_TIMES = 80
MIN_TIMES = 20
# Number of frames moved and summed per batch.
FRAMES_PER_BATCH = 8
# Decoded frames up to this size are kept for the second pass, which saves decoding them twice; the
# limit leaves memory for other movies.
MAX_KEPT_BYTES = 1_000_000_000


def fit_to_memory(
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
    kept = frames_bytes(movie, align)
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
                f"{quoted('max_memory_GB')} {params.max_memory_GB:g}: {movie.path} needs "
                f"{needed / 1e9:.1f} GB: allow that much, or use fewer {quoted('threads')}"
            )
        per_time += 1


def frames_bytes(movie: MovieInfo, frames: FrameRange) -> int:
    """Memory of decoded frames in the dtype of the file."""
    return frames.count * movie.height_px * movie.width_px * _item_bytes(movie)


def ahead_bytes(movie: MovieInfo, frames: FrameRange) -> int:
    """Memory of frames that are read ahead for a GPU: decoded, or of EER as in the file."""
    return frames_bytes(movie, frames) if movie.eer is None else movie.size_bytes


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
    small = small_item_bytes(movie) * small_px
    # Raw frames read ahead.
    raw = (params.threads or ASSUMED_THREADS) * px * _item_bytes(movie)
    # The batch of frames: in the first pass at most as many as in the second.
    together = FRAMES_PER_BATCH * px * min(_item_bytes(movie), 4)
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
    second += min(summed.count, FRAMES_PER_BATCH) * frame if params.save_movie else 0
    second += summed.count * frame if params.save_movie else 0
    return 300_000_000 + max(first, estimation, second)


def gpu_memory_bytes(movie: MovieInfo, params: AlignParams) -> int:
    """Estimated peak GPU memory for one frame at a time, in the larger of the two passes.

    Without small frames; spectra of patches are kept there only as far as memory allows.
    """
    frame = 4 * movie.height_px * movie.width_px
    # Raw frames being uploaded; gain and dark; libraries.
    common = 2 * frame * _item_bytes(movie) // 4 + 2 * frame + 500_000_000
    if movie.eer is not None:
        # Codes of two frames, and the tables of their chunks, a quarter of that.
        share = movie.eer.raw_frames_per_frame / movie.eer.raw_frame_count
        common += int(2.5 * share * movie.size_bytes)
    # The frame and two sums; row spectra with their copies and the work area of the transform.
    first = 3 * frame + 4 * frame
    # Coefficients, moved frame, sums; the spectrum likewise; weights and the weighted spectrum.
    second = (3 + 2 * params.odd_even) * frame + 5 * frame + 2 * params.dose_weight * frame
    return common + max(first, second)


def gpu_estimation_bytes(
    movie: MovieInfo,
    times: int,
    small_shapes_px: tuple[tuple[int, int], tuple[int, int]],
) -> int:
    """Estimated GPU memory of the estimation, if it is free: small frames and what is made of them.

    Parameters
    ----------
    small_shapes_px : (h, w) of the small frames, and of those of the pairwise stage
    """
    small_px, pairwise_px = (times * math.prod(shape) for shape in small_shapes_px)
    # The small frames, and a copy without a fixed pattern; the spectra of their patches, or before
    # these the frames of the pairwise stage, their tiles and spectra.
    kept = 2 * small_item_bytes(movie) * small_px + max(2 * small_px, 20 * pairwise_px)
    # A batch; the work areas of its transforms, which CuPy keeps, for batches of a few sizes.
    return kept + 3 * GPU_BATCH_BYTES


def gpu_frames_bytes(movie: MovieInfo, align: FrameRange) -> int:
    """GPU memory of the raw frames of the first pass, which are kept for the second if it is free.

    Integers are uploaded as they are in the file, all else as float32.
    """
    is_integer = "int" in movie.pixel_dtype
    item_bytes = min(_item_bytes(movie), 4) if is_integer else 4
    return align.count * movie.height_px * movie.width_px * item_bytes


def small_item_bytes(movie: MovieInfo) -> int:
    """Bytes per pixel of the small frames.

    For 8-bit counts, hot pixels included, the rounding of 16-bit floats is below the noise.
    """
    return 2 if _item_bytes(movie) == 1 else 4


def _item_bytes(movie: MovieInfo) -> int:
    """Bytes per pixel in the file's dtype."""
    bits = re.search(r"\d+", movie.pixel_dtype)
    return max(1, int(bits.group()) // 8) if bits else 4
