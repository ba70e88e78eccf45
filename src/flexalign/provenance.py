"""The record of one movie as it was aligned: what was decided, from which files, and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from flexalign import __version__
from flexalign.arrays.device import Device
from flexalign.estimate.result import Estimate
from flexalign.estimate.spectral_powers import finest_signal_A
from flexalign.io.inspect.sidecars import acquired
from flexalign.io.record import describe_array, describe_file, describe_movie, movie_file
from flexalign.machine import peak_memory_bytes
from flexalign.model import MovieRecord, PixelArray, Quality
from flexalign.params import REFERENCE_FILES, AlignParams
from flexalign.passes import FirstPass
from flexalign.plan import Plan


def record_of(
    plan: Plan,
    params: AlignParams,
    first: FirstPass,
    estimate: Estimate,
    quality: Quality,
    timings_s: dict[str, float],
    notes: tuple[str, ...],
    device: Device,
    inputs: dict[str, dict[str, Any]],
) -> MovieRecord:
    """The record of the movie's processing, except for its curves."""
    decisions: dict[str, Any] = {
        **plan.to_dict(),
        "output_pixel_size_A": plan.output_pixel_size_A,
        "reference_frame": estimate.motion.reference_frame,
        "rejected_pairs": estimate.rejected_pairs,
        "mean_counts": first.mean_counts,
        "references": list(notes),
        "device": device.describe(),
        "device_note": device.note,
    }
    # numpy finds indices much faster along one axis.
    hot_pixels = np.divmod(np.flatnonzero(first.hot_pixels), first.hot_pixels.shape[1])
    decisions["hot_pixel_y"], decisions["hot_pixel_x"] = hot_pixels
    if estimate.refinement is not None:
        if estimate.chosen == "refined":
            decisions["fitted_parameters"] = estimate.refinement.fit.fitted_parameters
        decisions["trajectory_prior"] = asdict(estimate.refinement.trajectory_prior)
        if estimate.refinement.field_prior is not None:
            decisions["field_prior"] = asdict(estimate.refinement.field_prior)
        decisions["finest_signal_A"] = finest_signal_A(
            estimate.refinement.powers, estimate.refinement.ring_frequency_per_A
        )
    return MovieRecord(
        version=__version__,
        movie=plan.movie,
        inputs=inputs,
        parameters={**params.to_dict(), "hash": params.hash()},
        decisions=decisions,
        timings_s=timings_s,
        peak_memory_bytes=peak_memory_bytes(),
        quality=quality,
        outputs={},
        warnings=_warnings(plan, params, first),
        motion=estimate.motion.to_dict(),
    )


def describe_inputs(
    plan: Plan, params: AlignParams, images: Mapping[str, PixelArray]
) -> dict[str, dict[str, Any]]:
    """Identity of the movie and its references, of which `images` are arrays.

    Of the movie also the time of acquisition, "acquired", if a file beside it has one.
    """
    paths = {role: getattr(params, role) for role in REFERENCE_FILES}
    files = {role: describe_file(path) for role, path in paths.items() if path is not None}
    arrays = {role: describe_array(role, image) for role, image in images.items()}
    movie, path = describe_movie(plan.movie), movie_file(plan.movie)
    time = None if path is None else acquired(path)
    return {"movie": movie | ({"acquired": time} if time else {}), **files, **arrays}


def _warnings(plan: Plan, params: AlignParams, first: FirstPass) -> tuple[str, ...]:
    """Warnings about the alignment, one sentence each."""
    found = [f"frame {i + 1} is left out: {why}" for i, why in sorted(first.bad_frames.items())]
    found += [f"frame {i + 1} is used, but {what}" for i, what in sorted(first.notes.items())]
    if first.uneven_frames:
        named = ", ".join(f"{i + 1} ({off:+.0%})" for i, off in sorted(first.uneven_frames.items()))
        found.append(
            f"frames of uneven counts, compared with the others: {named}; where their doses are "
            "known, give one for each frame to `dose_per_frame_e_A2`"
        )
    if plan.fallback:
        found.append(f"aligned globally only: {plan.fallback}")
    if plan.movie.eer is not None and plan.movie.eer.leftover_raw_frames:
        found.append(f"{plan.movie.eer.leftover_raw_frames} EER raw frames at the end are not used")
    if params.dose_weight and plan.dose_per_frame_e_A2 is None:
        found.append(
            "no dose-weighted micrograph: the dose per frame is not known (`dose_per_frame_e_A2`)"
        )
    return tuple(found)
