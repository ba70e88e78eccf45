"""Simulated movies, their alignment, and the style of all figures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flexalign import AlignmentResult, AlignParams, align_movie, simulate_movie
from flexalign.arrays import dose
from flexalign.comparison import MotionLike
from flexalign.estimate import pairwise, patches, refine
from flexalign.estimate.patch_spectra import PatchSpectra, cut_spectra
from flexalign.figure_style import SERIES_COLORS
from flexalign.io.movies.open_movie import open_for
from flexalign.io.references import references_for
from flexalign.motion import MotionField
from flexalign.passes import first_pass
from flexalign.plan import make_plan
from flexalign.simulate import SimulatedMovie

SIZE_IN = (9.0, 4.0)
BLUE, ORANGE, GREY = *SERIES_COLORS[:2], "#888888"

Numbers = npt.NDArray[np.float64]


class Inside(NamedTuple):
    """What the refinement of a movie starts from."""

    spectra: PatchSpectra
    start_px: Numbers
    shape: MotionField


def simulated(**changes: Any) -> SimulatedMovie:
    """A movie of 1024 x 1024 pixels, 2 electrons per pixel and frame, and smooth motion."""
    settings = {"shape_px": (1024, 1024), "frame_count": 24, "electrons_per_px": 2.0}
    return simulate_movie(threads=1, **{**settings, "motion": "bumps", **changes})


@contextmanager
def saved(movie: SimulatedMovie, **changes: Any) -> Iterator[tuple[Path, AlignParams]]:
    """The movie on disk, and the parameters that a user would give."""
    with tempfile.TemporaryDirectory() as folder:
        files = movie.save(folder, "movie")
        params = AlignParams(
            gain=str(files["gain"]),
            pixel_size_A=movie.settings.pixel_size_A,
            dose_per_frame_e_A2=movie.settings.dose_e_A2,
            psd=False,
            threads=1,
        )
        yield files["movie"], replace(params, **changes)


def aligned(movie: SimulatedMovie, **changes: Any) -> AlignmentResult:
    """What flexalign makes of the movie."""
    with saved(movie, **changes) as (path, params):
        return align_movie(path, params)


def inside(movie: SimulatedMovie, *, from_pairs: bool = True) -> Inside:
    """Spectra of the patches as in `estimate.candidates`, along the pairwise path or none."""
    with saved(movie) as (path, params), open_for(path, params) as reader:
        plan = make_plan(reader.info, params)
        references = references_for(reader.info, params)
        frames, _ = first_pass(reader, plan, references, params, 1, lambda *_: None)
    assert plan.control_points is not None
    found_px, _ = pairwise.global_trajectory(
        frames.downsampled(plan.pairwise_shape_px), params.max_resolution_A, params.max_shift_A
    )
    grid = patches.make_grid(frames, plan.patches)
    path_px = found_px if from_pairs else np.zeros_like(found_px)
    start_px = refine.displacement_at(path_px, None, grid.center_px, frames.frame)
    middle_e_A2 = movie.settings.dose_e_A2 * (frames.frame[:, None] + 0.5)
    spectra = cut_spectra(
        frames, grid, start_px, lambda f: np.asarray(dose.exposure_weights(f, middle_e_A2))
    )
    shape = MotionField(
        np.zeros((2, *plan.control_points)), *movie.settings.shape_px, frames=plan.align
    )
    return Inside(spectra, start_px, shape)


def tracks_px(motion: MotionLike, centers_px: Numbers, frames: npt.ArrayLike) -> Numbers:
    """Displacements (places, frames, 2), mean over frames removed."""
    index = np.asarray(frames, dtype=np.int64)[None]
    dy_dx = motion.displacement_px(index, centers_px[:, :1], centers_px[:, 1:])
    track = np.stack(dy_dx, axis=-1)
    return np.asarray(track - track.mean(axis=1, keepdims=True))


def rms_px(difference_px: Numbers) -> float:
    """Root mean square length of (..., 2)."""
    return float(np.sqrt((difference_px**2).sum(axis=-1).mean()))
