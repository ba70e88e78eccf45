"""Conditions of the flags: functions of the quality numbers of a movie and the limits.

Each returns the number that raises the flag and the limit that it exceeds, NaN where there is
none, or None when the flag is not raised.  A number that was not measured raises no flag.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from flexalign.quality_limits import QualityLimits

if TYPE_CHECKING:
    from flexalign.model import Quality

Exceeded = tuple[float, float]
Condition = Callable[["Quality", QualityLimits], Exceeded | None]


def above(quantity: str, limit: str) -> Condition:
    """The condition that the number `quantity` exceeds `limit`."""
    return lambda quality, limits: _above(getattr(quality, quantity), getattr(limits, limit))


def is_true(quantity: str) -> Condition:
    """The condition that `quantity` is True."""
    return lambda quality, limits: (math.nan, math.nan) if getattr(quality, quantity) else None


def is_false(quantity: str) -> Condition:
    """The condition that `quantity` is False, and not unknown."""
    return lambda quality, limits: (
        (math.nan, math.nan) if getattr(quality, quantity) is False else None
    )


def is_measured(quantity: str) -> Condition:
    """The condition that the number `quantity` is not NaN."""
    return lambda quality, limits: (
        None if math.isnan(value := getattr(quality, quantity)) else (value, math.nan)
    )


def fixed_pattern(quality: Quality, limits: QualityLimits) -> Exceeded | None:
    """A fixed pattern was removed, and its significance is not known to be low."""
    value, limit = quality.fixed_pattern_significance, limits.fixed_pattern_significance
    # NaN if all of the common signal may come from a fixed pattern: the flag is raised.
    return (value, limit) if quality.fixed_pattern_removed and not value < limit else None


def uncorrected(quality: Quality, limits: QualityLimits) -> Exceeded | None:
    """There is signal, no motion was applied, and its bound is large or unknown."""
    value, limit = quality.motion_bound_A, limits.motion_bound_A
    is_left = quality.has_signal and quality.chosen == "none" and not value < limit
    return (value, limit) if is_left else None


def hot_pixels(quality: Quality, limits: QualityLimits) -> Exceeded | None:
    """Many pixels were replaced, but not so many that it is a lost area."""
    value = quality.hot_pixel_part
    return None if value > limits.lost_part else _above(value, limits.hot_pixel_part)


def unsafe_motion(quality: Quality, limits: QualityLimits) -> Exceeded | None:
    """Frames were lost, or the halves of the Fourier rings lead to different motions."""
    if quality.lost_frames:
        return float(len(quality.lost_frames)), 0.0
    return _above(quality.halves_apart, limits.halves_apart)


def gain_residual(quality: Quality, limits: QualityLimits) -> Exceeded | None:
    """Rows or columns of the unaligned sum vary."""
    residual = max(quality.gain_residual_rows, quality.gain_residual_columns)
    return _above(residual, limits.gain_residual)


def no_thon_rings(quality: Quality, limits: QualityLimits) -> Exceeded | None:
    """Thon rings were searched and not found."""
    is_missing = not math.isnan(quality.ring_score) and math.isnan(quality.rings_to_A)
    return (quality.ring_score, math.nan) if is_missing else None


def still(quality: Quality, limits: QualityLimits) -> Exceeded | None:
    """There is signal, and the movement is zero within its error."""
    if quality.drift_part > limits.drift_part:
        return None
    if quality.chosen == "none":
        limit = quality.motion_bound_A
        is_still = limit < limits.motion_bound_A
    else:
        limit = limits.still_errors * quality.trajectory_error_A
        is_still = quality.movement_A < limit
    return (quality.movement_A, limit) if quality.has_signal and is_still else None


def dose_mismatch(quality: Quality, limits: QualityLimits) -> Exceeded | None:
    """The ratio of the measured to the declared dose is out of its limits."""
    ratio = quality.measured_dose_e_A2 / quality.declared_dose_e_A2
    if ratio < limits.dose_ratio_low:
        return ratio, limits.dose_ratio_low
    return _above(ratio, limits.dose_ratio_high)


def _above(value: float | None, limit: float) -> Exceeded | None:
    # The comparison is False for NaN too.
    return (value, limit) if value is not None and value > limit else None
