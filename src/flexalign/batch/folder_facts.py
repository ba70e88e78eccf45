"""Describe a folder: a run and its state, alignments of other programs, or movies."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flexalign.batch.folder import read_index
from flexalign.batch.inputs import INDEX_NAME, is_movie_name
from flexalign.batch.series_folder import LEFT_OUT_TABLE, SERIES_TABLE
from flexalign.errors import InputError
from flexalign.files import read_json, read_text
from flexalign.io.inspect.facts import FileFacts
from flexalign.io.motion_formats.alignment_pairs import find_alignments
from flexalign.io.motion_formats.exports import read_records
from flexalign.io.motion_formats.read_motion import format_of


def inspect_folder(folder: str | Path) -> FileFacts:
    """Counts of done, failed and flagged movies of a run; of another folder, its contents.

    Raises
    ------
    InputError
        If it holds nothing that flexalign reads.
    """
    folder = Path(folder)
    if (folder / INDEX_NAME).exists():
        return _inspect_run(folder)
    if (folder / SERIES_TABLE).exists():
        return _inspect_series(folder)
    movies = [path for path in folder.iterdir() if is_movie_name(path)]
    try:
        found = [item for item in find_alignments(str(folder)) if not item.problem]
    except InputError:
        found = []
    if not movies and not found:
        raise InputError(f"{folder}: expected a run, alignments or movies in it, found none")
    values: dict[str, Any] = {
        "image_files": dict(Counter(path.suffix for path in movies)),
        "alignments": dict(Counter(format_of(item.path) for item in found)),
    }
    unreadable: list[str] = []
    records = read_records(folder, unreadable.append)
    if records:
        names = (name for record in records.values() for name in record.quality.flag_names)
        values |= {"done": len(records), "flags": dict(Counter(names))}
    if unreadable:
        values["unreadable_records"] = len(unreadable)
    return _facts(folder, "folder", values)


def _inspect_run(folder: Path) -> FileFacts:
    """State of a run over many movies."""
    entries = read_index(folder / INDEX_NAME)
    index = read_json(folder / INDEX_NAME)
    done = [entry for entry in entries if entry.failure is None]
    values = {
        "version": index.get("version"),
        "started": index.get("started"),
        "updated": index.get("updated"),
        "done": len(done),
        "failed": dict(Counter(entry.failure.kind for entry in entries if entry.failure)),
        "flags": dict(Counter(flag for e in done for flag in e.row.get("flags", "").split())),
        "flagged": sum(bool(entry.row.get("flags")) for entry in done),
        "warned": sum(bool(entry.row.get("warnings")) for entry in done),
    }
    return _facts(folder, "run", values)


def _inspect_series(folder: Path) -> FileFacts:
    """How a run over tilt series went so far."""
    rows = list(csv.DictReader(read_text(folder / SERIES_TABLE).splitlines()))
    left_out = csv.DictReader(read_text(folder / LEFT_OUT_TABLE).splitlines())
    values = {
        "series": len(rows),
        "images": sum(int(row["images"]) for row in rows),
        "left_out": dict(Counter(row["kind"] for row in left_out)),
    }
    return _facts(folder, "run over tilt series", values)


def _facts(folder: Path, kind: str, values: dict[str, Any]) -> FileFacts:
    """The values with their text."""
    lines = [(kind, str(folder))]
    for name, value in values.items():
        label = name.replace("_", " ")
        lines.append((label, _counts(value.items()) if isinstance(value, dict) else str(value)))
    return FileFacts(str(folder), kind, values, tuple(lines))


def _counts(items: Iterable[tuple[str, int]]) -> str:
    """Counts by kind in words, the most frequent first."""
    ordered = sorted(items, key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered) or "none"
