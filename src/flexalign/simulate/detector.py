"""A counting detector: pixel sensitivity, hot and dead pixels, Poisson statistics."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.model import MaskArray, PixelArray
from flexalign.simulate.settings import SimulationSettings

# MRC mode 0 is signed for some programs and unsigned for others; below 128 they agree.
MAX_8_BIT_COUNT = 127
_BAND_ROWS = 64
_STRIPE_COLUMNS = 128
_STRIPE_SCATTER, _COLUMN_SCATTER, _PIXEL_SCATTER = 0.02, 0.02, 0.04
_HOT_TIMES = (3.0, 30.0)
_HUGE_TIMES, _HUGE_SHARE = 100.0, 0.1
_STUCK_TIMES = (2.0, 12.0)
_PIXELS_PER_STUCK_BLOCK = 60_000


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """Response of the pixels to electrons.

    Attributes
    ----------
    gain : (h, w) float32, multiplies counts; None = all pixels are equal
    rate : (h, w) float32, mean counts of a frame without specimen, hot and dead pixels included
    bad_pixels : (h, w) True = hot or dead
    dtype : of the counts, which stop at 127 when it is uint8
    """

    gain: PixelArray | None
    rate: PixelArray
    bad_pixels: MaskArray
    dtype: npt.DTypeLike

    def counts(
        self, intensity: PixelArray, seed: tuple[int, ...], pool: ThreadPoolExecutor
    ) -> npt.NDArray[np.unsignedinteger]:
        """Electrons counted (h, w) in one frame; the same for any number of threads.

        Parameters
        ----------
        intensity : (h, w), 1 = no specimen
        seed : of this frame's random numbers
        """
        counts = np.empty(intensity.shape, self.dtype)
        maximum = MAX_8_BIT_COUNT if counts.dtype == np.uint8 else np.iinfo(counts.dtype).max

        def fill(first: int) -> None:
            band = slice(first, first + _BAND_ROWS)
            expected = np.maximum(intensity[band], 0) * self.rate[band]
            arrived = np.random.default_rng([*seed, first]).poisson(expected)
            counts[band] = np.minimum(arrived, maximum)

        list(pool.map(fill, range(0, len(counts), _BAND_ROWS)))
        return counts


def make_detector(settings: SimulationSettings) -> Detector:
    """The detector described by `settings`; the same for the same seed of the detector."""
    seed = settings.seed if settings.detector_seed is None else settings.detector_seed
    rng = np.random.default_rng([seed, 3])
    sensitivity = _sensitivity(settings.shape_px, rng) if settings.gain else None
    rate = np.full(settings.shape_px, settings.electrons_per_px, np.float32)
    if sensitivity is not None:
        rate *= sensitivity

    hot_count, dead_count = settings.hot_pixel_count, settings.dead_pixel_count
    bad = rng.choice(settings.pixel_count, hot_count + dead_count, replace=False)
    weakest, strongest = np.log(_HOT_TIMES)
    times = np.exp(rng.uniform(weakest, strongest, hot_count))
    times[: int(np.ceil(_HUGE_SHARE * hot_count))] = _HUGE_TIMES
    rate.flat[bad[:hot_count]] *= times.astype(np.float32)
    rate.flat[bad[hot_count:]] = 0
    bad_pixels = np.zeros(settings.shape_px, np.bool_)
    bad_pixels.flat[bad] = True
    if settings.gain_error > 0:
        rate *= _unknown_sensitivity(settings, seed)
    for fault in sorted(FAULT_TIMES.keys() & settings.faults):
        times = FAULT_TIMES[fault](settings.shape_px, np.random.default_rng([seed, 7]))
        rate *= times
        bad_pixels |= times != 1
    return Detector(
        gain=None if sensitivity is None else np.reciprocal(sensitivity),
        rate=rate,
        bad_pixels=bad_pixels,
        dtype=np.uint8 if settings.electrons_per_px <= 20 else np.uint16,
    )


def _unknown_sensitivity(settings: SimulationSettings, seed: int) -> PixelArray:
    """Sensitivity of the pixels (h, w) that the gain does not correct, mean 1."""
    rng = np.random.default_rng([seed, 6])
    scatter = rng.standard_normal(settings.shape_px, dtype=np.float32)
    return np.asarray(np.maximum(1 + np.float32(settings.gain_error) * scatter, 0))


def _stuck_blocks(shape_px: tuple[int, int], rng: np.random.Generator) -> PixelArray:
    """Blocks of 3 x 3 to 8 x 8 pixels that count several times too much."""
    times = np.ones(shape_px, np.float32)
    for _ in range(max(1, times.size // _PIXELS_PER_STUCK_BLOCK)):
        height, width = rng.integers(3, 9, 2)
        y, x = rng.integers(0, shape_px)
        times[y : y + height, x : x + width] = rng.uniform(*_STUCK_TIMES)
    return times


def _bad_lines(shape_px: tuple[int, int], rng: np.random.Generator) -> PixelArray:
    """Two dead columns, a dead row, and a column and a row that count twice."""
    times = np.ones(shape_px, np.float32)
    rows, columns = rng.integers(0, shape_px[0], 2), rng.integers(0, shape_px[1], 3)
    times[rows[0]] = 2
    times[:, columns[0]] = 2
    times[rows[1]] = 0
    times[:, columns[1:]] = 0
    return times


def _dead_quadrant(shape_px: tuple[int, int], rng: np.random.Generator) -> PixelArray:
    """A quarter of the detector counts nothing."""
    times = np.ones(shape_px, np.float32)
    top, left = rng.integers(0, 2, 2) * np.array(shape_px) // 2
    times[top : top + shape_px[0] // 2, left : left + shape_px[1] // 2] = 0
    return times


# Factor (h, w) on the counts for each detector fault.
FAULT_TIMES: dict[str, Callable[[tuple[int, int], np.random.Generator], PixelArray]] = {
    "stuck-blocks": _stuck_blocks,
    "bad-lines": _bad_lines,
    "dead-quadrant": _dead_quadrant,
}


def _sensitivity(shape_px: tuple[int, int], rng: np.random.Generator) -> PixelArray:
    """Counts per electron (h, w), mean 1: stripes read out together, columns, single pixels."""
    width = shape_px[1]
    stripes = rng.normal(scale=_STRIPE_SCATTER, size=-(-width // _STRIPE_COLUMNS))
    columns = np.repeat(stripes, _STRIPE_COLUMNS)[:width]
    columns += rng.normal(scale=_COLUMN_SCATTER, size=width)
    pixels = rng.standard_normal(shape_px, dtype=np.float32) * np.float32(_PIXEL_SCATTER)
    sensitivity = np.clip(1 + columns.astype(np.float32) + pixels, 0.5, 1.5)
    return np.asarray(sensitivity / sensitivity.mean(dtype=np.float64), dtype=np.float32)
