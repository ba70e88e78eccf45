"""Render the page: one HTML file with scripts, styles, numbers and a few movies embedded."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from flexalign.atomic import replacing
from flexalign.figure_style import FRAME_COLORS, style_variables
from flexalign.option_messages import with_options
from flexalign.quality.flags import DEFINITIONS
from flexalign.report.columns import COLUMNS, NOT_IN_TABLE, PANELS, THRESHOLDS
from flexalign.report.details import PICTURES, as_script
from flexalign.report.subset import star_parts

STYLES = (
    "dataTables.dataTables.min.css", "responsive.dataTables.min.css", "movie.css", "gallery.css",
    "report.css",
)  # fmt: skip
LIBRARIES = ("echarts.min.js", "dataTables.min.js", "dataTables.responsive.min.js")
SCRIPTS = (
    "store.js", "charts.js", "theme.js", "session_axis.js", "session.js", "table.js",
    "acceptance.js", "figures.js", "gallery.js", "figures_micrograph.js",
    "figures_motion.js", "figures_signal.js", "movie.js", "start.js",
)  # fmt: skip
# Length of lists on the page, before it refers to the table and to the other files.
MAX_WORST, MAX_FAILURES = 20, 200


def write_page(
    path: Path, summary: Mapping[str, Any], inside: Sequence[Mapping[str, Any]], data_folder: str
) -> None:
    """Write the page atomically.

    Parameters
    ----------
    summary : from `flexalign.report.summary.summary_of`
    inside : details of the movies that are embedded in the page
    data_folder : folder of the details of all movies, relative to the page

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = render(summary, inside, data_folder)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(
    summary: Mapping[str, Any], inside: Sequence[Mapping[str, Any]], data_folder: str
) -> str:
    """The text of the page; parameters as for `write_page`."""
    movies = {movie["name"]: movie for movie in summary["movies"]}
    in_groups = itertools.groupby(summary["parameters"], lambda item: item["group"])
    text: str = page_template("report.html").render(
        title=Path(summary["folder"]).name,
        star_folder=os.path.relpath(summary["folder"]),
        summary=summary,
        run=summary["run"],
        ended=summary["run"].get("summary"),
        counts=summary["counts"],
        worst=[movies[name] for name in summary["worst"][:MAX_WORST]],
        failures=_by_kind(summary["failures"][:MAX_FAILURES]),
        listed_failures=min(MAX_FAILURES, len(summary["failures"])),
        flags=[
            {**_definition(name), "name": name, "count": count}
            for name, count in summary["flags"].items()
        ],
        severity_of={name: _definition(name)["severity"] for name in summary["flags"]},
        time_of_order="recorded" if summary["order"] == "acquired" else "written",
        unfinished=(summary["run"].get("summary") or {}).get("unfinished", 0),
        parameter_groups=[(group, list(items)) for group, items in in_groups],
        data=Markup(as_script(_data(summary, data_folder))),
        inside=Markup(as_script(list(inside))),
        styles=[Markup(style_variables()), *map(asset, STYLES)],
        libraries=[asset(name) for name in LIBRARIES],
        scripts=[asset(name) for name in SCRIPTS],
    )
    return text


def _by_kind(failures: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Failures grouped by kind, the most frequent first."""
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for failure in failures:
        groups.setdefault((failure["kind"], failure["advice"]), []).append(failure)
    return [
        {"name": kind, "advice": advice, "movies": movies, "count": len(movies)}
        for (kind, advice), movies in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _definition(name: str) -> dict[str, str]:
    """Definition of a flag, empty for one of another version."""
    known = DEFINITIONS.get(name)
    if known is None:
        return {"severity": "warning", "meaning": "", "cause": "", "remedy": ""}
    return {
        key: with_options(getattr(known, key)) for key in ("severity", "meaning", "cause", "remedy")
    }


def _data(summary: Mapping[str, Any], data_folder: str) -> dict[str, Any]:
    """Data for the scripts of the page: a list for each column."""
    movies = summary["movies"]
    return {
        "folder": data_folder,
        "names": [movie["name"] for movie in movies],
        "values": {c.name: [movie[c.name] for movie in movies] for c in COLUMNS},
        "columns": [
            {
                "name": column.name,
                "title": column.title,
                "unit": column.unit,
                "about": column.about,
                "priority": column.priority,
                "heading": column.heading,
                "group": column.group,
                "inTable": column.name not in NOT_IN_TABLE,
            }
            for column in COLUMNS
        ],
        "panels": [asdict(panel) for panel in PANELS],
        "pictures": PICTURES,
        "frameColors": FRAME_COLORS,
        "flags": {name: _definition(name) for name in summary["flags"]},
        "worst": summary["worst"],
        "thresholds": THRESHOLDS,
        "star": star_parts(os.path.relpath(summary["folder"]), movies),
    }


def asset(name: str) -> Markup:
    """A style sheet or script of the package, for embedding."""
    text = _read_asset(name)
    if "</script" in text.lower() or "</style" in text.lower():
        raise ValueError(f"{name} cannot stand inside a page")
    return Markup(text)


@functools.cache
def _read_asset(name: str) -> str:
    return (resources.files("flexalign.report") / "assets" / name).read_text(encoding="utf-8")


def style_sheet() -> Markup:
    """The style that all pages have in common."""
    return Markup(style_variables()) + asset("report.css")


@functools.cache
def page_template(name: str) -> Any:
    """The template of a page; undefined names raise."""
    environment = Environment(
        loader=PackageLoader("flexalign.report", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number, "clock": _clock, "moment": _readable_time, "value": _value,
        "file_name": lambda path: Path(path).name,
    }  # fmt: skip
    return environment.get_template(name)


def _number(value: float | None, digits: int = 3) -> str:
    """A rounded number, a hyphen where there is none.

    Examples
    --------
    >>> _number(12.3456), _number(None), _number(5000.0)
    ('12.3', '-', '5000')
    """
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}"


def _clock(seconds: float | None) -> str:
    """A time in the two largest of its units, a hyphen where there is none.

    Examples
    --------
    >>> _clock(7), _clock(75), _clock(7500)
    ('7 s', '1 min 15 s', '2 h 5 min')
    """
    if seconds is None:
        return "-"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {remainder} s" if minutes else f"{remainder} s"


def _readable_time(text: str) -> str:
    """A readable form of an ISO 8601 time.

    Examples
    --------
    >>> _readable_time("2026-11-26T06:30:00+0000")
    '2026-11-26 06:30 +0000'
    """
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + (
            f" {text[19:]}" if text[19:] else ""
        )
    except ValueError:
        return text


def _value(value: Any) -> str:
    """The value of a parameter in words."""
    if value is None:
        return "decided for each movie"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
