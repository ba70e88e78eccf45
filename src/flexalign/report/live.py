"""The report of a folder, written once or kept current during a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flexalign import __version__
from flexalign.atomic import explained
from flexalign.batch.rows import write_csv
from flexalign.errors import InputError
from flexalign.files import displayed
from flexalign.io.record import read_record
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.naming import RECORD_SUFFIX
from flexalign.report import collect, details, page, summary
from flexalign.report.collect import Row
from flexalign.report.columns import COLUMNS

PAGE, CSV, JSON, DATA = "report.html", "report.csv", "report.json", "report_data"
# Number of movies, the worst and then the last, whose details are embedded in the page.
MAX_INSIDE = 12
MAX_INSIDE_BYTES = 3_000_000
MIN_WRITE_INTERVAL_S = 10.0
# Maximum share of a run's time for writing the report.
MAX_WRITING_SHARE = 0.01


class Report:
    """The report of the folder `path`.

    `find` reads all records of the folder, `note` queues a new one; `write` makes the files.
    Records in an earlier report are not read again.

    Raises
    ------
    InputError
        If there is no such folder.
    OccupiedError
        If a foreign file has the name of a file of the report.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        refuse_foreign(path, (PAGE, CSV, JSON))
        self._rows: dict[str, Row] = {}
        self._broken: dict[str, str] = {}
        self._noted: dict[str, bool] = {}
        self._next_write_s = 0.0
        self._is_found = False

    @property
    def page(self) -> Path:
        """The file to open."""
        return self.path / PAGE

    @property
    def movie_count(self) -> int:
        """Number of movies in the report, those that failed left out."""
        return len(self._rows)

    @property
    def unreadable(self) -> dict[str, str]:
        """Names of the movies whose record cannot be read, and why."""
        return self._broken

    def find(self) -> None:
        """Read all new records of the folder, and drop those that were removed."""
        states = collect.record_states(self.path)
        known = self._rows or collect.read_rows(self.path / JSON, __version__)
        self._rows = {name: row for name, row in known.items() if name in states}
        self._broken = {}
        folder = self.path / DATA
        existing_details = {path.stem for path in folder.glob("*.js") if details.is_details(path)}
        for name, record_ns in states.items():
            row = self._rows.get(name)
            if row is None or row.record_ns != record_ns or name not in existing_details:
                self._read(name, record_ns)
        for name in existing_details - self._rows.keys():
            self._details_path(name).unlink(missing_ok=True)
        self._is_found = True

    def note(self, name: str, *, is_done: bool) -> None:
        """Queue the record of a movie that has ended, to be read before the next writing.

        Parameters
        ----------
        is_done : whether there is a record, which a network file system may show with a delay
        """
        self._noted[name] = is_done

    def is_due(self) -> bool:
        """Whether there is something new and enough time has passed since the last writing."""
        return bool(self._noted) and time.monotonic() >= self._next_write_s

    def write(self) -> Path:
        """Write the page, the tables and new details; return the page's path.

        Raises
        ------
        OutputError
            If they cannot be written.
        InputError
            If the folder has gone.
        """
        started = time.monotonic()
        try:
            self._write()
        finally:
            pause_s = (time.monotonic() - started) / MAX_WRITING_SHARE
            self._next_write_s = time.monotonic() + max(pause_s, MIN_WRITE_INTERVAL_S)
        return self.page

    def _write(self) -> None:
        """Update all files, the page last."""
        if not self._is_found:
            self.find()
        self._read_noted()
        failures = collect.read_failures(self.path)
        rows = self._ordered({failure.movie for failure in failures})
        content = summary.summary_of(
            self.path,
            rows,
            failures,
            collect.read_run(self.path),
            collect.read_gain_check(self.path),
            self._broken,
            self._plain(rows[-1].name) if rows else {},
        )
        inside = list(self._inside(content["worst"], [row.name for row in rows]))
        with replacing_listed(self.path / CSV) as temporary:
            values = ({"name": row.name, **row.values} for row in rows)
            write_csv(temporary, ["name", *(column.name for column in COLUMNS)], values)
        with replacing_listed(self.path / JSON) as temporary:
            summary.write_json(temporary, content)
        with replacing_listed(self.page) as temporary:
            page.write_page(temporary, content, inside, DATA)

    def _ordered(self, failed: set[str]) -> list[Row]:
        """The rows in the order of the movies, without those whose repetition failed."""
        return collect.in_order(
            [row for row in self._rows.values() if row.values["movie"] not in failed]
        )

    def _read_noted(self) -> None:
        """Read the records of the movies that have ended."""
        for name, is_done in list(self._noted.items()):
            try:
                record_ns = (self.path / f"{name}{RECORD_SUFFIX}").stat().st_mtime_ns
            except OSError:
                self._rows.pop(name, None)
                if not is_done:
                    del self._noted[name]
                continue
            self._read(name, record_ns)
            del self._noted[name]

    def _read(self, name: str, record_ns: int) -> None:
        """Read one record, or note why it cannot be read."""
        path = self.path / f"{name}{RECORD_SUFFIX}"
        try:
            record = read_record(path)
            row = collect.row_of(name, record_ns, record)
            found = details.details_of(name, record.to_dict())
        except InputError as error:
            self._rows.pop(name, None)
            self._broken[name] = displayed(str(error).removeprefix(f"{path}: "))
            return
        self._broken.pop(name, None)
        path = self._details_path(name)
        with explained(path):
            path.parent.mkdir(exist_ok=True)
        details.write_details(path, found)
        self._rows[name] = row

    def _plain(self, name: str) -> dict[str, Any]:
        """A record that was read before; empty if it was removed since."""
        try:
            return read_record(self.path / f"{name}{RECORD_SUFFIX}").to_dict()
        except InputError:
            return {}

    def _inside(self, worst: list[str], names: list[str]) -> Iterator[dict[str, Any]]:
        """Details, with pictures, of a bounded number of movies: the worst, the last, the first."""
        remaining_bytes = MAX_INSIDE_BYTES
        for name in list(dict.fromkeys([*worst, *reversed(names)]))[:MAX_INSIDE]:
            record = self._plain(name)
            if not record:
                continue
            found = details.with_pictures(details.details_of(name, record), self.path)
            remaining_bytes -= sum(len(picture) for picture in found["pictures"].values())
            if remaining_bytes < 0:
                return
            yield found

    def _details_path(self, name: str) -> Path:
        return self.path / DATA / f"{name}.js"
