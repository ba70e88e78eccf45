"""Read tilt series from mdoc files, RELION's tables, or the names of movies."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flexalign.errors import FlexAlignError, InputError, ParameterError
from flexalign.files import exists, is_folder
from flexalign.io.mdoc import Mdoc, base_name, number_of, numbers_of, read_mdoc, time_of
from flexalign.io.read_errors import reading
from flexalign.io.relion_tilt_series import (
    ANGLE,
    AXIS,
    BEFORE,
    MOVIE,
    MOVIE_PIXEL,
    TABLE,
    TILT_DOSE,
    VOLTAGE,
    ListedSeries,
    listed_series,
)
from flexalign.io.star import listed_paths, read_star
from flexalign.naming import MOVIE_EXTENSIONS, movie_root
from flexalign.tilts.exposures import section_dose_e_A2
from flexalign.tilts.model import STACK_TITLE, Exposure, Source

MDOC_SUFFIX = ".mdoc"
# In a folder, an mdoc file with fewer tilted images is taken to be that of a movie or a map.
MIN_TILTS_IN_FOLDER = 2
_FIELDS = {
    "series": r"(?P<series>.+)",
    "order": r"(?P<order>\d{1,6})",
    "angle": r"(?P<angle>[-+]?\d{1,3}(?:\.\d+)?)",
}
Problem = tuple[str, FlexAlignError]


def read_sources(
    arguments: Sequence[str], pattern: str | None = None
) -> tuple[list[Source], list[Problem]]:
    """The series given by `arguments`, and those that cannot be read, with the reason.

    Parameters
    ----------
    arguments : mdoc files, RELION's ``tilt_series.star``, folders of mdoc files, quoted patterns;
        with `pattern` movies and folders of movies
    pattern : of the names of movies, such as ``{series}_{order}_{angle}``

    Raises
    ------
    InputError
        If an argument matches nothing.
    ParameterError
        If `pattern` lacks a field.
    """
    named = [path for argument in arguments for path in _paths_of(argument, pattern)]
    paths = list({path.absolute(): path for path in named}.values())  # one file once
    if pattern is not None:
        found = named_sources(paths, pattern)
        if not found:
            raise InputError(
                f"{arguments[0]}: expected movies whose names are as {pattern}, found none"
            )
        return found, []
    sources: list[Source] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            sources += star_sources(path) if path.suffix == ".star" else [mdoc_source(path)]
        except FlexAlignError as error:
            problems.append((str(path), error))
    return sources, problems


def _paths_of(argument: str, pattern: str | None) -> list[Path]:
    """The files given by one argument."""
    path = Path(argument)
    if is_folder(path) and pattern is not None:
        found = [file for file in sorted(path.rglob("*")) if file.is_file()]
    elif is_folder(path):
        found = sorted(file for file in path.glob(f"*{MDOC_SUFFIX}") if is_series_mdoc(file))
    elif glob.has_magic(argument) and not exists(path):
        # Path.glob takes no absolute patterns
        found = sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207
    else:
        found = [path]
    if not found:
        raise InputError(
            f"{argument}: expected tilt series (mdoc files with tilt angles) there, found none; "
            "for movies without mdoc files give --name-pattern"
        )
    return found


def is_series_mdoc(path: Path) -> bool:
    """Whether an mdoc file in a folder is that of a tilt series not written by flexalign."""
    try:
        mdoc = read_mdoc(path)
    except FlexAlignError:
        return True  # reading it reports the error
    is_ours = any(title.endswith(STACK_TITLE) for title in mdoc.titles)
    angles = sum(s.kind == "ZValue" and "TiltAngle" in s.items for s in mdoc.sections)
    return angles >= MIN_TILTS_IN_FOLDER and not is_ours


def series_name(path: Path) -> str:
    """The name of a series from that of its file.

    Examples
    --------
    >>> series_name(Path("a/TS_01.mrc.mdoc")), series_name(Path("Position_1_2.mdoc"))
    ('TS_01', 'Position_1_2')
    """
    name = path.name.removesuffix(path.suffix)
    return movie_root(name) if Path(name).suffix.lower() in MOVIE_EXTENSIONS else name


def mdoc_source(path: Path) -> Source:
    """The series of an mdoc file.

    Raises
    ------
    InputError
        If it is not an mdoc file, or has no image with a tilt angle.
    """
    mdoc = read_mdoc(path)
    images = [section for section in mdoc.sections if section.kind == "ZValue"]
    if not any(number_of(section.items.get("TiltAngle")) is not None for section in images):
        raise InputError(
            f"{path}: expected the mdoc of a tilt series, [ZValue = n] with TiltAngle, found "
            f"{len(mdoc.sections)} sections without: is it that of a movie or a map?"
        )
    pixel_A = _header_number(mdoc, "PixelSpacing")
    size = [int(side) for side in numbers_of(mdoc.items.get("ImageSize"))]
    exposures = tuple(
        Exposure(
            number=section.number,
            angle_deg=number_of(section.items.get("TiltAngle")),
            movie_name=_movie_name(section.items.get("SubFramePath", "")),
            time=time_of(section.items.get("DateTime")),
            dose_e_A2=section_dose_e_A2(section.items, pixel_A),
            section=section.items,
        )
        for section in images
    )
    gains = (base_name(section.items.get("GainReference", "")) for section in mdoc.sections)
    return Source(
        name=series_name(path),
        path=path,
        exposures=exposures,
        pixel_size_A=pixel_A,
        image_size_px=(size[0], size[1]) if len(size) == 2 and min(size) > 0 else None,
        voltage_kV=_header_number(mdoc, "Voltage"),
        tilt_axis_deg=mdoc.tilt_axis_deg,
        gain_name=next((gain for gain in gains if gain), ""),
        titles=mdoc.titles,
    )


def _movie_name(name_in_mdoc: str) -> str:
    """The path of a movie as given in the file; "" if there is none."""
    return name_in_mdoc if base_name(name_in_mdoc) not in ("", "None", "NONE") else ""


def _header_number(mdoc: Mdoc, name: str) -> float | None:
    """A positive number from the header, or from the first section that has it."""
    places: Iterable[Mapping[str, str]] = (mdoc.items, *(s.items for s in mdoc.sections))
    numbers = (number_of(items.get(name)) for items in places)
    return next((number for number in numbers if number is not None and number > 0), None)


def star_sources(path: Path) -> list[Source]:
    """The series of RELION's ``tilt_series.star``, or of a single table of tilts.

    Raises
    ------
    InputError
        If there are no tilt series in it, or a table is missing.
    """
    with reading(path, "RELION's tilt series"):
        blocks = read_star(path)
        listed = listed_series(path, blocks)
        if listed:
            return listed_sources(listed)
        tilts = {name: table for name, table in blocks.items() if MOVIE in table}
        if not any(ANGLE in table for table in tilts.values()):
            raise InputError(
                f"{path}: expected tilt series of RELION 5, a column _{TABLE} or, for one series, "
                f"_{MOVIE} and _{ANGLE}; found neither"
            )
        alone = [_star_source(path, name or path.stem, table, {}) for name, table in tilts.items()]
        return [replace(source, shares_file=len(alone) > 1) for source in alone]


def listed_sources(listed: Sequence[ListedSeries]) -> list[Source]:
    """The series of a list of RELION, in its order."""
    files = Counter(series.path for series in listed)
    return [
        replace(
            _star_source(series.path, series.name, series.tilts, series.common),
            shares_file=files[series.path] > 1,
        )
        for series in listed
    ]


def _star_source(
    path: Path, name: str, table: Mapping[str, list[str]], common: Mapping[str, str]
) -> Source:
    """The series of one table of RELION."""
    count = len(table[MOVIE])
    before = table.get(BEFORE, [""] * count)
    movies = listed_paths(path, table[MOVIE])
    dose_e_A2 = number_of(common.get(TILT_DOSE))
    exposures = tuple(
        Exposure(
            number=row + 1,
            angle_deg=number_of(table[ANGLE][row]),
            movie_name=movie.name,
            dose_e_A2=dose_e_A2 if dose_e_A2 and dose_e_A2 > 0 else None,
            pre_exposure_e_A2=number_of(before[row]),
            movie=movie,
        )
        for row, movie in enumerate(movies)
    )
    axes = table.get(AXIS, [""])
    return Source(
        name=name,
        path=path,
        exposures=exposures,
        pixel_size_A=number_of(common.get(MOVIE_PIXEL)),
        voltage_kV=number_of(common.get(VOLTAGE)),
        tilt_axis_deg=number_of(axes[0]),
        pixel_is_rendered=True,
    )


def named_sources(movies: Sequence[Path], pattern: str) -> list[Source]:
    """The series of movies, from their names.

    Parameters
    ----------
    pattern : of names without extensions, with the fields ``{series}``, ``{order}`` and
        ``{angle}``; ``*`` matches anything

    Raises
    ------
    ParameterError
        If a field is missing or occurs twice.

    Examples
    --------
    >>> names = [Path(f"TS_1_{i:03}_{a}_x.tif") for i, a in enumerate(("0.0", "-3.0"), 1)]
    >>> found = named_sources(names, "{series}_{order}_{angle}_*")
    >>> found[0].name, [e.angle_deg for e in found[0].exposures]
    ('TS_1', [0.0, -3.0])
    """
    rule = re.compile(_rule(pattern))
    series: dict[tuple[Path, str], list[Exposure]] = {}
    for movie in movies:
        found = rule.fullmatch(movie_root(movie.name))
        if found is None or movie.suffix.lower() == MDOC_SUFFIX:
            continue
        exposure = Exposure(
            number=int(found["order"]),
            angle_deg=float(found["angle"]),
            movie_name=movie.name,
            movie=movie,
        )
        series.setdefault((movie.parent, found["series"]), []).append(exposure)
    return [Source(name, folder, tuple(found)) for (folder, name), found in series.items()]


def _rule(pattern: str) -> str:
    """The regular expression of a pattern of names."""
    for name in _FIELDS:
        if pattern.count(f"{{{name}}}") != 1:
            raise ParameterError(
                f"--name-pattern: expected {{series}}, {{order}} and {{angle}} once each, such as "
                f"'{{series}}_{{order}}_{{angle}}*', found '{pattern}'"
            )
    parts = re.split(r"(\{\w+\}|\*)", pattern)
    fields = {f"{{{name}}}": text for name, text in _FIELDS.items()} | {"*": ".*"}
    return "".join(fields.get(part, re.escape(part)) for part in parts)
