"""Outputs of a whole run: checks before it begins, and files for RELION and Warp at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flexalign.batch import gain_gate, tables
from flexalign.batch.inputs import INDEX_NAME
from flexalign.io.motion_formats.exports import read_records
from flexalign.io.relion_project import RELION_TABLE, write_relion_table
from flexalign.io.warp_project import link_averages
from flexalign.io.writing.ledger import refuse_foreign
from flexalign.io.writing.ownership import refuse_inputs
from flexalign.naming import output_names
from flexalign.params import AlignParams


def check_run_outputs(
    out: Path,
    names: Mapping[str, str],
    params: AlignParams,
    inputs: Sequence[Path],
    others: Sequence[Path] = (),
) -> None:
    """Check, before anything is read, that no output would replace an input.

    Parameters
    ----------
    names : of the outputs, by the paths of the movies
    inputs : files read beside movies and references
    others : further files that are written

    Raises
    ------
    InputError
        If an output of one of the movies, or a table, is an input.
    OccupiedError
        If a foreign file has the name of RELION's table, if that is requested.
    """
    if "relion" in params.formats:
        refuse_foreign(out, [RELION_TABLE])
    outputs = [file for name in names.values() for file in output_names(name, params)]
    outputs += [*tables.NAMES, INDEX_NAME, gain_gate.CHECK_NAME, gain_gate.PICTURE_NAME]
    references = (params.gain, params.dark, params.defects)
    written = [*(out / file for file in (*outputs, RELION_TABLE)), *others]
    refuse_inputs(written, [*names, *references, *inputs])


def write_project_files(out: Path, params: AlignParams, report: Callable[[str], None]) -> None:
    """Update what RELION and Warp expect in a folder beside the files of each movie.

    Parameters
    ----------
    report : called with a sentence for each record that cannot be read
    """
    if not {"relion", "warp"} & set(params.formats):
        return
    found = read_records(out, report)
    records = {root: record for root, record in found.items() if "relion" in record.outputs}
    if records and "relion" in params.formats:
        write_relion_table(out, records)
    if "warp" in params.formats:
        link_averages(out, found)
