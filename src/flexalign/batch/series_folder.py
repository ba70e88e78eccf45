"""The folder of a run over tilt series: records, and the tables derived from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexalign.batch import tables
from flexalign.batch.failures import Failure
from flexalign.batch.rows import write_csv
from flexalign.errors import InputError
from flexalign.files import displayed
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.io.writing.ownership import refuse_occupied, resolved
from flexalign.io.writing.publishing import clear_leftovers, results_of
from flexalign.option_messages import with_options
from flexalign.tilts.model import Tilt, TiltSeries
from flexalign.tilts.record import SeriesRecord, read_series_records
from flexalign.tilts.writing import SUFFIXES

TILTS_NAME = "tilts"
SERIES_TABLE, LEFT_OUT_TABLE = "tilt_series.csv", "left_out.csv"
NAMES = (SERIES_TABLE, LEFT_OUT_TABLE, tables.FAILED_NAME)
SERIES_COLUMNS = (
    "series", "images", "exposures", "lowest_angle_deg", "highest_angle_deg", "tilt_axis_deg",
    "dose_e_A2", "pixel_size_A", "mean_motion_A", "left_out", "lost", "notes", "stack", "source",
)  # fmt: skip
LEFT_OUT_COLUMNS = (
    "series", "order", "number", "angle_deg", "dose_e_A2", "movie", "kind", "why",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Done:
    """Table entries of a series; its record is too large to be kept in memory."""

    source: str
    row: dict[str, Any]
    left_out: tuple[dict[str, Any], ...]
    roots: dict[str, str]


def _summary(record: SeriesRecord) -> _Done:
    rows = tuple(left_out_rows(record))
    return _Done(record.series.source, row_of(record), rows, record.roots)


class SeriesFolder:
    """The folder `path` with the results of series; `write` updates the tables.

    Raises
    ------
    OccupiedError
        If a foreign file has the name of a table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        refuse_foreign(path, NAMES)
        clear_leftovers(path)
        self._done = {record.series.name: _summary(record) for record in read_series_records(path)}
        self._failed: dict[str, Failure] = {}
        # Source of the series of each name, ignoring case as some file systems do.
        self._sources = {name.casefold(): done.source for name, done in self._done.items()}
        self._started: set[str] = set()

    @property
    def failed(self) -> Mapping[str, Failure]:
        """The series that failed in this run, by source."""
        return self._failed

    @property
    def is_empty(self) -> bool:
        """Whether no series is done or has failed."""
        return not self._done and not self._failed

    @property
    def lost(self) -> int:
        """Number of lost tilts in the finished series of this run, done now or before."""
        return sum(self.lost_of(name) for name in self._started & self._done.keys())

    def lost_of(self, name: str) -> int:
        """Number of lost tilts in a finished series."""
        return int(self._done[name].row["lost"])

    @property
    def roots(self) -> Iterator[tuple[str, str]]:
        """The movies of finished series, each with the prefix of the names of its files."""
        for done in self._done.values():
            yield from done.roots.items()

    def name_of(self, series: TiltSeries) -> str:
        """The name of the results: that of the series, unless another series uses it."""
        name, number = series.name, 1
        while self._sources.setdefault(name.casefold(), series.source) != series.source:
            folder = Path(series.source).parent.name
            name = f"{folder}_{series.name}" + (f"_{number}" if number > 1 else "")
            number += 1
        self._started.add(name)
        return name

    def check(self, name: str) -> None:
        """Check that the results of a series can be written.

        Raises
        ------
        OccupiedError
            If a foreign file has the name of a result.
        InputError
            If the name is not a valid file name.
        """
        if "/" in name or name.strip(".") == "" or displayed(name) != name:
            raise InputError(f"{displayed(name)}: expected a name that files can have")
        names = [name + suffix for suffix in SUFFIXES.values()]
        refuse_occupied(self.path, names, results_of(self.path, name))

    def add(self, record: SeriesRecord) -> None:
        """Add a finished series."""
        self._done[record.series.name] = _summary(record)
        self._failed.pop(record.series.source, None)

    def fail(self, source: str, failure: Failure) -> None:
        """Add a failed series."""
        self._failed[source] = failure

    def write(self) -> None:
        """Update the tables.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        done = [self._done[name] for name in sorted(self._done)]
        with replacing_listed(self.path / SERIES_TABLE) as temporary:
            write_csv(temporary, SERIES_COLUMNS, (one.row for one in done))
        with replacing_listed(self.path / LEFT_OUT_TABLE) as temporary:
            write_csv(temporary, LEFT_OUT_COLUMNS, (row for one in done for row in one.left_out))
        with replacing_listed(self.path / tables.FAILED_NAME) as temporary:
            tables.write_failed(temporary, self._failed.items())


def row_of(record: SeriesRecord) -> dict[str, Any]:
    """The row of a series in the table of all series."""
    series, angles = record.series, [tilt.angle_deg for tilt in record.stacked]
    doses = [tilt.dose_e_A2 for tilt in series.tilts]
    motion = [movie["quality"]["total_motion_A"] for movie in record.movies.values()]
    known = [value for value in motion if value is not None]
    return {
        "series": series.name,
        "images": len(angles),
        "exposures": len(series.tilts),
        "lowest_angle_deg": min(angles),
        "highest_angle_deg": max(angles),
        "tilt_axis_deg": _number(series.tilt_axis_deg),
        "dose_e_A2": _number(math.fsum(doses)),
        "pixel_size_A": record.pixel_size_A,
        "mean_motion_A": _number(math.fsum(known) / len(known)) if known else "",
        "left_out": len(series.left_out),
        "lost": len(record.losses),
        "notes": len(series.notes),
        "stack": record.outputs.get("stack", ""),
        "source": displayed(series.source),
    }


def left_out_rows(record: SeriesRecord) -> Iterator[dict[str, Any]]:
    """A row for each exposure that is not in the stack."""
    for tilt in record.series.left_out:
        yield {
            "series": record.series.name,
            "order": tilt.order,
            "number": tilt.number,
            "angle_deg": _number(tilt.angle_deg),
            "dose_e_A2": _number(tilt.dose_e_A2),
            "movie": displayed(tilt.movie or tilt.movie_name),
            "kind": tilt.left_out,
            "why": displayed(with_options(tilt.reason)),
        }


def _number(value: float) -> float | str:
    """A number for a table; empty if it is not known."""
    return "" if math.isnan(value) else round(value, 4)


def movies_of(series: TiltSeries) -> list[Path]:
    """The movies to be aligned, by absolute tilt angle, without duplicates."""
    return list({resolved(tilt.movie): Path(tilt.movie) for tilt in series.used}.values())


def left_out_line(tilt: Tilt) -> str:
    """The line on an exposure that is left out."""
    named = f" ({tilt.movie_name})" if tilt.movie_name and tilt.movie_name not in tilt.why else ""
    return (
        f"left out, {tilt.left_out}: exposure {tilt.order} at {tilt.angle_deg:g} degrees{named}: "
        f"{with_options(tilt.reason)}"
    )
