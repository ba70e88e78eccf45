"""The tables of a run: failures with their reasons, and micrographs for other programs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flexalign.atomic import replacing
from flexalign.batch.failures import Failure
from flexalign.batch.rows import (
    Source,
    movie_path,
    signal_after,
    signal_before,
    values_of,
    warning_count,
)
from flexalign.errors import InputError
from flexalign.files import displayed
from flexalign.io import star
from flexalign.io.record import is_plain_name
from flexalign.model import MovieRecord
from flexalign.option_messages import with_options
from flexalign.plain import typed_items
from flexalign.quality.table import csv_names

FAILED_NAME, CSV_NAME, STAR_NAME = "failed.tsv", "micrographs.csv", "micrographs.star"
NAMES = (FAILED_NAME, CSV_NAME, STAR_NAME)
STAR_COMMENT = "written by flexalign"
# Where the columns of ``micrographs.csv`` come from, in their order.
_SOURCES: dict[str, Source] = {
    "micrograph": "outputs.micrograph",
    "dose_weighted": lambda record: record.outputs.get("dose_weighted", ""),
    "movie": movie_path,
    "movie_pixel_size_A": "pixel_size_A",
    "micrograph_pixel_size_A": "output_pixel_size_A",
    "voltage_kV": "parameters.voltage_kV",
    **{name: f"quality.{name}" for name in csv_names()},
    "signal_before_10_7_A": signal_before,
    "signal_after_10_7_A": signal_after,
    "flags": lambda record: " ".join(record.quality.flag_names),
    "warnings": warning_count,
    "seconds": lambda record: round(record.seconds, 2),
    "record": "outputs.record",
}
COLUMNS = tuple(_SOURCES)
_ROW_HINTS: dict[str, Any] = {
    **dict.fromkeys(COLUMNS, float | None),
    **dict.fromkeys(("micrograph", "dose_weighted", "movie", "chosen", "flags", "record"), str),
    "movie_pixel_size_A": float,
    "micrograph_pixel_size_A": float,
    "outputs": tuple[str, ...],
}
_ROW_NEEDS = (
    "micrograph", "dose_weighted", "movie", "movie_pixel_size_A", "micrograph_pixel_size_A",
    "total_motion_A", "early_motion_A", "late_motion_A", "flags", "record", "outputs",
)  # fmt: skip


def row_of(record: MovieRecord) -> dict[str, Any]:
    """The table row of a finished movie; file names are relative to the run folder.

    Beside the columns it holds "outputs", the names of all its files.
    """
    return {**values_of(record, _SOURCES), "outputs": list(record.outputs.values())}


def checked_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `row_of`, read from the index of a run and checked.

    Raises
    ------
    InputError
        If something is missing or of another type, or names a file that is not in the folder.
    """
    missing = [name for name in _ROW_NEEDS if name not in row]
    if missing:
        raise InputError(f"expected a row of a table, {missing} are missing")
    checked = typed_items(_ROW_HINTS, row, "row")
    for name in (checked["micrograph"], checked["record"], *checked["outputs"]):
        if not is_plain_name(name):
            raise InputError(f"row: expected names of files, found '{displayed(name)}'")
    if checked["dose_weighted"] and not is_plain_name(checked["dose_weighted"]):
        raise InputError("row.dose_weighted: expected the name of a file")
    return checked


def write_failed(path: Path, failed: Iterable[tuple[str, Failure | None]]) -> None:
    """Write ``failed.tsv``: a header, then movie, type, reason and advice in each line."""
    lines = ["movie\ttype\treason\twhat to do"]
    for movie, failure in failed:
        if failure is not None:
            words = (movie, failure.kind, failure.message, with_options(failure.advice))
            lines.append("\t".join(map(displayed, words)))
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_star(path: Path, rows: Sequence[dict[str, Any]], voltage_kV: float) -> None:
    """Write ``micrographs.star`` as RELION reads it: optics groups by pixel size and voltage.

    Names are from the current folder, as RELION's are from its project.  RELION keeps columns that
    it does not know, and micrographs can be selected by them.

    Parameters
    ----------
    voltage_kV : for rows in the index of an earlier version, which have none
    """
    blocks = star_blocks(os.path.relpath(path.parent), rows, voltage_kV)
    star.write_star(path, blocks, STAR_COMMENT)


def star_blocks(
    folder: str, rows: Sequence[Mapping[str, Any]], voltage_kV: float
) -> tuple[str, str]:
    """The two blocks of ``micrographs.star``: optics groups and micrographs.

    Parameters
    ----------
    folder : where the micrographs are, as written in the file
    voltage_kV : for rows that have none
    """
    kinds = [
        (
            row["movie_pixel_size_A"],
            row["micrograph_pixel_size_A"],
            row.get("voltage_kV") or voltage_kV,
        )
        for row in rows
    ]
    groups = {kind: number for number, kind in enumerate(sorted(set(kinds)), start=1)}
    optics: dict[str, list[object]] = {
        "rlnOpticsGroupName": [f"opticsGroup{number}" for number in groups.values()],
        "rlnOpticsGroup": list(groups.values()),
        "rlnMicrographOriginalPixelSize": [size_A for size_A, _, _ in groups],
        "rlnMicrographPixelSize": [size_A for _, size_A, _ in groups],
        "rlnVoltage": [float(kV) for _, _, kV in groups],
    }
    columns: dict[str, list[object]] = {
        "rlnMicrographName": [
            f"{folder}/{row['dose_weighted'] or row['micrograph']}" for row in rows
        ],
        "rlnOpticsGroup": [groups[kind] for kind in kinds],
    }
    for part in ("Total", "Early", "Late"):
        columns[f"rlnAccumMotion{part}"] = [row[f"{part.lower()}_motion_A"] or 0.0 for row in rows]
    # Rows in the index of an earlier version lack some columns.
    columns["flexalignRingsTo"] = [_number(row.get("rings_to_A")) for row in rows]
    columns["flexalignSignalAfter"] = [_number(row.get("signal_after_10_7_A")) for row in rows]
    columns["flexalignFlags"] = [row["flags"].replace(" ", ",") or "none" for row in rows]
    columns["rlnMicrographMovieName"] = [row["movie"] for row in rows]
    if any(row["dose_weighted"] for row in rows):
        columns["rlnMicrographNameNoDW"] = [f"{folder}/{row['micrograph']}" for row in rows]
    return star.star_loop("optics", optics), star.star_loop("micrographs", columns)


def _number(value: float | None) -> float:
    """A number that may not have been measured, as STAR files hold it."""
    return math.nan if value is None else value
