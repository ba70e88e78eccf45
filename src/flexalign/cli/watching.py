"""The command `watch`: align movies as they appear."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexalign.cli.alignment import Settings
from flexalign.cli.console import Debug
from flexalign.cli.option_groups import takes_options
from flexalign.cli.options import collect_parameters, given_parameters, takes_parameters
from flexalign.cli.run_options import RunOptions, check_positive
from flexalign.cli.running import Request, run_movies
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

if TYPE_CHECKING:
    from flexalign.batch.watching import WatchChoices
    from flexalign.batch.watching_series import SeriesWatch


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """When a movie is complete, and when to stop."""

    pattern: Annotated[
        str | None,
        typer.Option(
            help="Only movies whose relative path matches, such as '*_fractions.tiff'. Default: "
            "all movies.",
            metavar="PATTERN",
            show_default=False,
        ),
    ] = None
    settle: Annotated[
        float,
        typer.Option(help="A movie is complete if unchanged for this long.", metavar="SECONDS"),
    ] = 15.0
    sidecar: Annotated[
        list[str] | None,
        typer.Option(
            help="A movie is complete at once if there is a file of its name with this suffix "
            "that is not older; may be repeated. Default: .mdoc and .xml.",
            metavar="SUFFIX",
            show_default=False,
        ),
    ] = None
    poll: Annotated[
        float,
        typer.Option(
            help="Maximum interval between listings of the folder, if there are no change "
            "notifications.",
            metavar="SECONDS",
        ),
    ] = 10.0
    idle: Annotated[
        float | None,
        typer.Option(
            help="Stop after this long without a new movie. Default: continue until Ctrl-C.",
            metavar="MINUTES",
            show_default=False,
        ),
    ] = None

    def __post_init__(self) -> None:
        for name in ("settle", "poll", "idle"):
            check_positive(name, getattr(self, name))

    @property
    def idle_s(self) -> float | None:
        """Seconds without a new movie after which to stop; None = never."""
        return None if self.idle is None else 60 * self.idle

    def opening(self, folder: Path) -> str:
        """What is watched, when a movie is complete, and what ends it."""
        choices = self.choices()
        sidecars = " or ".join(choices.sidecars)
        beside = f", or has {sidecars} beside it that is not older" if sidecars else ""
        which = f"movies {choices.pattern}" if choices.pattern else "movies"
        ends = "" if self.idle is None else f" or {self.idle:g} minutes without a new movie"
        return (
            f"watching {folder} and its subfolders for {which}; a movie is complete when it is "
            f"unchanged for {choices.settle_s:g} s, was renamed into place{beside}; "
            f"until Ctrl-C{ends}"
        )

    def choices(self) -> WatchChoices:
        """The options as the source of movies takes them."""
        from flexalign.batch.watching import WatchChoices
        from flexalign.io.inspect.sidecars import SIDECAR_SUFFIXES

        return WatchChoices(
            pattern=self.pattern or "",
            settle_s=self.settle,
            poll_s=self.poll,
            idle_s=self.idle_s,
            sidecars=SIDECAR_SUFFIXES if self.sidecar is None else _suffixes(self.sidecar),
        )


def _suffixes(words: list[str]) -> tuple[str, ...]:
    """Suffixes of file names; words of letters and digits, such as xml, are without their dot."""
    return tuple(f".{word}" if word.isalnum() else word for word in words)


@dataclass(frozen=True, slots=True)
class SeriesWatchOptions:
    """Whether to wait for tilt series, and when one is complete."""

    tilt_series: Annotated[
        bool,
        typer.Option(
            "--tilt-series",
            help="Wait for whole tilt series, and write stacks as 'tilt-series' does. A series is "
            "complete when unchanged for the time of --quiet, or with --tilts exposures.",
            rich_help_panel=PANEL,
        ),
    ] = False
    quiet: Annotated[
        float,
        typer.Option(
            help="A tilt series is complete if none of its files changed for this long.",
            metavar="MINUTES",
            rich_help_panel=PANEL,
        ),
    ] = 10.0
    tilts: Annotated[
        int | None,
        typer.Option(
            help="A tilt series with this many exposures is complete when its movies have not "
            "changed for the time of --settle.",
            metavar="N",
            min=1,
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    name_pattern: NamePattern = None
    tilt_dose: TiltDose = None
    tilt_axis: TiltAxis = None
    save_tilts: SaveTilts = False
    shared_prior: SharedPrior = True

    def __post_init__(self) -> None:
        check_positive("quiet", self.quiet)

    def watched(self, watch: WatchOptions) -> SeriesWatch:
        """The options as the source of series takes them."""
        from flexalign.batch.watching_series import SeriesWatch

        return SeriesWatch(
            60 * self.quiet, self.tilts, watch.settle, watch.pattern or "", self.name_pattern,
            watch.poll, watch.idle_s,
        )  # fmt: skip

    def opening(self, folder: Path, watch: WatchOptions) -> str:
        """What is watched, when a series is complete, and what ends it."""
        counted = "" if self.tilts is None else f", or has {self.tilts} exposures"
        ends = "" if watch.idle is None else f" or {watch.idle:g} minutes without a new movie"
        return (
            f"watching {folder} and its subfolders for tilt series; a series is complete when it "
            f"is unchanged for {self.quiet:g} minutes{counted}; until Ctrl-C{ends}"
        )

    def options(self, eer_dose: float | None) -> SeriesOptions:
        """The options that `tilt-series` has too."""
        return SeriesOptions(
            None, self.tilt_dose, self.tilt_axis, eer_dose, self.save_tilts, self.shared_prior
        )


@takes_parameters
@takes_options
def watch(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder in which movies appear, including subfolders.", metavar="DIR"),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the outputs.", metavar="DIR")],
    watching: WatchOptions,
    series: SeriesWatchOptions,
    settings: Settings = None,
    debug: Debug = False,
    *,
    options: RunOptions,
    **values: Any,
) -> None:
    """Align movies as they appear in a folder, each once it is complete.

    Existing movies are aligned first, unless they are done. Pixel size, voltage and dose that are
    not given are taken from the .mdoc or EPU XML beside a movie.
    Ctrl-C finishes the movies in progress and stops; the same command resumes later.
    Exit code: 0 all done, 1 some failed, 2 parameters, 3 input, 4 device, 130 stopped by Ctrl-C.
    """
    read = [settings] if settings else []
    request = Request(out, options, debug=debug, inputs=read, opening=watching.opening(folder))
    if series.tilt_series:
        wanted = series.options(values.pop("eer_dose_per_frame_e_A2"))
        code = watch_series(
            folder, series.watched(watching), wanted, values,
            replace(request, opening=series.opening(folder, watching)), settings=settings,
        )  # fmt: skip
        raise typer.Exit(code)
    params = collect_parameters(values, settings)
    from flexalign.batch.watching import Watched

    references = [Path(name) for name in (params.gain, params.dark, params.defects) if name]
    with Watched(folder, watching.choices(), [out, *references]) as source:
        summary = run_movies(source, params, request, given=given_parameters(values, settings))
    raise typer.Exit(summary.exit_code)
