"""The command `info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from flexalign.cli.alignment import Settings
from flexalign.cli.console import Debug, run_each
from flexalign.cli.options import collect_parameters, takes_parameters
from flexalign.errors import InputError
from flexalign.files import is_folder


@takes_parameters
def info(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Movies, references (gain, dark, defects), micrographs, alignments of flexalign "
            "or another program, records, or folders of a run.",
            metavar="FILE",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of objects in JSON, one for each file.")
    ] = False,
    read: Annotated[
        bool,
        typer.Option(
            "--read",
            help="Read every frame of movies too: mean counts, and frames that cannot be decoded.",
        ),
    ] = False,
    settings: Settings = None,
    debug: Debug = False,
    **values: Any,
) -> None:
    """Describe files: format, size, frames, pixel size, dose, statistics, quality, counts.

    For a movie, also the plan of its alignment with these options, which are those of 'align'.
    For a damaged one, the error and the number of frames that can be read.
    Exit code: 0 all are intact, 1 some are not, 2 parameters, 3 none is.
    """
    from flexalign.batch.folder_facts import inspect_folder
    from flexalign.io.inspect.inspection import inspect_file
    from flexalign.option_messages import with_options

    params = collect_parameters(values, settings)
    found: list[dict[str, Any]] = []

    def show(path: Path) -> None:
        try:
            if is_folder(path):
                facts = inspect_folder(path)
            else:
                facts = inspect_file(path, params, read=read)
        except InputError as error:
            found.append({"path": str(path), "kind": "unknown", "problem": str(error)})
            raise
        found.append(facts.to_dict())
        if not as_json:
            typer.echo(with_options(facts.describe()) + "\n")
        if facts.problem:
            raise InputError(facts.problem)

    code = run_each(files, show, debug=debug, what="files")
    if as_json:
        typer.echo(with_options(json.dumps(found, indent=1)))
    raise typer.Exit(code)
