"""The command line: nothing heavy is imported before a command runs.

`alignment` (align, plan), `tilt_series`, `watching`, `inspection` (info), `reporting`, `gain`,
`interop` (apply, export) with `interop_movies` and `interop_series`, `comparison`, `scoring`
(score), `dividing` (divide), `relion` (a job of RELION) with `relion_series`, `simulation`
(simulate, demo) and `xmipp` are the commands. `options` makes options from the table of
parameters, `option_groups` from dataclasses, as in `run_options`, `series_options` and
`simulation_options`. `checks` refuses outputs that would replace inputs, `running` runs many
movies, `series_run` tilt series, which `signals` stop, `hooks` commands of the user during a run;
`console` prints the progress of one movie, `run_display` that of a run, also to a `log_file` or as
`json_events`, `comparison_output` a comparison, `scoring_output` scores, and `help` how commands
explain themselves.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import Annotated

import typer

from flexalign import __version__
from flexalign.cli.alignment import align, plan
from flexalign.cli.comparison import compare
from flexalign.cli.console import print_error
from flexalign.cli.dividing import divide
from flexalign.cli.gain import check_gain, estimate_gain
from flexalign.cli.help import Command, Group
from flexalign.cli.inspection import info
from flexalign.cli.interop import apply, export
from flexalign.cli.relion import relion_job
from flexalign.cli.reporting import report
from flexalign.cli.scoring import score
from flexalign.cli.simulation import demo, simulate
from flexalign.cli.tilt_series import tilt_series
from flexalign.cli.watching import watch
from flexalign.cli.xmipp import xmipp_install, xmipp_movie_alignment

app = typer.Typer(
    name="flexalign",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=Command, no_args_is_help=True)(align)
app.command(cls=Command, no_args_is_help=True)(plan)
app.command(cls=Command, no_args_is_help=True)(info)
app.command("tilt-series", cls=Command, no_args_is_help=True)(tilt_series)
app.command(cls=Command, no_args_is_help=True)(watch)
app.command(cls=Command, no_args_is_help=True)(report)
app.command("check-gain", cls=Command, no_args_is_help=True)(check_gain)
app.command("estimate-gain", cls=Command, no_args_is_help=True)(estimate_gain)
app.command(cls=Command, no_args_is_help=True)(apply)
app.command(cls=Command, no_args_is_help=True)(export)
app.command(cls=Command, no_args_is_help=True)(compare)
app.command(cls=Command, no_args_is_help=True)(score)
app.command(cls=Command, no_args_is_help=True)(divide)
app.command("relion-job", cls=Command, no_args_is_help=True)(relion_job)
app.command(cls=Command, no_args_is_help=True)(simulate)
app.command(cls=Command)(demo)
app.command(cls=Command, no_args_is_help=True)(xmipp_movie_alignment)
app.command(cls=Command, no_args_is_help=True)(xmipp_install)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flexalign {__version__}")
        raise typer.Exit


@app.callback()
def _flexalign(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Correct beam-induced motion in cryo-EM movies."""


# Allocations between two runs of the cyclic garbage collector; with Python's default of 700 it
# takes half a second per movie.
_GC_THRESHOLD = 20_000


def _configure_process() -> None:
    """Configure garbage collection and BLAS threads for this process."""
    # The matrices are small: more BLAS threads would only spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(_GC_THRESHOLD)
    # No final garbage collection: the process releases all its memory at exit.
    atexit.register(gc.freeze)


def main() -> None:
    """Run the command line; a user error gives one line and an exit code."""
    _configure_process()
    try:
        app()
    except Exception as error:
        # here, outside the command, its own --debug is no longer at hand
        sys.exit(print_error(error, debug="--debug" in sys.argv))
