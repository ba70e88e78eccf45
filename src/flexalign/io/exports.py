"""The motion of finished movies in the formats of other programs, made from their records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from flexalign.errors import InputError
from flexalign.io import motioncor, relion, relion_project, warp
from flexalign.io.polynomial import PolynomialMotion
from flexalign.io.record import read_record, write_json
from flexalign.model import FrameRange, MovieRecord
from flexalign.motion import Motion

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
    gain_name : of the gain reference as RELION is to read it, see `relion_project.relion_gain`

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
                notes.append("RELION subtracts no dark reference when it polishes")
        elif name == "motioncor":
            _write_motioncor(record, motion, paths)
        elif name == "warp":
            pixel_size_A = float(record.decisions["pixel_size_A"])
            warp.write_warp(paths["warp"], motion, pixel_size_A, record.movie)
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


def _model_notes(
    motion: Motion, model: PolynomialMotion, first: int, pixel_size_A: float
) -> list[str]:
    """What a person should know about RELION's polynomial."""
    if motion.field is None:
        return []
    notes = []
    if motion.reference_frame != first:
        notes.append(
            f"RELION counts local motion from frame {first + 1}, here it is zero in frame "
            f"{motion.reference_frame + 1}; align with --write relion for the closest polynomial"
        )
    if model.coefficients_px is not None:
        return notes
    return [
        *notes,
        "RELION's polynomial cannot follow the local motion (more than "
        f"{relion.LARGEST_MODEL_ERROR_A:g} A rms are left): only the whole-frame motion, which "
        f"leaves {model.rms_local_px * pixel_size_A:.1f} A rms, is in its file",
    ]


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
        gain_name = relion_project.relion_gain(record, folder) if "relion" in words else None
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


def read_records(
    folder: str | Path, tell: Callable[[str], None] = lambda _: None
) -> dict[str, MovieRecord]:
    """The records of all finished movies in a folder, by the roots of their names, sorted.

    Parameters
    ----------
    tell : is told, in a sentence, of each record that cannot be read and is left out
    """
    paths = sorted(Path(folder).rglob(f"*{_RECORD_SUFFIX}"))
    roots = (str(path.relative_to(folder))[: -len(_RECORD_SUFFIX)] for path in paths)
    records = {}
    for root, path in zip(roots, paths, strict=True):
        try:
            records[root] = read_record(path)
        except InputError as error:
            tell(f"left out: {error}")
    return records
