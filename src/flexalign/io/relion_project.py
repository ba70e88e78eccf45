"""Finished movies in a RELION project: metadata, gain reference, table of micrographs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flexalign.errors import InputError
from flexalign.files import exists, read_text
from flexalign.io.micrographs import write_mrc
from flexalign.io.motion_formats import relion
from flexalign.io.references import references_for
from flexalign.io.star import star_loop, write_star
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.model import MovieRecord
from flexalign.motion import Motion
from flexalign.params import AlignParams

RELION_TABLE = "corrected_micrographs.star"
PIPELINE = "default_pipeline.star"
NODES = "RELION_OUTPUT_NODES.star"
# RELION's defaults on import.
CS_MM = 2.7
AMPLITUDE_CONTRAST = 0.1


@dataclass(frozen=True, slots=True)
class OutputNode:
    """A result of the job in RELION's pipeline.

    Attributes
    ----------
    path : as seen from the project
    label : type of the node
    number : type of the node for RELION 3.1; None where it knows no such type
    """

    path: Path
    label: str
    number: int | None = None


def relion_movie(
    record: MovieRecord, motion: Motion, gain_name: str | None = None
) -> relion.RelionMovie:
    """RELION's metadata of the movie of a record."""
    if record.movie.eer is not None and record.movie.eer.groups:
        raise InputError(
            f"{record.movie.path}: RELION uses the same number of raw frames for all EER "
            f"frames, found unequal groups; align it with `eer_fractions` to export it"
        )
    parameters, info = record.parameters, record.movie
    rows, columns = (record.decisions.get(f"hot_pixel_{axis}", []) for axis in "yx")
    return relion.RelionMovie(
        movie_name=name_in_project(info.path),
        shape_px=(info.height_px, info.width_px),
        frame_count=motion.frame_count,
        pixel_size_A=record.pixel_size_A,
        voltage_kV=float(parameters["voltage_kV"]),
        used=record.align,
        binning=record.output_pixel_size_A / record.pixel_size_A,
        dose_per_frame_e_A2=record.dose_per_frame_e_A2,
        pre_exposure_e_A2=float(parameters["pre_exposure_e_A2"]),
        gain_name=None if gain_name is None else name_in_project(gain_name),
        eer_upsampling=info.eer.upsampling if info.eer else None,
        eer_grouping=info.eer.raw_frames_per_frame if info.eer else None,
        bad_pixels_yx=np.array([rows, columns], dtype=np.int64).T.reshape(-1, 2),
    )


def name_in_project(path: str) -> str:
    """The name of a file as RELION knows it: in a project from its folder, else as it is.

    The current folder is a project if it has the table of RELION's pipeline.
    """
    project = Path.cwd()
    is_inside = Path(path).is_absolute() and Path(path).is_relative_to(project)
    if is_inside and (project / PIPELINE).exists():
        return str(Path(path).relative_to(project))
    return path


def relion_gain(record: MovieRecord, folder: str | Path) -> str | None:
    """The gain reference in RELION's convention, converted in `folder` if necessary.

    RELION needs an MRC in the orientation of the movie.  It multiplies by it, but divides for EER
    movies, and takes zeros as bad pixels.  Any other gain, and any defect map, is converted to a
    new file.

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
    path = Path(folder) / f"{stem}_relion_{_digest(record, params)}.mrc"
    if not path.exists():
        references = references_for(record.movie, replace(params, dark=None))
        gain = references.gain
        if gain is None:
            gain = np.ones(references.defects.shape, np.float32)
        read = np.where(references.defects, 0, 1 / gain if is_eer else gain)
        labels = [f"gain reference of {stem} as RELION reads it"]
        write_mrc(path, read, record.pixel_size_A, labels=labels)
    return str(path)


def _digest(record: MovieRecord, params: AlignParams) -> str:
    """Digest of everything that the new gain reference depends on."""
    files = [record.inputs.get(name, {}).get("sha256") for name in ("gain", "defects")]
    orientation = [params.gain_rotate, params.gain_flip, params.gain_sense, params.tiff_rows]
    size = [record.movie.height_px, record.movie.width_px, record.movie.eer is not None]
    return hashlib.sha256(json.dumps([files, orientation, size]).encode()).hexdigest()[:8]


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

    Paths in it begin with `folder` as given, which should be relative to RELION's project.

    Parameters
    ----------
    records : by the roots of their files in `folder`; those without RELION's files are left out
    optics, optics_groups : table of optics, and the group of each root; by default a group for
        each pixel size, binning and voltage

    Returns
    -------
    The path of the table

    Raises
    ------
    InputError
        If there is no such movie, or the table cannot be written.
    OccupiedError
        If there is a foreign table.
    """
    known = {root: record for root, record in records.items() if "relion" in record.outputs}
    if not known:
        raise InputError(f"{folder}: expected movies with files for RELION, found none")
    if optics is None:
        optics, optics_groups = _optics_of(known, cs_mm, amplitude_contrast)
    rows = {
        root: relion_micrograph(folder, root, record, (optics_groups or {}).get(root, 1))
        for root, record in known.items()
    }
    path = Path(folder) / RELION_TABLE
    refuse_foreign(path.parent, [path.name])
    with replacing_listed(path) as temporary:
        relion.write_micrographs_star(temporary, optics, list(rows.values()))
    return path


def _optics_of(
    records: Mapping[str, MovieRecord], cs_mm: float, amplitude_contrast: float
) -> tuple[dict[str, list[object]], dict[str, int]]:
    """Optics table, a group for each pixel size, binning and voltage; the group of each root."""
    kinds = {
        root: (
            round(record.pixel_size_A, 6),
            round(record.output_pixel_size_A, 6),
            float(record.parameters["voltage_kV"]),
        )
        for root, record in records.items()
    }
    groups = {kind: number for number, kind in enumerate(sorted(set(kinds.values())), start=1)}
    table = relion.optics_table(list(groups), cs_mm, amplitude_contrast)
    return table, {root: groups[kind] for root, kind in kinds.items()}


def relion_micrograph(
    folder: str | Path, root: str, record: MovieRecord, optics_group: int = 1
) -> relion.RelionMicrograph:
    """One movie in RELION's table, its files in `folder` under names that begin with `root`."""
    place = os.path.dirname(os.path.join(folder, root))  # noqa: PTH118, PTH120

    def named(kind: str) -> str | None:
        found = record.outputs.get(kind)
        return None if found is None else os.path.join(place, found)  # noqa: PTH118

    quality = record.quality
    weighted, plain = named("dose_weighted"), named("micrograph")
    return relion.RelionMicrograph(
        name=weighted or plain or "",
        metadata=named("relion") or "",
        motion_A=(quality.total_motion_A, quality.early_motion_A, quality.late_motion_A),
        not_weighted=plain if weighted else None,
        power_spectrum=named("power_spectrum"),
        optics_group=optics_group,
        even=named("even"),
        odd=named("odd"),
    )


def write_nodes(job: Path, node: OutputNode) -> None:
    """Write RELION's list of the output nodes of a job.

    RELION 3.1 reads the type as a number and warns of the label, which all later versions read.

    Raises
    ------
    OccupiedError
        If there is a foreign list.
    OutputError
        If it cannot be written.
    """
    refuse_foreign(job, [NODES])
    columns: dict[str, list[object]] = {"rlnPipeLineNodeName": [node.path]}
    if node.number is not None:
        columns["rlnPipeLineNodeType"] = [node.number]
    if node.number is None or _has_labels():
        columns["rlnPipeLineNodeTypeLabel"] = [node.label]
    with replacing_listed(job / NODES) as temporary:
        write_star(temporary, [star_loop("output_nodes", columns)])


def _has_labels() -> bool:
    """Whether the project in the current folder is of RELION 4 or newer, whose types are labels.

    Without the table of a pipeline, labels are assumed.
    """
    return not exists(PIPELINE) or "TypeLabel" in read_text(PIPELINE, errors="replace")
