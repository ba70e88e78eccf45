"""A run over tilt series, listed or watched, as the commands start it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexalign.cli.checks import check_run_outputs
from flexalign.cli.console import announce_compiling, announce_device
from flexalign.cli.hooks import Hooks
from flexalign.cli.options import collect_parameters, given_parameters
from flexalign.cli.reporting import Reporting, SeriesReporting
from flexalign.cli.run_display import view
from flexalign.cli.run_options import RunOptions
from flexalign.cli.running import (
    INTERRUPTED,
    make_executor,
    own_values,
    params_by,
    stopped_by_signals,
)
from flexalign.cli.series_options import DEFAULTS, SeriesOptions, refuse_movie_options
from flexalign.params import AlignParams

if TYPE_CHECKING:
    from flexalign.batch.events import Observer
    from flexalign.batch.run import Source
    from flexalign.batch.series import SeriesWork
    from flexalign.batch.throughput import RunSummary
    from flexalign.batch.watching_series import SeriesWatch
    from flexalign.naming import TiltFiles
    from flexalign.tilts.model import TiltSeries


def watch_series(
    folder: Path,
    out: Path,
    watched: SeriesWatch,
    wanted: SeriesOptions,
    values: dict[str, Any],
    options: RunOptions,
    *,
    settings: Path | None = None,
    debug: bool = False,
    opening: str = "",
) -> int:
    """Align tilt series as they become complete in `folder`; the exit code.

    Parameters
    ----------
    watched : what is waited for
    wanted, values : what was typed, for series and for all movies
    settings : file of further parameters
    opening : what is said first

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
    choices = wanted.choices(given_parameters(values, settings), out)
    choices = replace(choices, movies=folder)
    from flexalign.batch.watching_series import WatchedSeries
    from flexalign.tilts.understanding import understand

    def source_for(work: SeriesWork) -> Source:
        return WatchedSeries(
            folder, watched, lambda source: understand(source, params, choices), work, [out]
        )

    read = [settings] if settings else []
    return run_series(
        source_for, params, out, options, wanted, debug=debug, inputs=read, opening=opening
    )


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
    out: Path,
    options: RunOptions,
    wanted: SeriesOptions,
    *,
    redo: bool = False,
    debug: bool = False,
    inputs: Sequence[Path] = (),
    movie_count: int | None = None,
    files: TiltFiles | None = None,
    display: Observer | None = None,
    opening: str = "",
) -> int:
    """Align the movies of series and put these together in the folder `out`; the exit code.

    Parameters
    ----------
    source_for : gives the movies of series, which it begins
    wanted : whether files of single movies are kept, as with files for other programs, and the
        tilts share a prior
    redo : also series that are done
    debug : show where unexpected errors arose
    inputs : what was read beside movies and references
    movie_count : how many there are, where that is known
    files : which files there will be; None = the stacks
    display : who sees the events; None = what `options` say
    opening : what is said first; with it, lines have the time

    Raises
    ------
    FlexAlignError
        If the run cannot begin, or cannot go on.
    """
    from flexalign.batch.first_movies import first_movies
    from flexalign.batch.folder import RunFolder
    from flexalign.batch.jobs import Note
    from flexalign.batch.lock import only_run
    from flexalign.batch.run import Choices, Run, with_absolute_references
    from flexalign.batch.series import SeriesWork
    from flexalign.batch.series_folder import TILTS_NAME, SeriesFolder
    from flexalign.io.results import make_folder
    from flexalign.tilts.tomostar import write_warp_series

    keep_tilts = wanted.save_tilts or bool(params.formats)
    if options.scheduler is None and options.cluster is None:
        announce_device(params.device)
    if options.jobs == 0:
        announce_compiling()
    tilts_path = make_folder(make_folder(out) / TILTS_NAME)
    display_context: AbstractContextManager[Observer] = nullcontext(display) if display else view(
        options.json_events, debug, log=options.log, is_stamped=bool(opening)
    )  # fmt: skip
    with (
        only_run(tilts_path),
        display_context as shown,
        Hooks(options.after_movie, options.at_end, shown) as hooks,
    ):
        observe: Observer = hooks
        if opening:
            observe(Note(opening))
        if options.report:
            observe = SeriesReporting(out, observe)
        if options.report and keep_tilts:
            observe = Reporting(tilts_path, observe)
        params = with_absolute_references(params)
        folder, tilts = SeriesFolder(out), RunFolder(tilts_path, params)
        work = SeriesWork(
            folder, tilts, observe,
            keep_tilts=keep_tilts, redo=redo, retry_failed=options.retry_failed,
            shares_prior=wanted.shared_prior, files=files,
        )  # fmt: skip
        source = source_for(work)
        names = {str(m.absolute()): tilts.names.give(str(m.absolute())) for m in source.movies}
        check_run_outputs(tilts_path, names, params, inputs, options.log)
        of_movie = own_values(work.own)
        checks = first_movies(params, out, observe, params_by(of_movie), of_tilts=True)
        executor = make_executor(options, params, out, movie_count)
        choices = Choices(retry_failed=options.retry_failed, redo=redo)
        read = [str(path.absolute()) for path in inputs]
        run = Run(tilts, executor, source, work, choices, checks, of_movie, read, work.of_series)
        with stopped_by_signals(run, work.say):
            summary = run.go()
        work.finish()
        if "warp" in params.formats:
            write_warp_series(out, TILTS_NAME)
    codes = [failure.exit_code for failure in folder.failed.values()]
    return _exit_code(summary, folder.lost, codes, is_unfinished=work.is_unfinished)


def _exit_code(
    summary: RunSummary, lost: int, failed: Sequence[int], *, is_unfinished: bool
) -> int:
    """The exit code of a run, by what was left, lost and failed."""
    if summary.unfinished or is_unfinished:
        return INTERRUPTED
    if failed and not summary.done and not summary.done_before and len(set(failed)) == 1:
        return failed[0]
    return int(bool(lost or failed or summary.failures))
