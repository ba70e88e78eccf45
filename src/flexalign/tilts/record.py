"""The record of a finished series, ``<series>_record.json``, which is written last."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from flexalign.errors import InputError
from flexalign.files import read_json
from flexalign.io.record import file_state, is_plain_name
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX
from flexalign.plain import JsonValue, from_plain, to_plain
from flexalign.tilts.model import Tilt, TiltSeries

# Long lists that the record of a series leaves out.
_OMITTED_KEYS = ("hot_pixel_y", "hot_pixel_x")


@dataclass(frozen=True, slots=True)
class SeriesRecord(JsonValue):
    """Everything about how one series was processed.

    Attributes
    ----------
    version : of flexalign
    series : as interpreted, its tilts in order of exposure with the status of each
    sections : the order of exposure of each image of the stack, by ascending angle
    movies : the record of each movie in the stack, by path, see `MovieRecord`
    key : of the work, see `series_key`
    pixel_size_A : of the stack
    shape_px : (h, w) of its images
    outputs : kind to file name
    output_states : file name to size and time
    """

    schema: ClassVar[int] = 1

    version: str
    series: TiltSeries
    sections: tuple[int, ...]
    movies: dict[str, dict[str, Any]]
    key: str
    pixel_size_A: float
    shape_px: tuple[int, int]
    outputs: dict[str, str]
    output_states: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def stacked(self) -> tuple[Tilt, ...]:
        """The tilts of the stack, in the order of its images."""
        by_order = {tilt.order: tilt for tilt in self.series.tilts}
        return tuple(by_order[order] for order in self.sections)

    @property
    def roots(self) -> dict[str, str]:
        """What the names of the files of each movie of the stack begin with, by its path."""
        return {
            movie: str(plain["outputs"]["record"]).removesuffix(RECORD_SUFFIX)
            for movie, plain in self.movies.items()
        }

    @property
    def losses(self) -> tuple[Tilt, ...]:
        """The lost tilts, which are reported to the user."""
        return tuple(tilt for tilt in self.series.left_out if tilt.is_lost)


def kept(record: MovieRecord) -> dict[str, Any]:
    """The part of a movie's record that is stored in the record of its series."""
    decisions = {k: v for k, v in record.decisions.items() if k not in _OMITTED_KEYS}
    plain: dict[str, Any] = to_plain(replace(record, decisions=decisions, output_states={}))
    return plain


def series_key(
    series: TiltSeries, parameters_hash: str, references: Mapping[str, Mapping[str, int]]
) -> str:
    """Key that identifies the processing of a series, to detect finished work.

    It comprises the interpreted series, the parameters, and size and time of each input file,
    including those of exposures that may replace another.
    """
    facts = [
        parameters_hash,
        {role: [s["size_bytes"], s["modified_ns"]] for role, s in references.items()},
        to_plain(replace(series, notes=())),
        [_state(tilt.movie) for tilt in series.tilts if tilt.may_be_used],
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _state(path: str) -> list[int]:
    """Size and time of a file; empty if it does not exist."""
    try:
        found = file_state(path)
    except OSError:
        return []
    return [found["size_bytes"], found["modified_ns"]]


def read_series_record(path: Path) -> SeriesRecord:
    """The record in a file.

    Raises
    ------
    InputError
        If it is missing, is not the record of a series, or refers to files in other folders.
    """
    plain = read_json(path)
    try:
        record: SeriesRecord = from_plain(SeriesRecord, plain)
        orders = {tilt.order for tilt in record.series.tilts}
        if not set(record.sections) <= orders:
            raise InputError("sections: expected orders of exposure of the tilts, found others")
        for name in record.outputs.values():
            if not is_plain_name(name):
                raise InputError("outputs: expected names of files beside the record")
    except InputError as error:
        raise InputError(f"{path}: expected the record of a tilt series: {error}") from error
    return record


def read_series_records(folder: Path) -> Iterator[SeriesRecord]:
    """The records of series in a folder, by name; unreadable ones are skipped."""
    for path in sorted(folder.glob(f"*{RECORD_SUFFIX}")):
        with contextlib.suppress(InputError):
            yield read_series_record(path)


def finished_series(
    folder: Path, name: str, key: str, images: Path | None = None
) -> SeriesRecord | None:
    """The record of the work `key`, if that is finished and none of its files is missing.

    Parameters
    ----------
    images : folder with the files of single movies, if these belong to the results
    """
    try:
        record = read_series_record(folder / f"{name}{RECORD_SUFFIX}")
    except InputError:
        return None
    paths = [folder / output for output in record.outputs.values()]
    if images is not None:
        paths += [
            images / file for movie in record.movies.values() for file in movie["outputs"].values()
        ]
    return record if record.key == key and all(path.exists() for path in paths) else None
