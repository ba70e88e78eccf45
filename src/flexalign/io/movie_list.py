"""RELION's list of movies, with the parameters of each from its columns and optics group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexalign.errors import InputError, ParameterError
from flexalign.io.read_errors import reading
from flexalign.io.star import listed_paths, read_star
from flexalign.params import AlignParams

MOVIE, GROUP = "rlnMicrographMovieName", "rlnOpticsGroup"
_NUMBERS = {
    "rlnMicrographOriginalPixelSize": "pixel_size_A",
    "rlnVoltage": "voltage_kV",
    "rlnMicrographPreExposure": "pre_exposure_e_A2",
    "rlnMicrographDoseRate": "dose_per_frame_e_A2",
}
_FILES = {"rlnMicrographGainName": "gain", "rlnMicrographDefectFile": "defects"}
_NONE = ("", "None", "none")


@dataclass(frozen=True, slots=True)
class ListedMovie:
    """One row of a list.

    Attributes
    ----------
    name : as in the list
    path : path of the movie, see `listed_paths`
    optics_group : its number; 1 if there are no groups
    parameters : parameters from the list, by the names of `AlignParams`; the pixel size is that of
        the frames that RELION renders
    """

    name: str
    path: Path
    optics_group: int = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def own_parameters(self, params: AlignParams) -> dict[str, Any]:
        """The parameters as in `AlignParams`, whose pixel size is that of the camera.

        As in RELION, the pre-exposure of `params` is added to that in the list.
        """
        own = dict(self.parameters)
        if "pixel_size_A" in own and self.path.suffix.lower() == ".eer":
            own["pixel_size_A"] *= params.eer_upsampling
        if "pre_exposure_e_A2" in own:
            own["pre_exposure_e_A2"] += params.pre_exposure_e_A2
        return own


def read_movie_list(source: str | Path) -> list[ListedMovie]:
    """The movies of a STAR file, in order; optics groups without movies are skipped.

    Raises
    ------
    InputError
        If the file lists no movies, a value is out of its limits, or a movie's optics group is
        missing.
    """
    with reading(source, "RELION's list of movies"):
        blocks = read_star(source)
        tables = [table for table in blocks.values() if MOVIE in table]
        if not tables:
            raise InputError(f"expected movies of RELION, a column _{MOVIE}; found none")
        groups = _groups(blocks.get("optics", {}))
        return [movie for table in tables for movie in _rows(table, groups, source)]


def _groups(table: Mapping[str, list[str]]) -> dict[int, dict[str, str]]:
    """The optics groups by their numbers."""
    if not table:
        return {}
    numbers = [_group_number(word) for word in table.get(GROUP, ["1"])]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"expected each _{GROUP} once among the optics groups, found one twice")
    return {number: _row(table, index) for index, number in enumerate(numbers)}


def _group_number(word: str) -> int:
    """The number of an optics group."""
    if not word.isdecimal() or len(word) > 9:
        raise ValueError(f"expected numbers in the column _{GROUP}, found {word:.40}")
    return int(word)


def _rows(
    table: Mapping[str, list[str]], groups: Mapping[int, dict[str, str]], source: str | Path
) -> Iterator[ListedMovie]:
    """The movies in one table."""
    names = table[MOVIE]
    numbers = [_group_number(word) for word in table.get(GROUP, ["1"] * len(names))]
    checked: set[tuple[Any, ...]] = set()
    for index, (name, path) in enumerate(zip(names, listed_paths(source, names), strict=True)):
        number = numbers[index]
        if groups and number not in groups:
            raise ValueError(
                f"expected {name:.200} in an optics group, found none with number {number}"
            )
        words = {**groups.get(number, {}), **_row(table, index)}
        parameters = dict(_values(words, source))
        if (key := tuple(parameters.items())) not in checked:
            _check(name, parameters)
            checked.add(key)
        yield ListedMovie(name, path, number, parameters)


def _row(table: Mapping[str, list[str]], index: int) -> dict[str, str]:
    """The values of a row that are parameters."""
    return {label: table[label][index] for label in (*_NUMBERS, *_FILES) if label in table}


def _values(words: Mapping[str, str], source: str | Path) -> Iterator[tuple[str, Any]]:
    """Names and values of the parameters in a row."""
    for label, word in words.items():
        if label in _FILES:
            if word not in _NONE:
                (path,) = listed_paths(source, [word])
                yield _FILES[label], str(path.absolute())
            continue
        try:
            value = float(word)
        except ValueError:
            raise ValueError(f"expected numbers in the column _{label}, found {word:.40}") from None
        # A dose of zero in the list means unknown.
        if value or label != "rlnMicrographDoseRate":
            yield _NUMBERS[label], value


def _check(name: str, parameters: Mapping[str, Any]) -> None:
    """Raise `InputError` unless the values are valid."""
    try:
        AlignParams(**parameters)
    except ParameterError as error:
        raise InputError(f"{name:.200}: {error}, in the list of movies") from error
