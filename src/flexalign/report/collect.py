"""What a run folder says: a row for each record, the failures, and how the run stands.

Records are read as plain JSON: there are thousands, and one from another version still has most of
its numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexalign.batch.gain_check import GainCheck
from flexalign.batch.gain_gate import CHECK_NAME
from flexalign.batch.inputs import INDEX_NAME
from flexalign.batch.tables import FAILED_NAME
from flexalign.errors import InputError
from flexalign.model import MovieRecord, Quality
from flexalign.report.columns import COLUMNS, look_up, rounded

RECORD_SUFFIX = "_record.json"
# Signal is followed over a session at this resolution, where most specimens have some.
SIGNAL_AT_A = 8.0


@dataclass(frozen=True, slots=True)
class Row:
    """What the report says about one movie in every table and plot.

    Attributes
    ----------
    name : what its files begin with
    record_ns : time of the last change of its record
    values : from the names of `COLUMNS`
    """

    name: str
    record_ns: int
    values: dict[str, Any]

    @property
    def order(self) -> tuple[int, str]:
        """By this rows stand in the order in which the movies were written."""
        return (self.values["movie_time_s"] or 0, self.name)


@dataclass(frozen=True, slots=True)
class Failed:
    """A movie that failed, as ``failed.tsv`` says."""

    movie: str
    kind: str
    reason: str
    advice: str


def read_plain(path: Path) -> dict[str, Any]:
    """The record in a file, as JSON holds it.

    Raises
    ------
    InputError
        If it cannot be read, or is no record, or is from a newer version; one sentence says why.
    """
    try:
        # NaN is no JSON, but some programs write it.
        plain = json.loads(path.read_bytes(), parse_constant=lambda _: None)
    except (OSError, ValueError) as error:
        raise InputError(f"expected JSON: {error}") from error
    if not isinstance(plain, dict) or not all(
        isinstance(plain.get(key), dict) for key in ("movie", "inputs", "quality", "outputs")
    ):
        raise InputError("expected the record of a movie, found something else")
    found = plain.get("schema", MovieRecord.schema)
    if not isinstance(found, int) or found > MovieRecord.schema:
        raise InputError(
            f"expected schema {MovieRecord.schema} or older, found {found}: "
            "report with a newer flexalign"
        )
    upgraded = MovieRecord.upgraded(plain)
    return {**upgraded, "quality": Quality.upgraded(upgraded["quality"])}


def row_of(name: str, record_ns: int, record: Mapping[str, Any]) -> Row:
    """The row that `record` gives; what the record does not say is None."""
    values = {c.name: rounded(look_up(record, c.place), c.digits) for c in COLUMNS}
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
    """Signal before and after, and what was gained, in the band around `SIGNAL_AT_A`."""
    before = after = None
    for band in bands:
        if band["finest_A"] <= SIGNAL_AT_A < band["coarsest_A"]:
            before, after = band["before"], band["after"]
    gained = None if before is None or after is None else after - before
    found = {"signal_before": before, "signal_after": after, "signal_gained": gained}
    return {name: rounded(value, 3) for name, value in found.items()}


def record_states(folder: Path) -> dict[str, int]:
    """The names of all movies that have a record in `folder`, and when each was last changed.

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
    """The movies that failed; none where there is no list of them."""
    try:
        text = (folder / FAILED_NAME).read_text(encoding="utf-8")
    except OSError:
        return []
    rows = (line.split("\t", 3) for line in text.splitlines()[1:])
    return [Failed(*row) for row in rows if len(row) == 4]


def read_run(folder: Path) -> dict[str, Any]:
    """What the index of the run says besides its movies; empty where there is none to read."""
    try:
        plain = json.loads((folder / INDEX_NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(plain, dict):
        return {}
    return {key: value for key, value in plain.items() if key != "movies"}


def read_gain_check(folder: Path) -> dict[str, str]:
    """What the check of the gain on the first movies found: verdict and sentence.

    Empty where there was no check.
    """
    try:
        plain = json.loads((folder / CHECK_NAME).read_bytes())
        found = GainCheck.from_dict(plain)
        return {"verdict": found.verdict, "text": found.describe()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, InputError):
        return {}


def read_rows(path: Path, version: str) -> dict[str, Row]:
    """The rows in the JSON of an earlier report, so that their records need not be read again.

    Parameters
    ----------
    version : of flexalign; rows that another one made are not taken
    """
    try:
        plain = json.loads(path.read_bytes())
        if plain["version"] != version or plain["columns"] != [c.name for c in COLUMNS]:
            return {}
        rows = [Row(item.pop("name"), item.pop("record_ns"), item) for item in plain["movies"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {row.name: row for row in rows}
