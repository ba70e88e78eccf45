"""Small plots as SVG, drawn once when a page is written: no script, no library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 440, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 30
_TICKS = 4
_CLASSES = ("main", "second")


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve against the tilt angle.

    Attributes
    ----------
    label : in the legend
    values : one for each angle; None = not known
    """

    label: str
    values: Sequence[float | None]


def plot_against_angle(angles_deg: Sequence[float], curves: Sequence[Curve], title: str) -> Markup:
    """A plot of up to two curves against the tilt angle, from zero or the lowest value on.

    Parameters
    ----------
    angles_deg : ascending
    title : for screen readers
    """
    known = [v for curve in curves for v in curve.values if v is not None and math.isfinite(v)]
    if not known or not angles_deg:
        return Markup('<p class="quiet">{}: not measured.</p>').format(title)
    low, high = min(0.0, *known), max(known)
    high = high if high > low else low + 1.0
    first, last = angles_deg[0], max(angles_deg[-1], angles_deg[0] + 1)

    def x(angle: float) -> float:
        return _LEFT + (angle - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">'
    ]
    for step in range(_TICKS + 1):
        value = low + (high - low) * step / _TICKS
        angle = first + (last - first) * step / _TICKS
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:.3g}</text><text x="{x(angle):.1f}" '
            f'y="{_HEIGHT - 10}" text-anchor="middle">{angle:.0f}°</text>'
        )
    for name, curve in zip(_CLASSES, curves, strict=False):
        points = [
            (x(angle), y(value), angle, value)
            for angle, value in zip(angles_deg, curve.values, strict=True)
            if value is not None and math.isfinite(value)
        ]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _, _ in points)
        parts.append(f'<polyline class="{name}" points="{path}"/>')
        parts += [
            f'<circle class="{name}" cx="{px:.1f}" cy="{py:.1f}" r="2.6"><title>'
            f"{escape(curve.label)} {value:.3g} at {angle:.1f}°</title></circle>"
            for px, py, angle, value in points
        ]
    return Markup("".join([*parts, "</svg>"]))
