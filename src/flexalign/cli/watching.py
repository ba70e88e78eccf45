"""The command `watch`: align movies as they appear."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flexalign.cli.console import Debug
from flexalign.cli.options import collect_parameters, takes_parameters
from flexalign.cli.running import MAX_TYPED, pop_run_options, run_movies, takes_run_options
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
    params = collect_parameters(values, settings)
    for name, value in (("settle", settle), ("poll", poll), ("idle", idle)):
        if value is not None and not 0 < value <= MAX_TYPED:
            raise ParameterError(
                f"--{name}: expected more than 0, at most {MAX_TYPED:g}, found {value:g}"
            )
    from flexalign.batch.watching import SIDECAR_SUFFIXES, WatchChoices, Watched

    choices = WatchChoices(
        pattern=pattern or "",
        settle_s=settle,
        poll_s=poll,
        idle_s=None if idle is None else 60 * idle,
        sidecars=SIDECAR_SUFFIXES if sidecar is None else tuple(sidecar),
    )
    references = [Path(name) for name in (params.gain, params.dark, params.defects) if name]
    with Watched(folder, choices, [out, *references]) as source:
        read = [settings] if settings else []
        summary = run_movies(source, params, out, options, debug=debug, inputs=read)
    raise typer.Exit(summary.exit_code)
