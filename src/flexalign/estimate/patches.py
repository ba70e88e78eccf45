"""Patches along the global trajectory: cut them, group their frames, track each one.

FlexAlign's local stage: in each patch all pairs of frame groups are cross-correlated, as the frames
were in the global stage, and a smooth field is fitted to the tracks.  Groups do not share frames,
so that their noise is independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.arrays.frame_stack import Tiles
from flexalign.estimate import pairwise
from flexalign.estimate.evidence import PatchLikelihood, fit_motion
from flexalign.estimate.frames import SmallFrames
from flexalign.estimate.prior_choice import choose_field_prior
from flexalign.estimate.priors import FieldPrior
from flexalign.model import FloatArray, PatchTracks, PixelArray
from flexalign.motion import MotionField

# Width of the taper at each end, relative to the side of a patch.
TAPER = 0.125
# Minimum number of independent coefficients of a patch, relative to one without a blank area: in a
# mostly blank patch noise is correlated over several rings, so that no data can be held out.
_MIN_INDEPENDENT_RATIO = 0.5
# Search radius beside the trajectory: local motion is small, and a wider search finds noise peaks.
_LOCAL_SEARCH_A = 25.0


@dataclass(frozen=True, slots=True, eq=False)
class PatchGrid:
    """Where the patches lie on the small frames; they do not overlap.

    Patches in an area without electrons are left out.

    Attributes
    ----------
    index : (patches,) position of each among all patches of the field, row by row
    corner_px : (patches, 2) first row and column, small pixels
    shape_px : (h, w) of each patch, small pixels, even
    center_px : (patches, 2) in unbinned pixels
    window : (h, w) the taper, with mean square 1
    """

    index: npt.NDArray[np.int64]
    corner_px: npt.NDArray[np.int64]
    shape_px: tuple[int, int]
    center_px: FloatArray
    window: PixelArray

    @property
    def tiles(self) -> Tiles:
        """The patches as tiles of the small frames."""
        return Tiles(self.corner_px, self.window)


def _taper(size: int) -> FloatArray:
    """Raised-cosine fade over `TAPER` of the side at each end."""
    edge = max(1, round(TAPER * size))
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    return np.concatenate([ramp, np.ones(size - 2 * edge), ramp[::-1]])


def make_grid(frames: SmallFrames, counts: tuple[int, int]) -> PatchGrid:
    """The grid of `counts` (y, x) patches that covers the frame up to a few pixels."""
    sizes = [n // c - (n // c) % 2 for n, c in zip(frames.shape_px, counts, strict=True)]
    starts = [
        (n - size * c) // 2 + size * np.arange(c)
        for n, size, c in zip(frames.shape_px, sizes, counts, strict=True)
    ]
    corner = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)
    center = (corner + (np.array(sizes) - 1) / 2) * np.array(frames.scale)
    window = np.outer(*(_taper(size) for size in sizes))
    window /= np.sqrt(np.mean(window**2))
    kept = np.arange(len(corner))
    if frames.taper is not None:
        share = _independent_shares(window, frames.taper, corner)
        kept = np.flatnonzero(share > _MIN_INDEPENDENT_RATIO * share.max())
    shape = (sizes[0], sizes[1])
    return PatchGrid(
        kept, corner[kept].astype(np.int64), shape, center[kept], window.astype(np.float32)
    )


def _independent_shares(
    window: FloatArray, taper: PixelArray, corner_px: npt.NDArray[np.int64]
) -> FloatArray:
    """Share (patches,) of independent coefficients: (sum w^2)^2 / (n sum w^4) for weights w."""
    height, width = window.shape
    tapered = [taper[y : y + height, x : x + width] for y, x in corner_px]
    squared = np.array([(window * part) ** 2 for part in tapered])
    total, total_of_squares = squared.sum(axis=(1, 2)), (squared**2).sum(axis=(1, 2))
    return np.asarray(total**2 / np.maximum(total_of_squares, 1e-30) / window.size)


def side_A(frames: SmallFrames, grid: PatchGrid) -> float:
    """The shorter side of a patch in Angstrom, the inverse of the width of a ring."""
    sizes = zip(grid.shape_px, frames.scale, strict=True)
    return min(size * scale * frames.pixel_size_A for size, scale in sizes)


def track_patches(
    frames: SmallFrames,
    displacement_px: FloatArray,
    counts: tuple[int, int],
    group_frames: int,
    max_resolution_A: float,
    threads: int = 1,
) -> tuple[PatchTracks, PatchLikelihood]:
    """Track each patch relative to the trajectory `displacement_px` (n, 2).

    Returns
    -------
    tracks : total displacement, mean over groups removed
    likelihood : of the displacement relative to the trajectory
    """
    grid = make_grid(frames, counts)
    count = len(frames.frame)
    group_count = min(count, max(3, count // group_frames), pairwise.MAX_IMAGES)
    groups = np.array_split(np.arange(count), group_count)
    frame = np.array([frames.frame[g].mean() for g in groups])
    scale = np.array(frames.scale)
    response = pairwise.filter_response(frames, grid.shape_px, max_resolution_A)
    reach_px = _LOCAL_SEARCH_A / (frames.pixel_size_A * scale.min())
    pairs = pairwise.all_pairs(np.full((len(groups), len(groups)), reach_px))
    peaks = frames.stack.tile_peaks(
        grid.tiles, groups, displacement_px / scale, response, pairs, threads
    )
    measured = (pairwise.shifts_of(pairs, one, frames.scale) for one in peaks)
    # Serial: many small NumPy calls, which threads would not speed up (GIL).
    solved = [pairwise.solve(shifts, len(groups))[:2] for shifts in measured]
    track, precision = (np.array(found) for found in zip(*solved, strict=True))
    errors = np.array([np.sqrt(np.diag(np.linalg.pinv(p)).clip(0)) for p in precision])
    likelihood = PatchLikelihood(grid.center_px, frame, precision, precision @ track)
    total = track + np.array([displacement_px[g].mean(axis=0) for g in groups])
    total -= total.mean(axis=1, keepdims=True)
    return PatchTracks(grid.center_px, frame, total, errors), likelihood


def fit_local_field(likelihood: PatchLikelihood, shape: MotionField) -> MotionField:
    """The field fitted to the tracks, with a prior chosen by their evidence."""
    prior = choose_field_prior(likelihood, None, shape, FieldPrior(smooth_px=shape.width_px / 2))
    field = fit_motion(likelihood, None, prior, shape, with_errors=False).field
    assert field is not None
    return field
