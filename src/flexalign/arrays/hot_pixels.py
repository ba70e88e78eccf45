"""Find pixels, columns and rows that noise cannot explain: hot, dead and stuck ones.

The mean image is processed in strips: on the CPU, copying it would take longer than everything
else.  It is on the device; only statistics of blocks, lines and candidates are copied to the host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, median_filter
from scipy.special import gammainc, gammaincc

from flexalign.arrays.bright_squares import MAX_BEAM_RATIO, find_bright_squares
from flexalign.arrays.device import CPU, Device
from flexalign.arrays.kernels.elementwise import reflected_index
from flexalign.arrays.threads import share_equally
from flexalign.model import FloatArray, MaskArray, PixelArray

BLOCK_PX = 32
# Rows of blocks that a GPU processes at once, of a few that its memory holds several times.
_GPU_STRIP_BLOCKS = 32
# The correlation length of detector noise is shorter than this.
NOISE_LAG_PX = 4
# One-sided probability of six standard deviations: 0.02 false alarms in 4096 x 4096 pixels.
FALSE_ALARM_PROBABILITY = 1e-9
# A pixel of which this many of the 24 neighbours are as bright is a feature of the specimen.
FEATURE_PIXELS = 8
# The beam around a block is the brightest of this many blocks to a side.
BEAM_BLOCKS = 7
# Brightest rows of a block that are left out of the mean of its other rows.
_TRIMMED_ROWS = 2
# Where three counts are expected in a block, it has none with a probability of 5 %.
_MIN_LEVEL = 3 / BLOCK_PX**2
# Poisson noise of this many counts is Gaussian.
GAUSSIAN_COUNTS = 1e4
# If more than this fraction of the pixels is below zero, the values are not counts.
_NEGATIVE_SHARE = 0.001
# Number of pixels from which the median is computed.
_SAMPLES = 1 << 16

# A bad line deviates from the window's median by this many standard deviations, and by this
# fraction of the level.
LINE_DEVIATIONS = 6.0
LINE_LEVEL_RATIO = 0.1
LINE_WINDOW_PX = 15
LINE_SECTIONS = 4
# Pixels averaged in each section, after clipping to these quantiles, which are computed from a
# subset of rows and columns.
LINE_SAMPLES = 256
LINE_QUANTILES = (0.001, 0.999)
LINE_STEP = (3, 5)


def find_outlier_pixels(
    mean_image: PixelArray,
    known_bad: MaskArray,
    probability: float = FALSE_ALARM_PROBABILITY,
    threads: int = 1,
    device: Device = CPU,
) -> MaskArray:
    """Pixels (h, w) that the noise cannot explain: hot, dead and stuck ones.

    The noise is modelled as Poisson, in units estimated from its variance, to allow for its
    skewness at low counts. A pixel is hot if its value is too improbable both for the level of its
    surroundings and for the eighth brightest of its 24 neighbours, which keeps features of the
    specimen seven or more pixels wide and still finds hot columns; likewise for dead pixels. A
    pixel is also hot, whatever its neighbours, if its value is too improbable for twice the beam
    intensity around it, or that of a square of pixels is, see `bright_squares`. Below about 20
    counts per pixel in total, dead pixels cannot be detected.

    Parameters
    ----------
    mean_image : (h, w) on the device, mean of many gain-corrected frames, not aligned
    known_bad : (h, w) bool, on the host, pixels to leave out
    probability : of a good pixel being called an outlier

    Returns
    -------
    outliers : (h, w) bool, without the known ones; none where nothing can be measured
    """
    outliers = np.zeros(mean_image.shape, np.bool_)
    if min(mean_image.shape) < BLOCK_PX or known_bad.all():
        return outliers
    median = _median(mean_image, known_bad, device)
    bad = device.upload(known_bad) if device.is_gpu else known_bad
    image = _Cleaned(mean_image, bad, median, device)
    level, variance, negative_share = _block_statistics(image, threads)
    unit, offset = _counting_unit(level, variance, negative_share)
    if unit <= 0:
        return outliers
    level = np.maximum((level + offset) / unit, _MIN_LEVEL)
    y, x = _candidates(image, level, variance / unit**2, unit, offset, threads)
    new = ~known_bad[y, x]
    y, x = y[new], x[new]
    value = (image.at(y, x).astype(np.float64) + offset) / unit
    around = np.sort((_neighbours(image, y, x).astype(np.float64) + offset) / unit, axis=1)
    expected = level[_block(y, level.shape[0]), _block(x, level.shape[1])]
    high = np.maximum(expected, around[:, -FEATURE_PIXELS])
    low = np.minimum(expected, around[:, FEATURE_PIXELS - 1])
    is_hot = (value > high) & (gammainc(np.maximum(value, 1), high) < probability)
    is_dead = (value < low) & (gammaincc(np.maximum(value, 0) + 1, low) < probability)
    beam = maximum_filter(level, BEAM_BLOCKS, mode="nearest")
    brightest = MAX_BEAM_RATIO * beam[_block(y, level.shape[0]), _block(x, level.shape[1])]
    is_hot |= (value > brightest) & (gammainc(np.maximum(value, 1), brightest) < probability)
    outliers[y, x] = is_hot | is_dead
    if offset == 0:
        counts = image.rows(0, len(mean_image))
        counts /= np.float32(unit)
        outliers |= find_bright_squares(counts, beam, BLOCK_PX, probability, device)
        outliers &= ~known_bad
    return outliers


def find_outlier_lines(
    mean_image: PixelArray, known_bad: MaskArray, threads: int = 1, device: Device = CPU
) -> MaskArray:
    """Columns and rows (h, w) that deviate from their neighbours over a quarter of a side or more.

    A line is tested in sections of a quarter of the image, since detectors are read out in
    sections. It is bad where its mean deviates from that of its neighbourhood by a tenth, and by
    far more than noise explains.

    Parameters
    ----------
    mean_image : (h, w) on the device, mean of many gain-corrected frames, not aligned
    known_bad : (h, w) bool, on the host, pixels to leave out

    Returns
    -------
    outliers : (h, w) bool, without the known ones
    """
    outliers = np.zeros(mean_image.shape, np.bool_)
    known = device.upload(known_bad) if device.is_gpu else known_bad
    both = ((mean_image, known, outliers), (mean_image.T, known.T, outliers.T))
    cuts = (np.array_split(np.arange(size), LINE_SECTIONS) for size in mean_image.shape)
    # Alternating, since columns take longer to read than rows: this balances the threads.
    parts = [
        (image, bad, found, part)
        for pair in zip(*cuts, strict=True)
        for (image, bad, found), part in zip(both, pair, strict=True)
        if part.size >= BLOCK_PX and image.shape[1] >= LINE_WINDOW_PX
    ]

    def find(start: int, stop: int) -> None:
        for image, bad, found, part in parts[start:stop]:
            some = slice(part[0], part[-1] + 1, max(1, part.size // LINE_SAMPLES))
            values = image[some].copy()
            values[bad[some] | ~np.isfinite(values)] = np.nan
            found[part[0] : part[-1] + 1, _outlier_columns(values, device)] = True

    if parts:
        share_equally(find, len(parts), _threads_on(device, threads))
    return outliers & ~known_bad


def _outlier_columns(values: PixelArray, device: Device) -> MaskArray:
    """Outlying columns (w,) of `values` (rows, w), relative to the columns around them."""
    xp, is_good = device.xp, np.isfinite(values)
    count = device.host(is_good.sum(axis=0))
    if not count.any():
        return np.zeros(values.shape[1], np.bool_)
    # Clip outliers.  Medians would not do: at low counts they are integers.
    some = device.host(values[:: LINE_STEP[0], :: LINE_STEP[1]])
    some = some[np.isfinite(some)]
    if not some.size:
        every = device.host(values)
        some = every[np.isfinite(every)]
    low, high = np.quantile(some, LINE_QUANTILES).astype(np.float32)
    clipped = xp.where(is_good, values.clip(low, high), 0)
    middle = device.host(clipped.sum(axis=0)) / np.maximum(count, 1)
    level = float(np.median(middle[count > 0]))
    middle = np.where(count > 0, middle, level)
    residual = np.abs(middle - median_filter(middle, LINE_WINDOW_PX, mode="nearest"))
    # Deviation of the columns, and the standard deviation of their means from noise alone.
    spread = xp.where(is_good, clipped - device.upload(middle), 0)
    squared = float(device.host((spread**2).sum()))
    noise_sd = math.sqrt(squared / float(count.sum()) / len(values))
    scale = 1.4826 * float(np.median(residual)) + noise_sd
    return np.asarray(
        (residual > LINE_DEVIATIONS * scale) & (residual > LINE_LEVEL_RATIO * abs(level))
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Cleaned:
    """An image (h, w) whose bad pixels read as `median`, and whose non-finite ones read as zero.

    Image and `bad` are on the device.
    """

    image: PixelArray
    bad: MaskArray
    median: np.float32
    device: Device

    def rows(self, start: int, stop: int) -> PixelArray:
        """A copy of some rows, on the device."""
        rows, bad = self.image[start:stop].astype(np.float32), self.bad[start:stop]
        if not np.isfinite(self.device.host(rows.sum())):
            rows[~np.isfinite(rows)] = 0
        if self.device.host(bad.any()):
            rows[bad] = self.median
        return rows

    def at(self, y: npt.NDArray[Any], x: npt.NDArray[Any]) -> PixelArray:
        """The pixels at some places, on the host."""
        values = self.device.at(self.image, y, x).astype(np.float32)
        values[~np.isfinite(values)] = 0
        values[self.device.at(self.bad, y, x)] = self.median
        return np.asarray(values)

    @property
    def strip_blocks(self) -> int:
        """Number of rows of blocks in a strip that is processed at once."""
        return _GPU_STRIP_BLOCKS if self.device.is_gpu else 1


def _threads_on(device: Device, threads: int) -> int:
    """Number of threads; a GPU computes for one of them."""
    return 1 if device.is_gpu else threads


def _median(image: PixelArray, bad: MaskArray, device: Device) -> np.float32:
    """Median of the good pixels, or of an even sample of them."""
    # An odd step, so that not all of them are of the same columns.
    step = max(image.size // _SAMPLES, 1) | 1
    values = device.host(image.ravel()[::step])[~bad.ravel()[::step]]
    values = values if values.size else device.host(image)[~bad]
    return np.float32(np.median(np.where(np.isfinite(values), values, 0)))


def _block_statistics(image: _Cleaned, threads: int) -> tuple[FloatArray, FloatArray, float]:
    """Robust level and variance of the noise in blocks (h // 32, w // 32).

    And the fraction of negative pixels.
    """
    (height, width), device = (size // BLOCK_PX for size in image.image.shape), image.device
    level, variance = np.empty((height, width)), np.empty((height, width))
    negative = np.zeros(height)

    def measure(start: int, stop: int) -> None:
        for i in range(start, stop, image.strip_blocks):
            some = slice(i, min(i + image.strip_blocks, stop))
            strip = image.rows(some.start * BLOCK_PX, some.stop * BLOCK_PX)[:, : width * BLOCK_PX]
            blocks = strip.reshape(-1, BLOCK_PX, width, BLOCK_PX)
            means = np.sort(device.host(blocks.mean(axis=3)), axis=1)
            # With less than one count per row the median is zero.
            middle, trimmed = np.median(means, axis=1), means[:, :-_TRIMMED_ROWS].mean(axis=1)
            level[some] = np.where(middle == 0, trimmed, middle)
            difference = blocks[..., NOISE_LAG_PX:] - blocks[..., :-NOISE_LAG_PX]
            variance[some] = device.host(np.einsum("kyjx,kyjx->kj", difference, difference))
            negative[i] = device.host(np.count_nonzero(strip < 0))

    share_equally(measure, height, _threads_on(device, threads))
    variance /= 2 * BLOCK_PX * (BLOCK_PX - NOISE_LAG_PX)
    return (
        median_filter(level, 3, mode="nearest"),
        median_filter(variance, 3, mode="nearest"),
        float(negative.sum() / (height * width * BLOCK_PX**2)),
    )


def _counting_unit(
    level: FloatArray, variance: FloatArray, negative_share: float
) -> tuple[float, float]:
    """Unit and offset for which ``(image + offset) / unit`` is a Poisson-distributed count."""
    if negative_share > _NEGATIVE_SHARE or np.median(level) <= 0:
        # Not counts: read-out noise around any level, as of a very high count.
        unit = float(np.sqrt(np.median(variance) / GAUSSIAN_COUNTS))
        return unit, GAUSSIAN_COUNTS * unit - float(np.median(level))
    positive = level > 0
    return float(np.median(variance[positive] / level[positive])), 0.0


def _candidates(
    image: _Cleaned,
    level: FloatArray,
    variance: FloatArray,
    unit: float,
    offset: float,
    threads: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The few pixels (y, x) far enough from the level of their block to be tested.

    `level` and `variance` are in counts; where they differ, the block has structure, and the
    bounds are wider.
    """
    # Four standard deviations on the square-root scale, on which Poisson noise is uniform.
    widening = np.maximum(1.0, np.sqrt(variance / np.maximum(level, 1.0)))
    root = np.sqrt(level)
    upper = (level + widening * (4 * root + 4)) * unit - offset
    lower = (level - widening * (4 * root - 4)) * unit - offset
    lower[root < 2] = -np.inf
    (height, width), device = image.image.shape, image.device
    block_x = _block(np.arange(width), level.shape[1])
    limits = [one.astype(np.float32).take(block_x, axis=1) for one in (upper, lower)]
    above, below = map(device.upload, limits) if device.is_gpu else limits

    def scan(start: int, stop: int) -> list[npt.NDArray[np.int64]]:
        found = []
        for i in range(start, stop, image.strip_blocks):
            first, last = i * BLOCK_PX, min(i + image.strip_blocks, stop) * BLOCK_PX
            strip = image.rows(first, last)
            row = _block(np.arange(first, first + len(strip)), level.shape[0])
            block_y = device.upload(row) if device.is_gpu else slice(row[0], row[0] + 1)
            is_far = strip > above[block_y]
            is_far |= strip < below[block_y]
            # Per strip; numpy finds indices much faster along one axis.
            place = device.host(device.xp.flatnonzero(is_far))
            found.append(place + first * width)
        return found

    blocks = -(-height // BLOCK_PX)
    strips = share_equally(scan, blocks, _threads_on(device, threads))
    places = np.concatenate([place for part in strips for place in part])
    y, x = np.divmod(places, width)
    return y, x


def _block(index: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Block index of each row or column; the last block takes the remainder."""
    return np.minimum(index // BLOCK_PX, count - 1)


def _neighbours(image: _Cleaned, y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]) -> PixelArray:
    """The 24 pixels (n, 24) around each place, mirrored at the edges of the image."""
    height, width = image.image.shape
    dy, dx = (offset.ravel() for offset in np.mgrid[-2:3, -2:3])
    away = (dy != 0) | (dx != 0)
    rows = reflected_index(y[:, None] + dy[away], height)
    columns = reflected_index(x[:, None] + dx[away], width)
    return image.at(rows, columns)
