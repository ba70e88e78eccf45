"""Squares of pixels that count too much, where single pixels have too few counts to be judged.

Blocks of pixels may count several times too much.  That may not be improbable for any single pixel,
above all in a movie of a tilt series with a few counts per pixel in total, but it is for the sum
over a square.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, uniform_filter
from scipy.special import gammainc

from flexalign.arrays.device import CPU, Device
from flexalign.model import FloatArray, MaskArray, PixelArray

# Sides of the squares that are tested.
_SIDES_PX = (3, 5, 7)
# Tiles of this side are summed first; those brighter than the beam by this factor and this many
# standard deviations are the candidates, each tested in a window around it.  Of a square of side 3
# that counts twice, 4 of the 16 pixels of a tile may be in it.
_TILE_PX = 4
_CANDIDATE_RATIO = 1.2
_CANDIDATE_DEVIATIONS = 4.0
_WINDOW_PX = 16
# No specimen is this many times as bright as the beam.
MAX_BEAM_RATIO = 2.0
# With more counts than this, only the pixels of a square that are themselves this many times as
# bright as the beam are bad.
_FEW_COUNTS = 20.0
# A single pixel counts at most as this many times the beam, or this many counts, for its squares.
_MAX_PIXEL_RATIO, _MAX_PIXEL_COUNTS = 10.0, 5.0
_OWN_RATIO = 1.5
# Number of candidates tested together, which bounds the memory.
_WINDOWS_PER_BATCH = 4096


def find_bright_squares(
    counts: PixelArray,
    beam: FloatArray,
    block_px: int,
    probability: float,
    device: Device = CPU,
) -> MaskArray:
    """Pixels (h, w) of squares whose sum is too improbable for the brightest specimen.

    Parameters
    ----------
    counts : (h, w) on the device, total counts, Poisson-distributed; h and w of at least 16 pixels
    beam : (blocks, blocks) counts per pixel of the beam in each block of the image; the last blocks
        take the remainder
    block_px : side of a block
    probability : of one square being found where there is noise alone
    """
    found = np.zeros(counts.shape, np.bool_)
    summed = device.host(_tile_sums(counts))
    row, column = (
        np.minimum(np.arange(size) * _TILE_PX // block_px, blocks - 1)
        for size, blocks in zip(summed.shape, beam.shape, strict=True)
    )
    of_tile = beam * _TILE_PX**2
    limit = _CANDIDATE_RATIO * of_tile + _CANDIDATE_DEVIATIONS * (np.sqrt(of_tile) + 1)
    at = np.argwhere(summed > limit.astype(np.float32)[row[:, None], column])
    for first in range(0, len(at), _WINDOWS_PER_BATCH):
        some = at[first : first + _WINDOWS_PER_BATCH]
        y, x = _windows(some, counts.shape)
        of_beam = beam[row[some[:, 0]], column[some[:, 1]]]
        windows = device.at(counts, y, x)
        found[y, x] |= _improbable(windows, of_beam[:, None, None], probability)
    return found


def _tile_sums(counts: PixelArray) -> PixelArray:
    """Sums over tiles (h // 4, w // 4); numpy adds whole slices much faster than along axes."""
    height, width = (size // _TILE_PX * _TILE_PX for size in counts.shape)
    lines = counts[0:height:_TILE_PX, :width].copy()
    for k in range(1, _TILE_PX):
        lines += counts[k:height:_TILE_PX, :width]
    tiles = lines[:, ::_TILE_PX].copy()
    for k in range(1, _TILE_PX):
        tiles += lines[:, k::_TILE_PX]
    return tiles


def _windows(
    tiles: npt.NDArray[np.int64], shape_px: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows (n, 16, 1) and columns (n, 1, 16) of windows around tiles (n, 2), inside the image."""
    corner = tiles * _TILE_PX + (_TILE_PX - _WINDOW_PX) // 2
    corner = corner.clip(0, np.array(shape_px) - _WINDOW_PX)
    inside = np.arange(_WINDOW_PX)
    return corner[:, :1, None] + inside[:, None], corner[:, 1:, None] + inside


def _improbable(windows: PixelArray, beam: FloatArray, probability: float) -> MaskArray:
    """Which pixels of windows (n, h, w) are in a square of improbable counts."""
    found = np.zeros(windows.shape, np.bool_)
    bounded = np.minimum(windows, np.maximum(_MAX_PIXEL_RATIO * beam, _MAX_PIXEL_COUNTS))
    for side in _SIDES_PX:
        size = (1, side, side)
        total = uniform_filter(bounded, size, np.float64, mode="nearest") * side**2
        level = MAX_BEAM_RATIO * beam * side**2
        is_improbable = gammainc(np.maximum(np.rint(total), 1), level) < probability
        found |= maximum_filter(is_improbable & (total > level), size)
    # Pixels beside those that count too much are in such squares, too.
    return np.asarray(found & ((windows > _OWN_RATIO * beam) | (beam < _FEW_COUNTS)))
