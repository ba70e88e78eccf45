"""Tilt series for Warp: a tomostar file for each, and links to the averages of their tilts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flexalign.io.warp_project import TOMOSTAR_FOLDER, WarpTilt, link_averages, write_tomostar
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX, SUFFIXES
from flexalign.tilts.record import SeriesRecord, read_series_records


def write_warp_series(folder: Path, tilts: str) -> list[Path]:
    """Write tomostar files for the series of a folder whose tilts have XML files; return the paths.

    Parameters
    ----------
    folder : of the series
    tilts : name of the subfolder with the files of single movies

    Raises
    ------
    FlexAlignError
        As `link_averages` and `write_tomostar`.
    """
    written = []
    for record in read_series_records(folder):
        movies = {movie: MovieRecord.from_dict(plain) for movie, plain in record.movies.items()}
        link_averages(folder / tilts, {_root(movie): movie for movie in movies.values()})
        rows = list(_rows(record, movies, folder, tilts))
        if rows:
            axis = record.series.tilt_axis_deg
            name = record.series.name
            written.append(write_tomostar(folder / TOMOSTAR_FOLDER, name, rows, axis))
    return written


def _root(record: MovieRecord) -> str:
    return record.outputs["record"].removesuffix(RECORD_SUFFIX)


def _rows(
    record: SeriesRecord, movies: dict[str, MovieRecord], folder: Path, tilts: str
) -> Iterator[WarpTilt]:
    """The tilts of a series that have an XML file, from the run or from a later export.

    Warp finds the XML file by the name in the tomostar file, and the movie by the folder given in
    the XML file.
    """
    for tilt in record.stacked:
        movie = movies[tilt.movie]
        xml = movie.outputs.get("warp", _root(movie) + SUFFIXES["warp"])
        if (folder / tilts / xml).exists():
            name = Path(xml).stem + Path(tilt.movie).suffix
            counts = float(movie.decisions["mean_counts"])
            yield WarpTilt(f"../{tilts}/{name}", tilt.angle_deg, tilt.pre_exposure_e_A2, counts)
