"""Apply the limits of the flags to the quality numbers of a movie."""

from __future__ import annotations

import math

from flexalign.model import Flag, Quality
from flexalign.quality.flags import DEFINITIONS, SEVERITIES, FlagDefinition
from flexalign.quality_limits import LIMITS, QualityLimits


def raised(quality: Quality, limits: QualityLimits = LIMITS) -> tuple[Flag, ...]:
    """The flags that the numbers of a movie raise, worst first.

    A number that was not measured raises none.

    Examples
    --------
    >>> usual = dict(early_motion_A=4.0, late_motion_A=46.0, local_range_A=2.0)
    >>> jumped = Quality(total_motion_A=50.0, largest_step_A=40.0, candidate_scores={},
    ...                  chosen="refined", hot_pixel_count=0, **usual)
    >>> [flag.name for flag in raised(jumped)]
    ['jump']
    """
    found = [
        _flag(definition, *measured)
        for definition in DEFINITIONS.values()
        if (measured := _measured(definition, quality, limits)) is not None
    ]
    return tuple(sorted(found, key=lambda flag: -SEVERITIES.index(flag.severity)))


def _flag(definition: FlagDefinition, value: float, limit: float) -> Flag:
    """The flag with its message."""
    message = definition.message.format(value=value, limit=limit)
    return Flag(definition.name, definition.severity, message, definition.remedy, value, limit)


def _measured(
    definition: FlagDefinition, quality: Quality, limits: QualityLimits
) -> tuple[float, float] | None:
    """The number that raises a flag, and the limit that it passes; None when it passes none."""
    match definition.name:
        case "no-signal":
            return (math.nan, math.nan) if quality.has_signal is False else None
        case "fixed-pattern":
            value, limit = quality.fixed_pattern_significance, limits.fixed_pattern_significance
            # Unknown if all of the common signal may come from a fixed pattern: the signal is
            # accepted.
            return (value, limit) if quality.fixed_pattern_removed and not value < limit else None
        case "still":
            return _still(quality, limits)
        case "uncorrected":
            # Not below the limit: an unknown value may be large.
            value, limit = quality.motion_bound_A, limits.motion_bound_A
            is_left = quality.has_signal and quality.chosen == "none" and not value < limit
            return (value, limit) if is_left else None
        case "hot-pixels":
            value = quality.hot_pixel_part
            is_area = value > limits.lost_part
            return (
                (value, limits.hot_pixel_part)
                if value > limits.hot_pixel_part and not is_area
                else None
            )
        case "unsafe-motion":
            if quality.lost_frames:
                return float(len(quality.lost_frames)), 0.0
            value, limit = quality.halves_apart, limits.halves_apart
        case "one-direction":
            value = quality.only_direction_deg
            return None if math.isnan(value) else (value, math.nan)
        case "wide-search":
            return (math.nan, math.nan) if quality.searched_wider else None
        case "dose-mismatch":
            return _dose_mismatch(quality, limits)
        case "gain-residual":
            value = max(quality.gain_residual_rows, quality.gain_residual_columns)
            limit = limits.gain_residual
        case "no-rings":
            is_missing = not math.isnan(quality.ring_score) and math.isnan(quality.rings_to_A)
            return (quality.ring_score, math.nan) if is_missing else None
        case _:
            value = getattr(quality, definition.quantity)
            limit = getattr(limits, definition.limits[0])
    # False for NaN too.
    return (value, limit) if value is not None and value > limit else None


def _still(quality: Quality, limits: QualityLimits) -> tuple[float, float] | None:
    """The movement, if it is zero within its error; None if there is some or it is unknown."""
    if quality.drift_part > limits.drift_part:
        return None
    if quality.chosen == "none":
        limit = quality.motion_bound_A
        is_still = limit < limits.motion_bound_A
    else:
        limit = limits.still_errors * quality.trajectory_error_A
        is_still = quality.movement_A < limit
    return (quality.movement_A, limit) if quality.has_signal and is_still else None


def _dose_mismatch(quality: Quality, limits: QualityLimits) -> tuple[float, float] | None:
    """The measured over the declared dose, if out of limits."""
    ratio = quality.measured_dose_e_A2 / quality.declared_dose_e_A2
    if ratio < limits.dose_ratio_low:
        return ratio, limits.dose_ratio_low
    return (ratio, limits.dose_ratio_high) if ratio > limits.dose_ratio_high else None
