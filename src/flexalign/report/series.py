"""The report of a run over tilt series: a page for all, and one for each of them.

It is made from the records of the series alone.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexalign import __version__
from flexalign.atomic import explained
from flexalign.batch.series_folder import SERIES_TABLE, row_of
from flexalign.errors import InputError
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX
from flexalign.option_messages import with_options
from flexalign.report.collect import read_failures, read_gain_check
from flexalign.report.collect import row_of as movie_row
from flexalign.report.live import DATA, MAX_WRITING_SHARE, MIN_WRITE_INTERVAL_S, PAGE
from flexalign.report.page import page_template, style_sheet
from flexalign.report.svg import Curve, plot_against_angle, sparkline
from flexalign.tilts.model import LEFT_OUT
from flexalign.tilts.record import SeriesRecord, read_series_record

# Maximum number of left-out exposures listed on the page of all series.
MAX_LISTED = 40


@dataclass(frozen=True, slots=True)
class _Summary:
    """Entry of a series on the page of all series.

    Attributes
    ----------
    record_ns : time of the last change of its record
    row : as in the table of all series
    left_out : kind, order, angle, movie and reason of each exposure that is not in the stack
    spark : a small plot of the motion against the angle
    """

    record_ns: int
    row: Mapping[str, Any]
    left_out: Sequence[Mapping[str, Any]]
    spark: str


class SeriesReport:
    """The report of the folder `path`; `write` updates it.

    Raises
    ------
    OccupiedError
        If a foreign file has the name of the page.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        refuse_foreign(path, (PAGE,))
        self._known: dict[str, _Summary] = {}
        self._next_write_s = 0.0

    @property
    def page(self) -> Path:
        """The file to open."""
        return self.path / PAGE

    def write_if_due(self) -> None:
        """Write if enough time has passed since the last time and there is something new."""
        if time.monotonic() >= self._next_write_s and self._changed():
            self.write()

    def write(self) -> Path:
        """Write the page of each new or changed series, then that of all.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        started = time.monotonic()
        states = self._states()
        self._known = {name: known for name, known in self._known.items() if name in states}
        for name in self._changed():
            with contextlib.suppress(InputError):  # of a movie, or written by a newer version
                self._take(name, states[name])
        text = page_template("all_series.html").render(**self._content(), style=style_sheet())
        with replacing_listed(self.page) as temporary:
            temporary.write_text(text, encoding="utf-8")
        pause_s = (time.monotonic() - started) / MAX_WRITING_SHARE
        self._next_write_s = time.monotonic() + max(pause_s, MIN_WRITE_INTERVAL_S)
        return self.page

    def _states(self) -> dict[str, int]:
        """Names of the series with a record, and the time of its last change."""
        return {
            path.name.removesuffix(RECORD_SUFFIX): path.stat().st_mtime_ns
            for path in sorted(self.path.glob(f"*{RECORD_SUFFIX}"))
        }

    def _changed(self) -> list[str]:
        """Names of the series whose records are new or changed."""
        known = {name: summary.record_ns for name, summary in self._known.items()}
        return [name for name, record_ns in self._states().items() if known.get(name) != record_ns]

    def _take(self, name: str, record_ns: int) -> None:
        """Read a record and write the page of its series."""
        record = read_series_record(self.path / f"{name}{RECORD_SUFFIX}")
        content = series_content(record)
        folder = self.path / DATA
        with explained(folder):
            folder.mkdir(exist_ok=True)
        refuse_foreign(folder, (f"{name}.html",))
        text = page_template("one_series.html").render(**content, style=style_sheet())
        with replacing_listed(folder / f"{name}.html") as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._known[name] = _Summary(
            record_ns, content["row"], content["left_out"], content["spark"]
        )

    def _content(self) -> dict[str, Any]:
        """Content of the page of all series."""
        known = [self._known[name] for name in sorted(self._known, key=natural_order)]
        left_out = [
            {"series": summary.row["series"], **one}
            for summary in known
            for one in summary.left_out
        ]
        failures = read_failures(self.path)
        return {
            "title": self.path.absolute().name,
            "version": __version__,
            "made": time.strftime("%Y-%m-%d %H:%M"),
            "rows": [{**summary.row, "spark": summary.spark} for summary in known],
            "images": sum(summary.row["images"] for summary in known),
            "lost": sum(summary.row["lost"] for summary in known),
            "left_out": sorted(left_out, key=lambda one: not one["is_loss"])[:MAX_LISTED],
            "left_out_count": len(left_out),
            "failures": failures,
            "gain": read_gain_check(self.path),
            "table": SERIES_TABLE,
            "data": DATA,
        }


def series_content(record: SeriesRecord) -> dict[str, Any]:
    """Content of the page of one series."""
    series, stacked = record.series, record.stacked
    angles = [tilt.angle_deg for tilt in stacked]
    movies = [
        movie_row(t.movie_name, 0, MovieRecord.from_dict(record.movies[t.movie])).values
        for t in stacked
    ]
    lost = {tilt.order for tilt in record.losses}
    warnings = Counter(
        with_options(text) for movie in record.movies.values() for text in movie["warnings"]
    )
    return {
        "name": series.name,
        "version": record.version,
        "row": table_row(record),
        "spark": sparkline(
            angles,
            Curve("motion", [values["total_motion_A"] for values in movies]),
            "Motion against the tilt angle",
        ),
        "angles": [f"{angle:.0f}°" for angle in angles],
        "strip": record.outputs.get("strip"),
        "plots": _plots(angles, movies, [record.movies[t.movie] for t in stacked], stacked),
        "notes": [with_options(note) for note in series.notes],
        "warnings": warnings.most_common(),
        "left_out": [
            {
                "order": tilt.order,
                "angle": _formatted(tilt.angle_deg),
                "movie": tilt.movie_name,
                "kind": tilt.left_out,
                "meaning": LEFT_OUT[tilt.left_out],
                "why": with_options(tilt.reason),
                "is_loss": tilt.order in lost,
            }
            for tilt in series.left_out
        ],
        "tilts": [
            {
                "section": number,
                "angle": _formatted(tilt.angle_deg),
                "order": tilt.order,
                "dose": _formatted(tilt.dose_e_A2),
                "before": _formatted(tilt.pre_exposure_e_A2),
                "frames": record.movies[tilt.movie]["movie"]["frame_count"],
                "movie": tilt.movie_name,
                "motion": _formatted(values["total_motion_A"]),
                "model": values["model"],
                "flags": values["flags"],
            }
            for number, (tilt, values) in enumerate(zip(stacked, movies, strict=True))
        ],
        "files": [name for kind, name in record.outputs.items() if kind != "strip"],
    }


def table_row(record: SeriesRecord) -> dict[str, Any]:
    """The row of a series in the table of all, with formatted numbers."""
    row = row_of(record)
    formats = {
        "lowest_angle_deg": "g", "highest_angle_deg": "g", "tilt_axis_deg": "g",
        "dose_e_A2": ".4g", "mean_motion_A": ".2f",
    }  # fmt: skip
    return row | {k: format(row[k], f) for k, f in formats.items() if row[k] != ""}


def natural_order(name: str) -> list[tuple[int, str]]:
    """A sort key that compares numbers in names by value.

    Examples
    --------
    >>> sorted(["TS_10", "TS_9", "A"], key=natural_order)
    ['A', 'TS_9', 'TS_10']
    """
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (0, part.casefold()) for part in parts]


def _plots(
    angles: Sequence[float],
    movies: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
    stacked: Sequence[Any],
) -> list[dict[str, Any]]:
    """Motion and its standard error, dose, signal and counts against the tilt angle."""
    counts = [record["decisions"].get("mean_counts") for record in records]

    def of(name: str) -> list[float | None]:
        return [values[name] for values in movies]

    kinds = (
        ("Motion (Å)", [Curve("whole path", of("total_motion_A"))]),
        ("Standard error of the motion (Å)", [Curve("standard error", of("trajectory_error_A"))]),
        ("Dose before each tilt (e/Å²)", [Curve("before", [t.pre_exposure_e_A2 for t in stacked])]),
        ("Signal around 8 Å (signal / noise)", [Curve("after", of("signal_after")),
                                                Curve("before", of("signal_before"))]),
        ("Counts per pixel and frame", [Curve("counts", counts)]),
    )  # fmt: skip
    return [
        {
            "title": title,
            "labels": [curve.label for curve in curves] if len(curves) > 1 else [],
            "svg": plot_against_angle(angles, curves, f"{title} against the tilt angle"),
        }
        for title, curves in kinds
    ]


def _formatted(value: float | None) -> str:
    """A formatted number; a hyphen if there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def is_series_folder(folder: Path) -> bool:
    """Whether a run over tilt series wrote to `folder`."""
    return (folder / SERIES_TABLE).exists()
