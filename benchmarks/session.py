"""Run folders of simulated sessions, with realistic records, for benchmarks of the report."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flexalign import __version__
from flexalign.batch.failures import Failure
from flexalign.batch.inputs import INDEX_NAME
from flexalign.batch.tables import FAILED_NAME, write_failed
from flexalign.io.thumbnails import write_spectra_thumbnail, write_thumbnail
from flexalign.model import (
    Curves,
    FrameRange,
    MovieInfo,
    MovieRecord,
    PowerSpectrum,
    Quality,
    SignalBand,
)
from flexalign.motion import Motion, MotionField, Trajectory
from flexalign.params import AlignParams
from flexalign.plain import write_json
from flexalign.quality.raise_flags import raised

FRAMES, SHAPE_PX, PIXEL_A, DOSE_E_A2 = 40, (4092, 5760), 0.83, 1.2
MOVIES_PER_SQUARE = 40
START_S, SECONDS_APART, TRANSFER_S = 1_790_000_000, 22, 40
MOVIES_PER_PAUSE, PAUSE_S = 160, 900
PICTURES = 6
SIDE, RINGS = 512, 256
BAND_EDGES_A = (30.0, 15.0, 10.0, 7.0, 5.0, 4.0)


def write_session(folder: Path, movies: int, seed: int = 0, failed_every: int = 120) -> None:
    """Write the records and pictures of `movies` movies, and the tables of their run.

    A stage that settles in each square, ice that thickens now and then, a beam that fades and is
    set anew, jumps, blank frames, and a stretch with a gain reference that does not fit.

    Parameters
    ----------
    failed_every : one movie in so many fails
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    params = AlignParams(
        gain="/data/session/gain.mrc", pixel_size_A=PIXEL_A, dose_per_frame_e_A2=DOSE_E_A2
    )
    _write_pictures(folder, rng)
    failures = []
    thickness = 1.0
    for number in range(movies):
        if number % MOVIES_PER_SQUARE == 0:
            thickness = float(rng.lognormal(0.0, 0.35))
        name = f"FoilHole_{20_000_000 + 137 * number}_Data_{number % 4}_{number:05}"
        movie = f"/data/session/movies/{name}_fractions.tiff"
        if number % failed_every == failed_every - 1:
            failures.append((movie, Failure("input", "expected 40 frames, found 31 whole ones", 3)))
            continue
        record = _record(rng, number, movies, name, movie, thickness, params)
        write_json(folder / f"{name}_record.json", record)
        for suffix in ("_thumb.png", "_psd_thumb.png"):
            picture = folder / f".{number % PICTURES}{suffix}"
            target = folder / f"{name}{suffix}"
            target.unlink(missing_ok=True)
            os.link(picture, target)
    write_failed(folder / FAILED_NAME, failures)
    _write_index(folder, movies, len(failures), params)


def _record(
    rng: np.random.Generator,
    number: int,
    movies: int,
    name: str,
    movie: str,
    thickness: float,
    params: AlignParams,
) -> MovieRecord:
    """The record of one movie."""
    settling = np.exp(-(number % MOVIES_PER_SQUARE) / 8)
    jumps = rng.random() < 0.008
    motion = _motion(rng, settling, thickness, jumps)
    quality = _quality(rng, motion, number / movies, thickness)
    rings_A = quality.rings_to_A
    outputs = {
        "micrograph": f"{name}_aligned_mic.mrc",
        "thumbnail": f"{name}_thumb.png",
        "spectra_thumbnail": f"{name}_psd_thumb.png",
        "record": f"{name}_record.json",
    }
    gain = {"name": "gain.mrc", "path": params.gain, "size_bytes": 94_281_728}
    info = MovieInfo(movie, "lzw tiff", FRAMES, *SHAPE_PX, "uint8", None, 480_000_000)
    first_s = float(rng.normal(2.4, 0.15))
    time_s = START_S + SECONDS_APART * number + PAUSE_S * (number // MOVIES_PER_PAUSE)
    return MovieRecord(
        version=__version__,
        movie=info,
        inputs={
            "movie": {
                "name": Path(movie).name, "path": movie, "size_bytes": info.size_bytes,
                "modified_ns": time_s * 10**9,
                "acquired": datetime.fromtimestamp(time_s - TRANSFER_S, UTC).isoformat()[:19],
                "sha256": f"{number:064x}", "sha256_of": "first and last 16 MiB",
            },
            "gain": {**gain, "modified_ns": START_S * 10**9, "sha256": "8" * 64,
                     "sha256_of": "first and last 16 MiB"},
        },
        parameters={**params.to_dict(), "hash": params.hash()},
        decisions={
            "pixel_size_A": PIXEL_A, "dose_per_frame_e_A2": DOSE_E_A2,
            "output_pixel_size_A": PIXEL_A, "reference_frame": motion.reference_frame,
            "align": {"first": 0, "stop": FRAMES}, "patches": [7, 9],
            "control_points": [8, 6, 7], "device": "cpu",
        },
        timings_s={
            "references": 0.2, "first pass": first_s, "pairwise": 1.1, "patches": 0.6,
            "refinement": float(rng.gamma(30, 0.13)), "second pass": 1.3 * first_s, "writing": 0.9,
        },
        peak_memory_bytes=int(rng.normal(3.1e9, 5e7)),
        quality=quality,
        outputs=outputs,
        warnings=("frame 1 is left out: it is blank",) if quality.bad_frame_count else (),
        motion=motion.to_dict(),
        curves=_curves(rings_A, quality.rings_before_A, rng),
    )  # fmt: skip


def _motion(rng: np.random.Generator, settling: float, thickness: float, jumps: bool) -> Motion:
    """Beam-induced motion that is fast at first, and drift of a stage that settles."""
    time = np.arange(FRAMES)
    direction = rng.normal(size=2)
    direction /= np.hypot(*direction)
    early = rng.gamma(4.0, 1.2) * (1 - np.exp(-time / 3.0))
    drift = (0.12 + 0.9 * settling * rng.random()) * time
    path = early[:, None] * rng.normal(size=2) + drift[:, None] * direction
    path += np.cumsum(rng.normal(0, 0.12, (FRAMES, 2)), axis=0)
    if jumps:
        path[int(rng.integers(5, 35)) :] += rng.normal(0, 22, 2)
    error = 0.12 * thickness * rng.lognormal(0, 0.1)
    trajectory = Trajectory(path, np.ones(FRAMES, bool), FRAMES // 2, np.full((FRAMES, 2), error))
    along = (1 - np.exp(-np.linspace(0, 3, 8)))[:, None, None]
    field = rng.normal(0, 1.5, (2, 1, 6, 7)) + 2.0 * np.linspace(-1, 1, 7)
    return Motion(trajectory, MotionField(field * along, *SHAPE_PX, FrameRange(0, FRAMES)))


def _quality(rng: np.random.Generator, motion: Motion, part: float, thickness: float) -> Quality:
    """The numbers of one movie at `part` of the session, with the flags that they raise."""
    path_A = motion.trajectory.displacement_px * PIXEL_A
    steps_A = np.hypot(*np.diff(path_A, axis=0).T)
    early = round(4 / DOSE_E_A2)
    has_wrong_gain = 0.62 < part < 0.635
    dose_e_A2 = DOSE_E_A2 * (1.08 - 0.22 * (part % 0.5)) * np.exp(-0.06 * thickness)
    rings_A = float(np.clip(3.1 * thickness * rng.lognormal(0, 0.12), 2.4, 25))
    is_empty = rng.random() < 0.004
    signal = 0.0 if is_empty else 1 / thickness
    bands = tuple(
        SignalBand(coarse, fine, found * 0.8 ** (i + 1) + rng.normal(0, 0.02), found, 0.01)
        for i, (coarse, fine) in enumerate(itertools.pairwise(BAND_EDGES_A))
        for found in [2.0 * signal * 0.5**i + rng.normal(0, 0.02)]
    )
    errors = motion.trajectory.standard_error_px
    assert errors is not None
    found = Quality(
        total_motion_A=float(steps_A.sum()),
        early_motion_A=float(steps_A[:early].sum()),
        late_motion_A=float(steps_A[early:].sum()),
        largest_step_A=float(steps_A.max()),
        local_range_A=float(rng.gamma(9, 0.35) * thickness),
        candidate_scores={
            "none": 0.0, "global": 4100 * signal, "local": 4350 * signal, "refined": 4720 * signal,
        },
        chosen="none" if is_empty else "refined",
        hot_pixel_count=int(rng.poisson(800)),
        trajectory_error_A=float(errors.mean()) * PIXEL_A,
        field_error_A=float(errors.mean()) * PIXEL_A * 1.9,
        movement_A=float(np.ptp(path_A, axis=0).max()),
        roughness_A=float(np.hypot(*np.diff(path_A, 2, axis=0).T).mean()),
        track_residual_A=float(0.5 * thickness * rng.lognormal(0, 0.15)),
        has_signal=not is_empty,
        fixed_pattern_pull=float(abs(rng.normal(0, 0.02)) + 0.6 * has_wrong_gain),
        fixed_pattern_significance=float(abs(rng.normal(0, 1)) + 30 * has_wrong_gain),
        fixed_pattern_removed=has_wrong_gain,
        bad_frame_count=int(rng.random() < 0.006),
        hot_pixel_part=3.4e-5,
        gain_residual_rows=float(0.0008 * rng.lognormal(0, 0.2) + 0.011 * has_wrong_gain),
        gain_residual_columns=float(0.0009 * rng.lognormal(0, 0.2) + 0.012 * has_wrong_gain),
        measured_dose_e_A2=float(dose_e_A2 * rng.normal(1, 0.006)),
        declared_dose_e_A2=DOSE_E_A2,
        rings_to_A=float("nan") if is_empty else rings_A,
        rings_before_A=float("nan") if is_empty else rings_A * float(rng.normal(1.5, 0.08)),
        ring_score=0.0 if is_empty else 0.7,
        signal_bands=bands,
    )  # fmt: skip
    return replace(found, flags=raised(found))


def _curves(rings_A: float, before_A: float, rng: np.random.Generator) -> Curves:
    """Radial power with rings that fade."""
    frequency = np.arange(1, RINGS + 1) / RINGS / (2 * PIXEL_A)
    defocus_A = float(rng.uniform(8000, 18000))
    powers = [_radial_power(frequency, limit, defocus_A) for limit in (before_A, rings_A)]
    counts = 1.05 - 0.002 * np.arange(FRAMES) + rng.normal(0, 0.004, FRAMES)
    return Curves(
        tuple(np.round(frequency, 5).tolist()),
        *(tuple(np.round(power, 4).tolist()) for power in powers),
        mean_counts=tuple(np.round(counts, 4).tolist()),
        spectrum_edge_per_A=1 / 3.0,
    )


def _radial_power(frequency: Any, limit_A: float, defocus_A: float) -> Any:
    """Power of noise and of rings that end at `limit_A`, at 300 kV."""
    phase = np.pi * 0.0197 * frequency**2 * (defocus_A - 0.5 * 2.7e7 * (0.0197 * frequency) ** 2)
    limit = 25.0 if np.isnan(limit_A) else limit_A
    fading = np.exp(-2.0 * (frequency * limit) ** 2)
    return 1.0 + 8 * np.exp(-frequency * 40) + 3.0 * fading * np.sin(phase) ** 2


def _write_pictures(folder: Path, rng: np.random.Generator) -> None:
    """A few pictures that are common to all movies of the session."""
    y, x = np.indices((SHAPE_PX[0] // 8, SHAPE_PX[1] // 8))
    offset = np.arange(SIDE) - SIDE // 2
    ring = np.hypot(offset[:, None], offset) / (SIDE // 2) / 3.0
    for number in range(PICTURES):
        image = rng.normal(0, 1, y.shape).astype(np.float32)
        for _ in range(90):
            cy, cx = rng.uniform(0, y.shape[0]), rng.uniform(0, x.shape[1])
            image -= 1.4 * np.exp(-((((y - cy) ** 2 + (x - cx) ** 2) / 60) ** 2))
        image += (0.4 * (x - cx) / x.shape[1]).astype(np.float32)
        write_thumbnail(folder / f".{number}_thumb.png", image)
        spectra = []
        for limit_A in (5.5, 3.4):
            power = _radial_power(ring, limit_A, 9000 + 1500 * number)
            power = (power * rng.gamma(6, 1 / 6, ring.shape)).astype(np.float32)
            radial_at = np.arange(SIDE // 2 + 1) / (SIDE // 2) / 3.0
            radial = _radial_power(radial_at, limit_A, 9000 + 1500 * number)
            spectra.append(PowerSpectrum(power, radial_at, radial))
        write_spectra_thumbnail(folder / f".{number}_psd_thumb.png", *spectra)


def _write_index(folder: Path, movies: int, failed: int, params: AlignParams) -> None:
    """The head of the run's index."""
    summary = {
        "done": movies - failed, "failed": failed, "done_before": 0, "failed_before": 0,
        "unfinished": 0, "failures": {"input": failed}, "exit_codes": [3],
        "elapsed_s": 22.0 * movies, "movies_per_hour": 163.6, "busy_part": 0.97,
        "computing_part": 0.71, "stage_s": {"first pass": 2.4, "second pass": 3.1},
        "limit": "too few movies for the number of workers",
    }  # fmt: skip
    index = {
        "schema": 1, "version": __version__, "started": "2026-09-21T09:12:00+0000",
        "updated": "2026-09-22T15:45:00+0000", "done": movies - failed, "failed": failed,
        "summary": summary, "parameters": {**params.to_dict(), "hash": params.hash()},
        "movies": [],
    }  # fmt: skip
    (folder / INDEX_NAME).write_text(json.dumps(index), encoding="utf-8")
