"""Checks of outputs against inputs, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flexalign.batch.inputs import INDEX_NAME
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
    from flexalign.batch import gain_gate, tables
    from flexalign.io.relion_project import RELION_TABLE
    from flexalign.io.writing.ledger import refuse_foreign
    from flexalign.io.writing.ownership import refuse_inputs
    from flexalign.naming import output_names
    from flexalign.report import live

    if "relion" in params.formats:
        refuse_foreign(out, [RELION_TABLE])
    outputs = [file for name in names.values() for file in output_names(name, params)]
    outputs += [*tables.NAMES, INDEX_NAME, gain_gate.CHECK_NAME, gain_gate.PICTURE_NAME]
    outputs += [live.PAGE, live.CSV, live.JSON, RELION_TABLE]
    references = (params.gain, params.dark, params.defects)
    written = [*(out / file for file in outputs), *([] if log is None else [log])]
    refuse_inputs(written, [*names, *references, *inputs])
