"""The table of micrographs, of which the page saves the lines of accepted movies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flexalign.batch.tables import STAR_COMMENT, star_blocks
from flexalign.io.star import star_text
from flexalign.params import AlignParams


def star_parts(folder: str, movies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``micrographs.star`` in parts: the text before the rows, and the row of each movie.

    Parameters
    ----------
    folder : where the micrographs are, as written in the file
    movies : with the values of `flexalign.report.columns.COLUMNS`

    Returns
    -------
    "head" : text
    "rows" : one line for each of `movies`; "" for a movie without a micrograph

    Examples
    --------
    >>> star_parts("aligned", [])["rows"]
    []
    """
    listed = [index for index, movie in enumerate(movies) if movie["micrograph"]]
    rows = [_table_row(movies[index]) for index in listed]
    blocks = star_blocks(folder, rows, AlignParams().voltage_kV)
    lines = star_text(blocks, STAR_COMMENT).rstrip("\n").split("\n")
    first = len(lines) - len(rows)
    lines_of = dict(zip(listed, lines[first:], strict=True))
    return {
        "head": "\n".join([*lines[:first], ""]),
        "rows": [lines_of.get(index, "") for index in range(len(movies))],
    }


def _table_row(movie: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the report as one of the table of micrographs."""
    return {
        **movie,
        "flags": " ".join(movie["flags"]),
        "signal_after_10_7_A": movie["signal_after"],
    }
