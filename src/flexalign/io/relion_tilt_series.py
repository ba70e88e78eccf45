"""RELION 5's tables of tilt series: those of its Import job, and those of a motion correction.

A list, block ``global``, has a row for each series and names a file with the table of its tilts,
whose block is named after the series.  Motion correction keeps the columns of both and adds some;
tilts are in the order of their pre-exposure.

References
----------
https://github.com/3dem/relion, branch ver5.0: src/jaz/tomography/tomogram_set.cpp (what is read,
and that a job names the tables anew in its folder) and src/pipeline_jobs.h (types of nodes).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flexalign.errors import InputError
from flexalign.io.mdoc import number_of
from flexalign.io.motion_formats.relion import RelionMicrograph
from flexalign.io.read_errors import reading
from flexalign.io.star import Blocks, listed_paths, read_star, star_loop, write_star
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.io.writing.ownership import refuse_inputs

TABLE, NAME = "rlnTomoTiltSeriesStarFile", "rlnTomoName"
MOVIE, ANGLE = "rlnMicrographMovieName", "rlnTomoNominalStageTiltAngle"
BEFORE, AXIS = "rlnMicrographPreExposure", "rlnTomoNominalTiltAxisAngle"
MOVIE_PIXEL, PIXEL = "rlnMicrographOriginalPixelSize", "rlnTomoTiltSeriesPixelSize"
VOLTAGE, TILT_DOSE = "rlnVoltage", "rlnTomoImportFractionalDose"
# Columns that RELION requires in any list of series.
_NEEDED = (VOLTAGE, "rlnSphericalAberration", "rlnAmplitudeContrast", MOVIE_PIXEL)

CORRECTED_TABLE = "corrected_tilt_series.star"
TABLES_FOLDER = "tilt_series"
NODE_LABEL = "TomogramGroupMetadata.star.relion.tomo.motioncorr"


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """One series of a list.

    Attributes
    ----------
    name : of the series, and of the block with its tilts
    path : of the file with that block
    common : its row of the list
    tilts : the columns of the block
    """

    name: str
    path: Path
    common: Mapping[str, str]
    tilts: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class CorrectedSeries:
    """The results of one series.

    Attributes
    ----------
    listed : as it was read
    file_name : of its new table
    pixel_size_A : of the micrographs
    micrographs : by the row of the tilt in the table that was read, from 0
    """

    listed: ListedSeries
    file_name: str
    pixel_size_A: float
    micrographs: Mapping[int, RelionMicrograph]


def is_series_list(path: str | Path) -> bool:
    """Whether a file is a list of tilt series.

    Raises
    ------
    InputError
        If it is no STAR file.
    """
    return any(TABLE in table and NAME in table for table in read_star(path).values())


def listed_series(path: str | Path, blocks: Blocks) -> list[ListedSeries]:
    """The series of a list, each with its own table; empty where `blocks` have no such list.

    Raises
    ------
    InputError
        If the table of a series is missing, or has no movies and angles.
    """
    found = []
    for table in blocks.values():
        if TABLE not in table or NAME not in table:
            continue
        rows = zip(table[NAME], listed_paths(path, table[TABLE]), strict=True)
        for index, (name, file) in enumerate(rows):
            tables = {n: t for n, t in read_star(file).items() if MOVIE in t and ANGLE in t}
            if not tables:
                raise InputError(f"{file}: expected columns _{MOVIE} and _{ANGLE}, found none")
            common = {label: column[index] for label, column in table.items()}
            tilts = tables.get(name, next(iter(tables.values())))
            found.append(ListedSeries(name, file, common, tilts))
    return found


def read_series_list(path: str | Path) -> list[ListedSeries]:
    """The series of RELION's list for a motion correction, which has all that RELION needs later.

    Raises
    ------
    InputError
        If there are none, one is listed twice, or a column is missing.
    """
    with reading(path, "RELION's list of tilt series"):
        found = listed_series(path, read_star(path))
        if not found:
            raise InputError(f"{path}: expected tilt series, found none in the list")
        names = Counter(series.name.casefold() for series in found)
        for series in found:
            if names[series.name.casefold()] > 1:
                raise InputError(
                    f"{path}: expected series of different names, found {series.name} twice"
                )
            missing = [(path, label) for label in _NEEDED if label not in series.common]
            missing += [(series.path, BEFORE)] if BEFORE not in series.tilts else []
            for file, label in missing:
                raise InputError(
                    f"{file}: expected the columns that RELION 5 writes on import, found none of "
                    f"the name _{label}; import the series with RELION"
                )
    return found


def corrected_table(
    listed: ListedSeries, micrographs: Mapping[int, RelionMicrograph]
) -> dict[str, list[object]]:
    """The table of the tilts of a series that have a micrograph, in the order of pre-exposure.

    The micrographs are the unweighted ones.  A column for spectra or for even and odd frames is
    there if all tilts have such a file.
    """
    before = [number_of(word) or 0.0 for word in listed.tilts[BEFORE]]
    rows = sorted(micrographs, key=lambda row: (before[row], row))
    found = [micrographs[row] for row in rows]
    columns: dict[str, list[object]] = {
        label: [words[row] for row in rows] for label, words in listed.tilts.items()
    }
    optional = {
        "rlnCtfPowerSpectrum": [one.power_spectrum for one in found],
        "rlnMicrographNameEven": [one.even for one in found],
        "rlnMicrographNameOdd": [one.odd for one in found],
    }
    for label, names in optional.items():
        columns.pop(label, None)
        if None not in names:
            columns[label] = list(names)
    columns["rlnMicrographName"] = [one.not_weighted or one.name for one in found]
    columns["rlnMicrographMetadata"] = [one.metadata for one in found]
    for index, part in enumerate(("Total", "Early", "Late")):
        columns[f"rlnAccumMotion{part}"] = [one.motion_A[index] for one in found]
    return columns


def check_tables(job: Path, series: Sequence[ListedSeries], source: Path) -> None:
    """Check, before anything is computed, that the tables of a job can be written.

    Parameters
    ----------
    source : list from which the series were read

    Raises
    ------
    InputError
        If one is what was read.
    OccupiedError
        If a foreign file has the name of one.
    """
    tables = [job / TABLES_FOLDER / f"{one.name}.star" for one in series]
    refuse_inputs([job / CORRECTED_TABLE, *tables], [source, *(one.path for one in series)])
    refuse_foreign(job, [CORRECTED_TABLE])
    refuse_foreign(job / TABLES_FOLDER, [f"{one.name}.star" for one in series])


def write_corrected_series(job: Path, series: Sequence[CorrectedSeries]) -> Path:
    """Write the tables of a motion correction job; the path of the list.

    Names in them begin with `job` as given, which should be relative to RELION's project.

    Raises
    ------
    OccupiedError
        If a foreign file has the name of a table.
    OutputError
        If one cannot be written.
    """
    refuse_foreign(job / TABLES_FOLDER, [one.file_name for one in series])
    (job / TABLES_FOLDER).mkdir(exist_ok=True)
    for one in series:
        table = corrected_table(one.listed, one.micrographs)
        with replacing_listed(job / TABLES_FOLDER / one.file_name) as temporary:
            write_star(temporary, [star_loop(one.listed.name, table)], "written by flexalign")
    labels = list(dict.fromkeys(label for one in series for label in one.listed.common))
    columns: dict[str, list[object]] = {
        label: [one.listed.common.get(label, "None") for one in series]
        for label in labels
        if label != PIXEL
    }
    columns[TABLE] = [os.path.join(job, TABLES_FOLDER, one.file_name) for one in series]  # noqa: PTH118
    columns[PIXEL] = [one.pixel_size_A for one in series]
    refuse_foreign(job, [CORRECTED_TABLE])
    with replacing_listed(job / CORRECTED_TABLE) as temporary:
        write_star(temporary, [star_loop("global", columns)], "written by flexalign")
    return job / CORRECTED_TABLE
