"""Small plots as SVG, drawn once when a page is written: no script, no library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 440, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 10, 30
_SPARK_WIDTH, _SPARK_HEIGHT, _SPARK_EDGE = 176, 32, 3
_MAX_TICKS = 6
_CLASSES = ("main", "second")

Scale = Callable[[float], float]


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
    """A plot of up to two curves against the tilt angle, with axes.

    Parameters
    ----------
    angles_deg : ascending
    title : for screen readers
    """
    limits = _limits(curves)
    if limits is None or not angles_deg:
        return Markup('<p class="quiet">{}: not measured.</p>').format(title)
    y_ticks = ticks(*limits)
    x = _scale(angles_deg[0], angles_deg[-1], _LEFT, _WIDTH - _RIGHT)
    y = _scale(y_ticks[0], y_ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" '
        f'y2="{y(value):.1f}"/><text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" '
        f'text-anchor="end">{value:g}</text>'
        for value in y_ticks
    ]
    parts += [
        f'<text x="{x(angle):.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{angle:g}°</text>'
        for angle in ticks(angles_deg[0], angles_deg[-1])
        if angles_deg[0] <= angle <= angles_deg[-1]
    ]
    for name, curve in zip(_CLASSES, curves, strict=False):
        points = _points(angles_deg, curve)
        parts.append(_line(name, points, x, y))
        parts += [
            f'<circle class="{name}" cx="{x(angle):.1f}" cy="{y(value):.1f}" r="2.6"><title>'
            f"{escape(curve.label)} {value:.3g} at {angle:.1f}°</title></circle>"
            for angle, value in points
        ]
    return _picture("plot", (_WIDTH, _HEIGHT), title, parts)


def sparkline(angles_deg: Sequence[float], curve: Curve, title: str) -> Markup:
    """A curve against the tilt angle as high as a line of text, from zero on, without axes."""
    limits = _limits([curve])
    if limits is None or not angles_deg:
        return Markup("")
    x = _scale(angles_deg[0], angles_deg[-1], _SPARK_EDGE, _SPARK_WIDTH - _SPARK_EDGE)
    y = _scale(*limits, _SPARK_HEIGHT - _SPARK_EDGE, _SPARK_EDGE)
    line = _line("main", _points(angles_deg, curve), x, y)
    return _picture("spark", (_SPARK_WIDTH, _SPARK_HEIGHT), title, [line])


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low`, or just below, to `high`, or just above.

    Examples
    --------
    >>> ticks(-60.1, 59.9), ticks(0.0, 31.0)
    ([-80.0, -60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0], [0.0, 10.0, 20.0, 30.0, 40.0])
    """
    span = max(high - low, 1e-9 * max(abs(low), abs(high), 1e-300))
    unit = 10.0 ** math.floor(math.log10(span / _MAX_TICKS))
    step = next(unit * k for k in (1, 2, 5, 10) if span / (unit * k) <= _MAX_TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{step * k:.12g}") for k in range(first, last + 1)]


def _limits(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """The least value, or zero, and the largest; None if no value is known."""
    known = [v for curve in curves for v in curve.values if v is not None and math.isfinite(v)]
    if not known:
        return None
    low, high = min(0.0, *known), max(0.0, *known)
    return low, high if high > low else low + 1.0


def _scale(low: float, high: float, first: float, last: float) -> Scale:
    """A linear map of values from `low` to `high` to places from `first` to `last`."""
    span = high - low or 1.0
    return lambda value: first + (value - low) / span * (last - first)


def _points(angles_deg: Sequence[float], curve: Curve) -> list[tuple[float, float]]:
    """Angle and value where a value is known."""
    pairs = zip(angles_deg, curve.values, strict=True)
    return [(a, v) for a, v in pairs if v is not None and math.isfinite(v)]


def _line(name: str, points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """The curve through points, of a class."""
    path = " ".join(f"{x(angle):.1f},{y(value):.1f}" for angle, value in points)
    return f'<polyline class="{name}" points="{path}"/>'


def _picture(name: str, size: tuple[int, int], title: str, parts: Sequence[str]) -> Markup:
    """Parts as a picture of a class and size."""
    head = f'<svg class="{name}" viewBox="0 0 {size[0]} {size[1]}" role="img" '
    return Markup("".join([head, f'aria-label="{escape(title)}">', *parts, "</svg>"]))
