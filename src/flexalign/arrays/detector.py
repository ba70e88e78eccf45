"""What the detector does to a frame, undone: dark, gain, bad pixels; and how to find those.

Arrays only: the references are read and oriented elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter
from scipy.spatial import cKDTree
from scipy.special import gammainc, gammaincc

from flexalign.arrays.workers import Workers
from flexalign.model import FloatArray, MaskArray, PixelArray

NEIGHBOURS = 8
# A strip of this many rows stays in the cache through all that is done to it.
STRIP_ROWS = 64
BLOCK_PX = 32
# Noise of detectors is correlated over fewer pixels than this.
NOISE_LAG_PX = 4
# One-sided probability of six standard deviations: 0.02 false alarms in 4096 x 4096 pixels.
RARE = 1e-9
# A place where so many of the 24 neighbours are as bright is a feature of the specimen.
FEATURE_PIXELS = 8
# Poisson's noise of this many is as good as Gaussian.
MANY_COUNTS = 1e4

# A bad line is this many usual deviations, and this part of the level, off those in the window.
LINE_DEVIATIONS = 6.0
LINE_PART_OF_LEVEL = 0.1
LINE_WINDOW_PX = 15
LINE_PARTS = 4
# Of so many pixels of each part the median is taken.
LINE_SAMPLES = 256


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """All that `correct` needs.

    Attributes
    ----------
    gain : (h, w) float32 or None; multiplies
    dark : (h, w) float32 or None; subtracted before
    bad_index : (n,) int64, flat indices of the bad pixels, ascending
    bad_start : (h + 1,) int64, where those of each row begin among them
    bad_x : (n,) int64, their columns
    neighbour_index : (n, 8) int64, flat indices of the nearest good pixels of each, nearest first
    """

    gain: PixelArray | None
    dark: PixelArray | None
    bad_index: npt.NDArray[np.int64]
    bad_start: npt.NDArray[np.int64]
    bad_x: npt.NDArray[np.int64]
    neighbour_index: npt.NDArray[np.int64]

    @property
    def references(self) -> tuple[PixelArray, PixelArray]:
        """Gain and dark as compiled loops take them: empty where there is none."""
        nothing = np.empty((0, 0), np.float32)
        return (
            nothing if self.gain is None else self.gain,
            nothing if self.dark is None else self.dark,
        )


def make_correction(gain: PixelArray | None, dark: PixelArray | None, bad: MaskArray) -> Correction:
    """The correction by gain and dark, each bad pixel knowing its good neighbours.

    Parameters
    ----------
    gain, dark : (h, w) or None
    bad : (h, w) bool, True = bad pixel

    Raises
    ------
    ValueError
        If all pixels are bad, or the shapes differ.

    Examples
    --------
    >>> bad = np.eye(3, dtype=bool)
    >>> make_correction(None, None, bad).neighbour_index[0, :3]
    array([1, 3, 2])
    """
    for image in (gain, dark):
        if image is not None and image.shape != bad.shape:
            raise ValueError(f"expected references of shape {bad.shape}, found {image.shape}")
    bad_index, (height, width) = np.flatnonzero(bad), bad.shape
    return Correction(
        gain=None if gain is None else np.ascontiguousarray(gain, np.float32),
        dark=None if dark is None else np.ascontiguousarray(dark, np.float32),
        bad_index=bad_index,
        bad_start=np.searchsorted(bad_index, width * np.arange(height + 1)),
        bad_x=bad_index % width,
        neighbour_index=_nearest_good(bad, bad_index),
    )


def _nearest_good(bad: MaskArray, bad_index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Flat indices (n, 8) of good pixels near each bad one, repeated where there are fewer."""
    if bad_index.size == 0:
        return np.empty((0, NEIGHBOURS), np.int64)
    if bad_index.size == bad.size:
        raise ValueError("expected some good pixels, found only bad ones")
    height_px, width_px = bad.shape
    y, x = np.divmod(bad_index, width_px)
    # The good pixels around the bad ones, two deep, hold the nearest ones of each.
    near = np.zeros_like(bad)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            near[np.clip(y + dy, 0, height_px - 1), np.clip(x + dx, 0, width_px - 1)] = True
    good_index = np.flatnonzero(near & ~bad)
    places = np.stack(np.divmod(good_index, width_px), axis=1)
    count = min(NEIGHBOURS, good_index.size)
    # A balanced tree of equal places is slow to build and no faster to ask.
    tree = cKDTree(places, balanced_tree=False, compact_nodes=False)
    distance, found = tree.query(np.stack([y, x], axis=1), k=list(range(1, count + 1)))
    # Equally near ones in the order of their index, whatever the tree did.
    order = np.lexsort((found, np.round(distance**2).astype(np.int64)), axis=1)
    chosen = good_index[np.take_along_axis(found, order, axis=1)]
    return np.asarray(np.resize(chosen.T, (NEIGHBOURS, len(chosen))).T, np.int64)


def correct(
    raw: npt.NDArray[Any], correction: Correction, frame_index: int, threads: int = 1
) -> PixelArray:
    """The frame ``(raw - dark) * gain`` with its bad pixels mended.

    A bad pixel takes the value of one of its good neighbours, another one in each frame but
    always the same in the same frame: so it keeps the noise of a single pixel and the noise of
    different frames stays independent.

    Parameters
    ----------
    raw : (h, w) of any kind of numbers; not changed
    correction : from `make_correction`
    frame_index : zero-based in the file
    threads : number of threads to share the rows among

    Returns
    -------
    corrected : (h, w) float32
    """
    out = np.empty(raw.shape, np.float32)
    fill = corrected_rows(raw, correction, frame_index)
    with Workers(threads) as workers:
        workers.share(len(out), STRIP_ROWS, lambda start, stop: fill(start, stop, out[start:stop]))
    return out


def corrected_rows(
    raw: npt.NDArray[Any], correction: Correction, frame_index: int
) -> Callable[[int, int, PixelArray], None]:
    """Function ``fill(start, stop, out)`` that puts rows of the corrected frame into `out`.

    What the rows become does not depend on how the frame is cut into strips; see `correct`.
    """
    width = raw.shape[1]
    gain, dark, bad = correction.gain, correction.dark, correction.bad_index
    mended = mended_values(raw, correction, frame_index)

    def fill(start: int, stop: int, out: PixelArray) -> None:
        out[...] = raw[start:stop]
        if dark is not None:
            out -= dark[start:stop]
        if gain is not None:
            out *= gain[start:stop]
        first, last = np.searchsorted(bad, (start * width, stop * width))
        out.reshape(-1)[bad[first:last] - start * width] = mended[first:last]

    return fill


def mended_values(raw: npt.NDArray[Any], correction: Correction, frame_index: int) -> PixelArray:
    """What the bad pixels (n,) of the corrected frame become; see `correct`."""
    bad, near = correction.bad_index, correction.neighbour_index
    place = np.divmod(chosen_neighbours(bad, near, frame_index), raw.shape[1])
    mended = raw[place].astype(np.float32)
    if correction.dark is not None:
        mended -= correction.dark[place]
    if correction.gain is not None:
        mended *= correction.gain[place]
    return mended


def chosen_neighbours(
    bad_index: npt.NDArray[np.int64], neighbour_index: npt.NDArray[np.int64], frame_index: int
) -> npt.NDArray[np.int64]:
    """Flat indices (n,) of the pixels whose values the bad ones take in a frame.

    Arrays on a GPU have their result there.
    """
    chosen = (_scrambled(bad_index, frame_index) % np.uint64(NEIGHBOURS)).astype(np.int64)
    return np.take_along_axis(neighbour_index, chosen[:, None], 1)[:, 0]


def _scrambled(index: npt.NDArray[np.int64], frame_index: int) -> npt.NDArray[np.uint64]:
    """Numbers without pattern, the same for the same pixel and frame.

    References
    ----------
    Steele, Lea & Flood, OOPSLA 2014, 453 (the mixing function of SplitMix64).
    """
    seed = np.uint64((frame_index + 1) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = index.astype(np.uint64) * np.uint64(0xD1342543DE82EF95) + seed
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def find_outlier_pixels(
    mean_image: PixelArray, known_bad: MaskArray, probability: float = RARE
) -> MaskArray:
    """Pixels (h, w) that the noise cannot explain: hot, dead and stuck ones.

    The noise is taken for Poisson's in units that its own variance tells, so that the skew of few
    counts is allowed for. A pixel is hot if its value is too rare both for the level of its
    surroundings and for the eighth brightest of its 24 neighbours, which keeps features of the
    specimen seven or more pixels wide and still finds hot columns; dead pixels likewise. At fewer
    than about 20 counts per pixel in all, a dead pixel cannot be told from a good one.

    Parameters
    ----------
    mean_image : (h, w), mean of many gain-corrected frames, not aligned
    known_bad : (h, w) bool, pixels to leave out
    probability : of a good pixel to be called an outlier

    Returns
    -------
    outliers : (h, w) bool, without the known ones; none where nothing can be measured
    """
    outliers = np.zeros(mean_image.shape, np.bool_)
    if min(mean_image.shape) < BLOCK_PX or known_bad.all():
        return outliers
    image = np.where(np.isfinite(mean_image), mean_image, 0).astype(np.float32)
    if known_bad.any():
        image[known_bad] = np.median(image[~known_bad][:: max(image.size >> 16, 1)])
    level, variance = _block_statistics(image)
    unit, offset = _counting_unit(image, level, variance)
    if unit <= 0:
        return outliers
    level = np.maximum((level + offset) / unit, 0)
    y, x = _candidates(image, level, variance / unit**2, unit, offset)
    new = ~known_bad[y, x]
    y, x = y[new], x[new]
    value = (image[y, x].astype(np.float64) + offset) / unit
    around = np.sort((_neighbours(image, y, x).astype(np.float64) + offset) / unit, axis=1)
    expected = level[_block(y, level.shape[0]), _block(x, level.shape[1])]
    high = np.maximum(expected, around[:, -FEATURE_PIXELS])
    low = np.minimum(expected, around[:, FEATURE_PIXELS - 1])
    is_hot = (value > high) & (gammainc(np.maximum(value, 1), high) < probability)
    is_dead = (value < low) & (gammaincc(np.maximum(value, 0) + 1, low) < probability)
    outliers[y, x] = is_hot | is_dead
    return outliers


def find_outlier_lines(mean_image: PixelArray, known_bad: MaskArray) -> MaskArray:
    """Columns and rows (h, w) that stand out from those around them along a good part of a side.

    A line is judged in parts of a quarter of the image, since detectors are read out in parts.  It
    is bad where its median is off that of its neighbourhood by a tenth of it, and by far more than
    lines differ by chance.

    Parameters
    ----------
    mean_image : (h, w), mean of many gain-corrected frames, not aligned
    known_bad : (h, w) bool, pixels to leave out

    Returns
    -------
    outliers : (h, w) bool, without the known ones
    """
    outliers = np.zeros(mean_image.shape, np.bool_)
    for image, bad, found in (
        (mean_image, known_bad, outliers),
        (mean_image.T, known_bad.T, outliers.T),
    ):
        for part in np.array_split(np.arange(image.shape[0]), LINE_PARTS):
            if part.size >= BLOCK_PX and image.shape[1] >= LINE_WINDOW_PX:
                some = part[:: max(1, part.size // LINE_SAMPLES)]
                values = np.ascontiguousarray(image[some])
                values[bad[some] | ~np.isfinite(values)] = np.nan
                found[part[0] : part[-1] + 1, _outlier_columns(values)] = True
    return outliers & ~known_bad


def _outlier_columns(values: PixelArray) -> MaskArray:
    """Which columns (w,) of `values` (rows, w) are far from the columns around them."""
    middle = _column_medians(values)
    level = float(np.median(middle[np.isfinite(middle)])) if np.isfinite(middle).any() else 0.0
    middle = np.where(np.isfinite(middle), middle, level)
    rest = np.abs(middle - median_filter(middle, LINE_WINDOW_PX, mode="nearest"))
    # What the columns differ by, and what their medians differ by for noise alone.
    chance = 1.2533 * float(np.nanstd(values - middle)) / math.sqrt(len(values))
    usual = 1.4826 * float(np.median(rest)) + chance
    return np.asarray((rest > LINE_DEVIATIONS * usual) & (rest > LINE_PART_OF_LEVEL * abs(level)))


def _column_medians(values: PixelArray) -> PixelArray:
    """Median (w,) of each column of `values` (rows, w) but for what is NaN; NaN where all is."""
    # Sorted, the NaN come last.
    rising = np.sort(np.ascontiguousarray(values.T), axis=1)
    count = rising.shape[1] - np.isnan(rising).sum(axis=1)
    column = np.arange(len(rising))
    return np.asarray((rising[column, (count - 1) // 2] + rising[column, count // 2]) / 2)


def _block_statistics(image: PixelArray) -> tuple[FloatArray, FloatArray]:
    """Level and variance of the noise in blocks (h // 32, w // 32), unmoved by a few outliers."""
    rows, columns = image.shape[0] // BLOCK_PX, image.shape[1] // BLOCK_PX
    blocks = image[: rows * BLOCK_PX, : columns * BLOCK_PX]
    blocks = blocks.reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    level = np.median(blocks.mean(axis=3), axis=1)
    difference = blocks[..., NOISE_LAG_PX:] - blocks[..., :-NOISE_LAG_PX]
    variance = np.einsum("iyjx,iyjx->ij", difference, difference)
    variance /= 2 * BLOCK_PX * (BLOCK_PX - NOISE_LAG_PX)
    return (
        median_filter(level.astype(np.float64), 3, mode="nearest"),
        median_filter(variance.astype(np.float64), 3, mode="nearest"),
    )


def _counting_unit(
    image: PixelArray, level: FloatArray, variance: FloatArray
) -> tuple[float, float]:
    """The unit and offset that make ``(image + offset) / unit`` a count of Poisson's kind."""
    if np.mean(image[::7] < 0) > 0.001 or np.median(level) <= 0:
        # No counts: read-out noise around any level, like that of very many of them.
        unit = float(np.sqrt(np.median(variance) / MANY_COUNTS))
        return unit, MANY_COUNTS * unit - float(np.median(level))
    positive = level > 0
    return float(np.median(variance[positive] / level[positive])), 0.0


def _candidates(
    image: PixelArray, level: FloatArray, variance: FloatArray, unit: float, offset: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The few pixels (y, x) far enough from the level of their block to be looked at closely.

    `level` and `variance` are in counts; where they differ, the block has structure, and the
    bounds are wider.
    """
    # Four standard deviations on the square root's scale, on which Poisson's noise is even.
    widening = np.maximum(1.0, np.sqrt(variance / np.maximum(level, 1.0)))
    root = np.sqrt(level)
    upper = (level + widening * (4 * root + 4)) * unit - offset
    lower = (level - widening * (4 * root - 4)) * unit - offset
    lower[root < 2] = -np.inf
    block_x = _block(np.arange(image.shape[1]), level.shape[1])
    found_y, found_x = [], []
    for first in range(0, image.shape[0], BLOCK_PX):
        block_y = min(first // BLOCK_PX, level.shape[0] - 1)
        strip = image[first : first + BLOCK_PX]
        is_far = (strip > upper[block_y].astype(np.float32)[block_x]) | (
            strip < lower[block_y].astype(np.float32)[block_x]
        )
        y, x = np.nonzero(is_far)
        found_y.append(y + first)
        found_x.append(x)
    return np.concatenate(found_y), np.concatenate(found_x)


def _block(index: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The block that each row or column belongs to; the last block takes the rest."""
    return np.minimum(index // BLOCK_PX, count - 1)


def _neighbours(
    image: PixelArray, y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]
) -> PixelArray:
    """The 24 pixels (n, 24) around each place, mirrored at the edges of the image."""
    dy, dx = (offset.ravel() for offset in np.mgrid[-2:3, -2:3])
    away = (dy != 0) | (dx != 0)
    rows = np.abs(y[:, None] + dy[away])
    columns = np.abs(x[:, None] + dx[away])
    rows = np.minimum(rows, 2 * (image.shape[0] - 1) - rows)
    columns = np.minimum(columns, 2 * (image.shape[1] - 1) - columns)
    return np.asarray(image[rows, columns])
