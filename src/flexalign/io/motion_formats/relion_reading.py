"""Read RELION's STAR file of one movie: its facts and its motion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from flexalign.io.motion_formats.numbers_in_files import frame_count, shifts, size_px, whole_number
from flexalign.io.motion_formats.polynomial import COEFFICIENTS, PolynomialMotion, as_motion
from flexalign.io.motion_formats.relion import NOT_OBSERVED, RelionMovie
from flexalign.io.read_errors import reading
from flexalign.io.star import Blocks, read_star
from flexalign.model import FloatArray, FrameRange
from flexalign.motion import Motion


def read_motion_star(path: str | Path) -> tuple[RelionMovie, Motion]:
    """A movie and its motion from the STAR file that RELION, or `relion.write_motion_star`, wrote.

    Raises
    ------
    InputError
        If the file is none of these.
    """
    what = "RELION's STAR file of one movie, with the blocks general and global_shift"
    with reading(path, what):
        return _parsed(read_star(path))


def _parsed(blocks: Blocks) -> tuple[RelionMovie, Motion]:
    """The movie and its motion in the blocks of its STAR file."""
    items = {label: words[0] for label, words in blocks["general"].items() if words}
    count = frame_count(items["rlnImageSizeZ"])
    first = whole_number(items.get("rlnMicrographStartFrame", "1"), "a start frame", 1, count) - 1
    global_px, used = _global_px(blocks["global_shift"], count)
    coefficients = None
    if items.get("rlnMotionModelVersion", "0") == "1":
        coefficients = _coefficients(blocks["local_motion_model"])
    eer = {key: items.get(f"rlnEER{key}") for key in ("Upsampling", "Grouping")}
    hot = blocks.get("hot_pixels", {})
    pixels = [shifts(hot.get(f"rlnCoordinate{axis}", []), "places") for axis in "YX"]
    movie = RelionMovie(
        movie_name=items["rlnMicrographMovieName"],
        shape_px=(size_px(items["rlnImageSizeY"]), size_px(items["rlnImageSizeX"])),
        frame_count=count,
        pixel_size_A=float(items.get("rlnMicrographOriginalPixelSize", "nan")),
        voltage_kV=float(items.get("rlnVoltage", "nan")),
        used=used,
        binning=float(items.get("rlnMicrographBinning", 1)),
        dose_per_frame_e_A2=_number(items.get("rlnMicrographDoseRate")),
        pre_exposure_e_A2=float(items.get("rlnMicrographPreExposure", 0)),
        gain_name=items.get("rlnMicrographGainName"),
        eer_upsampling=None if eer["Upsampling"] is None else int(eer["Upsampling"]),
        eer_grouping=None if eer["Grouping"] is None else int(eer["Grouping"]),
        bad_pixels_yx=np.array(pixels).astype(np.int64).T.reshape(-1, 2),
    )
    motion = as_motion(PolynomialMotion(global_px, coefficients, first), used, movie.shape_px)
    return movie, motion


def _global_px(table: Mapping[str, list[str]], count: int) -> tuple[FloatArray, FrameRange]:
    """The shifts (frames of the file, 2) (y, x) of whole frames, and the frames observed."""
    global_px = np.full((count, 2), NOT_OBSERVED)
    words = table["rlnMicrographFrameNumber"]
    rows = np.array([whole_number(word, "frame numbers", 1, count) - 1 for word in words])
    if len(set(rows.tolist())) < len(rows):
        raise ValueError("expected each frame once, found one twice")
    for axis, label in enumerate(("rlnMicrographShiftY", "rlnMicrographShiftX")):
        global_px[rows, axis] = shifts(table[label])
    observed = np.flatnonzero((global_px != NOT_OBSERVED).all(axis=1))
    if not observed.size:
        raise ValueError("no frame was observed")
    used = FrameRange(int(observed[0]), int(observed[-1]) + 1)
    missing = np.setdiff1d(np.arange(used.first, used.stop), observed) + 1
    if missing.size:
        raise ValueError(f"frames {missing[:9].tolist()} within those used were not observed")
    return global_px, used


def _coefficients(model: Mapping[str, list[str]]) -> FloatArray:
    """The coefficients (2, 18) (y, x) of the polynomial."""
    flat = np.full(2 * COEFFICIENTS, np.nan)
    index = [
        whole_number(word, "places of coefficients", 0, len(flat) - 1)
        for word in model["rlnMotionModelCoeffsIdx"]
    ]
    flat[index] = shifts(model["rlnMotionModelCoeff"])
    if len(index) != len(flat) or np.isnan(flat).any():
        raise ValueError(f"expected {len(flat)} coefficients, found {len(set(index))}")
    return flat.reshape(2, COEFFICIENTS)[::-1]


def _number(word: str | None) -> float | None:
    return None if word is None else float(word)
