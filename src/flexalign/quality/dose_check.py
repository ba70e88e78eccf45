"""Pixel sizes and doses that cannot be right, from the plan of a movie and the counts in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flexalign.io.movies.reader import MovieReader
from flexalign.model import FrameRange, MovieInfo
from flexalign.plan import Plan

# Cameras that write bytes, or events, write electrons.
COUNTING_DTYPES = ("int8", "uint8")
# A finding that may be an exception stops a run when all of so many movies have it.
DOSE_MOVIES = 3
# Movies of smaller pixels show less than an atom bond, those of larger ones no protein.
MIN_PIXEL_A, MAX_PIXEL_A = 0.12, 9.0
# Several times what a specimen for high resolution survives.
MAX_MOVIE_DOSE_E_A2 = 300.0
# Counts that agree with the dose within this ratio confirm it, however high it is.
CONFIRMED_RATIO = 3.0
# An event of an EER movie is an electron: the detector misses some, and makes none.
MAX_EVENTS_RATIO = 4.0
# A lamella of 300 nm at 60 degrees, with an energy filter, lets through about a fifteenth.
MAX_LOSS_RATIO = 30.0


@dataclass(frozen=True, slots=True)
class DoseFinding:
    """A pixel size or dose that does not fit a movie.

    Attributes
    ----------
    option : of the parameter that is probably wrong
    text : what was expected and found, and what to do
    is_certain : False if the movie may be an exception, such as one of a grid bar
    """

    option: str
    text: str
    is_certain: bool = True


def pixel_size_finding(plan: Plan) -> DoseFinding | None:
    """What is wrong with the pixel size of the movie as stored; None if nothing is."""
    upsampling = plan.movie.eer.upsampling if plan.movie.eer else 1
    size_A = plan.pixel_size_A * upsampling
    if MIN_PIXEL_A <= size_A <= MAX_PIXEL_A:
        return None
    return DoseFinding(
        "pixel_size_A",
        f"expected {MIN_PIXEL_A:g} to {MAX_PIXEL_A:g} A for {plan.movie.path}, found "
        f"{size_A:.4g} A: give the pixel size of the movie in Angstrom",
    )


def dose_finding(plan: Plan, counted_e_A2: float) -> DoseFinding | None:
    """What is wrong with the dose of a movie; None if nothing is, or no dose is given.

    Parameters
    ----------
    counted_e_A2 : mean dose of a frame by its counts; NaN = unknown, as of integrating detectors
    """
    declared_e_A2 = plan.dose_per_frame_e_A2
    if declared_e_A2 is None:
        return None
    frames, path = plan.movie.frame_count, plan.movie.path
    total_e_A2 = declared_e_A2 * frames
    loss_ratio = declared_e_A2 / counted_e_A2 if counted_e_A2 > 0 else math.nan
    counted = "" if math.isnan(loss_ratio) else f"; the detector counted {counted_e_A2:.3g} e/A2"
    found = f"{declared_e_A2:.4g} e/A2 for each of {frames} frames of {path}{counted}"
    if total_e_A2 > MAX_MOVIE_DOSE_E_A2 and not loss_ratio < CONFIRMED_RATIO:
        return DoseFinding(
            "dose_per_frame_e_A2",
            f"expected at most {MAX_MOVIE_DOSE_E_A2:g} e/A2 for a movie, found {found}. If "
            f"{declared_e_A2:.4g} e/A2 is the dose of the movie, give {declared_e_A2 / frames:.4g}",
        )
    if plan.movie.eer is not None and loss_ratio < 1 / MAX_EVENTS_RATIO:
        return DoseFinding(
            "dose_per_frame_e_A2",
            f"expected no more events than electrons, found {found}. Give the dose of an EER "
            "fraction, not of a raw frame, and compare the pixel size",
        )
    if loss_ratio > MAX_LOSS_RATIO:
        return DoseFinding(
            "dose_per_frame_e_A2",
            f"expected counts of about the dose, found {found}. If {declared_e_A2:.4g} e/A2 is the "
            f"dose of the movie, give {declared_e_A2 / frames:.4g}; compare the pixel size too",
            is_certain=False,
        )
    return None


def counted_dose_e_A2(reader: MovieReader, plan: Plan, *, threads: int = 1) -> float:
    """Dose of the middle frame of a movie by its raw counts; NaN if they are not electrons.

    A gain reference is left out, since its mean is arbitrary.
    """
    if not counts_are_electrons(plan.movie):
        return math.nan
    middle = plan.movie.frame_count // 2
    frame = next(iter(reader.frames(FrameRange(middle, middle + 1), threads=threads)))
    if frame.pixels is None:
        return math.nan
    counts = float(np.mean(frame.pixels, dtype=np.float64))
    # Of one frame, which differs from the mean where doses or numbers of raw frames do.
    relative = float(plan.relative_counts(np.array([middle]))[0])
    return counts / (relative * plan.pixel_size_A**2)


def counts_are_electrons(movie: MovieInfo) -> bool:
    """Whether the raw values of a movie are electron counts, judging by its format."""
    return movie.file_format.endswith("eer") or movie.pixel_dtype in COUNTING_DTYPES
