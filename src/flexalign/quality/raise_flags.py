"""Apply the conditions of the flags to the quality numbers of a movie."""

from __future__ import annotations

from flexalign.model import Flag, Quality
from flexalign.quality.flags import DEFINITIONS, SEVERITIES, FlagDefinition
from flexalign.quality_limits import LIMITS, QualityLimits


def raised(quality: Quality, limits: QualityLimits = LIMITS) -> tuple[Flag, ...]:
    """The flags that the numbers of a movie raise, worst first.

    A number that was not measured raises none.

    Examples
    --------
    >>> typical = dict(early_motion_A=4.0, late_motion_A=46.0, local_range_A=2.0)
    >>> jumped = Quality(total_motion_A=50.0, largest_step_A=40.0, candidate_scores={},
    ...                  chosen="refined", hot_pixel_count=0, **typical)
    >>> [flag.name for flag in raised(jumped)]
    ['jump']
    """
    found = [
        _flag(definition, *exceeded)
        for definition in DEFINITIONS.values()
        if (exceeded := definition.exceeded(quality, limits)) is not None
    ]
    return tuple(sorted(found, key=lambda flag: -SEVERITIES.index(flag.severity)))


def _flag(definition: FlagDefinition, value: float, limit: float) -> Flag:
    """The flag with its message."""
    message = definition.message.format(value=value, limit=limit)
    return Flag(definition.name, definition.severity, message, definition.remedy, value, limit)
