"""Collect a run folder: a row for each record, the failures, and the state of the run.

A record is checked when it is read, and then used as plain JSON.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexalign.batch.folder import MAX_INDEX_BYTES
from flexalign.batch.gain_gate import CHECK_NAME
from flexalign.batch.inputs import INDEX_NAME
from flexalign.batch.tables import FAILED_NAME
from flexalign.batch.throughput import RunSummary
from flexalign.errors import InputError
from flexalign.files import displayed, read_json, read_text
from flexalign.gain.verdict import GainCheck
from flexalign.io.record import read_record
from flexalign.plain import typed, typed_items
from flexalign.report.columns import COLUMNS, look_up, rounded

RECORD_SUFFIX = "_record.json"
_TEXTS = ("movie", "severity", "chosen", "version", "parameters_hash", "device", "gain")
_ROW_TYPES: dict[str, Any] = {
    **{column.name: float | None for column in COLUMNS},
    **dict.fromkeys(_TEXTS, str | None),
    "name": str,
    "record_ns": int,
    "movie_time_s": int | None,
    "flags": list[str],
    "why": list[str],
}
_HEAD_TYPES: dict[str, Any] = {
    "started": str, "updated": str, "version": str,
    "summary": dict[str, Any], "parameters": dict[str, Any],
}  # fmt: skip
# Resolution at which signal is plotted over a session; most specimens have some there.
SIGNAL_AT_A = 8.0


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one movie in the tables and plots.

    Attributes
    ----------
    name : what its files begin with
    record_ns : modification time of its record
    values : by the names of `COLUMNS`
    """

    name: str
    record_ns: int
    values: dict[str, Any]

    @property
    def order(self) -> tuple[int, str]:
        """Sort key: the order in which the movies were written."""
        return (self.values["movie_time_s"] or 0, self.name)


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed movie, from ``failed.tsv``."""

    movie: str
    kind: str
    reason: str
    advice: str


def read_plain(path: Path) -> dict[str, Any]:
    """The record in a file as plain JSON.

    Raises
    ------
    InputError
        As `read_record`.
    """
    return read_record(path).to_dict()


def row_of(name: str, record_ns: int, record: Mapping[str, Any]) -> Row:
    """The row of a `record`; missing values are None."""
    values = {c.name: rounded(look_up(record, c.place), c.digits) for c in COLUMNS}
    if values["movie"] is not None:
        values["movie"] = displayed(values["movie"])  # as in failed.tsv
    modified_ns = look_up(record, "inputs.movie.modified_ns")
    timings_s = record.get("timings_s") or {}
    values["movie_time_s"] = None if modified_ns is None else modified_ns // 10**9
    values["seconds"] = rounded(float(sum(timings_s.values())), 4) if timings_s else None
    flags = look_up(record, "quality.flags") or []
    values["flags"] = [flag["name"] for flag in flags]
    values["why"] = [flag.get("message") or flag["name"] for flag in flags]
    values["severity"] = flags[0]["severity"] if flags else None
    values |= _signal(look_up(record, "quality.signal_bands") or [])
    values["warnings"] = len(record.get("warnings") or [])
    return Row(name, record_ns, values)


def _signal(bands: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Signal before and after, and their ratio, in the band around `SIGNAL_AT_A`."""
    before = after = None
    for band in bands:
        if band["finest_A"] <= SIGNAL_AT_A < band["coarsest_A"]:
            before, after = band["before"], band["after"]
    gained = None if before is None or after is None else after - before
    found = {"signal_before": before, "signal_after": after, "signal_gained": gained}
    return {name: rounded(value, 3) for name, value in found.items()}


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
        raise InputError(
            f"{folder}: expected the folder of a run: {error.strerror}; give the folder that "
            "'flexalign align --out' wrote to"
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
