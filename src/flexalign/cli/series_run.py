"""A run over tilt series, listed or watched, as the commands start it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexalign.cli.options import collect_parameters, given_parameters
from flexalign.cli.reporting import Reporting, SeriesReporting
from flexalign.cli.running import Request, announce, go, observed, own_values, params_by
from flexalign.cli.series_options import DEFAULTS, SeriesOptions, refuse_movie_options
from flexalign.errors import INTERRUPTED
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.batch.events import Observer
    from flexalign.batch.series import SeriesWork
    from flexalign.batch.sources import Source
    from flexalign.batch.throughput import RunSummary
    from flexalign.batch.watching_series import SeriesWatch
    from flexalign.naming import TiltFiles
    from flexalign.tilts.model import TiltSeries


def watch_series(
    folder: Path,
    watched: SeriesWatch,
    wanted: SeriesOptions,
    values: dict[str, Any],
    request: Request,
    *,
    settings: Path | None = None,
) -> int:
    """Align tilt series as they become complete in `folder`; the exit code.

    Parameters
    ----------
    watched : what is waited for
    wanted, values : what was typed, for series and for all movies
    settings : file of further parameters

    Raises
    ------
    ParameterError
        If a parameter was typed that each tilt has of its own.
    FlexAlignError
        If the run cannot begin, or cannot go on.
    """
    typed = [name for name, value in values.items() if value not in (None, False)]
    refuse_movie_options(typed, "their doses are those of the mdoc, or --tilt-dose")
    params = series_parameters(values, settings)
    choices = wanted.choices(given_parameters(values, settings), request.out)
    choices = replace(choices, movies=folder)
    from flexalign.batch.watching_series import WatchedSeries
    from flexalign.tilts.understanding import understand

    def source_for(work: SeriesWork) -> Source:
        return WatchedSeries(
            folder,
            watched,
            lambda source: understand(source, params, choices),
            work,
            [request.out],
        )

    return run_series(source_for, params, request, wanted)


def series_parameters(values: dict[str, Any], settings: Path | None) -> AlignParams:
    """The parameters of all movies, with the defaults that series have of their own."""
    return without_doses(collect_parameters(values, settings, dict(DEFAULTS)))


def without_doses(params: AlignParams) -> AlignParams:
    """`params` without doses, which are those of each movie."""
    return replace(
        params, dose_per_frame_e_A2=None, eer_dose_per_frame_e_A2=None, eer_total_dose_e_A2=None
    )


def with_gain(params: AlignParams, series: Sequence[TiltSeries]) -> AlignParams:
    """`params` with the gain reference that the first series names, so that it is checked."""
    gain = series[0].parameters.get("gain") if series else None
    return params if gain is None else replace(params, gain=gain)


def run_series(
    source_for: Callable[[SeriesWork], Source],
    params: AlignParams,
    request: Request,
    wanted: SeriesOptions,
    *,
    files: TiltFiles | None = None,
    display: Observer | None = None,
) -> int:
    """Align the movies of series and put these together; the exit code.

    Parameters
    ----------
    source_for : gives the movies of series, which it begins
    wanted : whether files of single movies are kept, as with files for other programs, and the
        tilts share a prior
    files : which files there will be; None = the stacks
    display : who sees the events; None = what the options say

    Raises
    ------
    FlexAlignError
        If the run cannot begin, or cannot go on.
    """
    from flexalign.batch.first_movies import first_movies
    from flexalign.batch.folder import RunFolder
    from flexalign.batch.run import with_absolute_references
    from flexalign.batch.series import SeriesWork
    from flexalign.batch.series_folder import TILTS_NAME, SeriesFolder
    from flexalign.io.results import make_folder
    from flexalign.tilts.tomostar import write_warp_series

    out, options = request.out, request.options
    keep_tilts = wanted.save_tilts or bool(params.formats)
    announce(params, options)
    tilts_path = make_folder(make_folder(out) / TILTS_NAME)
    with observed(tilts_path, request, display) as observe:
        if options.report:
            observe = SeriesReporting(out, observe)
        if options.report and keep_tilts:
            observe = Reporting(tilts_path, observe)
        folder = SeriesFolder(out)
        tilts = RunFolder(tilts_path, with_absolute_references(params))
        work = SeriesWork(
            folder, tilts, observe, keep_tilts=keep_tilts, redo=request.redo,
            retry_failed=options.retry_failed, shares_prior=wanted.shared_prior, files=files,
        )  # fmt: skip
        own = own_values(work.own)
        checks = first_movies(tilts.params, out, observe, params_by(own), of_tilts=True)
        source = source_for(work)
        summary = go(tilts, source, work, request, checks, own, of_series=work.of_series)
        work.finish()
        if "warp" in params.formats:
            write_warp_series(out, TILTS_NAME)
    codes = [failure.exit_code for failure in folder.failed.values()]
    return _exit_code(summary, folder.lost, codes, is_unfinished=work.is_unfinished)


def _exit_code(
    summary: RunSummary, lost: int, failed: Sequence[int], *, is_unfinished: bool
) -> int:
    """The exit code of a run, by what was left, lost and failed."""
    if summary.is_stopped or is_unfinished:
        return INTERRUPTED
    if failed and not summary.done and not summary.done_before and len(set(failed)) == 1:
        return failed[0]
    return int(bool(lost or failed or summary.failures))
