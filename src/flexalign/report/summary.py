"""The summary of a run as plain values: the content of the report's JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flexalign import __version__
from flexalign.atomic import replacing
from flexalign.batch.warning_counts import WarningCounts
from flexalign.errors import ParameterError
from flexalign.params import AlignParams, option_name, parameters
from flexalign.quality.flags import DEFINITIONS
from flexalign.report.collect import Failed, Row, column_of_order
from flexalign.report.columns import COLUMNS

SCHEMA = 1
SEVERITIES = ("problem", "warning", "note")


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """The flagged movies: by the severity of the worst flag, then by their number, then by motion.

    Flags stand worst first in each record.
    """

    def sort_key(row: Row) -> tuple[int, int, float]:
        severity = row.values["severity"]
        rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
        return rank, -len(row.values["flags"]), -(row.values["total_motion_A"] or 0.0)

    return sorted((row for row in rows if row.values["flags"]), key=sort_key)


def summary_of(
    folder: Path,
    rows: Sequence[Row],
    failures: Sequence[Failed],
    run: Mapping[str, Any],
    gain_check: Mapping[str, str],
    broken: Mapping[str, str],
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """The report without the details of single movies.

    Parameters
    ----------
    rows : in the order of the movies
    run : the head of the run's index, empty where there is none
    gain_check : verdict and sentence, empty where there was none
    broken : names of movies whose record cannot be read, and why
    record : of the last movie, for what all have in common
    """
    counts = Counter(flag for row in rows for flag in row.values["flags"])
    warnings = WarningCounts()
    for row in rows:
        warnings.add(row.values["warning_texts"])
    return {
        "schema": SCHEMA,
        "version": __version__,
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "folder": str(folder.absolute()),
        "counts": {
            "done": len(rows),
            "failed": len(failures),
            "flagged": sum(bool(row.values["flags"]) for row in rows),
            "unreadable": len(broken),
        },
        "run": dict(run),
        "gain_check": dict(gain_check),
        "failures": [asdict(failure) for failure in failures],
        "unreadable": dict(broken),
        "flags": dict(sorted(counts.items(), key=lambda item: (_rank(item[0]), -item[1]))),
        "warnings": warnings.to_dict(),
        "worst": [row.name for row in worst_first(rows)],
        "order": column_of_order(rows),
        "common": _common_settings(rows),
        "parameters": _parameters(run, record),
        "inputs": {k: v for k, v in (record.get("inputs") or {}).items() if k != "movie"},
        "columns": [column.name for column in COLUMNS],
        "movies": [{"name": r.name, "record_ns": r.record_ns, **r.values} for r in rows],
    }


def _rank(flag: str) -> int:
    """Place of a flag by its severity, problems first."""
    known = DEFINITIONS.get(flag)
    return SEVERITIES.index(known.severity) if known else len(SEVERITIES)


def _common_settings(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Counts of movies by version, parameters, device and gain."""
    names = ("version", "parameters_hash", "device", "gain")
    return {
        name: dict(Counter(str(row.values[name] or "none") for row in rows).most_common())
        for name in names
    }


def _parameters(run: Mapping[str, Any], record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Parameters of the run: option, value, unit, help, and whether it is not the default."""
    values = dict(run.get("parameters") or record.get("parameters") or {})
    known = parameters()
    try:
        default = AlignParams().to_dict()
    except ParameterError:  # pragma: no cover - the defaults are valid
        default = {}
    return [
        {
            "group": known[name].group,
            "option": option_name(name),
            "value": value,
            "unit": known[name].unit or "",
            "about": known[name].help,
            "is_changed": value != default.get(name),
        }
        for name, value in values.items()
        if name in known
    ]


def write_json(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the summary, one movie in each line.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    head = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in summary.items() if k != "movies"]
    movies = ",\n".join(json.dumps(movie, ensure_ascii=False) for movie in summary["movies"])
    with replacing(path) as temporary:
        temporary.write_text(
            "{\n" + ",\n".join(head) + f',\n"movies": [\n{movies}\n]\n}}\n', encoding="utf-8"
        )
