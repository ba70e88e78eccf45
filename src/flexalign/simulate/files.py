"""Write simulated movies in standard formats, with the truth beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import numpy.typing as npt
import tifffile

from flexalign.atomic import replacing
from flexalign.errors import ParameterError
from flexalign.io.movies.eer_writer import write_eer
from flexalign.io.results import make_folder
from flexalign.model import PixelArray
from flexalign.parameter import quoted
from flexalign.simulated_choices import FORMATS

if TYPE_CHECKING:
    from flexalign.simulate.movie import SimulatedMovie

_EER_COMPRESSION = 65001
_EER_SUBPIXELS = 4


def save_movie(
    movie: SimulatedMovie,
    folder: str | Path,
    name: str,
    file_format: str = "mrc",
    raw_frames_per_frame: int | None = None,
    *,
    with_gain: bool = True,
) -> dict[str, Path]:
    """The files written: "movie", "truth" and, when there is one, "gain".

    - ``<name>.mrc``: mode 0 (counts below 128) or 6.
    - ``<name>.tiff``: LZW; the last row first, as IMOD does, so that the same gain fits.
    - ``<name>.eer``: electron events, at most one per pixel and raw frame, placed at random
      within their pixel.  The gain is ``<name>.gain``, which multiplies, and also
      "gain_counts", an MRC that divides, as programs expect of an MRC for EER.
    - ``<name>_gain.mrc``: multiplies (not for EER).
    - ``<name>_truth.npz``: displacement_px, lattice_y_px, lattice_x_px, specimen, bad_pixels,
      seed, and settings as JSON.

    Parameters
    ----------
    folder : is made when missing
    file_format : one of `FORMATS`
    raw_frames_per_frame : EER only; None = as many as the fullest pixel needs, so that no count
        is lost; with fewer, counts above it are cut off
    with_gain : whether to write the gain, too

    Raises
    ------
    ParameterError
        For another format.
    InputError
        If the files cannot be written.
    """
    check_format(file_format)
    folder = make_folder(folder)
    paths = {"movie": folder / f"{name}.{file_format}", "truth": folder / f"{name}_truth.npz"}
    pixel_size_A = movie.settings.pixel_size_A
    if file_format == "mrc":
        _write_mrc(paths["movie"], _as_mode_0(movie.counts), pixel_size_A)
    elif file_format == "tiff":
        _write_tiff(paths["movie"], movie.counts, pixel_size_A)
    else:
        _write_events(paths["movie"], movie, raw_frames_per_frame)
    if movie.gain is not None and with_gain:
        paths |= save_gain(movie.gain, folder, name, file_format, pixel_size_A)
    _write_truth(paths["truth"], movie)
    return paths


def check_format(file_format: str) -> None:
    """Raise a `ParameterError` unless movies can be saved in a format."""
    if file_format not in FORMATS:
        raise ParameterError(
            f"{quoted('file_format')}: expected one of {', '.join(FORMATS)}, found {file_format}"
        )


def save_gain(
    gain: PixelArray, folder: Path, name: str, file_format: str, pixel_size_A: float
) -> dict[str, Path]:
    """The files written of a gain (h, w) that multiplies, see `save_movie`."""
    of_counts = folder / f"{name}_gain.mrc"
    if file_format != "eer":
        _write_mrc(of_counts, gain, pixel_size_A)
        return {"gain": of_counts}
    path = folder / f"{name}.gain"
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, gain, photometric="minisblack", metadata=None)
    _write_mrc(of_counts, 1 / gain, pixel_size_A)
    return {"gain": path, "gain_counts": of_counts}


def _as_mode_0(counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """8-bit counts as the signed bytes of MRC mode 0, which they fit; others as they are."""
    return counts.view(np.int8) if counts.dtype == np.uint8 else counts


def _write_mrc(path: Path, array: npt.NDArray[Any], pixel_size_A: float) -> None:
    with replacing(path) as temporary, mrcfile.new(temporary, data=array) as mrc:
        if array.ndim == 3:
            mrc.set_image_stack()
        mrc.voxel_size = pixel_size_A


def _write_tiff(path: Path, counts: npt.NDArray[Any], pixel_size_A: float) -> None:
    pixels_per_cm = 1e8 / pixel_size_A
    with replacing(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        for frame in counts:
            tiff.write(
                np.ascontiguousarray(frame[::-1]),
                compression="lzw",
                photometric="minisblack",
                resolution=(pixels_per_cm, pixels_per_cm),
                resolutionunit="CENTIMETER",
                metadata=None,
            )


def _write_events(path: Path, movie: SimulatedMovie, raw_frames_per_frame: int | None) -> None:
    raw_frames = raw_frames_per_frame or max(1, int(movie.counts.max()))
    height, width = movie.settings.shape_px
    with replacing(path) as temporary:
        write_eer(
            temporary,
            _raw_frames(movie, raw_frames),
            height_px=height,
            width_px=width,
            codec=_EER_COMPRESSION,
            pixel_size_A=movie.settings.pixel_size_A,
        )


def _raw_frames(movie: SimulatedMovie, raw_frames: int) -> Iterator[npt.NDArray[np.int64]]:
    """Events (n, 2) (y, x) on the 4 times finer grid of each raw frame of the movie.

    The electrons of one pixel are spread evenly over its frame from a random start, so no two
    fall into the same raw frame.
    """
    rng = np.random.default_rng([movie.settings.seed, 5])
    width = movie.settings.shape_px[1]
    for frame in movie.counts:
        counts = np.minimum(frame.ravel(), raw_frames).astype(np.int64)
        pixel = np.repeat(np.arange(counts.size), counts)
        number = np.arange(pixel.size) - np.repeat(np.cumsum(counts) - counts, counts)
        start = np.repeat(rng.integers(raw_frames, size=counts.size), counts)
        raw = (start + number * raw_frames // counts[pixel]) % raw_frames
        order = np.argsort(raw, kind="stable")
        fine = _EER_SUBPIXELS * np.stack(np.divmod(pixel[order], width), axis=1)
        fine += rng.integers(_EER_SUBPIXELS, size=fine.shape)
        yield from np.split(fine, np.searchsorted(raw[order], np.arange(1, raw_frames)))


def _write_truth(path: Path, movie: SimulatedMovie) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            displacement_px=movie.displacement_px,
            lattice_y_px=movie.lattice_y_px,
            lattice_x_px=movie.lattice_x_px,
            specimen=movie.specimen,
            bad_pixels=movie.bad_pixels,
            seed=movie.settings.seed,
            settings=json.dumps(movie.settings.to_dict()),
        )
