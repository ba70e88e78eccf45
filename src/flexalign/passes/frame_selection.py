"""Selection of good frames, neither blank, broken nor copies, and of those with uneven counts."""

from __future__ import annotations

import math

import numpy as np

from flexalign.arrays import frame_checks
from flexalign.errors import InputError
from flexalign.model import FloatArray, MaskArray
from flexalign.passes.small_frames import SmallSums
from flexalign.plan import Plan
from flexalign.quality_limits import LIMITS

# A frame with less than this fraction of the median counts is blank: the beam was off.
_BLANK_SHARE = 0.2
# A mean within this many standard errors of zero has been subtracted by another program.
_LEVEL_ERRORS = 5.0
# With a larger fraction of bad frames, the whole movie is rejected.
_MAX_BAD_SHARE = 0.5


def relative_counts(means: list[float], spreads: list[float], small_px: int) -> FloatArray:
    """Counts of each frame over the median; all one for frames whose mean was subtracted."""
    if not means:
        return np.ones(0)
    median = float(np.median(np.abs(means)))
    if median <= _LEVEL_ERRORS * float(np.median(spreads)) / math.sqrt(small_px):
        return np.ones(len(means))
    return np.abs(means) / median


def good_frames(
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
    for frame, counts, is_empty in zip(index, relative, is_blank, strict=True):
        if frame in copies and not is_empty:
            bad[frame] = f"it is a copy of frame {copies[frame] + 1}"
        if is_empty:
            bad[frame] = f"it is nearly blank: {100 * counts:.2g} % of the median counts"
    if good.sum() < 2 or len(bad) > _MAX_BAD_SHARE * plan.align.count:
        first = min(bad, default=0)
        raise InputError(
            f"{path}: expected good frames, found {len(bad)} of {plan.align.count} that cannot be "
            f"used (frame {first + 1}: {bad.get(first, 'missing')}): record or copy it again"
        )
    if not any(f in plan.sum for f, g in zip(index, good, strict=True) if g):
        raise InputError(f"{path}: none of the frames {plan.sum} to sum is good")
    return np.asarray(good)


def broken_frames(
    index: list[int], varied: list[frame_checks.BlockCounts], shape_px: tuple[int, int]
) -> dict[int, str]:
    """A description of each frame with blank areas that are not blank in the others."""
    if not varied:
        return {}
    broken = frame_checks.broken_blocks(np.array(varied))
    return {
        frame: frame_checks.describe_blocks(blocks, shape_px)
        for frame, blocks in zip(index, broken, strict=True)
        if blocks.any()
    }


def uneven_frames(
    plan: Plan, small: SmallSums, good: MaskArray, relative: FloatArray
) -> dict[int, float]:
    """Relative deviations of counts that the doses do not explain; see `frame_checks`."""
    index = np.array(small.index)[good]
    share = plan.relative_counts(index)
    share = share / share.mean()
    px = math.prod(plan.correlation_shape_px)
    median = max(float(np.median(np.abs(small.means))), 1e-30)
    error = np.array(small.spreads)[good] / (median * math.sqrt(px))
    return frame_checks.uneven_frames(
        index, relative[good] / share, error / share, LIMITS.uneven_dose
    )
