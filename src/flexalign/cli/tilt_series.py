"""The command that aligns tilt series, or says how it understands them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.alignment import Settings
from flexalign.cli.checks import check_run_outputs
from flexalign.cli.console import Debug, announce_compiling, announce_device, say_error
from flexalign.cli.options import collect_parameters, given_parameters, takes_parameters_without
from flexalign.cli.reporting import Reporting, SeriesReporting
from flexalign.cli.run_display import view
from flexalign.cli.running import (
    INTERRUPTED,
    RunOptions,
    make_executor,
    pop_run_options,
    stopped_by_signals,
    takes_run_options,
)
from flexalign.cli.series_options import (
    DEFAULTS,
    NOT_FOR_SERIES,
    EerDose,
    Movies,
    NamePattern,
    SaveTilts,
    SeriesOptions,
    SharedPrior,
    TiltAxis,
    TiltDose,
)
from flexalign.errors import ParameterError
from flexalign.params import AlignParams, option_name

if TYPE_CHECKING:
    from flexalign.batch.events import Observer
    from flexalign.batch.run import Source
    from flexalign.batch.series import SeriesWork
    from flexalign.batch.throughput import RunSummary
    from flexalign.batch.watching_series import SeriesWatch
    from flexalign.naming import TiltFiles
    from flexalign.tilts.model import TiltSeries


@takes_parameters_without(*NOT_FOR_SERIES)
@takes_run_options
def tilt_series(
    series: Annotated[
        list[str],
        typer.Argument(
            help="Mdoc files (SerialEM, Tomo5, PACE), folders of them, quoted patterns, or "
            "RELION's tilt_series.star; with --name-pattern movies and folders of movies."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the outputs.", metavar="DIR")],
    movies: Movies = None,
    name_pattern: NamePattern = None,
    tilt_dose: TiltDose = None,
    tilt_axis: TiltAxis = None,
    eer_dose: EerDose = None,
    save_tilts: SaveTilts = False,
    shared_prior: SharedPrior = True,
    settings: Settings = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also series that are done.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print each series as it was understood, in order of time, and stop. No pixel is "
            "read.",
        ),
    ] = False,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Align the movies of tilt series and write stacks with angles, doses and mdoc files.

    A tilt that is missing, dark or fails is left out and named; it costs neither the series nor
    the angles and doses of others. Even and odd stacks are written unless --no-odd-even is given,
    a dose-weighted one with --dose-weight. The same command again does what is missing.
    Exit code: 0 all done, 1 some tilts or series are lost, 2 parameters, 3 input, 4 device, 130
    stopped by Ctrl-C.
    """
    options = pop_run_options(values)
    wanted = SeriesOptions(movies, tilt_dose, tilt_axis, eer_dose, save_tilts, shared_prior)
    params = series_parameters(values, settings)
    choices = wanted.choices(given_parameters(values, settings), out)
    from flexalign.tilts.reading import read_sources
    from flexalign.tilts.understanding import understand_all

    sources, problems = read_sources(series, name_pattern)
    found = understand_all(sources, params, choices)
    if dry_run:
        for one in found:
            typer.echo(series_table(one) + "\n")
        codes = [say_error(error, subject=path, debug=debug) for path, error in problems]
        raise typer.Exit(codes[0] if codes and not sources else int(bool(codes)))
    from flexalign.batch.series import ListedSeries

    def source_for(work: SeriesWork) -> Source:
        for path, error in problems:
            work.fail(path, error)
        return ListedSeries(all_series, work)

    first = list(itertools.islice(found, 1))
    all_series = itertools.chain(first, found)
    params = with_gain(params, first)
    read = [*(source.path for source in sources), *([settings] if settings else [])]
    count = sum(len(source.exposures) for source in sources)
    code = run_series(
        source_for, params, out, options, save_tilts=save_tilts, shares_prior=shared_prior,
        redo=overwrite, debug=debug, inputs=read, movie_count=count,
    )  # fmt: skip
    raise typer.Exit(code)


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
    for name in NOT_FOR_SERIES:
        if values.get(name) not in (None, False):
            raise ParameterError(
                f"{option_name(name)}: expected no such option for tilt series; their doses are "
                "those of the mdoc, or --tilt-dose"
            )
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
        source_for, params, out, options,
        save_tilts=wanted.save_tilts, shares_prior=wanted.shared_prior, debug=debug, inputs=read,
    )  # fmt: skip


def series_parameters(values: dict[str, Any], settings: Path | None) -> AlignParams:
    """The parameters of all movies, with the defaults that series have of their own."""
    from flexalign.batch.series import without_doses

    return without_doses(collect_parameters(values, settings, dict(DEFAULTS)))


def with_gain(params: AlignParams, series: Sequence[TiltSeries]) -> AlignParams:
    """`params` with the gain reference that the first series names, so that it is checked."""
    gain = series[0].parameters.get("gain") if series else None
    return params if gain is None else replace(params, gain=gain)


def run_series(
    source_for: Callable[[SeriesWork], Source],
    params: AlignParams,
    out: Path,
    options: RunOptions,
    *,
    save_tilts: bool = False,
    shares_prior: bool = True,
    redo: bool = False,
    debug: bool = False,
    inputs: Sequence[Path] = (),
    movie_count: int | None = None,
    files: TiltFiles | None = None,
    display: Observer | None = None,
) -> int:
    """Align the movies of series and put these together in the folder `out`; the exit code.

    Parameters
    ----------
    source_for : gives the movies of series, which it begins
    save_tilts : keep the files of single movies, as with files for other programs
    shares_prior : each tilt has a prior of its motion by the others
    redo : also series that are done
    debug : show where unexpected errors arose
    inputs : what was read beside movies and references
    movie_count : how many there are, where that is known
    files : which files there will be; None = the stacks
    display : who sees the events; None = what `options` say

    Raises
    ------
    FlexAlignError
        If the run cannot begin, or cannot go on.
    """
    from flexalign.batch.folder import RunFolder
    from flexalign.batch.gain_gate import gain_gate
    from flexalign.batch.lock import only_run
    from flexalign.batch.run import Choices, Run, with_absolute_references
    from flexalign.batch.series import SeriesWork
    from flexalign.batch.series_folder import TILTS_NAME, SeriesFolder
    from flexalign.io.results import make_folder
    from flexalign.tilts.tomostar import write_warp_series

    save_tilts = save_tilts or bool(params.formats)
    if options.scheduler is None and options.cluster is None:
        announce_device(params.device)
    if options.jobs == 0:
        announce_compiling()
    tilts_path = make_folder(make_folder(out) / TILTS_NAME)
    seen_by = nullcontext(display) if display else view(options.json_events, debug)
    with only_run(tilts_path), seen_by as observe:
        reporting = SeriesReporting(out, observe) if options.report else None
        if reporting is not None:
            observe = Reporting(tilts_path, reporting) if save_tilts else reporting
        params = with_absolute_references(params)
        folder, tilts = SeriesFolder(out), RunFolder(tilts_path, params)
        work = SeriesWork(
            folder, tilts, observe,
            keep_tilts=save_tilts, redo=redo, retry_failed=options.retry_failed,
            shares_prior=shares_prior, files=files,
        )  # fmt: skip
        source = source_for(work)
        names = {str(m.absolute()): tilts.names.give(str(m.absolute())) for m in source.movies}
        check_run_outputs(tilts_path, names, params, inputs)
        gate = gain_gate(params, out, observe)
        executor = make_executor(options, params, out, movie_count)
        choices = Choices(retry_failed=options.retry_failed, redo=redo)
        read = [str(path.absolute()) for path in inputs]
        run = Run(tilts, executor, source, work, choices, gate, work.own, read, work.of_series)
        with stopped_by_signals(run, work.say):
            summary = run.go()
        work.finish()
        if "warp" in params.formats:
            write_warp_series(out, TILTS_NAME)
        if reporting is not None:
            reporting.finish()
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


def series_table(series: TiltSeries) -> str:
    """The listing of a series: its tilts in order of time, then its notes."""
    axis = "unknown" if math.isnan(series.tilt_axis_deg) else f"{series.tilt_axis_deg:g} degrees"
    used = len(series.used)
    lines = [f"{series.name}: {used} of {len(series.tilts)} exposures are used, tilt axis {axis}"]
    lines.append(
        f"{'order':>5} {'time':19} {'ZValue':>6} {'angle':>7} {'dose':>6} {'before':>7} "
        f"{'frames':>6}  movie"
    )
    for tilt in series.tilts:
        dose = "?" if math.isnan(tilt.dose_e_A2) else f"{tilt.dose_e_A2:.2f}"
        angle = "?" if math.isnan(tilt.angle_deg) else f"{tilt.angle_deg:.2f}"
        movie = Path(tilt.movie).name if tilt.movie else tilt.movie_name
        if tilt.left_out:
            movie += f"  [left out, {tilt.left_out}: {tilt.why}]"
        elif tilt.leftover_raw_frames:
            movie += f"  [{tilt.leftover_raw_frames} raw frames are left over]"
        lines.append(
            f"{tilt.order:5} {tilt.time or '?':19} {tilt.number:6} {angle:>7} {dose:>6} "
            f"{tilt.pre_exposure_e_A2:7.2f} {tilt.frame_count or '?':>6}  {movie}"
        )
    return "\n".join([*lines, *(f"note: {note}" for note in series.notes)])
