"""The run folder: finished movies, failures, and their tables.

The records of the movies are authoritative.  `run.json` is an index of them, and holds what has no
record: failures and names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexalign import __version__
from flexalign.atomic import sync
from flexalign.batch import tables
from flexalign.batch.failures import ADVICE, Failure
from flexalign.batch.inputs import INDEX_NAME
from flexalign.batch.jobs import Outcome, key_of_record
from flexalign.batch.names import Names
from flexalign.batch.rows import write_csv
from flexalign.errors import InputError
from flexalign.files import MIB_BYTES, read_json
from flexalign.io.record import read_record
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.io.writing.ownership import unchanged_before
from flexalign.io.writing.publishing import leftover_root, leftovers, results_of, roll_back
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX
from flexalign.params import AlignParams
from flexalign.plain import from_plain, typed

SCHEMA = 1
# The index of a hundred thousand movies has about 200 MB.
MAX_INDEX_BYTES = 1024 * MIB_BYTES
MIN_WRITE_INTERVAL_S = 2.0
# Maximum share of the time for writing the tables, which grow with the run.
MAX_WRITING_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Entry:
    """The index entry of one movie.

    Attributes
    ----------
    movie : absolute path
    name : common beginning of its output names
    key : of the job, see `flexalign.batch.jobs.job_key`
    record_ns : modification time of the record; 0 for a failure
    failure : why it failed, None if it is done
    row : table row of a finished movie, by the columns of `tables.COLUMNS`
    """

    movie: str
    name: str
    key: str
    record_ns: int = 0
    failure: Failure | None = None
    row: dict[str, Any] = dataclasses.field(default_factory=dict)


class RunFolder:
    """The run folder `path`, read on creation and kept current by `add` and `write`.

    Use it while the folder is locked, see `flexalign.batch.lock.only_run`.
    """

    def __init__(self, path: Path, params: AlignParams) -> None:
        self.path = path
        self.params = params
        self.names = Names()
        self._entries: dict[str, Entry] = {}
        self._next_write_s = 0.0
        self._leftovers: dict[str, list[Path]] = {}
        # Movies without a record whose other files are left.
        self._lost: dict[str, Entry] = {}
        self._is_changed = True
        self._started = _now()
        refuse_foreign(path, (*tables.NAMES, INDEX_NAME))
        self._load()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    @property
    def is_empty(self) -> bool:
        """Whether no movie is done or has failed."""
        return not self._entries

    def get(self, movie: str) -> Entry | None:
        """The entry of the movie, None if it was never tried."""
        return self._entries.get(movie)

    def add(self, outcome: Outcome) -> Entry:
        """Enter the outcome of a movie."""
        job, row, record_ns = outcome.job, {}, 0
        if outcome.failure is not None and outcome.failure.may_pass:
            self._find_leftovers(leftovers(self.path))
            self.clear(job.name)
        if outcome.record is not None:
            record = MovieRecord.from_dict(outcome.record)
            # A network file system may show it with a delay.
            with contextlib.suppress(OSError):
                record_ns = (self.path / f"{job.name}{RECORD_SUFFIX}").stat().st_mtime_ns
            row = tables.row_of(record)
        entry = Entry(job.movie, job.name, job.key, record_ns, outcome.failure, row)
        self._entries[job.movie] = entry
        self._is_changed = True
        return entry

    def clear(self, name: str) -> None:
        """Remove leftovers of killed processes, and results without a record, of `name`."""
        for path in self._leftovers.pop(name, ()):
            roll_back(path)
        lost = self._lost.pop(name, None)
        if lost is not None:
            names = lost.row.get("outputs", ())
            for output in unchanged_before(self.path, names, name, lost.record_ns):
                (self.path / output).unlink(missing_ok=True)

    def forget(self, movie: str) -> None:
        """Remove the results of a movie that is done, whose content has been taken over."""
        movie = self.names.spelling(movie)
        entry = self._entries.get(movie)
        if entry is None or entry.failure is not None:
            return
        for output in results_of(self.path, entry.name):
            (self.path / output).unlink(missing_ok=True)
        del self._entries[movie]
        self._is_changed = True

    def write(self, summary: dict[str, Any] | None = None, *, at_once: bool = False) -> None:
        """Update the index and the tables, unless that was done very recently.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        is_due = self._is_changed and not self.is_empty and time.monotonic() >= self._next_write_s
        if not at_once and not is_due:
            return
        started = time.monotonic()
        entries = list(self)
        done = [entry.row for entry in entries if entry.failure is None]
        failed = [(entry.movie, entry.failure) for entry in entries if entry.failure is not None]
        with replacing_listed(self.path / tables.FAILED_NAME) as temporary:
            tables.write_failed(temporary, failed)
        with replacing_listed(self.path / tables.CSV_NAME) as temporary:
            write_csv(temporary, tables.COLUMNS, done)
        with replacing_listed(self.path / tables.STAR_NAME) as temporary:
            tables.write_star(temporary, done, self.params.voltage_kV)
        with replacing_listed(self.path / INDEX_NAME) as temporary:
            temporary.write_text(self._index(summary), encoding="utf-8")
            sync(temporary)
        self._is_changed = False
        pause_s = (time.monotonic() - started) / MAX_WRITING_SHARE
        self._next_write_s = time.monotonic() + max(pause_s, MIN_WRITE_INTERVAL_S)

    def _index(self, summary: dict[str, Any] | None) -> str:
        """The text of the index: a header, then one movie per line."""
        failed = sum(entry.failure is not None for entry in self)
        head = {
            "schema": SCHEMA,
            "version": __version__,
            "started": self._started,
            "updated": _now(),
            "done": len(self._entries) - failed,
            "failed": failed,
            "summary": summary or {},
            "parameters": {**self.params.to_dict(), "hash": self.params.hash()},
        }
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        movies = ",\n".join(json.dumps(dataclasses.asdict(entry)) for entry in self)
        return "{\n" + ",\n".join(lines) + f',\n"movies": [\n{movies}\n]\n}}\n'

    def _load(self) -> None:
        """Read the index, then every record that is newer than it or missing in it."""
        known = {entry.name: entry for entry in read_index(self.path / INDEX_NAME)}
        listing = {item.name: item for item in os.scandir(self.path)}
        self._find_leftovers(self.path / name for name in listing if name.startswith("."))
        for saved in known.values():
            self.names.keep(saved.movie, saved.name)
            if saved.failure is not None:
                self._enter(saved)
            elif f"{saved.name}{RECORD_SUFFIX}" not in listing:
                self._lost[saved.name] = saved
        for item in listing.values():
            if not item.name.endswith(RECORD_SUFFIX):
                continue
            name, record_ns = item.name.removesuffix(RECORD_SUFFIX), item.stat().st_mtime_ns
            before = known.get(name)
            entry: Entry | None = before
            if before is None or before.record_ns != record_ns:
                entry = self._read_record(name, record_ns)
            if entry is None:
                continue
            self.names.keep(entry.movie, entry.name)
            # A movie that failed after success with other parameters still has its old record.
            is_old = before is not None and before.failure is not None and before.key != entry.key
            if not is_old and all(output in listing for output in entry.row["outputs"]):
                self._enter(entry)

    def _enter(self, entry: Entry) -> None:
        """Add an earlier entry, unless its movie is known under another path."""
        movie = self.names.spelling(entry.movie)
        if self.names.give(movie) == entry.name:
            self._entries[movie] = dataclasses.replace(entry, movie=movie)

    def _find_leftovers(self, paths: Iterable[Path]) -> None:
        """Note which of `paths` are hidden folders of results."""
        for path in paths:
            root = leftover_root(path)
            if root is not None:
                self._leftovers.setdefault(root, []).append(path)

    def _read_record(self, name: str, record_ns: int) -> Entry | None:
        """The entry of the record of `name`; None if it cannot be read."""
        try:
            record = read_record(self.path / f"{name}{RECORD_SUFFIX}")
        except InputError:
            return None
        movie = str(record.inputs["movie"]["path"])
        row = tables.row_of(record)
        return Entry(movie, name, key_of_record(record), record_ns, None, row)


def read_index(path: Path) -> list[Entry]:
    """The entries of the index, empty if there is no index yet.

    Damaged entries are left out: they are restored from the records.

    Raises
    ------
    InputError
        If it is from a newer version, or a foreign file of that name.
    """
    if not os.path.lexists(path):
        return []
    try:
        plain = read_json(path, max_bytes=MAX_INDEX_BYTES)
        schema = typed(int, plain.get("schema"), "schema")
        items = typed(list[Any], plain.get("movies"), "movies")
    except InputError as error:
        raise InputError(
            f"{error}. Expected the index of a run: remove it (finished movies are known from "
            f"their records) or choose another folder"
        ) from error
    if schema > SCHEMA:
        raise InputError(
            f"{path}: expected schema {SCHEMA} or older, found {schema}: "
            "go on with a newer flexalign, or in another folder"
        )
    return [entry for item in items if (entry := _entry(item)) is not None]


def _entry(item: Any) -> Entry | None:
    """One entry of an index; None if it is damaged."""
    try:
        entry: Entry = from_plain(Entry, item)
        row = tables.checked_row(entry.row) if entry.failure is None else {}
    except InputError:
        return None
    is_known = entry.failure is None or entry.failure.kind in ADVICE
    is_own = entry.failure is not None or row["record"] == f"{entry.name}{RECORD_SUFFIX}"
    # A name with characters that no table can hold: its movie has failed.
    is_in_folder = "/" not in entry.name and entry.name.strip(".") != ""
    is_named = is_in_folder and Path(entry.movie).is_absolute()
    return dataclasses.replace(entry, row=row) if is_known and is_own and is_named else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
