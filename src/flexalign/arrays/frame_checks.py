"""Find frames that are blank, partly blank, or of a deviating dose."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.model import FloatArray, MaskArray

# Larger values are not counts, and their squares overflow 32 bits.
MAX_COUNTS = 1e9
# Number (rows, columns) of blocks of a frame that are checked; in large frames only a few rows of
# each are read, which takes 1 % of the time of the first pass.
BLOCKS = (32, 8)
_SAMPLED_PIXELS = 2**18
# A block in which this many pixels normally vary has none that do with a probability of exp(-40).
_MIN_VARYING_PIXELS = 40
# The counts of a frame deviate if they do so by this many standard errors, and more than typical.
_DOSE_ERRORS = 5.0
_MIN_FRAMES_FOR_LINE = 4

BlockCounts = npt.NDArray[np.int64]


def problem_with(pixels: npt.NDArray[Any]) -> str:
    """Why the pixels of a raw frame cannot be used, "" when they can."""
    if has_counts(pixels[:1]):
        return ""  # the other pixels need not be checked
    lowest, highest = float(pixels.min()), float(pixels.max())
    if not np.isfinite(lowest + highest):
        return "it holds values that are not finite"
    if lowest == highest:
        return f"it is blank: every pixel is {lowest:g}"
    if max(-lowest, highest) > MAX_COUNTS:
        return f"it holds values from {lowest:.2g} to {highest:.2g}, which are not counts"
    return ""


def has_counts(rows: npt.NDArray[Any]) -> bool:
    """Whether rows (n, w) of a frame are small integers that differ: nothing is wrong with it."""
    is_small = rows.dtype.kind in "iu" and rows.dtype.itemsize <= 2
    return is_small and bool(rows.min() < rows.max())


def sampled_rows(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows (n, w) of a frame (h, w) for `varied_pixels`: at least `BLOCKS` of equal width."""
    rows, columns = BLOCKS
    step = max(1, min(pixels.size // _SAMPLED_PIXELS, len(pixels) // rows))
    return pixels[step // 2 :: step, : pixels.shape[1] // columns * columns]


def varied_pixels(sampled: npt.NDArray[Any]) -> BlockCounts:
    """Number of pixels in each of `BLOCKS` that differ from most of their row.

    Parameters
    ----------
    sampled : (n, w) from `sampled_rows`

    Examples
    --------
    >>> varied_pixels(sampled_rows(np.eye(64, dtype=np.uint8))).sum(axis=1)[:3]
    array([2, 2, 2])
    """
    rows, columns = BLOCKS
    width = sampled.shape[1] // columns
    some = sampled.reshape(-1, columns, width)
    differ = np.count_nonzero(some != some[:, :, :1], axis=2)
    # The first pixel may itself be the one that differs.
    differ = np.minimum(differ, width - differ)
    edges = np.linspace(0, len(some), rows + 1).astype(np.int64)[:-1]
    return np.asarray(np.add.reduceat(differ, edges, axis=0), np.int64)


def broken_blocks(varied: BlockCounts) -> MaskArray:
    """Blocks in which a frame is blank and the others are not: (frames, *BLOCKS).

    A block that is blank in all frames is a defect of the detector or a grid bar; one that becomes
    blank gradually is a moving edge.  At low counts, blocks are merged.

    Parameters
    ----------
    varied : (frames, *BLOCKS) `varied_pixels` of each
    """
    frames, rows, columns = varied.shape
    together = 1
    while True:
        parts = varied.reshape(frames, rows // together, together, columns).sum(axis=2)
        median = np.median(parts, axis=0)
        if together == rows or np.median(median) >= 2 * _MIN_VARYING_PIXELS:
            break
        together *= 2
    is_full = np.pad(parts >= median / 2, ((1, 1), (0, 0), (0, 0)), constant_values=True)
    broken = (parts == 0) & (median >= _MIN_VARYING_PIXELS) & is_full[:-2] & is_full[2:]
    return np.asarray(np.repeat(broken, together, axis=1))


def describe_blocks(broken: MaskArray, shape_px: tuple[int, int]) -> str:
    """Position of the `broken` blocks (`BLOCKS`) of a frame (h, w), in words."""
    spans = []
    for axis, name in enumerate(("rows", "columns")):
        hit = np.flatnonzero(broken.any(axis=1 - axis))
        edges = np.linspace(0, shape_px[axis], BLOCKS[axis] + 1).astype(int)
        spans.append(f"{name} {edges[hit[0]] + 1}-{edges[hit[-1] + 1]}")
    return f"a part of it is blank (within about {spans[0]}, {spans[1]}), as in no other frame"


def uneven_frames(
    index: npt.NDArray[np.int64], counts: FloatArray, error: FloatArray, max_deviation: float
) -> dict[int, float]:
    """Relative deviation of some frames' counts from a straight line through those of all.

    The beam may drift steadily.  The line is the robust Theil-Sen fit.

    Parameters
    ----------
    index, counts, error : (n,) of each frame its index, its counts (over the dose declared for it)
        and their standard error
    max_deviation : relative deviation that is allowed

    Examples
    --------
    >>> counts = np.array([0.5, 1.0, 0.99, 0.98, 0.97, 0.96])
    >>> found = uneven_frames(np.arange(6), counts, np.full(6, 0.001), 0.2)
    >>> {frame: round(off, 2) for frame, off in found.items()}
    {0: -0.5}
    """
    if len(index) < _MIN_FRAMES_FOR_LINE:
        return {}
    first, second = np.triu_indices(len(index), 1)
    slope = np.median((counts[second] - counts[first]) / (index[second] - index[first]))
    line = slope * index + np.median(counts - slope * index)
    if line.min() <= 0:
        line = np.full(len(index), np.median(counts))
    off = counts - line
    is_off = (np.abs(off) > max_deviation * line) & (np.abs(off) > _DOSE_ERRORS * error)
    return {int(index[k]): float(off[k] / line[k]) for k in np.flatnonzero(is_off)}
