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
    """As `project_files.check_run_outputs`, with the report and the log among the outputs.

    Parameters
    ----------
    log : file to which lines are appended
    """
    from flexalign.batch import project_files
    from flexalign.report import live

    pages = [out / name for name in (live.PAGE, live.CSV, live.JSON)]
    others = [*pages, *([] if log is None else [log])]
    project_files.check_run_outputs(out, names, params, inputs, others)
