"""Write the results of one movie: all files or none, the record last."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from flexalign.atomic import UNFINISHED_LENGTH, explained, sync
from flexalign.errors import InputError, OutputError
from flexalign.io import relion_project
from flexalign.io.micrographs import axis_pixel_sizes_A, write_mrc, write_spider
from flexalign.io.motion_formats import exports
from flexalign.io.motion_formats.xmd import write_shifts
from flexalign.io.motion_plot import draw_trajectory
from flexalign.io.spectra_plot import draw_spectra
from flexalign.io.thumbnails import write_spectra_thumbnail, write_thumbnail
from flexalign.io.writing.ownership import refuse_inputs, refuse_occupied
from flexalign.io.writing.publishing import hidden_folder, publish, results_of, states_of
from flexalign.model import PixelArray
from flexalign.naming import SUFFIXES, output_names
from flexalign.params import AlignParams
from flexalign.plain import write_json

if TYPE_CHECKING:
    from flexalign.alignment_result import AlignmentResult


def make_folder(folder: str | Path) -> Path:
    """Make the folder `folder` if it is missing and check that it is writable.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: expected a folder for the results, found a file")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"room for results?")
    return folder


def check_output(
    folder: str | Path,
    root: str,
    params: AlignParams | None = None,
    *,
    overwrite: bool = False,
    suffixes: Mapping[str, str] = SUFFIXES,
    inputs: Iterable[str | Path | None] = (),
) -> None:
    """Check, before anything is computed, that the results of `root` can be written.

    The folder is made if it is missing.

    Parameters
    ----------
    params : decide which files there may be; None = all
    inputs : files that are read and must not be replaced

    Raises
    ------
    InputError
        If there are results of that name and `overwrite` is off, if an output is an input, or if
        the folder cannot be made or written to.
    OccupiedError
        If a file that is not ours has the name of an output, whatever `overwrite` says.
    """
    folder = Path(folder)
    names = list(_names(root, suffixes).values())
    if params is not None:
        names = output_names(root, params, suffixes)
    refuse_inputs((folder / name for name in names), inputs)
    make_folder(folder)
    _check_length(folder, root, suffixes)
    own = results_of(folder, root)
    refuse_occupied(folder, names, own)
    if own and not overwrite:
        _refuse_results(folder, root, own)


def _refuse_results(folder: Path, root: str, own: Iterable[str]) -> None:
    raise InputError(
        f"{folder}: expected no results of {root} yet, found {', '.join(sorted(own))}: "
        "give `overwrite` to replace them, or another folder"
    )


def _check_length(folder: Path, root: str, suffixes: Mapping[str, str]) -> None:
    """Check that the file system accepts the length of all names, temporary ones included."""
    longest = max(len(os.fsencode(name)) for name in _names(root, suffixes).values())
    maximum = os.pathconf(folder, "PC_NAME_MAX") - UNFINISHED_LENGTH
    if longest > maximum:
        max_root_bytes = len(os.fsencode(root)) - (longest - maximum)
        raise InputError(
            f"{root}: expected a name of up to {max_root_bytes} bytes, since the names of its "
            "results are longer: rename the movie, or make a link to it under a shorter name"
        )


def write_result(
    result: AlignmentResult,
    folder: str | Path,
    root: str,
    *,
    overwrite: bool = False,
    float16: bool = False,
    save_unaligned: bool = False,
    amplitudes: Callable[[], PixelArray] | None = None,
    suffixes: Mapping[str, str] = SUFFIXES,
    plot: Callable[[], bytes] | None = None,
) -> dict[str, str]:
    """Write all files of `result`; the record, which lists the others, last.

    All files are completed in a hidden folder before the first is renamed to its place. On failure,
    that folder and the files already renamed are removed. With `overwrite`, all earlier results of
    `root` are removed, also those without a successor: the files that their record lists, if
    unchanged since.

    Parameters
    ----------
    folder, root : results are ``<folder>/<root>_aligned_mic.mrc`` and so on
    float16 : images in 16-bit floats
    save_unaligned : write the unaligned sum too
    amplitudes : computes the content of the ``.psd``, see
        `flexalign.arrays.power_spectrum.amplitude_composite`; None = not requested
    suffixes : end of each file name, by kind
    plot : returns the PNG of the motion, if it was drawn before

    Returns
    -------
    File names written, by the keys of `suffixes`, as in the record's `outputs`

    Raises
    ------
    InputError
        If results exist and `overwrite` is off, or writing fails.
    OccupiedError
        If a file that is not ours has the name of an output.
    """
    folder = make_folder(folder)
    own = results_of(folder, root)
    if own and not overwrite:
        _refuse_results(folder, root, own)
    # System errors from here on are about writing.
    with explained(folder), hidden_folder(folder, root) as hidden:
        names = _names(root, suffixes)
        paths = {kind: hidden / name for kind, name in names.items()}
        # In parallel: drawing needs the interpreter, writing the disk.
        with ThreadPoolExecutor(2) as pool:
            drawn = pool.submit(_draw, result, paths, plot)
            images = _write_images(result, paths, float16, save_unaligned)
            on_disk = [pool.submit(sync, path) for path in images]
            _write_motion(result, paths)
            if amplitudes is not None:
                write_spider(paths["amplitudes"], amplitudes())
            drawn.result()
            for one in on_disk:
                one.result()  # the system reports a failure only once
        notes = _write_formats(result, paths, folder)
        outputs = {kind: path.name for kind, path in paths.items() if path.exists()}
        files = list(outputs.values())
        outputs["record"] = paths["record"].name
        record = dataclasses.replace(
            result.record,
            outputs=outputs,
            output_states=states_of(hidden, files),
            motion=result.record.motion or result.motion.to_dict(),
            warnings=(*result.record.warnings, *notes),
        )
        write_json(paths["record"], record)
        publish(hidden, folder, files, outputs["record"])
    return outputs


def _names(root: str, suffixes: Mapping[str, str]) -> dict[str, str]:
    """File names of all possible results."""
    return {kind: root + suffix for kind, suffix in suffixes.items()}


def _write_formats(
    result: AlignmentResult, paths: Mapping[str, Path], folder: Path
) -> tuple[str, ...]:
    """Write the formats of other programs and return notes."""
    record = result.record
    formats = record.parameters.get("write", "")
    if not formats:
        return ()
    words = AlignParams(write=formats).formats
    gain_name = relion_project.relion_gain(record, folder) if "relion" in words else None
    if result.spectrum_for_ctf is not None:
        spectrum = result.spectrum_for_ctf
        write_mrc(
            paths["power_spectrum"], spectrum.amplitude, spectrum.pixel_size_A,
            labels=["amplitudes of the unaligned frames, for the CTF"],
        )  # fmt: skip
    return exports.write_formats(words, record, result.motion, paths, gain_name)


def _write_images(
    result: AlignmentResult,
    paths: Mapping[str, Path],
    float16: bool,
    save_unaligned: bool,
) -> Iterator[Path]:
    """Write the sums; return the path of each."""
    sums, pixel_size_A = result.sums, result.plan.pixel_size_A
    images = {
        "micrograph": (sums.plain, "mean of the aligned frames"),
        "dose_weighted": (sums.dose_weighted, "dose-weighted mean of the aligned frames"),
        "even": (sums.even, "mean of the even aligned frames"),
        "odd": (sums.odd, "mean of the odd aligned frames"),
        "unaligned": (sums.unaligned if save_unaligned else None, "mean of the unaligned frames"),
        "movie": (sums.aligned, "aligned frames"),
    }
    movie = result.record.movie
    source, shape_px = Path(movie.path).name, (movie.height_px, movie.width_px)
    for kind, (image, label) in images.items():
        if image is not None:
            write_mrc(
                paths[kind], image, axis_pixel_sizes_A(pixel_size_A, shape_px, image.shape),
                float16=float16, is_stack=image.ndim == 3, labels=[f"{label} of {source}"],
            )  # fmt: skip
            yield paths[kind]


def _write_motion(result: AlignmentResult, paths: Mapping[str, Path]) -> None:
    """Write the motion in both formats."""
    movie, plan = result.record.movie.path, result.plan
    binning = plan.output_pixel_size_A / plan.pixel_size_A
    write_shifts(paths["shifts"], result.motion, movie, binning=binning, tracks=result.tracks)
    write_json(paths["motion"], result.motion)


def _draw(
    result: AlignmentResult,
    paths: Mapping[str, Path],
    plot: Callable[[], bytes] | None,
) -> None:
    """Draw the micrograph, the motion and, if computed, the spectra."""
    movie, pixel_size_A = result.record.movie, result.plan.pixel_size_A
    write_thumbnail(paths["thumbnail"], result.sums.plain)
    title = Path(movie.path).name
    if plot is not None:
        paths["plot"].write_bytes(plot())
    else:
        draw_trajectory(
            paths["plot"], result.motion, pixel_size_A, (movie.height_px, movie.width_px),
            title=title, tracks=result.tracks,
        )  # fmt: skip
    before, after = result.spectrum_before, result.spectrum_after
    if before is not None and after is not None:
        draw_spectra(paths["spectra"], before, after, title=title)
        write_spectra_thumbnail(paths["spectra_thumbnail"], before, after)
