"""The command that aligns tilt series, or says how it understands them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.alignment import Settings
from flexalign.cli.console import Debug, print_error
from flexalign.cli.option_groups import takes_options
from flexalign.cli.options import given_parameters, takes_parameters_without
from flexalign.cli.run_options import RunOptions
from flexalign.cli.running import Request
from flexalign.cli.series_options import (
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
from flexalign.cli.series_run import run_series, series_parameters, with_gain
from flexalign.errors import FlexAlignError
from flexalign.option_messages import with_options

if TYPE_CHECKING:
    from flexalign.batch.series import SeriesWork
    from flexalign.batch.sources import Source
    from flexalign.tilts.model import TiltSeries


@takes_parameters_without(*NOT_FOR_SERIES)
@takes_options
def tilt_series(
    series: Annotated[
        list[str],
        typer.Argument(
            help="Mdoc files (SerialEM, Tomo5, PACE), folders of them, quoted patterns, or "
            "RELION's tilt_series.star; with --name-pattern movies and folders of movies.",
            metavar="SERIES",
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
        bool, typer.Option("--overwrite", help="Process finished series again.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print each series as interpreted, in order of time, without reading pixels.",
        ),
    ] = False,
    debug: Debug = False,
    *,
    options: RunOptions,
    **values: Any,
) -> None:
    """Align the movies of tilt series and write stacks with angles, doses and mdoc files.

    A tilt that is missing, dark or fails is left out and reported; the angles and doses of the
    others are not affected. Even and odd stacks are written unless --no-odd-even is given, a
    dose-weighted one with --dose-weight. Repeat the command to process what is missing.
    Exit code: 0 all done, 1 some tilts or series are lost, 2 parameters, 3 input, 4 device, 130
    stopped by Ctrl-C.
    """
    wanted = SeriesOptions(movies, tilt_dose, tilt_axis, eer_dose, save_tilts, shared_prior)
    params = series_parameters(values, settings)
    choices = wanted.choices(given_parameters(values, settings), out)
    from flexalign.tilts.reading import read_sources
    from flexalign.tilts.understanding import understand_all

    sources, problems = read_sources(series, name_pattern)
    found = understand_all(sources, params, choices)
    if not sources:
        raise typer.Exit(_print_problems(problems, debug=debug)[0])
    if dry_run:
        is_lost = _print_series(found)
        raise typer.Exit(int(bool(_print_problems(problems, debug=debug)) or is_lost))
    # The gain reference that the first series names is checked before the run.
    first = list(itertools.islice(found, 1))
    code = run_series(
        _listed(itertools.chain(first, found), problems), with_gain(params, first),
        Request(
            out, options, redo=overwrite, debug=debug,
            inputs=[*(source.path for source in sources), *([settings] if settings else [])],
            movie_count=sum(len(source.exposures) for source in sources),
        ),
        wanted,
    )  # fmt: skip
    raise typer.Exit(code)


def _listed(
    series: Iterator[TiltSeries], problems: Sequence[tuple[str, FlexAlignError]]
) -> Callable[[SeriesWork], Source]:
    """Listed series as the source of a run, which also reports those that cannot be read."""
    from flexalign.batch.listed_series import ListedSeries

    def source_for(work: SeriesWork) -> Source:
        for path, error in problems:
            work.fail(path, error)
        return ListedSeries(series, work)

    return source_for


def _print_problems(problems: Sequence[tuple[str, FlexAlignError]], *, debug: bool) -> list[int]:
    """Print why some sources cannot be read; the exit codes."""
    return [print_error(error, subject=path, debug=debug) for path, error in problems]


def _print_series(found: Iterable[TiltSeries]) -> bool:
    """Print series as they were understood; whether a tilt is lost."""
    is_lost = False
    for one in found:
        typer.echo(series_table(one) + "\n")
        is_lost = is_lost or any(tilt.is_lost for tilt in one.tilts)
    return is_lost


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
            movie += f"  [left out, {tilt.left_out}: {tilt.reason}]"
        elif tilt.leftover_raw_frames:
            movie += f"  [{tilt.leftover_raw_frames} raw frames are left over]"
        lines.append(
            f"{tilt.order:5} {tilt.time or '?':19} {tilt.number:6} {angle:>7} {dose:>6} "
            f"{tilt.pre_exposure_e_A2:7.2f} {tilt.frame_count or '?':>6}  {movie}"
        )
    return with_options("\n".join([*lines, *(f"note: {note}" for note in series.notes)]))
