"""Checks of outputs against inputs, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flexalign.params import AlignParams


def check_run_outputs(
    out: Path,
    names: Mapping[str, str],
    params: AlignParams,
    inputs: Sequence[Path],
    log: Path | None = None,
) -> None:
    """Check, before anything is read, that no output would replace an input.

    Parameters
    ----------
    names : of the outputs, by the paths of the movies
    inputs : files read beside movies and references
    log : file to which lines are appended

    Raises
    ------
    InputError
        If an output of one of the movies, or a table, is an input.
    OccupiedError
        If a foreign file has the name of RELION's table, if that is requested.
    """
    from flexalign.batch import project_files
    from flexalign.report import live

    pages = [out / name for name in (live.PAGE, live.CSV, live.JSON)]
    others = [*pages, *([] if log is None else [log])]
    project_files.check_run_outputs(out, names, params, inputs, others)
