"""Rows of tables, one for each movie, with values from its record; and CSV files of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from flexalign.atomic import replacing
from flexalign.files import displayed
from flexalign.model import MovieRecord, to_plain

# Place of a value in a record, keys joined by dots, or a function that computes it.
Source = str | Callable[[MovieRecord], Any]
# Resolution at which signal is compared over a session: fine enough to be affected by motion,
# coarse enough to be present in most movies.
SIGNAL_AT_A = 8.0


def values_of(record: MovieRecord, sources: Mapping[str, Source]) -> dict[str, Any]:
    """The values of one movie as plain JSON, by the names in `sources`; None = missing."""
    return {
        name: to_plain(look_up(record, source) if isinstance(source, str) else source(record))
        for name, source in sources.items()
    }


def look_up(record: object, place: str) -> Any:
    """The value at `place` in a record or its plain JSON; None if there is none.

    Parameters
    ----------
    place : fields and keys, joined by dots

    Examples
    --------
    >>> look_up({"quality": {"chosen": "refined"}}, "quality.chosen")
    'refined'
    >>> look_up({"quality": {}}, "quality.total_motion_A")
    """
    found: Any = record
    for key in place.split("."):
        found = found.get(key) if isinstance(found, Mapping) else getattr(found, key, None)
    return found


def movie_path(record: MovieRecord) -> str:
    """Path of the movie, with unprintable characters escaped."""
    return displayed(record.inputs["movie"]["path"])


def warning_count(record: MovieRecord) -> int:
    """Number of warnings in the record."""
    return len(record.warnings)


def signal_before(record: MovieRecord) -> float | None:
    """Signal over noise of the sum around `SIGNAL_AT_A` without motion."""
    return _signal(record)[0]


def signal_after(record: MovieRecord) -> float | None:
    """Signal over noise of the sum around `SIGNAL_AT_A` along the motion that was kept."""
    return _signal(record)[1]


def _signal(record: MovieRecord) -> tuple[float | None, float | None]:
    """Signal before and after in the band around `SIGNAL_AT_A`; None where there is none."""
    for band in record.quality.signal_bands:
        if band.finest_A <= SIGNAL_AT_A < band.coarsest_A:
            return band.before, band.after
    return None, None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one line for each row; words of a list are joined by semicolons.

    Parameters
    ----------
    columns : keys of the rows that are written, in this order

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, columns, rows)


def write_rows(file: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """As `write_csv`, to an open file."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    table.writerows([_cell(row.get(name)) for name in columns] for row in rows)


def _cell(value: Any) -> Any:
    return "; ".join(value) if isinstance(value, list) else value
