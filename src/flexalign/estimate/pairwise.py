"""The trajectory from all pairs of frames: cross-correlation, peaks, robust least squares.

FlexAlign's method, with true sub-pixel peaks, weights by the significance of each peak, robust
residuals, and a search radius that grows with the time between the frames.

References
----------
Strelak, Filipovic, Jimenez-Moreno, Carazo & Sorzano, Electronics 9 (2020) 1040.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import correlate
from flexalign.arrays.correlate import Peaks
from flexalign.arrays.fourier import SpectrumArray
from flexalign.arrays.frame_stack import Pairs
from flexalign.estimate.frames import SmallFrames
from flexalign.model import FloatArray, PairwiseShifts, PixelArray
from flexalign.motion import Trajectory

# More frames than this are summed in groups first: single ones have little signal, and the number
# of pairs grows quadratically.
MAX_IMAGES = 40
_ROBUST_ROUNDS = 20
# Tukey's biweight: 95 % efficient for Gaussian residuals.
_TUKEY_CUT = 4.685
# Residuals below this many unbinned pixels are never called outliers.
_MIN_SPREAD_PX = 0.02


def all_pairs(radius_px: FloatArray) -> Pairs:
    """All pairs of n images, with a search radius (n, n) in small pixels for each."""
    first, second = (i.astype(np.int64) for i in np.triu_indices(len(radius_px), 1))
    return Pairs(first, second, radius_px[first, second])


def shifts_of(pairs: Pairs, peaks: Peaks, scale: tuple[float, float]) -> PairwiseShifts:
    """The displacements of pairs in unbinned pixels, of which `scale` (y, x) make a small one."""
    shift_px, weight = peaks.shift_px * np.array(scale), np.ones(len(pairs.first))
    return PairwiseShifts(pairs.first, pairs.second, shift_px, peaks.score, weight)


def solve(pairs: PairwiseShifts, count: int) -> tuple[FloatArray, FloatArray, PairwiseShifts]:
    """Displacement (count, 2) of each image, mean zero, that fits the pairs best.

    Iteratively reweighted least squares: each pair is weighted by the square of its peak's score
    and by Tukey's biweight of its residual.

    Returns
    -------
    displacement_px : (count, 2)
    precision : (count, count) inverse covariance per axis, singular along the mean
    pairs : with the final weights
    """
    base = pairs.score**2
    base = base / base.mean() if base.any() else np.ones_like(base)
    weight = base.copy()
    # Residuals are smaller than errors: correct for the degrees of freedom.
    freedom = np.sqrt(max(1 - (count - 1) / len(pairs.first), 0.25))
    displacement = np.zeros((count, 2))
    spread = np.inf
    for _ in range(_ROBUST_ROUNDS):
        previous = displacement
        displacement = _weighted_solution(pairs, weight, count)
        residual = pairs.shift_px - (displacement[pairs.second] - displacement[pairs.first])
        distance = np.hypot(*residual.T) * np.sqrt(base)
        spread = max(float(np.median(distance[base > 0])) / (1.1774 * freedom), _MIN_SPREAD_PX)
        weight = base * np.clip(1 - (distance / (_TUKEY_CUT * spread)) ** 2, 0, None) ** 2
        if np.abs(displacement - previous).max() < 1e-4:
            break
    # Rejected pairs keep a small weight, so that every image stays connected to the others.
    precision = _laplacian(pairs, np.maximum(weight, 1e-3 * base), count) / spread**2
    # The pairs of one image share its noise, so the precision is that of 2 / count as many.
    precision *= 2.0 / count
    used = PairwiseShifts(pairs.first, pairs.second, pairs.shift_px, pairs.score, weight)
    return displacement, precision, used


def _weighted_solution(pairs: PairwiseShifts, weight: FloatArray, count: int) -> FloatArray:
    """Least-squares displacement (count, 2), mean zero."""
    laplacian = _laplacian(pairs, np.maximum(weight, 1e-9 * weight.max()), count)
    pull = [
        np.bincount(pairs.second, weight * shift, count)
        - np.bincount(pairs.first, weight * shift, count)
        for shift in pairs.shift_px.T
    ]
    right = np.stack(pull, axis=1)
    solution: FloatArray = np.linalg.solve(laplacian + laplacian.diagonal().mean() / count, right)
    return np.asarray(solution - solution.mean(axis=0))


def _laplacian(pairs: PairwiseShifts, weight: FloatArray, count: int) -> FloatArray:
    """Weighted graph Laplacian (count, count) of the pairs."""
    coupling = np.zeros((count, count))
    coupling[pairs.first, pairs.second] = weight
    coupling += coupling.T
    return np.asarray(np.diag(coupling.sum(axis=1)) - coupling)


def filtered_spectra(
    frames: SmallFrames,
    groups: list[npt.NDArray[np.int64]],
    max_resolution_A: float,
    threads: int = 1,
    mask: FloatArray | None = None,
) -> SpectrumArray:
    """Spectra of `groups` of frames, whitened and low-passed to one half at `max_resolution_A`.

    The columns of `filter_response` are multiplied by `mask` (h, w // 2 + 1).
    """
    response = filter_response(frames, frames.shape_px, max_resolution_A)
    if mask is not None:
        response = response * mask[:, : response.shape[1]].astype(np.float32)
    return frames.stack.group_spectra(groups, response, threads)


def filter_response(
    frames: SmallFrames, shape_px: tuple[int, int], max_resolution_A: float
) -> PixelArray:
    """Low-pass (h, columns) to one half at `max_resolution_A`, of images (h, w) of the frames.

    Columns without weight are left out (`correlate.significant_columns`).
    """
    half = tuple(frames.pixel_size_A * s / max_resolution_A for s in frames.scale)
    response = correlate.low_pass(shape_px, (half[0], half[1]))
    return np.ascontiguousarray(response[:, : correlate.significant_columns(response)])


def search_radius_px(
    frame: npt.NDArray[Any], frames: SmallFrames, max_shift_A: float
) -> FloatArray:
    """Search radius (n, n) in small pixels: `max_shift_A` times the distance in frames."""
    pixel_A = frames.pixel_size_A * min(frames.scale)
    apart = np.abs(frame[:, None] - frame[None, :])
    return np.asarray(apart * max_shift_A / pixel_A)


def global_trajectory(
    frames: SmallFrames,
    max_resolution_A: float,
    max_shift_A: float,
    threads: int = 1,
    max_images: int = MAX_IMAGES,
) -> tuple[FloatArray, PairwiseShifts]:
    """Displacement (n, 2) of each small frame in unbinned pixels, mean zero, and its pairs.

    More than `max_images` frames are measured in groups, and interpolated in between.
    """
    count = len(frames.frame)
    groups = np.array_split(np.arange(count), min(count, max_images))
    frame = np.array([frames.frame[g].mean() for g in groups])
    response = filter_response(frames, frames.shape_px, max_resolution_A)
    pairs = all_pairs(search_radius_px(frame, frames, max_shift_A))
    peaks = frames.stack.group_peaks(groups, response, pairs, threads)
    return path_through(shifts_of(pairs, peaks, frames.scale), frames.frame)


def path_through(
    pairs: PairwiseShifts, frame: FloatArray, axes: FloatArray | None = None
) -> tuple[FloatArray, PairwiseShifts]:
    """Displacement (n, 2) at each of the times `frame`, mean zero, that fits the pairs best.

    Parameters
    ----------
    pairs : of images that are groups of equal numbers of frames
    axes : (axes, 2) unit vectors (y, x) along which there is motion; default: both

    Returns
    -------
    displacement_px : (n, 2)
    pairs : with the final weights
    """
    count = int(pairs.second.max()) + 1
    groups = np.array_split(frame, count)
    axes = np.eye(2) if axes is None else axes
    along = replace(pairs, shift_px=(pairs.shift_px @ axes.T) @ axes)
    displacement, _, used = solve(along, count)
    middle = np.array([group.mean() for group in groups])
    path = np.stack([np.interp(frame, middle, d) for d in displacement.T], axis=1)
    return path - path.mean(axis=0), replace(pairs, weight=used.weight)


def choose_reference(displacement_px: FloatArray, wanted: str) -> int:
    """Position in `displacement_px` (n, 2) of the reference: 'first', 'middle', or 'auto'.

    Auto is the frame with the smallest maximum distance to any other.
    """
    if wanted == "first":
        return 0
    if wanted == "middle":
        return len(displacement_px) // 2
    apart = np.linalg.norm(displacement_px[:, None] - displacement_px[None], axis=2)
    return int(np.argmin(apart.max(axis=1)))


def as_trajectory(
    displacement_px: FloatArray,
    frame: FloatArray,
    measured: npt.NDArray[np.int64],
    frame_count: int,
    reference_frame: int,
    standard_error_px: FloatArray | None = None,
    copies: Mapping[int, int] | None = None,
    jump_frames: Sequence[float] = (),
) -> Trajectory:
    """The trajectory over all frames of the file, from displacements (n, 2) at some times.

    Between times on either side of a jump each frame has the displacement of the nearer one, as the
    jump most probably is half-way.

    Parameters
    ----------
    frame : (n,) times, in frames of the file
    measured : (m,) frames of the file that were measured; others are interpolated
    standard_error_px : (n, 2)
    copies : index of each frame that is a copy -> index of the frame before, whose displacement
        it has
    jump_frames : times of jumps
    """
    everywhere = np.arange(frame_count, dtype=np.float64)
    full = _between_jumps(everywhere, frame, displacement_px, jump_frames)
    for copy, before in sorted((copies or {}).items()):
        full[copy] = full[before]
    errors = None
    if standard_error_px is not None:
        errors = np.full((frame_count, 2), np.nan)
        for axis, error in enumerate(standard_error_px.T):
            errors[measured, axis] = np.interp(measured, frame, error)
        for jump in jump_frames:
            errors = np.hypot(errors, _jump_error_px(everywhere, frame, displacement_px, jump))
    return Trajectory(full, np.isin(everywhere, measured), reference_frame, errors)


def _between_jumps(
    time: FloatArray, frame: FloatArray, value: FloatArray, jump_frames: Sequence[float]
) -> FloatArray:
    """Values (m, axes) at `time` (m,), interpolated between those (n, axes) at `frame` (n,).

    There is no interpolation across a jump.
    """
    found = np.empty((len(time), value.shape[1]))
    before, after = (np.searchsorted(np.sort(jump_frames), at) for at in (time, frame))
    for part in np.unique(before):
        inside, known = before == part, after == part
        for axis, numbers in enumerate(value.T):
            found[inside, axis] = np.interp(time[inside], frame[known], numbers[known])
    return found


def _jump_error_px(
    time: FloatArray, frame: FloatArray, displacement_px: FloatArray, jump: float
) -> FloatArray:
    """Standard error (m, 2) at `time` (m,) by the position of a jump within a group of frames.

    It is half-way between two groups or up to half a group from there, so a frame at the distance d
    is on the other side with the probability 1/2 - d / n for n frames per group.
    """
    after = int(np.searchsorted(frame, jump))
    step_px = displacement_px[after] - displacement_px[after - 1]
    part = (0.5 - np.abs(time - jump) / (frame[after] - frame[after - 1])).clip(0)
    return np.asarray(np.abs(step_px) * np.sqrt(part * (1 - part))[:, None])
