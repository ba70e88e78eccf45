"""What other programs need to go on from a finished movie, made from its record.

`write_formats` writes the files of one movie, `write_relion_table` those of all movies of a folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.errors import InputError
from flexalign.io import motioncor, relion, warp
from flexalign.io.micrographs import write_mrc
from flexalign.io.record import read_record, write_json
from flexalign.io.references import load_references
from flexalign.model import FrameRange, MovieRecord
from flexalign.motion import Motion
from flexalign.params import AlignParams

RELION_TABLE = "corrected_micrographs.star"
# As RELION's own import proposes them.
CS_MM = 2.7
AMPLITUDE_CONTRAST = 0.1

# Kinds of files of each format, and what is written after the root of the name.
FORMAT_KINDS = {
    "relion": ("relion",),
    "motioncor": ("motioncor", "motioncor_full", "motioncor_patches", "motioncor_aln"),
    "warp": ("warp",),
}
SUFFIXES = {
    "relion": "_motion.star",
    "motioncor": "_motioncor.log",
    "motioncor_full": "-Full.log",
    "motioncor_patches": "-Patch-Patch.log",
    "motioncor_aln": ".aln",
    "warp": ".xml",
}

_RECORD_SUFFIX = "_record.json"


def format_kinds(formats: Iterable[str]) -> list[str]:
    """Kinds of files that belong to some formats."""
    return [kind for name in formats for kind in FORMAT_KINDS[name]]


def write_formats(
    formats: Iterable[str],
    record: MovieRecord,
    motion: Motion,
    paths: Mapping[str, Path],
    gain_name: str | None = None,
) -> tuple[str, ...]:
    """Write one movie's motion in the formats asked for; what a person should know about it.

    Parameters
    ----------
    formats : some of `flexalign.params.WRITTEN_FORMATS`
    record : of the movie; its motion is not used
    paths : of the files, by the keys of `flexalign.io.results.SUFFIXES`
    gain_name : of the gain reference as RELION is to read it, see `relion_gain`

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    notes: list[str] = []
    for name in formats:
        if name == "relion":
            movie = relion_movie(record, motion, gain_name)
            model = relion.write_motion_star(
                paths["relion"], movie, motion, patches=_patches(record, motion)
            )
            notes += _model_notes(motion, model, movie.pixel_size_A)
            if record.parameters.get("dark"):
                notes.append("RELION subtracts no dark reference when it polishes")
        elif name == "motioncor":
            _write_motioncor(record, motion, paths)
        elif name == "warp":
            warp.write_warp(paths["warp"], motion, float(record.decisions["pixel_size_A"]))
    return tuple(notes)


def _write_motioncor(record: MovieRecord, motion: Motion, paths: Mapping[str, Path]) -> None:
    """Write MotionCor's files; those of patches with local motion only."""
    align, info = record.decisions["align"], record.movie
    used = FrameRange(int(align["first"]), int(align["stop"]))
    patches, shape_px = _patches(record, motion), (info.height_px, info.width_px)
    shifts = motioncor.as_patch_shifts(motion, used, patches)
    motioncor.write_console_log(paths["motioncor"], shifts)
    motioncor.write_full_log(paths["motioncor_full"], shifts)
    motioncor.write_aln(paths["motioncor_aln"], shifts, shape_px, motion.frame_count, patches)
    if motion.field is not None:
        motioncor.write_patch_log(paths["motioncor_patches"], shifts, shape_px)


def _patches(record: MovieRecord, motion: Motion) -> tuple[int, int]:
    """Patches (y, x) that are listed: as many as were measured, or as the field needs."""
    y, x = (int(count) for count in record.decisions["patches"])
    if motion.field is None:
        return y, x
    _, points_y, points_x = motion.field.control_points
    return max(y, motioncor.patches_for(points_y)), max(x, motioncor.patches_for(points_x))


def _model_notes(motion: Motion, model: Any, pixel_size_A: float) -> list[str]:
    """How far RELION's polynomial is from the field, when that is too far."""
    if motion.field is None or model.coefficients_px is not None:
        return []
    return [
        "RELION's polynomial cannot follow the local motion (more than "
        f"{relion.LARGEST_MODEL_ERROR_A:g} A rms are left): only the whole-frame motion, which "
        f"leaves {model.rms_local_px * pixel_size_A:.1f} A rms, is in its file"
    ]


def relion_movie(
    record: MovieRecord, motion: Motion, gain_name: str | None = None
) -> relion.RelionMovie:
    """What RELION keeps of the movie of a record."""
    decisions, parameters, info = record.decisions, record.parameters, record.movie
    pixel_size_A = float(decisions["pixel_size_A"])
    align = decisions["align"]
    rows, columns = (decisions.get(f"hot_pixel_{axis}", []) for axis in "yx")
    return relion.RelionMovie(
        movie_name=info.path,
        shape_px=(info.height_px, info.width_px),
        frame_count=motion.frame_count,
        pixel_size_A=pixel_size_A,
        voltage_kV=float(parameters["voltage_kV"]),
        used=FrameRange(int(align["first"]), int(align["stop"])),
        binning=float(decisions["output_pixel_size_A"]) / pixel_size_A,
        dose_per_frame_e_A2=decisions["dose_per_frame_e_A2"],
        pre_exposure_e_A2=float(parameters["pre_exposure_e_A2"]),
        gain_name=gain_name,
        eer_upsampling=info.eer.upsampling if info.eer else None,
        eer_grouping=info.eer.raw_frames_per_frame if info.eer else None,
        bad_pixels_yx=np.array([rows, columns], dtype=np.int64).T.reshape(-1, 2),
    )


def relion_gain(record: MovieRecord, folder: str | Path) -> str | None:
    """The gain reference as RELION reads it for this movie; made in `folder` where it must be.

    RELION takes an MRC that is oriented as the movie.  It multiplies with it, but for EER
    movies divides by it, and takes zeros for bad pixels.  A gain that is not like this, and any
    defect map, becomes a new file.

    Raises
    ------
    InputError
        If a reference cannot be read, or the new one cannot be written.
    """
    values = {k: v for k, v in record.parameters.items() if k != "hash"}
    params = AlignParams.from_dict(values)
    if params.gain is None and params.defects is None:
        return None
    is_eer = record.movie.eer is not None
    if params.gain is not None and _is_for_relion(params, is_eer=is_eer):
        return params.gain
    stem = Path(params.gain or params.defects or "").stem
    size = f"{record.movie.width_px}x{record.movie.height_px}"
    path = Path(folder) / f"{stem}_relion_{size}.mrc"
    if not path.exists():
        references = load_references(
            record.movie,
            gain=params.gain,
            gain_rotate=params.gain_rotate,
            gain_flip=params.gain_flip,
            gain_sense=params.gain_sense,
            defects=params.defects,
            tiff_rows=params.tiff_rows,
        )
        gain = references.gain
        if gain is None:
            gain = np.ones(references.defects.shape, np.float32)
        read = np.where(references.defects, 0, 1 / gain if is_eer else gain)
        labels = [f"gain reference of {stem} as RELION reads it"]
        write_mrc(path, read, float(record.decisions["pixel_size_A"]), labels=labels)
    return str(path)


def _is_for_relion(params: AlignParams, *, is_eer: bool) -> bool:
    """Whether RELION would read the gain file as we do."""
    is_turned = params.gain_rotate != 0 or params.gain_flip != "none"
    wanted = "divide" if is_eer else "multiply"
    is_mrc = Path(params.gain or "").suffix.lower() == ".mrc"
    return (
        is_mrc
        and not is_turned
        and params.defects is None
        and params.gain_sense in ("auto", wanted)
    )


def export_folder(
    folder: str | Path, records: Mapping[str, MovieRecord], formats: Iterable[str]
) -> dict[str, MovieRecord]:
    """Write the motion of finished movies in further formats, beside their other files.

    Parameters
    ----------
    records : by the roots of their files in `folder`
    formats : some of `flexalign.params.WRITTEN_FORMATS`

    Returns
    -------
    The records with the new files among their outputs, as they are now on disk

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    words, exported = tuple(formats), {}
    for root, record in records.items():
        paths = {kind: Path(folder) / f"{root}{SUFFIXES[kind]}" for kind in format_kinds(words)}
        # A file that is there already keeps the name it has.
        paths |= {
            kind: (Path(folder) / root).parent / record.outputs[kind]
            for kind in paths
            if kind in record.outputs
        }
        gain_name = relion_gain(record, folder) if "relion" in words else None
        motion = Motion.from_dict(record.motion)
        notes = write_formats(words, record, motion, paths, gain_name)
        outputs = {kind: path.name for kind, path in paths.items() if path.exists()}
        exported[root] = replace(
            record,
            outputs={**record.outputs, **outputs},
            warnings=tuple(dict.fromkeys((*record.warnings, *notes))),
        )
        write_json(Path(folder) / f"{root}{_RECORD_SUFFIX}", exported[root])
    return exported


def read_records(folder: str | Path) -> dict[str, MovieRecord]:
    """The records of all finished movies in a folder, by the roots of their names, sorted.

    Raises
    ------
    InputError
        If the folder is missing or has no record, or one cannot be read.
    """
    paths = sorted(Path(folder).rglob(f"*{_RECORD_SUFFIX}"))
    if not paths:
        raise InputError(
            f"{folder}: expected a folder with results of flexalign, found no '*{_RECORD_SUFFIX}'"
        )
    roots = (str(path.relative_to(folder))[: -len(_RECORD_SUFFIX)] for path in paths)
    return {root: read_record(path) for root, path in zip(roots, paths, strict=True)}


def write_relion_table(
    folder: str | Path,
    records: Mapping[str, MovieRecord],
    *,
    cs_mm: float = CS_MM,
    amplitude_contrast: float = AMPLITUDE_CONTRAST,
    optics: Mapping[str, Sequence[object]] | None = None,
    optics_groups: Mapping[str, int] | None = None,
) -> Path:
    """Write ``corrected_micrographs.star`` for the movies whose motion RELION can read.

    Names in it begin with `folder` as it was given, so give it relative to RELION's project.

    Parameters
    ----------
    records : by the roots of their files in `folder`; those without RELION's files are left out
    optics, optics_groups : table of optics, and the group of each root; by default all are alike

    Returns
    -------
    The path of the table

    Raises
    ------
    InputError
        If there is no such movie, or the table cannot be written.
    ParameterError
        If movies of different pixel sizes or voltages are to be one group.
    """
    rows = {
        root: _relion_row(folder, root, record, (optics_groups or {}).get(root, 1))
        for root, record in records.items()
        if "relion" in record.outputs
    }
    if not rows:
        raise InputError(f"{folder}: expected movies with files for RELION, found none")
    if optics is None:
        optics = _common_optics([records[root] for root in rows], cs_mm, amplitude_contrast)
    path = Path(folder) / RELION_TABLE
    relion.write_micrographs_star(path, optics, list(rows.values()))
    return path


def _common_optics(
    records: Sequence[MovieRecord], cs_mm: float, amplitude_contrast: float
) -> dict[str, list[object]]:
    """The one row of optics that fits all records."""
    kinds = {
        (
            round(float(record.decisions["pixel_size_A"]), 6),
            round(float(record.decisions["output_pixel_size_A"]), 6),
            float(record.parameters["voltage_kV"]),
        )
        for record in records
    }
    if len(kinds) > 1:
        raise InputError(
            "expected movies of one pixel size, binning and voltage for one table of RELION, "
            f"found {len(kinds)} kinds; put them in different folders"
        )
    return relion.optics_table(*kinds.pop(), cs_mm, amplitude_contrast)


def _relion_row(
    folder: str | Path, root: str, record: MovieRecord, optics_group: int
) -> relion.RelionMicrograph:
    """One movie in RELION's table."""
    place = os.path.dirname(os.path.join(folder, root))  # noqa: PTH118, PTH120

    def named(kind: str) -> str | None:
        found = record.outputs.get(kind)
        return None if found is None else os.path.join(place, found)  # noqa: PTH118

    motion = Motion.from_dict(record.motion)
    movie = relion_movie(record, motion)
    weighted, plain = named("dose_weighted"), named("micrograph")
    return relion.RelionMicrograph(
        name=weighted or plain or "",
        metadata=named("relion") or "",
        motion_px=relion.path_lengths_px(movie, relion.model_for(motion, movie)),
        not_weighted=plain if weighted else None,
        power_spectrum=named("power_spectrum"),
        optics_group=optics_group,
    )
