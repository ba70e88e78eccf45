"""What is to be aligned and how: the arguments of an alignment, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from flexalign.arrays.device import Device, resolve
from flexalign.device_choice import why_cpu
from flexalign.errors import InputError, ParameterError
from flexalign.estimate.series_prior import SeriesPrior
from flexalign.io.movies.array_movie import FrameArray
from flexalign.io.movies.reader import MovieReader
from flexalign.io.record import file_state, movie_file
from flexalign.io.reference_images import reference_image
from flexalign.io.references import Reference
from flexalign.model import MovieInfo, PixelArray
from flexalign.motion import Motion
from flexalign.params import AlignParams, quoted
from flexalign.plan import Plan
from flexalign.progress import Progress, silent


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is to be done: the arguments of `flexalign.align_movie`, checked.

    Attributes
    ----------
    images : those of "gain", "dark" and "defects" that were given as arrays
    timings_s : of stages that are over when the alignment begins
    """

    movie: str | Path | FrameArray | MovieReader
    params: AlignParams
    motion: Motion | None = None
    series_prior: SeriesPrior | None = None
    progress: Progress = silent
    images: Mapping[str, PixelArray] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)


def device_for(plan: Plan, params: AlignParams) -> Device:
    """The device for one movie.

    Raises
    ------
    DeviceError
        If the requested GPU cannot be used.
    ParameterError
        If several are requested.
    """
    pixels = plan.align.count * plan.movie.height_px * plan.movie.width_px
    reason = why_cpu(pixels, params.thread_count, many=False)
    return resolve(params.device, plan.gpu_memory_bytes, cpu_is_faster=reason)


def with_references(
    params: AlignParams, gain: Reference | None, dark: Reference | None, defects: Reference | None
) -> tuple[AlignParams, dict[str, PixelArray]]:
    """The parameters with the references that are paths, and those that are arrays."""
    images: dict[str, PixelArray] = {}
    changes: dict[str, Any] = {}
    for role, given in (("gain", gain), ("dark", dark), ("defects", defects)):
        if given is None:
            continue
        if getattr(params, role) is not None:
            raise ParameterError(
                f"{quoted(role)}: expected it as an argument or in params, found both"
            )
        if isinstance(given, str | Path):
            changes[role] = os.fspath(given)
        else:
            images[role] = reference_image(given, role)
    return replace(params, **changes), images


def params_for(motion: Motion, params: AlignParams) -> AlignParams:
    """The parameters with which `motion` is applied: without estimation, of its known frames."""
    measured = np.flatnonzero(motion.trajectory.is_measured)
    if (params.align_first, params.align_last) == (1, 0) and measured.size:
        first, last = int(measured[0]) + 1, int(measured[-1]) + 1
        params = replace(params, align_first=first, align_last=last)
    return replace(params, local=False, refine=False)


def state_of(movie: MovieInfo) -> dict[str, int] | None:
    """Size and time of the file of a movie; None = it has none, or it is gone."""
    path = movie_file(movie)
    try:
        return None if path is None else file_state(path)
    except OSError:
        return None


def check_unchanged(movie: MovieInfo, before: dict[str, int] | None) -> None:
    """Raise `InputError` if the file of a movie is not in the state `before` any more."""
    if state_of(movie) != before:
        raise InputError(
            f"{movie.path}: expected a movie that is complete, found one that changed while it was "
            "read: wait until it is written completely"
        )


def check_formats(movie: MovieInfo, images: Mapping[str, PixelArray], params: AlignParams) -> None:
    """Raise `ParameterError` if files for RELION would name files that do not exist."""
    if "relion" in params.formats and (movie_file(movie) is None or images):
        raise ParameterError(
            f"{quoted('write')}: RELION reads the movie and its references again, and needs "
            "them in files; found an array"
        )
