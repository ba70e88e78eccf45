"""RELION's files of a motion correction job: one STAR per movie, one for all micrographs.

The shifts are corrections, minus our displacements, in pixels of the unbinned movie, for the
whole-frame and for the local motion alike.  Frames are counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flexalign.errors import InputError
from flexalign.io.motion_formats.polynomial import (
    COEFFICIENTS,
    PolynomialMotion,
    correction_px,
    fit_polynomial,
)
from flexalign.io.star import star_list, star_loop, write_star
from flexalign.model import FrameRange
from flexalign.motion import Motion

NOT_OBSERVED = -9999.0
# Above this error, polishing is worse when it starts from the polynomial than when it does not.
MAX_MODEL_ERROR_A = 2.0

_NO_PIXELS = np.zeros((0, 2), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class RelionMovie:
    """The movie's entry in RELION's files, without its motion.

    Attributes
    ----------
    movie_name, gain_name : paths relative to RELION's project folder
    shape_px : (height, width) unbinned; EER: after upsampling
    frame_count : of the file; EER: of fractions
    pixel_size_A : unbinned
    binning : of the micrograph
    used : frames whose motion is known; the first is RELION's start frame
    dose_per_frame_e_A2 : None = unknown
    eer_upsampling, eer_grouping : EER only; raw frames in a fraction
    bad_pixels_yx : (n, 2) rows and columns found bad in this movie
    """

    movie_name: str
    shape_px: tuple[int, int]
    frame_count: int
    pixel_size_A: float
    voltage_kV: float
    used: FrameRange
    binning: float = 1.0
    dose_per_frame_e_A2: float | None = None
    pre_exposure_e_A2: float = 0.0
    gain_name: str | None = None
    eer_upsampling: int | None = None
    eer_grouping: int | None = None
    bad_pixels_yx: npt.NDArray[np.int64] = field(default_factory=lambda: _NO_PIXELS)


@dataclass(frozen=True, slots=True)
class RelionMicrograph:
    """One row of ``corrected_micrographs.star``; paths relative to RELION's project folder.

    Attributes
    ----------
    name : micrograph for picking, dose-weighted if there is one
    metadata : its STAR file
    motion_A : length of the path of the whole frame: total, early and late
    not_weighted : micrograph without dose weighting, for the CTF
    power_spectrum : the ``_PS.mrc``
    optics_group : its number in the table of optics
    even, odd : micrographs of half of the frames
    """

    name: str
    metadata: str
    motion_A: tuple[float, float, float]
    not_weighted: str | None = None
    power_spectrum: str | None = None
    optics_group: int = 1
    even: str | None = None
    odd: str | None = None


def model_for(motion: Motion, movie: RelionMovie) -> PolynomialMotion:
    """The motion in RELION's model, without local motion if the polynomial fits badly."""
    model = fit_polynomial(motion, movie.used)
    if model.rms_error_px * movie.pixel_size_A > MAX_MODEL_ERROR_A:
        return model.without_local()
    return model


def write_motion_star(
    path: str | Path,
    movie: RelionMovie,
    motion: Motion,
    *,
    patches: tuple[int, int] = (5, 5),
) -> PolynomialMotion:
    """Write the STAR file that polishing reads for one movie.

    Parameters
    ----------
    motion : RELION's polynomial is fitted to it; it should be zero in the first used frame
    patches : (y, x) places at which the local shifts are listed, for plots only

    Returns
    -------
    The polynomial written, with its error

    Raises
    ------
    InputError
        If the file cannot be written, or a name has a space in it, which RELION cannot read.
    """
    for name in (movie.movie_name, movie.gain_name or ""):
        if any(character.isspace() for character in name):
            raise InputError(f"{name}: RELION reads no names with spaces; rename the file")
    model = model_for(motion, movie)
    blocks = [star_list("general", _general(movie, model)), _global_shift(movie, model)]
    comment = "written by flexalign"
    if motion.field is not None:
        comment += (
            f"; its field and the polynomial differ by {model.rms_error_px:.4f} px rms, of "
            f"{model.rms_local_px:.4f} px rms of local motion"
        )
    if model.coefficients_px is not None:
        numbers = [f"{value:.9g}" for value in model.coefficients_px[::-1].ravel()]
        columns: dict[str, list[object]] = {
            "rlnMotionModelCoeffsIdx": list(range(2 * COEFFICIENTS)),
            "rlnMotionModelCoeff": list(numbers),
        }
        blocks.append(star_loop("local_motion_model", columns))
    if len(movie.bad_pixels_yx):
        rows, pixels = movie.bad_pixels_yx.T
        blocks.append(
            star_loop(
                "hot_pixels",
                {
                    "rlnCoordinateX": [float(x) for x in pixels],
                    "rlnCoordinateY": [float(y) for y in rows],
                },
            )
        )
    if model.coefficients_px is not None:
        blocks.append(_local_shift(movie, model, patches))
    write_star(path, blocks, comment)
    return model


def optics_table(
    kinds: Sequence[tuple[float, float, float]], cs_mm: float, amplitude_contrast: float
) -> dict[str, list[object]]:
    """The table of optics, its groups numbered from 1.

    Parameters
    ----------
    kinds : pixel size of the movie and of the micrograph in Angstrom, and voltage in kV, of each
    """
    return {
        "rlnOpticsGroupName": [f"opticsGroup{number + 1}" for number in range(len(kinds))],
        "rlnOpticsGroup": [number + 1 for number in range(len(kinds))],
        "rlnMicrographOriginalPixelSize": [size_A for size_A, _, _ in kinds],
        "rlnVoltage": [kV for _, _, kV in kinds],
        "rlnSphericalAberration": [cs_mm for _ in kinds],
        "rlnAmplitudeContrast": [amplitude_contrast for _ in kinds],
        "rlnMicrographPixelSize": [size_A for _, size_A, _ in kinds],
    }


def write_micrographs_star(
    path: str | Path,
    optics: Mapping[str, Sequence[object]],
    micrographs: Sequence[RelionMicrograph],
) -> None:
    """Write ``corrected_micrographs.star``: the optics groups, then one row per micrograph.

    Columns that only some micrographs have are left out.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    columns: dict[str, list[object]] = {}
    optional = {
        "rlnMicrographNameNoDW": [row.not_weighted for row in micrographs],
        "rlnCtfPowerSpectrum": [row.power_spectrum for row in micrographs],
    }
    for label, names in optional.items():
        if micrographs and None not in names:
            columns[label] = list(names)
    columns["rlnMicrographName"] = [row.name for row in micrographs]
    columns["rlnMicrographMetadata"] = [row.metadata for row in micrographs]
    columns["rlnOpticsGroup"] = [row.optics_group for row in micrographs]
    for index, part in enumerate(("Total", "Early", "Late")):
        columns[f"rlnAccumMotion{part}"] = [row.motion_A[index] for row in micrographs]
    blocks = [star_loop("optics", optics), star_loop("micrographs", columns)]
    write_star(path, blocks, "written by flexalign")


def _general(movie: RelionMovie, model: PolynomialMotion) -> dict[str, object]:
    """The ``general`` block, in RELION's order; unknown values are left out."""
    height, width = movie.shape_px
    items = {
        "rlnImageSizeX": width,
        "rlnImageSizeY": height,
        "rlnImageSizeZ": movie.frame_count,
        "rlnMicrographMovieName": movie.movie_name,
        "rlnMicrographGainName": movie.gain_name,
        "rlnMicrographBinning": movie.binning,
        "rlnMicrographOriginalPixelSize": movie.pixel_size_A,
        "rlnMicrographDoseRate": movie.dose_per_frame_e_A2,
        "rlnMicrographPreExposure": movie.pre_exposure_e_A2,
        "rlnVoltage": movie.voltage_kV,
        "rlnMicrographStartFrame": movie.used.first + 1,
        "rlnEERUpsampling": movie.eer_upsampling,
        "rlnEERGrouping": movie.eer_grouping,
        "rlnMotionModelVersion": 0 if model.coefficients_px is None else 1,
    }
    return {label: value for label, value in items.items() if value is not None}


def _global_shift(movie: RelionMovie, model: PolynomialMotion) -> str:
    """The block of whole-frame shifts."""
    shifts = [
        (float(dx), float(dy)) if frame in movie.used else (NOT_OBSERVED, NOT_OBSERVED)
        for frame, (dy, dx) in enumerate(model.global_px + 0.0)
    ]
    return star_loop(
        "global_shift",
        {
            "rlnMicrographFrameNumber": list(range(1, len(shifts) + 1)),
            "rlnMicrographShiftX": [x for x, _ in shifts],
            "rlnMicrographShiftY": [y for _, y in shifts],
        },
    )


def _local_shift(movie: RelionMovie, model: PolynomialMotion, patches: tuple[int, int]) -> str:
    """The block of local shifts at the middles of `patches`, patch by patch."""
    y, x = ((np.arange(count) + 0.5) / count for count in patches)
    frames = range(movie.used.first, movie.used.stop)
    planes = np.stack([correction_px(model, frame, y - 0.5, x - 0.5) for frame in frames])
    rows, columns = np.meshgrid(y * movie.shape_px[0], x * movie.shape_px[1], indexing="ij")
    every_frame = np.ones(len(frames))
    shifts = planes.transpose(1, 2, 3, 0).reshape(2, -1)
    table = {
        "rlnMicrographFrameNumber": [f + 1 for _ in range(rows.size) for f in frames],
        "rlnCoordinateX": list(np.kron(columns.ravel(), every_frame)),
        "rlnCoordinateY": list(np.kron(rows.ravel(), every_frame)),
        "rlnMicrographShiftX": list(shifts[1]),
        "rlnMicrographShiftY": list(shifts[0]),
    }
    return star_loop("local_shift", table)
