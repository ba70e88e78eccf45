"""The results of one series on disk: stacks by ascending angle, tables, strip, and the record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign import __version__
from flexalign.atomic import explained, replacing
from flexalign.errors import InputError
from flexalign.io.mdoc import Mdoc, MdocSection, says_axis, write_mdoc
from flexalign.io.micrographs import MRC_MODES, axis_pixel_sizes_A
from flexalign.io.stacks import read_image, write_stack
from flexalign.io.thumbnails import write_strip
from flexalign.io.writing.publishing import hidden_folder, publish, states_of
from flexalign.model import MovieRecord
from flexalign.naming import RECORD_SUFFIX
from flexalign.plain import write_json
from flexalign.tilts.brightness import is_dark
from flexalign.tilts.model import Tilt, TiltSeries
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
# What a stack is made of, among the outputs of a movie.
_IMAGES = {
    "stack": "micrograph", "dose_weighted": "dose_weighted", "even": "even", "odd": "odd",
}  # fmt: skip
_LABELS = {
    "stack": "aligned tilt series", "dose_weighted": "dose-weighted tilt series",
    "even": "tilt series of even frames", "odd": "tilt series of odd frames",
}  # fmt: skip
# Items of an mdoc section that are of the microscope's own image.
_OF_OTHER_IMAGE = ("MinMaxMean", "PieceCoordinates", "SuperMontCoords", "UncroppedSize")
THUMBNAIL_PX = 96


@dataclass(frozen=True, slots=True)
class Aligned:
    """A tilt whose movie is aligned.

    Attributes
    ----------
    tilt : as the stack shows it
    record : of the movie
    folder : of its files
    """

    tilt: Tilt
    record: MovieRecord
    folder: Path

    def image(self, kind: str) -> Path:
        """Where an image of the movie is."""
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
    """Write the stacks of a series, its tables and its record; all of them or none.

    A tilt without a record is left out, as it failed; so are dark ones and those of another size.

    Parameters
    ----------
    series : its tilts that are left out say why
    records : of the movies that are aligned, by their paths
    folder : of the files of these movies
    out : of the results; earlier results of the series are replaced
    key : of the work
    has_stacks : without, there is no stack and no table for one

    Raises
    ------
    InputError
        If no image is left.
    OccupiedError
        If a file that is not ours has the name of a result.
    OutputError
        If they cannot be written.
    """
    series, stacked = selected(series, records, folder)
    name = series.name
    if not stacked:
        whys = {f"exposure {t.order}: {t.why}" for t in series.left_out[:3]}
        raise InputError(
            f"{series.source}: expected at least one tilt that can be aligned, found none of "
            f"{len(series.tilts)} ({'; '.join(sorted(whys))})"
        )
    names = {kind: name + suffix for kind, suffix in SUFFIXES.items()}
    with explained(out), hidden_folder(out, name) as hidden:
        paths = {kind: hidden / file for kind, file in names.items()}
        if has_stacks:
            _write_stacks(series, stacked, paths)
            write_rawtlt(paths["angles"], [item.tilt for item in stacked])
            write_aretomo(paths["aretomo"], [item.tilt for item in stacked])
            write_mdoc(paths["mdoc"], mdoc_of(series, stacked, names["stack"]))
        thumbnails = [item.image("thumbnail") for item in stacked]
        write_strip(paths["strip"], thumbnails, THUMBNAIL_PX)
        outputs = {kind: path.name for kind, path in paths.items() if path.exists()}
        files = list(outputs.values())
        outputs["record"] = names["record"]
        record = SeriesRecord(
            version=__version__,
            series=series,
            sections=tuple(item.tilt.order for item in stacked),
            movies={item.tilt.movie: kept(item.record) for item in stacked},
            key=key,
            pixel_size_A=_pixel_size_A(stacked),
            shape_px=_shape_px(stacked[0].record),
            outputs=outputs,
            output_states=states_of(hidden, files),
        )
        write_json(paths["record"], record)
        publish(hidden, out, files, names["record"])
    return record


def selected(
    series: TiltSeries, records: Mapping[str, MovieRecord], folder: Path
) -> tuple[TiltSeries, list[Aligned]]:
    """The tilts that make the stack, by ascending angle, and the series with the others named."""
    aligned = [
        Aligned(tilt, records[tilt.movie], folder)
        for tilt in sorted(series.tilts, key=lambda tilt: tilt.angle_deg)
        if tilt.is_used and tilt.movie in records
    ]
    left_out = {
        t.order: t.without("failed") for t in series.tilts if t.is_used and t.movie not in records
    }
    left_out |= {item.tilt.order: item.tilt.without(*why) for item, why in _unfit(aligned)}
    tilts = tuple(left_out.get(tilt.order, tilt) for tilt in series.tilts)
    stacked = [item for item in aligned if item.tilt.order not in left_out]
    return replace(series, tilts=tilts), stacked


def _unfit(aligned: Sequence[Aligned]) -> Iterator[tuple[Aligned, tuple[str, str]]]:
    """Those that are dark or have another size than most, each with kind and reason."""
    shapes = [_shape_px(item.record) for item in aligned]
    common = max(shapes, key=shapes.count, default=(0, 0))
    counts = [_counts_per_dose(item) for item in aligned]
    dark = is_dark(counts, [item.tilt.angle_deg for item in aligned])
    for item, shape, count, is_so in zip(aligned, shapes, counts, dark, strict=True):
        if shape != common:
            size = f"{shape[1]} x {shape[0]} px, the others {common[1]} x {common[0]} px"
            yield item, ("other-size", f"the image has {size}")
        elif is_so:
            yield item, ("dark", f"the image is dark: {count:.3g} counts per pixel and dose")


def _counts_per_dose(item: Aligned) -> float:
    """Mean counts of a pixel in the whole movie, for each electron per square Angstrom."""
    record = item.record
    counts = float(record.decisions["mean_counts"]) * record.movie.frame_count
    dose = item.tilt.dose_e_A2
    return counts / dose if dose > 0 else counts


def _write_stacks(
    series: TiltSeries, stacked: Sequence[Aligned], paths: Mapping[str, Path]
) -> None:
    """Write one stack for each kind of image that all movies have."""
    angles = [item.tilt.angle_deg for item in stacked]
    movie = stacked[0].record.movie
    sizes_A = axis_pixel_sizes_A(
        float(stacked[0].record.decisions["pixel_size_A"]),
        (movie.height_px, movie.width_px),
        _shape_px(stacked[0].record),
    )
    for kind, of_movie in _IMAGES.items():
        if all(of_movie in item.record.outputs for item in stacked):
            images: Iterator[npt.NDArray[Any]] = (
                read_image(item.image(of_movie)) for item in stacked
            )
            labels = [f"{_LABELS[kind]} {series.name}", *axis_titles(series)]
            write_stack(paths[kind], images, angles, sizes_A, labels)


def axis_titles(series: TiltSeries) -> list[str]:
    """The title by which IMOD knows the tilt axis: counter-clockwise from the vertical.

    Examples
    --------
    >>> axis_titles(TiltSeries("a", "a.mdoc", (), tilt_axis_deg=85.3))
    ['    Tilt axis angle = 85.3, binning = 1']
    """
    if math.isnan(series.tilt_axis_deg):
        return []
    return [f"    Tilt axis angle = {series.tilt_axis_deg:.1f}, binning = 1"]


def write_rawtlt(path: Path, tilts: Sequence[Tilt]) -> None:
    """Write the angles of a stack for IMOD, one in each line, with the microscope's sign."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{tilt.angle_deg:.2f}\n" for tilt in tilts))


def write_aretomo(path: Path, tilts: Sequence[Tilt]) -> None:
    """Write AreTomo's table: angle, order of exposure from 1, dose of this exposure.

    Angles have the microscope's sign.  Orders count exposures that are left out, too.
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

    What the microscope said of an exposure stays, but for what is not so of this image.
    """
    first = stacked[0].record
    height, width = _shape_px(first)
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
        items = {k: v for k, v in tilt.section.items() if k not in _OF_OTHER_IMAGE}
        items["TiltAngle"] = f"{tilt.angle_deg:g}"
        items["PixelSpacing"] = pixel_A
        if not math.isnan(tilt.dose_e_A2):
            items["ExposureDose"] = f"{tilt.dose_e_A2:.6g}"
            items["PriorRecordDose"] = f"{tilt.pre_exposure_e_A2:.6g}"
        items["NumSubFrames"] = str(item.record.movie.frame_count)
        items.setdefault("SubFramePath", tilt.movie)
        sections.append(MdocSection("ZValue", number, items))
    others = (title for title in series.titles if not says_axis(title))
    titles = (f"flexalign {__version__}: sorted by angle", *others, *axis_titles(series))
    return Mdoc(head, titles, tuple(sections))


def _shape_px(record: MovieRecord) -> tuple[int, int]:
    """(h, w) of the images of a movie."""
    height, width = record.decisions["output_shape_px"]
    return int(height), int(width)


def _pixel_size_A(stacked: Sequence[Aligned]) -> float:
    """The pixel size of the stack."""
    return float(np.median([item.record.decisions["output_pixel_size_A"] for item in stacked]))
