"""Collect a run folder: a row for each record, the failures, and the state of the run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexalign.batch.folder import MAX_INDEX_BYTES
from flexalign.batch.gain_gate import CHECK_NAME
from flexalign.batch.inputs import INDEX_NAME
from flexalign.batch.rows import values_of
from flexalign.batch.tables import FAILED_NAME
from flexalign.batch.throughput import RunSummary
from flexalign.errors import InputError
from flexalign.files import check_folder, read_json, read_text
from flexalign.gain.verdict import GainCheck
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX
from flexalign.plain import typed, typed_items
from flexalign.report.columns import COLUMNS, rounded

_TEXTS = (
    "movie", "micrograph", "dose_weighted", "thumbnail", "severity", "chosen", "model", "version",
    "parameters_hash", "acquired", "device", "gain",
)  # fmt: skip
_ROW_TYPES: dict[str, Any] = {
    **{column.name: float | None for column in COLUMNS},
    **dict.fromkeys(_TEXTS, str | None),
    "name": str,
    "record_ns": int,
    "movie_time_s": int | None,
    "flags": list[str],
    "why": list[str],
    "warning_texts": list[str],
}
_HEAD_TYPES: dict[str, Any] = {
    "started": str, "updated": str, "version": str,
    "summary": dict[str, Any], "parameters": dict[str, Any],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one movie in the tables and plots.

    Attributes
    ----------
    name : common beginning of its file names
    record_ns : modification time of its record
    values : by the names of `COLUMNS`
    """

    name: str
    record_ns: int
    values: dict[str, Any]


def column_of_order(rows: Iterable[Row]) -> str:
    """Name of the column by which movies are ordered.

    It is the time of acquisition if all have one, otherwise that of their files: the clocks of a
    microscope and of a computer are not compared.
    """
    return "acquired" if all(row.values["acquired"] for row in rows) else "movie_time_s"


def in_order(rows: Collection[Row]) -> list[Row]:
    """The rows in the order in which the movies were recorded, as far as that is known."""
    column = column_of_order(rows)
    default = "" if column == "acquired" else 0
    return sorted(rows, key=lambda row: (row.values[column] or default, row.name))


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed movie, from ``failed.tsv``."""

    movie: str
    kind: str
    reason: str
    advice: str


def row_of(name: str, record_ns: int, record: MovieRecord) -> Row:
    """The row of a record; None = missing in the record."""
    values = values_of(record, {column.name: column.source for column in COLUMNS})
    return Row(name, record_ns, {c.name: rounded(values[c.name], c.digits) for c in COLUMNS})


def record_states(folder: Path) -> dict[str, int]:
    """Names of all movies that have a record in `folder`, with its modification time.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    try:
        with os.scandir(folder) as listing:
            return {
                item.name.removesuffix(RECORD_SUFFIX): item.stat().st_mtime_ns
                for item in listing
                if item.name.endswith(RECORD_SUFFIX) and not item.name.startswith(".")
            }
    except OSError as error:
        check_folder(folder, "with results")
        raise InputError(
            f"{folder}: expected a folder that can be listed, found one that cannot: "
            f"{error.strerror}"
        ) from error


def read_failures(folder: Path) -> list[Failed]:
    """The failed movies; none if there is no list of them."""
    try:
        text = read_text(folder / FAILED_NAME)
    except InputError:
        return []
    rows = (line.split("\t", 3) for line in text.split("\n")[1:])
    return [Failed(*row) for row in rows if len(row) == 4]


def read_run(folder: Path) -> dict[str, Any]:
    """The index of the run without its movies; empty if there is none."""
    try:
        plain = read_json(folder / INDEX_NAME, max_bytes=MAX_INDEX_BYTES)
        head = {key: value for key, value in plain.items() if key != "movies"}
        found = typed_items(_HEAD_TYPES, head, "")
        if found.get("summary"):
            found["summary"] = RunSummary.from_dict(found["summary"]).to_dict()
    except InputError:
        return {}
    return found if _HEAD_TYPES.keys() <= found.keys() else {}


def read_gain_check(folder: Path) -> dict[str, str]:
    """Verdict and sentence of the gain check on the first movies.

    Empty if there was no check.
    """
    try:
        found = GainCheck.from_dict(read_json(folder / CHECK_NAME))
    except InputError:
        return {}
    return {"verdict": found.verdict, "text": found.describe()}


def read_rows(path: Path, version: str) -> dict[str, Row]:
    """The rows of an earlier report's JSON, so that their records need not be read again.

    Parameters
    ----------
    version : of flexalign; rows made by another version are ignored
    """
    try:
        plain = read_json(path, max_bytes=MAX_INDEX_BYTES)
        if plain.get("version") != version or plain.get("columns") != [c.name for c in COLUMNS]:
            return {}
        items = typed(list[dict[str, Any]], plain.get("movies"), "movies")
        rows = [_row_again(item) for item in items]
    except InputError:
        return {}
    return {row.name: row for row in rows}


def _row_again(item: dict[str, Any]) -> Row:
    """A row from an earlier report."""
    names = ("name", "record_ns", *(column.name for column in COLUMNS))
    if not set(names) <= item.keys():
        raise InputError("expected a row with all columns, found some missing")
    values = typed_items(_ROW_TYPES, item, "movies")
    return Row(values.pop("name"), values.pop("record_ns"), values)
