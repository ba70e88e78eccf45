"""The tables of a run: what failed and why, and the micrographs for other programs."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flexalign.batch.failures import Failure
from flexalign.io import star
from flexalign.io.atomic import replacing
from flexalign.model import MovieRecord, Quality, to_plain

FAILED_NAME, CSV_NAME, STAR_NAME = "failed.tsv", "micrographs.csv", "micrographs.star"
NAMES = (FAILED_NAME, CSV_NAME, STAR_NAME)
# Numbers of `flexalign.model.Quality`, as they are.
QUALITY_COLUMNS = (
    "total_motion_A", "early_motion_A", "late_motion_A", "largest_step_A", "roughness_A",
    "local_range_A", "trajectory_error_A", "field_error_A", "fixed_pattern_pull",
    "gain_residual_rows", "gain_residual_columns", "bad_frame_count", "hot_pixel_count",
    "measured_dose_e_A2", "declared_dose_e_A2", "rings_before_A", "rings_to_A", "chosen",
)  # fmt: skip
COLUMNS = (
    "micrograph", "dose_weighted", "movie", "movie_pixel_size_A", "micrograph_pixel_size_A",
    *QUALITY_COLUMNS, "signal_before_10_7_A", "signal_after_10_7_A",
    "flags", "warnings", "seconds", "record",
)  # fmt: skip
# Fine enough to suffer from motion, coarse enough to be there in most movies.
SIGNAL_BAND_A = (10.0, 7.0)


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
        **to_plain({name: getattr(quality, name) for name in QUALITY_COLUMNS}),
        **to_plain(_signal_columns(quality)),
        "flags": " ".join(quality.flag_names),
        "warnings": len(record.warnings),
        "seconds": round(seconds, 2),
        "record": outputs["record"],
        "outputs": list(outputs.values()),
    }


def _signal_columns(quality: Quality) -> dict[str, float]:
    """Signal-to-noise ratio of the sum in one band of resolution; NaN where it has none."""
    for band in quality.signal_bands:
        if (band.coarsest_A, band.finest_A) == SIGNAL_BAND_A:
            return {"signal_before_10_7_A": band.before, "signal_after_10_7_A": band.after}
    return {"signal_before_10_7_A": math.nan, "signal_after_10_7_A": math.nan}


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

    Names are from the current folder, as RELION's are from its project.  RELION keeps columns that
    it does not know, and micrographs can be selected by them.
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
    # Rows of an index that an earlier version wrote lack some.
    columns["flexalignRingsTo"] = [_number(row.get("rings_to_A")) for row in rows]
    columns["flexalignSignalAfter"] = [_number(row.get("signal_after_10_7_A")) for row in rows]
    columns["flexalignFlags"] = [row["flags"].replace(" ", ",") or "none" for row in rows]
    columns["rlnMicrographMovieName"] = [row["movie"] for row in rows]
    if any(row["dose_weighted"] for row in rows):
        columns["rlnMicrographNameNoDW"] = [f"{folder}/{row['micrograph']}" for row in rows]
    blocks = [star.star_loop("optics", optics), star.star_loop("micrographs", columns)]
    star.write_star(path, blocks, "written by flexalign")


def _number(value: float | None) -> float:
    """A number that may not have been measured, as STAR files hold it."""
    return math.nan if value is None else value
