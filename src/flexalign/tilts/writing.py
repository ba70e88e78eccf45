"""Write the results of one series: stacks by ascending angle, tables, strip, and the record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign import __version__
from flexalign.atomic import explained, replacing
from flexalign.errors import InputError
from flexalign.io.mdoc import Mdoc, MdocSection, states_axis, write_mdoc
from flexalign.io.micrographs import MRC_MODES, axis_pixel_sizes_A
from flexalign.io.stacks import read_image, write_stack
from flexalign.io.thumbnails import write_strip
from flexalign.io.writing.publishing import hidden_folder, publish, states_of
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX
from flexalign.plain import write_json
from flexalign.tilts.model import STACK_TITLE, Tilt, TiltSeries
from flexalign.tilts.record import SeriesRecord, kept

SUFFIXES = {
    "stack": ".mrc",
    "dose_weighted": "_DW.mrc",
    "even": "_EVN.mrc",
    "odd": "_ODD.mrc",
    "angles": ".rawtlt",
    "aretomo": "_TLT.txt",
    "mdoc": ".mrc.mdoc",
    "strip": "_strip.png",
    "record": RECORD_SUFFIX,
}
# Output of a movie from which each kind of stack is made.
_IMAGES = {
    "stack": "micrograph", "dose_weighted": "dose_weighted", "even": "even", "odd": "odd",
}  # fmt: skip
_LABELS = {
    "stack": "aligned tilt series", "dose_weighted": "dose-weighted tilt series",
    "even": "tilt series of even frames", "odd": "tilt series of odd frames",
}  # fmt: skip
# Items of an mdoc section that describe the microscope's own image.
_SOURCE_IMAGE_ITEMS = ("MinMaxMean", "PieceCoordinates", "SuperMontCoords", "UncroppedSize")
THUMBNAIL_PX = 96


@dataclass(frozen=True, slots=True)
class Aligned:
    """A tilt with an aligned movie.

    Attributes
    ----------
    tilt : as in the stack
    record : of the movie
    folder : of its files
    """

    tilt: Tilt
    record: MovieRecord
    folder: Path

    def image(self, kind: str) -> Path:
        """Path of an image of the movie."""
        return self.folder / self.record.outputs[kind]


def write_series(
    series: TiltSeries,
    records: Mapping[str, MovieRecord],
    folder: Path,
    out: Path,
    key: str,
    *,
    has_stacks: bool = True,
) -> SeriesRecord:
    """Write the stacks, the tables and the record of a series; all of them or none.

    Parameters
    ----------
    series : all used tilts must be aligned; the others have the reason why they are left out
    records : of the aligned movies, by path
    folder : with the files of these movies
    out : folder of the results; earlier results of the series are replaced
    key : of the work
    has_stacks : whether to write stacks, and tables for them

    Raises
    ------
    InputError
        If no tilt is used.
    OccupiedError
        If a foreign file has the name of a result.
    OutputError
        If they cannot be written.
    """
    name = series.name
    stacked = [
        Aligned(tilt, records[tilt.movie], folder)
        for tilt in sorted(series.used, key=lambda tilt: tilt.angle_deg)
    ]
    if not stacked:
        reasons = {f"exposure {t.order}: {t.why}" for t in series.left_out[:3]}
        raise InputError(
            f"{series.source}: expected at least one tilt that can be aligned, found none of "
            f"{len(series.tilts)} ({'; '.join(sorted(reasons))})"
        )
    with explained(out), hidden_folder(out, name) as hidden:
        paths = {kind: hidden / f"{name}{suffix}" for kind, suffix in SUFFIXES.items()}
        if has_stacks:
            _write_stacks(series, stacked, paths)
            write_rawtlt(paths["angles"], [item.tilt for item in stacked])
            write_aretomo(paths["aretomo"], [item.tilt for item in stacked])
            write_mdoc(paths["mdoc"], mdoc_of(series, stacked, paths["stack"].name))
        thumbnails = [item.image("thumbnail") for item in stacked]
        write_strip(paths["strip"], thumbnails, THUMBNAIL_PX)
        outputs = {kind: path.name for kind, path in paths.items() if path.exists()}
        states = states_of(hidden, list(outputs.values()))
        record = _record_of(series, stacked, key, outputs, states)
        write_json(paths["record"], record)
        publish(hidden, out, list(outputs.values()), paths["record"].name)
    return record


def _record_of(
    series: TiltSeries,
    stacked: Sequence[Aligned],
    key: str,
    outputs: Mapping[str, str],
    states: Mapping[str, dict[str, int]],
) -> SeriesRecord:
    """The record of a series, after its other files have been written."""
    return SeriesRecord(
        version=__version__,
        series=series,
        sections=tuple(item.tilt.order for item in stacked),
        movies={item.tilt.movie: kept(item.record) for item in stacked},
        key=key,
        pixel_size_A=_pixel_size_A(stacked),
        shape_px=stacked[0].record.output_shape_px,
        outputs={**outputs, "record": f"{series.name}{RECORD_SUFFIX}"},
        output_states=dict(states),
    )


def _write_stacks(
    series: TiltSeries, stacked: Sequence[Aligned], paths: Mapping[str, Path]
) -> None:
    """Write a stack for each kind of image that all movies have."""
    angles = [item.tilt.angle_deg for item in stacked]
    record = stacked[0].record
    shape_px = record.movie.height_px, record.movie.width_px
    sizes_A = axis_pixel_sizes_A(record.pixel_size_A, shape_px, record.output_shape_px)
    for kind, of_movie in _IMAGES.items():
        if all(of_movie in item.record.outputs for item in stacked):
            images: Iterator[npt.NDArray[Any]] = (
                read_image(item.image(of_movie)) for item in stacked
            )
            labels = [f"{_LABELS[kind]} {series.name}", *axis_titles(series)]
            write_stack(paths[kind], images, angles, sizes_A, labels)


def axis_titles(series: TiltSeries) -> list[str]:
    """The title from which IMOD reads the tilt axis: counter-clockwise from the vertical.

    Examples
    --------
    >>> axis_titles(TiltSeries("a", "a.mdoc", (), tilt_axis_deg=85.3))
    ['    Tilt axis angle = 85.3, binning = 1']
    """
    if math.isnan(series.tilt_axis_deg):
        return []
    return [f"    Tilt axis angle = {series.tilt_axis_deg:.1f}, binning = 1"]


def write_rawtlt(path: Path, tilts: Sequence[Tilt]) -> None:
    """Write the angles of a stack for IMOD, one per line, with the microscope's sign."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{tilt.angle_deg:.2f}\n" for tilt in tilts))


def write_aretomo(path: Path, tilts: Sequence[Tilt]) -> None:
    """Write AreTomo's table: angle, order of exposure from 1, dose of this exposure.

    Angles have the microscope's sign.  Orders also count exposures that are left out.
    """
    doses = (0.0 if math.isnan(tilt.dose_e_A2) else tilt.dose_e_A2 for tilt in tilts)
    rows = (
        f"{tilt.angle_deg:8.2f}  {tilt.order:4d}  {dose:8.2f}\n"
        for tilt, dose in zip(tilts, doses, strict=True)
    )
    with replacing(path) as temporary:
        temporary.write_text("".join(rows))


def mdoc_of(series: TiltSeries, stacked: Sequence[Aligned], stack: str) -> Mdoc:
    """The mdoc of a stack: a section for each of its images, in their order.

    The microscope's items of an exposure are kept, except those that do not apply to this image.
    """
    first = stacked[0].record
    height, width = first.output_shape_px
    pixel_A = f"{_pixel_size_A(stacked):.6g}"
    head = {
        "PixelSpacing": pixel_A,
        "Voltage": f"{first.parameters['voltage_kV']:g}",
        "ImageFile": stack,
        "ImageSize": f"{width} {height}",
        "DataMode": str(MRC_MODES[2 if first.parameters["float16"] else 4]),
    }
    sections = []
    for number, item in enumerate(stacked):
        tilt = item.tilt
        items = {k: v for k, v in tilt.section.items() if k not in _SOURCE_IMAGE_ITEMS}
        items["TiltAngle"] = f"{tilt.angle_deg:g}"
        items["PixelSpacing"] = pixel_A
        if not math.isnan(tilt.dose_e_A2):
            items["ExposureDose"] = f"{tilt.dose_e_A2:.6g}"
            items["PriorRecordDose"] = f"{tilt.pre_exposure_e_A2:.6g}"
        items["NumSubFrames"] = str(item.record.movie.frame_count)
        items.setdefault("SubFramePath", tilt.movie)
        sections.append(MdocSection("ZValue", number, items))
    others = (title for title in series.titles if not states_axis(title))
    titles = (f"flexalign {__version__}: {STACK_TITLE}", *others, *axis_titles(series))
    return Mdoc(head, titles, tuple(sections))


def _pixel_size_A(stacked: Sequence[Aligned]) -> float:
    """The pixel size of the stack."""
    return float(np.median([item.record.output_pixel_size_A for item in stacked]))
