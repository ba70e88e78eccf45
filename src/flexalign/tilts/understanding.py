"""Interpret a series as read: find and open its movies, determine doses and parameters."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flexalign.errors import FlexAlignError
from flexalign.files import exists
from flexalign.io.movies.open_movie import open_for, open_movie
from flexalign.io.writing.ownership import resolved
from flexalign.model import MovieInfo
from flexalign.params import AlignParams
from flexalign.tilts.exposures import in_order, tilts_of, without_repeats
from flexalign.tilts.finding import MovieIndex
from flexalign.tilts.model import Exposure, Source, Tilt, TiltSeries

EER_DOSE_E_A2 = 0.3
# Relative difference above which two pixel sizes count as different.
PIXEL_SIZE_TOLERANCE = 0.02
# Possible ratios of the side of a movie to that of the microscope's image of it.
_SIZES = (0.25, 0.5, 1.0, 2.0, 4.0)
_SIZE_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class SeriesChoices:
    """Options for all series.

    Attributes
    ----------
    movies : folder of the movies; None = that of the mdoc
    tilt_dose_e_A2 : of each exposure; None = from the source
    tilt_axis_deg : None = from the source
    eer_dose_e_A2 : of a frame of an EER movie; None = from the parameters
    given : parameters given as options or in the settings, which take precedence over the source
    others : folders that are excluded from the search for movies
    has_options : whether the user can give dose, tilt axis and pixel size, as notes recommend
    """

    movies: Path | None = None
    tilt_dose_e_A2: float | None = None
    tilt_axis_deg: float | None = None
    eer_dose_e_A2: float | None = EER_DOSE_E_A2
    given: frozenset[str] = frozenset()
    others: tuple[Path, ...] = ()
    has_options: bool = True


def understand_all(
    sources: Iterable[Source], params: AlignParams, choices: SeriesChoices
) -> Iterator[TiltSeries]:
    """As `understand`, for several series; each folder is listed only once."""
    indexes: dict[Path, MovieIndex] = {}
    for source in sources:
        folder = choices.movies or _folder(source)
        if folder not in indexes:
            indexes[folder] = MovieIndex([folder], choices.others)
        yield understand(source, params, choices, indexes[folder])


def _folder(source: Source) -> Path:
    """The default folder in which the movies of a series are searched."""
    path = source.path.absolute()
    return path if path.is_dir() else path.parent


def understand(
    source: Source, params: AlignParams, choices: SeriesChoices, index: MovieIndex | None = None
) -> TiltSeries:
    """The series, its tilts in order of exposure, and the parameters of each movie.

    Only the headers of the movies are read.

    Parameters
    ----------
    index : of the files among which the movies are; None = create one
    """
    ordered = in_order(source.exposures)
    tilts, dose_notes = tilts_of(
        ordered.exposures, choices.tilt_dose_e_A2, has_options=choices.has_options
    )
    notes = [*ordered.notes, *dose_notes]
    before = params.pre_exposure_e_A2
    tilts = [replace(t, pre_exposure_e_A2=before + t.pre_exposure_e_A2) for t in tilts]
    index = index or MovieIndex([choices.movies or _folder(source)], choices.others)
    tilts = [_found(t, e, index) for t, e in zip(tilts, ordered.exposures, strict=True)]
    common = _common(source, index, choices.given, notes)
    opened = [
        _opened(tilt, source, params, common, choices) if tilt.may_be_used else _Opened(tilt)
        for tilt in without_repeats(tilts)
    ]
    notes += _size_notes((one.differing_A for one in opened), has_option=choices.has_options)
    axis = choices.tilt_axis_deg if choices.tilt_axis_deg is not None else source.tilt_axis_deg
    if axis is None:
        advice = ": give --tilt-axis" if choices.has_options else ""
        notes.append(f"the direction of the tilt axis is not known{advice}")
    path = source.path.absolute()
    return TiltSeries(
        name=source.name,
        source=str(path / source.name if source.shares_file or path.is_dir() else path),
        tilts=tuple(without_repeats([one.tilt for one in opened])),
        parameters=common,
        own={one.tilt.movie: dict(one.values) for one in opened if one.values},
        tilt_axis_deg=math.nan if axis is None else axis,
        titles=source.titles,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A tilt, with parameters from the header of its movie.

    Attributes
    ----------
    values : parameters of the movie; empty if it is not used
    differing_A : pixel sizes of source and header where they differ, rounded
    """

    tilt: Tilt
    values: Mapping[str, Any] = field(default_factory=dict)
    differing_A: tuple[float, float] | None = None


def _opened(
    tilt: Tilt,
    source: Source,
    params: AlignParams,
    common: Mapping[str, Any],
    choices: SeriesChoices,
) -> _Opened:
    """`tilt` with the number of its frames and its parameters, or left out as unreadable."""
    try:
        info = _info(tilt.movie, params)
        values = _own(tilt, info, source, choices, params.eer_upsampling)
        own = replace(params, **{**common, **values})  # raises if the source's numbers cannot be
        counts = _frame_counts(tilt.movie, info, own)
    except FlexAlignError as error:
        return _Opened(tilt.without("unreadable", str(error)))
    tilt = replace(tilt, frame_count=counts[0], leftover_raw_frames=counts[1])
    return _Opened(tilt, values, _differing_A(values, info))


def _size_notes(sizes_A: Iterable[tuple[float, float] | None], *, has_option: bool) -> list[str]:
    """Notes where the pixel sizes of source and movies differ."""
    advice = "; give `pixel_size_A` if it is wrong" if has_option else ""
    return [
        f"the pixel size is {given_A:.4g} A by the metadata and {header:.4g} A by the movies: that "
        f"of the metadata is used{advice}"
        for given_A, header in sorted({pair for pair in sizes_A if pair is not None})
    ]


def _found(tilt: Tilt, exposure: Exposure, index: MovieIndex) -> Tilt:
    """`tilt` with its movie, or left out where that is missing."""
    if not tilt.is_used:
        return tilt
    if exposure.movie is not None and exists(exposure.movie):
        return replace(tilt, movie=str(exposure.movie.absolute()))
    path, why = index.find(exposure.movie_name)
    name = path.name if path is not None else tilt.movie_name
    if path is None:
        return tilt.without("missing", why)
    return replace(tilt, movie=str(path), movie_name=name)


def _common(
    source: Source, index: MovieIndex, given: Collection[str], notes: list[str]
) -> dict[str, Any]:
    """The parameters that the source gives for all its movies, unless the user gave them."""
    found: dict[str, Any] = {}
    if source.voltage_kV is not None and "voltage_kV" not in given:
        found["voltage_kV"] = source.voltage_kV
    if source.gain_name and "gain" not in given:
        path, why = index.find(source.gain_name)
        if path is None:
            notes.append(f"the mdoc names a gain reference, but {why}: give `gain` if there is one")
        else:
            found["gain"] = str(path)
            notes.append(f"gain reference by the mdoc: {path}")
    return found


def _info(movie: str, params: AlignParams) -> MovieInfo:
    """The header of a movie; an EER file is read as two frames."""
    with open_movie(movie, tiff_rows=params.tiff_rows, eer_fractions=2) as reader:
        return reader.info


def _own(
    tilt: Tilt, info: MovieInfo, source: Source, choices: SeriesChoices, eer_upsampling: int
) -> dict[str, Any]:
    """The parameters of one movie: dose, pre-exposure and pixel size."""
    values: dict[str, Any] = {"pre_exposure_e_A2": tilt.pre_exposure_e_A2}
    if "pixel_size_A" not in choices.given and source.pixel_size_A is not None:
        ratio = 1.0 if source.image_size_px is None else _size_ratio(info, source.image_size_px)
        if source.pixel_is_rendered and info.eer is not None:
            ratio /= eer_upsampling
        values["pixel_size_A"] = float(f"{source.pixel_size_A / ratio:.6g}")
    if math.isnan(tilt.dose_e_A2):
        return values
    if info.eer is None:
        values["dose_per_frame_e_A2"] = tilt.dose_e_A2 / info.frame_count
        return values
    values["eer_total_dose_e_A2"] = tilt.dose_e_A2
    if choices.eer_dose_e_A2 is not None:
        # That of a whole number of raw frames, of which there are enough for two frames.
        raw_e_A2 = tilt.dose_e_A2 / info.eer.raw_frame_count
        maximum = info.eer.raw_frame_count // 2
        per_frame = max(1, min(maximum, round(choices.eer_dose_e_A2 / raw_e_A2)))
        values["eer_dose_per_frame_e_A2"] = per_frame * raw_e_A2
    return values


def _size_ratio(info: MovieInfo, image_size_px: tuple[int, int]) -> float:
    """Ratio of the sides of a movie to those of the microscope's image, 1 if not comparable."""
    sides = sorted((info.width_px, info.height_px))
    shown = sorted(image_size_px)
    for ratio in _SIZES:
        if all(abs(a / b / ratio - 1) < _SIZE_TOLERANCE for a, b in zip(sides, shown, strict=True)):
            return ratio
    return 1.0


def _differing_A(values: Mapping[str, Any], info: MovieInfo) -> tuple[float, float] | None:
    """The pixel sizes of source and header, rounded; None where they agree or one is missing."""
    given_A, header = values.get("pixel_size_A"), info.pixel_size_A
    if given_A is None or header is None or abs(given_A / header - 1) <= PIXEL_SIZE_TOLERANCE:
        return None
    return round(given_A, 4), round(header, 4)


def _frame_counts(movie: str, info: MovieInfo, own: AlignParams) -> tuple[int, int]:
    """Number of frames, and of leftover raw frames of an EER file, with these parameters."""
    if info.eer is None:
        return info.frame_count, 0
    with open_for(movie, own) as reader:
        assert reader.info.eer is not None
        return reader.info.frame_count, reader.info.eer.leftover_raw_frames


def without_shared_movies(series: TiltSeries, taken: Mapping[Path, str]) -> TiltSeries:
    """`series` without tilts whose movie belongs to another series.

    Parameters
    ----------
    taken : names of the other series, by resolved paths of their movies
    """
    tilts = [
        tilt.without("overwritten", f"its movie is one of {taken[resolved(tilt.movie)]} already")
        if tilt.may_be_used and resolved(tilt.movie) in taken
        else tilt
        for tilt in series.tilts
    ]
    own = {movie: values for movie, values in series.own.items() if resolved(movie) not in taken}
    return replace(series, tilts=tuple(tilts), own=own)
