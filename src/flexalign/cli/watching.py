"""The command `watch`: align movies as they appear."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flexalign.cli.console import Debug
from flexalign.cli.options import collect_parameters, takes_parameters
from flexalign.cli.running import MAX_TYPED, pop_run_options, run_movies, takes_run_options
from flexalign.cli.series_options import (
    PANEL,
    NamePattern,
    SaveTilts,
    SeriesOptions,
    SharedPrior,
    TiltAxis,
    TiltDose,
)
from flexalign.cli.series_run import watch_series
from flexalign.errors import ParameterError


@takes_parameters
@takes_run_options
def watch(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder in which movies appear, including subfolders.", metavar="DIR"),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the outputs.", metavar="DIR")],
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Only movies whose relative path matches, such as '*_fractions.tiff'. Default: "
            "all movies.",
            metavar="PATTERN",
            show_default=False,
        ),
    ] = None,
    settle: Annotated[
        float,
        typer.Option(help="A movie is complete if unchanged for this long.", metavar="SECONDS"),
    ] = 15.0,
    sidecar: Annotated[
        list[str] | None,
        typer.Option(
            help="A movie is complete at once if there is a file of its name with this suffix "
            "that is not older; may be repeated. Default: .mdoc and .xml.",
            metavar="SUFFIX",
            show_default=False,
        ),
    ] = None,
    poll: Annotated[
        float,
        typer.Option(
            help="Maximum interval between listings of the folder, if there are no change "
            "notifications.",
            metavar="SECONDS",
        ),
    ] = 10.0,
    idle: Annotated[
        float | None,
        typer.Option(
            help="Stop after this long without a new movie. Default: continue until Ctrl-C.",
            metavar="MINUTES",
            show_default=False,
        ),
    ] = None,
    tilt_series: Annotated[
        bool,
        typer.Option(
            "--tilt-series",
            help="Wait for whole tilt series, and write stacks as 'tilt-series' does. A series is "
            "complete when it has been quiet for a time, or has --tilts exposures.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    quiet: Annotated[
        float,
        typer.Option(
            help="A tilt series of which no file has changed for so long is complete.",
            metavar="MINUTES",
            rich_help_panel=PANEL,
        ),
    ] = 10.0,
    tilts: Annotated[
        int | None,
        typer.Option(
            help="A tilt series with so many exposures is complete when all its movies have not "
            "changed for the time of --settle.",
            metavar="N",
            min=1,
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    name_pattern: NamePattern = None,
    tilt_dose: TiltDose = None,
    tilt_axis: TiltAxis = None,
    save_tilts: SaveTilts = False,
    shared_prior: SharedPrior = True,
    settings: Annotated[
        Path | None,
        typer.Option(
            help="Take parameters from this TOML file, or from the _record.json of an earlier "
            "run; options typed here win.",
            metavar="FILE",
        ),
    ] = None,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Align movies as they appear in a folder, each once it is complete.

    Existing movies are aligned first, unless they are done.
    Ctrl-C finishes the movies in progress and stops; the same command resumes later.
    Exit code: 0 all done, 1 some failed, 2 parameters, 3 input, 4 device.
    """
    options = pop_run_options(values)
    for name, value in (("settle", settle), ("poll", poll), ("idle", idle), ("quiet", quiet)):
        if value is not None and not 0 < value <= MAX_TYPED:
            raise ParameterError(
                f"--{name}: expected more than 0, at most {MAX_TYPED:g}, found {value:g}"
            )
    idle_s = None if idle is None else 60 * idle
    if tilt_series:
        eer_dose = values.pop("eer_dose_per_frame_e_A2")
        wanted = SeriesOptions(None, tilt_dose, tilt_axis, eer_dose, save_tilts, shared_prior)
        from flexalign.batch.watching_series import SeriesWatch

        watched = SeriesWatch(60 * quiet, tilts, settle, pattern or "", name_pattern, poll, idle_s)
        code = watch_series(
            folder, out, watched, wanted, values, options, settings=settings, debug=debug
        )
        raise typer.Exit(code)
    params = collect_parameters(values, settings)
    from flexalign.batch.watching import SIDECAR_SUFFIXES, WatchChoices, Watched

    choices = WatchChoices(
        pattern=pattern or "",
        settle_s=settle,
        poll_s=poll,
        idle_s=idle_s,
        sidecars=SIDECAR_SUFFIXES if sidecar is None else tuple(sidecar),
    )
    references = [Path(name) for name in (params.gain, params.dark, params.defects) if name]
    with Watched(folder, choices, [out, *references]) as source:
        read = [settings] if settings else []
        summary = run_movies(source, params, out, options, debug=debug, inputs=read)
    raise typer.Exit(summary.exit_code)
