"""Tilt series in a job of RELION 5: the run over them, and RELION's tables of the results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flexalign.cli.run_display import Lines
from flexalign.cli.run_options import RunOptions
from flexalign.cli.running import Request
from flexalign.cli.series_options import DEFAULTS, SeriesOptions, refuse_movie_options
from flexalign.cli.series_run import run_series, with_gain, without_doses
from flexalign.errors import INTERRUPTED
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.batch.events import Event
    from flexalign.batch.series import SeriesWork
    from flexalign.batch.sources import Source
    from flexalign.io.relion_tilt_series import CorrectedSeries, ListedSeries
    from flexalign.naming import TiltFiles
    from flexalign.tilts.model import TiltSeries

# RELION has even and odd micrographs on request only.
SERIES_DEFAULTS = {name: value for name, value in DEFAULTS.items() if name != "odd_even"}


class JobLines(Lines):
    """One line for each tilt that ends: failures on the error stream, which RELION shows in red.

    Parameters
    ----------
    check_abort : raises where the user has aborted the job
    """

    def __init__(self, check_abort: Callable[[], None], *, debug: bool) -> None:
        super().__init__(debug, _print)
        self._check_abort = check_abort

    def __call__(self, event: Event) -> None:
        """Show the event."""
        self._check_abort()
        super().__call__(event)


def _print(line: str) -> None:
    typer.echo(line, err=line.lstrip().startswith(("error", "left out")))


def correct_series(
    in_movies: Path,
    job: Path,
    params: AlignParams,
    given: set[str],
    check_abort: Callable[[], None],
    *,
    inputs: list[Path],
    debug: bool,
) -> tuple[int, Path | None]:
    """Align the tilt series of RELION's list; the exit code and the new list.

    Parameters
    ----------
    params : of all movies
    given : names of parameters that were typed or stand in the settings
    check_abort : raises where the user has aborted the job
    inputs : what was read beside movies and references

    Raises
    ------
    FlexAlignError
        If the job cannot begin, or cannot go on.
    """
    from flexalign.batch.listed_series import ListedSeries as SeriesSource
    from flexalign.io.relion_tilt_series import (
        check_tables,
        read_series_list,
        write_corrected_series,
    )
    from flexalign.tilts.reading import listed_sources
    from flexalign.tilts.understanding import EER_DOSE_E_A2, SeriesChoices, understand_all

    refuse_movie_options(given, "their doses are those of rlnMicrographPreExposure")
    listed = read_series_list(in_movies)
    check_tables(job, listed, in_movies)
    check_abort()
    has_frames = bool(given & {"eer_fractions", "eer_groups"})
    choices = SeriesChoices(
        eer_dose_e_A2=None if has_frames else EER_DOSE_E_A2, given=frozenset(given),
        others=(job,), has_options=False,
    )  # fmt: skip
    params = without_doses(params)
    series = list(understand_all(listed_sources(listed), params, choices))

    started: list[SeriesWork] = []

    def source_for(work: SeriesWork) -> Source:
        started.append(work)
        return SeriesSource(series, work)

    code = run_series(
        source_for, with_gain(params, series),
        Request(
            job, RunOptions(jobs=1, retry_failed=True), debug=debug, inputs=inputs,
            movie_count=sum(len(one.used) for one in series),
        ),
        SeriesOptions(None, None, None, None, save_tilts=True, shared_prior=True),
        files=_job_files(), display=JobLines(check_abort, debug=debug),
    )  # fmt: skip
    failed = {source for work in started for source in work.failed}
    corrected = list(_corrected(job, listed, series, failed))
    if code == INTERRUPTED or not corrected:
        return code, None
    return code, write_corrected_series(job, corrected)


def _job_files() -> TiltFiles:
    """The files of a job: RELION's names for each tilt, and no stacks, as RELION reads none."""
    from flexalign.naming import TiltFiles, relion_root, relion_suffixes

    suffixes = relion_suffixes(dose_weighted=False)
    return TiltFiles(suffixes, lambda movie: relion_root(movie.name), has_stacks=False)


def _corrected(
    job: Path,
    listed: Sequence[ListedSeries],
    understood: Sequence[TiltSeries],
    failed: Collection[str],
) -> Iterator[CorrectedSeries]:
    """The results of the series that are done, in the order of the list."""
    from flexalign.batch.series_folder import TILTS_NAME
    from flexalign.io.relion_project import relion_micrograph
    from flexalign.io.relion_tilt_series import CorrectedSeries
    from flexalign.model import MovieRecord
    from flexalign.tilts.record import read_series_records

    done = {record.series.source: record for record in read_series_records(job)}
    for one, series in zip(listed, understood, strict=True):
        record = done.get(series.source)
        if record is None or series.source in failed:
            continue
        micrographs = {}
        for tilt in record.stacked:
            movie = MovieRecord.from_dict(record.movies[tilt.movie])
            # The number of a tilt is its row in RELION's table, from 1.
            micrographs[tilt.number - 1] = relion_micrograph(
                job / TILTS_NAME, record.roots[tilt.movie], movie
            )
        file_name = f"{record.series.name}.star"
        yield CorrectedSeries(one, file_name, record.pixel_size_A, micrographs)
