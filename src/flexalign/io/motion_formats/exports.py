"""The motion of finished movies in the formats of other programs, made from their records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from flexalign.errors import InputError
from flexalign.io import relion_project
from flexalign.io.motion_formats import motioncor, relion, warp
from flexalign.io.motion_formats.polynomial import PolynomialMotion
from flexalign.io.record import read_record
from flexalign.io.writing.ledger import refuse_foreign, replacing_listed
from flexalign.io.writing.ownership import refuse_occupied
from flexalign.io.writing.publishing import (
    hidden_folder,
    publish,
    results_of,
    states_of,
)
from flexalign.model import MovieRecord
from flexalign.motion import Motion
from flexalign.naming import FORMAT_KINDS, RECORD_SUFFIX, SUFFIXES
from flexalign.plain import write_json


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
    """Write one movie's motion in the requested formats; return notes for the user.

    Parameters
    ----------
    formats : some of `flexalign.params.WRITTEN_FORMATS`
    record : of the movie; its motion is not used
    paths : of the files, by the keys of `flexalign.naming.SUFFIXES`
    gain_name : of the gain reference for RELION, see `relion_project.relion_gain`

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    notes: list[str] = []
    for name in formats:
        if name == "relion":
            movie = relion_project.relion_movie(record, motion, gain_name)
            model = relion.write_motion_star(
                paths["relion"], movie, motion, patches=_patches(record, motion)
            )
            notes += _model_notes(motion, model, movie.used.first, movie.pixel_size_A)
            if record.parameters.get("dark"):
                notes.append("RELION's polishing subtracts no dark reference")
        elif name == "motioncor":
            _write_motioncor(record, motion, paths)
        elif name == "warp":
            warp.write_warp(paths["warp"], motion, record.pixel_size_A, record.movie)
    return tuple(notes)


def _write_motioncor(record: MovieRecord, motion: Motion, paths: Mapping[str, Path]) -> None:
    """Write MotionCor's files; those of patches with local motion only."""
    info = record.movie
    patches, shape_px = _patches(record, motion), (info.height_px, info.width_px)
    shifts = motioncor.as_patch_shifts(motion, record.align, patches)
    motioncor.write_console_log(paths["motioncor"], shifts)
    motioncor.write_full_log(paths["motioncor_full"], shifts)
    motioncor.write_aln(paths["motioncor_aln"], shifts, shape_px, motion.frame_count, patches)
    if motion.field is not None:
        motioncor.write_patch_log(paths["motioncor_patches"], shifts, shape_px)


def _patches(record: MovieRecord, motion: Motion) -> tuple[int, int]:
    """Number of patches (y, x) in the file: those measured, or as many as the field needs."""
    y, x = record.patches
    if motion.field is None:
        return y, x
    _, points_y, points_x = motion.field.control_points
    return max(y, motioncor.patches_for(points_y)), max(x, motioncor.patches_for(points_x))


def _model_notes(
    motion: Motion, model: PolynomialMotion, first: int, pixel_size_A: float
) -> list[str]:
    """Notes on the fit of RELION's polynomial."""
    if motion.field is None:
        return []
    notes = []
    if motion.reference_frame != first:
        notes.append(
            "not the closest polynomial for RELION (align with `write` relion): it counts local "
            f"motion from frame {first + 1}, here it is zero in frame {motion.reference_frame + 1}"
        )
    if model.coefficients_px is not None:
        return notes
    return [
        *notes,
        "RELION's polynomial cannot follow the local motion (more than "
        f"{relion.MAX_MODEL_ERROR_A:g} A rms are left): only the whole-frame motion, which "
        f"leaves {model.rms_local_px * pixel_size_A:.1f} A rms, is in its file",
    ]


def export_movie(
    folder: str | Path, root: str, record: MovieRecord, formats: Iterable[str]
) -> MovieRecord:
    """Write the motion of a finished movie in further formats, beside its other files.

    Parameters
    ----------
    root : of its files in `folder`
    formats : some of `flexalign.params.WRITTEN_FORMATS`

    Returns
    -------
    The updated record, with the new files among its outputs

    Raises
    ------
    OccupiedError
        If a file that is not ours has one of the names; then nothing is written.
    InputError
        If the motion cannot be written in a format, or a file cannot be written.
    """
    place = _Place(Path(folder) / root, record, formats)
    own = results_of(place.folder, place.root)
    refuse_occupied(place.folder, [*place.names.values(), place.record_name], own)
    return _export(record, place, folder)


def export_motion(
    folder: Path, root: str, record: MovieRecord, formats: Iterable[str]
) -> dict[str, str]:
    """Write the motion of a movie whose other files are gone; names of files by kind.

    Parameters
    ----------
    folder : of the new files
    root : what their names begin with

    Raises
    ------
    FlexAlignError
        As `export_movie`.
    """
    place = _Place(folder / root, record, formats)
    refuse_foreign(folder, place.names.values())
    gain_name = relion_project.relion_gain(record, folder) if "relion" in place.formats else None
    with hidden_folder(folder, root) as hidden:
        paths = {kind: hidden / name for kind, name in place.names.items()}
        write_formats(place.formats, record, Motion.from_dict(record.motion), paths, gain_name)
        written = {kind: path for kind, path in paths.items() if path.exists()}
        for path in written.values():
            with replacing_listed(folder / path.name) as temporary:
                path.rename(temporary)
    return {kind: path.name for kind, path in written.items()}


class _Place:
    """Location of the further files of a movie: folder, root, and names by kind."""

    def __init__(self, path: Path, record: MovieRecord, formats: Iterable[str]) -> None:
        self.folder, self.root, self.formats = path.parent, path.name, tuple(formats)
        self.record_name = f"{self.root}{RECORD_SUFFIX}"
        # An existing file keeps its name.
        self.names = {
            kind: Path(record.outputs.get(kind, f"{self.root}{SUFFIXES[kind]}")).name
            for kind in format_kinds(self.formats)
        }


def _export(record: MovieRecord, place: _Place, folder: str | Path) -> MovieRecord:
    """Write one movie's motion in further formats; return the updated record."""
    gain_name = relion_project.relion_gain(record, folder) if "relion" in place.formats else None
    with hidden_folder(place.folder, place.root) as hidden:
        paths = {kind: hidden / name for kind, name in place.names.items()}
        motion = Motion.from_dict(record.motion)
        notes = write_formats(place.formats, record, motion, paths, gain_name)
        written = {kind: path.name for kind, path in paths.items() if path.exists()}
        # Unchanged files of an earlier version, whose record has no file states, get them now.
        own = results_of(place.folder, place.root) - {place.record_name, *written.values()}
        states = states_of(place.folder, own)
        exported = replace(
            record,
            outputs={**record.outputs, **written},
            output_states={**record.output_states, **states, **states_of(hidden, written.values())},
            warnings=tuple(dict.fromkeys((*record.warnings, *notes))),
        )
        write_json(hidden / place.record_name, exported)
        publish(hidden, place.folder, written.values(), place.record_name, replaces=False)
    return exported


def read_records(
    folder: str | Path, report: Callable[[str], None] = lambda _: None
) -> dict[str, MovieRecord]:
    """The records of all finished movies in a folder, by the roots of their names, sorted.

    Parameters
    ----------
    report : called with a message for each record that cannot be read and is left out
    """
    paths = sorted(Path(folder).rglob(f"*{RECORD_SUFFIX}"))
    roots = (str(path.relative_to(folder))[: -len(RECORD_SUFFIX)] for path in paths)
    records = {}
    for root, path in zip(roots, paths, strict=True):
        try:
            records[root] = read_record(path)
        except InputError as error:
            report(f"left out: {error}")
    return records
