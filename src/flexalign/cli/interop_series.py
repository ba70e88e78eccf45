"""The commands `export` and `apply` on the folder of tilt series."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from flexalign.batch.events import SeriesDone
from flexalign.batch.failures import explain
from flexalign.batch.names import Names
from flexalign.batch.series_folder import TILTS_NAME, SeriesFolder
from flexalign.cli.console import (
    announce_compiling,
    print_error,
    print_message,
    record_line,
    run_each,
)
from flexalign.cli.interop_movies import export_movies
from flexalign.cli.options import collect_parameters, given_parameters
from flexalign.cli.run_display import series_lines
from flexalign.cli.series_options import refuse_movie_options
from flexalign.errors import InputError
from flexalign.io.writing.ownership import resolved
from flexalign.io.writing.publishing import clear_leftovers, results_of
from flexalign.model import MovieRecord
from flexalign.motion import Motion
from flexalign.naming import RECORD_SUFFIX
from flexalign.params import AlignParams
from flexalign.tilts.model import Tilt, TiltSeries
from flexalign.tilts.record import SeriesRecord, finished_series, read_series_records, series_key


def export_series(
    folder: Path, formats: Sequence[str], optics: tuple[float, float], *, debug: bool
) -> int:
    """Export the tilts of all series of a folder; the exit code.

    Of tilts whose files were kept, the new ones are beside them; of the others the motion alone is
    written, as the records of the series have it.
    """
    from flexalign.io.motion_formats.exports import export_motion
    from flexalign.tilts.tomostar import write_warp_series

    tilts = folder / TILTS_NAME
    kept = {path.name.removesuffix(RECORD_SUFFIX) for path in tilts.glob(f"*{RECORD_SUFFIX}")}
    movies = {root: record for root, record in _movies(folder) if root not in kept}
    if not movies and not kept:
        raise InputError(f"{folder}: expected finished tilt series, found none")
    code = 0
    if kept:
        code = export_movies(tilts, formats, optics, debug=debug, are_tilts=True)
    if movies:
        clear_leftovers(tilts)

        def export_one(root: str) -> None:
            export_motion(tilts, root, movies[root], formats)

        code = run_each(list(movies), export_one, debug=debug, what="tilts") or code
        typer.echo(f"{len(movies)} tilts in {tilts}", err=True)
    if "warp" in formats:
        for path in write_warp_series(folder, TILTS_NAME):
            typer.echo(f"wrote {path}", err=True)
    return code


def _movies(folder: Path) -> Iterator[tuple[str, MovieRecord]]:
    """The records of the tilts of all series, by the roots of their files."""
    for series in read_series_records(folder):
        for tilt in series.stacked:
            yield series.roots[tilt.movie], MovieRecord.from_dict(series.movies[tilt.movie])


def apply_series(
    source: Path,
    out: Path,
    values: dict[str, Any],
    settings: Path | None,
    *,
    overwrite: bool,
    save_tilts: bool,
    debug: bool,
) -> int:
    """Make the stacks of all series of a folder again from their motion; the exit code.

    Each tilt has the parameters with which it was aligned, but for those that are given.

    Parameters
    ----------
    source : folder of `tilt-series`
    values : what was typed
    settings : file of further parameters
    save_tilts : keep the files of single movies

    Raises
    ------
    FlexAlignError
        If nothing can be begun.
    """
    from flexalign.io.results import make_folder
    from flexalign.tilts.tomostar import write_warp_series

    given = given_parameters(values, settings)
    refuse_movie_options(given)
    if resolved(source) == resolved(out):
        raise InputError(f"{out}: expected another folder than that of the series")
    chosen = collect_parameters(values, settings)
    changes = {name: getattr(chosen, name) for name in sorted(given)}
    by_name = {record.series.name: record for record in read_series_records(source)}
    if not by_name:
        raise InputError(f"{source}: expected finished tilt series, found none")
    make_folder(make_folder(out) / TILTS_NAME)
    clear_leftovers(out / TILTS_NAME)
    work = _Application(
        SeriesFolder(out), changes, [chosen.hash(), *changes],
        save_tilts=save_tilts, overwrite=overwrite,
    )  # fmt: skip
    announce_compiling()
    code = run_each(
        list(by_name), lambda name: work.try_apply(by_name[name]), debug=debug, what="series"
    )
    work.folder.write()
    if "warp" in chosen.formats:
        write_warp_series(out, TILTS_NAME)
    return code or int(bool(work.lost))


class _Application:
    """The stacks of series along motions that are there.

    Parameters
    ----------
    changes : parameters that are not those of the records
    identity : by which an earlier run with the same changes is known

    Attributes
    ----------
    lost : number of tilts that failed
    """

    def __init__(
        self,
        folder: SeriesFolder,
        changes: dict[str, Any],
        identity: Sequence[str],
        *,
        save_tilts: bool,
        overwrite: bool,
    ) -> None:
        self.folder, self._changes, self._identity = folder, changes, list(identity)
        self._save_tilts = save_tilts or bool(changes.get("write"))
        self._overwrite = overwrite
        self._tilts = folder.path / TILTS_NAME
        self._names = Names()
        for movie, root in folder.roots:
            self._names.give(movie, root)
        self.lost = 0

    def try_apply(self, source: SeriesRecord) -> None:
        """Make the stacks of one series; one that fails is in the table of failures."""
        try:
            self._apply(source)
        except Exception as error:
            self.folder.fail(source.series.source, explain(error))
            raise

    def _apply(self, source: SeriesRecord) -> None:
        """Make the stacks of one series, unless an earlier run did."""
        from flexalign.tilts.writing import write_series

        name = self.folder.name_of(source.series)
        self.folder.check(name)
        series = replace(source.series, name=name)
        key = series_key(series, json.dumps([source.key, self._identity]), {})
        if not self._overwrite and self._is_done(name, source, key):
            typer.echo(f"{name}: done before", err=True)
            return
        records: dict[str, MovieRecord] = {}
        failed: dict[int, Tilt] = {}
        for tilt in source.stacked:
            try:
                records[tilt.movie] = self._tilt(tilt, source.movies[tilt.movie])
            except Exception as error:
                print_error(error, subject=tilt.movie_name)
                failed[tilt.order] = tilt.without("failed", explain(error).message)
        self.lost += len(failed)
        tilts = tuple(_after(failed, tilt) for tilt in series.tilts)
        record = write_series(
            replace(series, tilts=tilts), records, self._tilts, self.folder.path, key
        )
        self.folder.add(record)
        self._clear(record.series)
        for line in series_lines(SeriesDone(record)):
            print_message(line)

    def _is_done(self, name: str, source: SeriesRecord, key: str) -> bool:
        """Whether an earlier run made all that is wanted of a series, of each of its tilts."""
        images = self._tilts if self._save_tilts else None
        done = finished_series(self.folder.path, name, key, images)
        return done is not None and done.sections == source.sections

    def _tilt(self, tilt: Tilt, plain: dict[str, Any]) -> MovieRecord:
        """Make the images of one tilt."""
        from flexalign.align import align_and_write

        before = MovieRecord.from_dict(plain)
        values = {name: value for name, value in before.parameters.items() if name != "hash"}
        params = replace(AlignParams.from_dict(values), **self._changes)
        record = align_and_write(
            tilt.movie, params, self._tilts, root=self._names.give(tilt.movie), overwrite=True,
            motion=Motion.from_dict(before.motion),
        )  # fmt: skip
        typer.echo(record_line(Path(tilt.movie), record), err=True)
        return record

    def _clear(self, series: TiltSeries) -> None:
        """Remove the files of single movies, whose images are in the stacks now."""
        if self._save_tilts:
            return
        for tilt in series.used:
            for name in results_of(self._tilts, self._names.give(tilt.movie)):
                (self._tilts / name).unlink(missing_ok=True)


def _after(failed: Mapping[int, Tilt], tilt: Tilt) -> Tilt:
    """`tilt` once some have failed, by their orders, so that none is used instead of it."""
    tilt = failed.get(tilt.order, tilt)
    return replace(tilt, replaced_by=0) if tilt.replaced_by in failed else tilt
