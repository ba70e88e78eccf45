"""Tilt series for Warp: a tomostar file for each, and links to the averages of their tilts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flexalign.errors import FlexAlignError
from flexalign.io.warp_project import TOMOSTAR_FOLDER, WarpTilt, link_averages, write_tomostar
from flexalign.model import MovieRecord
from flexalign.naming import SUFFIXES
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
        As `link_averages` and `write_tomostar`; the files of the other series are written first.
    """
    written: list[Path] = []
    errors: list[FlexAlignError] = []
    for record in read_series_records(folder):
        try:
            written += _write_one(record, folder, tilts)
        except FlexAlignError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return written


def _write_one(record: SeriesRecord, folder: Path, tilts: str) -> list[Path]:
    """Write the links and the tomostar file of one series, if its tilts have Warp's XML."""
    movies = {movie: MovieRecord.from_dict(plain) for movie, plain in record.movies.items()}
    by_root = {record.roots[path]: movie for path, movie in movies.items()}
    link_averages(folder / tilts, by_root, are_tilts=True)
    rows = list(_rows(record, movies, folder, tilts))
    if not rows:
        return []
    axis = record.series.tilt_axis_deg
    return [write_tomostar(folder / TOMOSTAR_FOLDER, record.series.name, rows, axis)]


def _rows(
    record: SeriesRecord, movies: dict[str, MovieRecord], folder: Path, tilts: str
) -> Iterator[WarpTilt]:
    """The tilts of a series that have an XML file, from the run or from a later export.

    Warp finds the XML file by the name in the tomostar file, and the movie by the folder given in
    the XML file.
    """
    for tilt in record.stacked:
        movie = movies[tilt.movie]
        xml = movie.outputs.get("warp", record.roots[tilt.movie] + SUFFIXES["warp"])
        if (folder / tilts / xml).exists():
            name = Path(xml).stem + Path(tilt.movie).suffix
            yield WarpTilt(
                f"../{tilts}/{name}", tilt.angle_deg, tilt.pre_exposure_e_A2, movie.mean_counts
            )
