"""Score several motions of one movie; it is read once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flexalign.arrays.device import Device, resolve
from flexalign.errors import InputError
from flexalign.estimate.damage import damage_envelope
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.patches import PatchGrid, make_grid
from flexalign.io.motion_formats.read_motion import format_of, read_motion
from flexalign.io.movies.open_movie import open_for
from flexalign.io.movies.reader import MovieReader
from flexalign.io.record import read_record
from flexalign.io.references import references_for
from flexalign.motion import Motion
from flexalign.naming import SUFFIXES, movie_root
from flexalign.params import AlignParams
from flexalign.passes import FirstPass, first_pass
from flexalign.plan import Plan, make_plan
from flexalign.progress import Progress
from flexalign.scoring.freedom import INDEPENDENT, Freedom, freedom_of
from flexalign.scoring.movie_scores import GLOBAL, NO_MOTION, MovieScores, score_motions
from flexalign.scoring.ring_sums import Places, RingSums, displacements_px, ring_sums

# Minimum side of a patch.  It is half that of the estimation: displacements are given, so a patch
# may be small, and the variation of the true motion within it costs all alignments signal.
MIN_PATCH_A = 250.0


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A motion to score.

    Attributes
    ----------
    motion : the motion
    freedom : number of parameters that were fitted to the frames of this movie
    """

    motion: Motion
    freedom: Freedom


def read_scored(
    movie: str | Path,
    files: Mapping[str, Path],
    params: AlignParams,
    *,
    with_global: bool = False,
    is_independent: bool = False,
) -> dict[str, Scored]:
    """The motions of a movie in files of any format, after that of a specimen at rest.

    Parameters
    ----------
    files : by name of the alignment
    with_global : whether each motion is followed by its trajectory alone
    is_independent : whether the motions were estimated from other electrons than those of `movie`

    Raises
    ------
    InputError
        If the movie or a file cannot be read, or a motion is of another movie.
    """
    with open_for(movie, params) as reader:
        info, pixel_size_A = reader.info, make_plan(reader.info, params).pixel_size_A
    motions = {NO_MOTION: Scored(Motion.still(info.frame_count), INDEPENDENT)}
    for name, path in files.items():
        motion = read_motion(path, info, pixel_size_A)
        freedom = freedom_of(motion, _fitted_parameters(path))
        if is_independent or format_of(path) == "simulation":
            freedom = INDEPENDENT
        motions[name] = Scored(motion, freedom)
        if with_global:
            alone = Motion(motion.trajectory)
            limit = min(freedom.maximum, freedom_of(alone).maximum)
            minimum = freedom.minimum if motion.field is None else 0.0
            motions[name + GLOBAL] = Scored(alone, Freedom(min(minimum, limit), limit))
    return motions


def _fitted_parameters(path: Path) -> float | None:
    """Number of fitted parameters in a record of ours; None = not there."""
    if not path.name.endswith(SUFFIXES["record"]):
        return None
    found = read_record(path).decisions.get("fitted_parameters")
    return float(found) if isinstance(found, int | float) else None


def score_movie(
    movie: str | Path,
    motions: Mapping[str, Scored],
    params: AlignParams,
    progress: Progress,
) -> MovieScores:
    """Score motions of a movie by the signal that its frames share along each.

    The movie is read once.  Only frames that were measured in all motions are used.

    Parameters
    ----------
    motions : by name
    params : as for `align_movie`; what concerns the estimation is not used, but `patches` is
    progress : called as ``progress(stage, done, total)``

    Raises
    ------
    InputError
        If the movie cannot be read, the motions are not of the same frames, or fewer than two
        frames are measured in all motions.
    """
    params, measured = params_of_shared_frames(movie, motions, params)
    params = replace(params, min_patch_A=MIN_PATCH_A)
    with after_first_pass(movie, params, progress) as read:
        frames, places, grid = _prepared(read.frames, read.plan, measured)
        envelope = damage_envelope(frames, read.plan, params)
        sums: dict[str, RingSums] = {}
        for done, (name, one) in enumerate(motions.items()):
            progress("score", done, len(motions))
            at_px = displacements_px(one.motion, frames, places)
            sums[name] = ring_sums(frames, grid, at_px, envelope, params.thread_count)
    freedoms = {name: one.freedom for name, one in motions.items()}
    return score_motions(movie_root(movie), sums, freedoms, len(frames.measured))


@dataclass(frozen=True, slots=True, eq=False)
class ReadMovie:
    """A movie after its first pass, open for a second one."""

    reader: MovieReader
    plan: Plan
    device: Device
    frames: SmallFrames
    first: FirstPass


@contextmanager
def after_first_pass(
    movie: str | Path, params: AlignParams, progress: Progress
) -> Iterator[ReadMovie]:
    """The movie after its first pass, with its device active."""
    with open_for(movie, params) as reader:
        plan = make_plan(reader.info, params)
        device = resolve(params.device, plan.gpu_memory_bytes)
        references = references_for(reader.info, params)
        with device.active():
            frames, first = first_pass(
                reader, plan, references, params, params.thread_count, progress, device
            )
            yield ReadMovie(reader, plan, device, frames, first)


def params_of_shared_frames(
    movie: str | Path, motions: Mapping[str, Scored], params: AlignParams
) -> tuple[AlignParams, npt.NDArray[np.int64]]:
    """The parameters for the range of frames measured in all motions, and these frames.

    Frames are zero-based in the file.

    Raises
    ------
    InputError
        If the motions are not of the same frames, or share fewer than two.
    """
    measured = _measured(movie, motions)
    first, last = int(measured[0]) + 1, int(measured[-1]) + 1
    return replace(
        params, align_first=first, align_last=last, sum_first=None, sum_last=None
    ), measured


def _measured(movie: str | Path, motions: Mapping[str, Scored]) -> npt.NDArray[np.int64]:
    """Frames that were measured in all motions, zero-based in the file."""
    counts = {name: one.motion.frame_count for name, one in motions.items()}
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise InputError(f"{movie}: expected motions of the same frames, found {counted}")
    in_all = np.logical_and.reduce([one.motion.trajectory.is_measured for one in motions.values()])
    measured = np.flatnonzero(in_all)
    if len(measured) < 2:
        raise InputError(
            f"{movie}: expected at least two frames that were measured in all motions, found "
            f"{len(measured)}"
        )
    return measured


def _prepared(
    frames: SmallFrames, plan: Plan, measured: npt.NDArray[np.int64]
) -> tuple[SmallFrames, Places, PatchGrid]:
    """The small frames whose frames of the file were all measured, and where the patches are."""
    time = (frames.measured - plan.align.first) // plan.frames_per_time
    kept, time = np.unique(time, return_inverse=True)
    bad = np.unique(time[~np.isin(frames.measured, measured)])
    good = np.setdiff1d(np.arange(len(kept)), bad)
    if len(good) < 2:
        raise InputError(
            f"{plan.movie.path}: expected at least two good frames, measured in all motions, found "
            f"{len(good)}"
        )
    if bad.size:
        inside = np.isin(time, good)
        frames = replace(
            frames, pixels=frames.stack.selected(good), frame=frames.frame[good],
            measured=frames.measured[inside],
        )  # fmt: skip
        time = np.searchsorted(good, time[inside])
    grid = make_grid(frames, plan.patches)
    return frames, Places(grid.center_px, time), grid
