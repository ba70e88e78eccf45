"""The tables of a run: what failed and why, and the micrographs for other programs."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flexalign.batch.failures import Failure
from flexalign.io import star
from flexalign.io.atomic import replacing
from flexalign.model import MovieRecord, to_plain

FAILED_NAME, CSV_NAME, STAR_NAME = "failed.tsv", "micrographs.csv", "micrographs.star"
COLUMNS = (
    "micrograph", "dose_weighted", "movie", "movie_pixel_size_A", "micrograph_pixel_size_A",
    "total_motion_A", "early_motion_A", "late_motion_A", "largest_step_A", "local_range_A",
    "trajectory_error_A", "chosen", "flags", "warnings", "seconds", "record",
)  # fmt: skip


def row_of(record: MovieRecord, folder: Path, seconds: float) -> dict[str, Any]:
    """What the tables say about a movie that is done; paths from the folder of the run.

    Beside the columns it holds "outputs", the names of all its files.
    """
    quality, outputs = record.quality, record.outputs
    return {
        "micrograph": outputs["micrograph"],
        "dose_weighted": outputs.get("dose_weighted", ""),
        "movie": record.inputs["movie"]["path"],
        "movie_pixel_size_A": record.decisions["pixel_size_A"],
        "micrograph_pixel_size_A": record.decisions["output_pixel_size_A"],
        **to_plain({name: getattr(quality, name) for name in COLUMNS[5:12]}),
        "flags": " ".join(quality.flag_names),
        "warnings": len(record.warnings),
        "seconds": round(seconds, 2),
        "record": outputs["record"],
        "outputs": list(outputs.values()),
    }


def write_failed(path: Path, failed: Iterable[tuple[str, Failure | None]]) -> None:
    """Write ``failed.tsv``: a head, then movie, type, reason and advice in each line."""
    lines = ["movie\ttype\treason\twhat to do"]
    for movie, failure in failed:
        if failure is not None:
            lines.append("\t".join((movie, failure.kind, failure.message, failure.advice)))
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write ``micrographs.csv`` with the columns `COLUMNS`."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def write_star(path: Path, rows: Sequence[dict[str, Any]], voltage_kV: float) -> None:
    """Write ``micrographs.star`` as RELION reads micrographs: optics groups by pixel size.

    Names are from the current folder, as RELION's are from its project.
    """
    sizes = sorted({(row["movie_pixel_size_A"], row["micrograph_pixel_size_A"]) for row in rows})
    numbers = range(1, len(sizes) + 1)
    optics: dict[str, list[object]] = {
        "rlnOpticsGroupName": [f"opticsGroup{number}" for number in numbers],
        "rlnOpticsGroup": list(numbers),
        "rlnMicrographOriginalPixelSize": [size[0] for size in sizes],
        "rlnMicrographPixelSize": [size[1] for size in sizes],
        "rlnVoltage": [voltage_kV] * len(sizes),
    }
    group = dict(zip(sizes, numbers, strict=True))
    folder = os.path.relpath(path.parent)
    columns: dict[str, list[object]] = {
        "rlnMicrographName": [
            f"{folder}/{row['dose_weighted'] or row['micrograph']}" for row in rows
        ],
        "rlnOpticsGroup": [
            group[row["movie_pixel_size_A"], row["micrograph_pixel_size_A"]] for row in rows
        ],
    }
    for part in ("Total", "Early", "Late"):
        columns[f"rlnAccumMotion{part}"] = [row[f"{part.lower()}_motion_A"] or 0.0 for row in rows]
    columns["rlnMicrographMovieName"] = [row["movie"] for row in rows]
    if any(row["dose_weighted"] for row in rows):
        columns["rlnMicrographNameNoDW"] = [f"{folder}/{row['micrograph']}" for row in rows]
    star.write_star(
        path, [star.star_loop("optics", optics), star.star_loop("micrographs", columns)]
    )
