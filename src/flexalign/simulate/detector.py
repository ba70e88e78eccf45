"""A counting detector: uneven pixels, hot and dead ones, and electrons that arrive one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexalign.model import MaskArray, PixelArray
from flexalign.simulate.settings import SimulationSettings

# MRC mode 0 is signed for some programs and unsigned for others: below 128 all agree.
LARGEST_8_BIT_COUNT = 127
_BAND_ROWS = 64
_STRIPE_COLUMNS = 128
_STRIPE_SCATTER, _COLUMN_SCATTER, _PIXEL_SCATTER = 0.02, 0.02, 0.04
_HOT_TIMES = (3.0, 30.0)
_HUGE_TIMES, _HUGE_SHARE = 100.0, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """What the pixels do to the electrons.

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
        largest = LARGEST_8_BIT_COUNT if counts.dtype == np.uint8 else np.iinfo(counts.dtype).max

        def fill(first: int) -> None:
            band = slice(first, first + _BAND_ROWS)
            expected = np.maximum(intensity[band], 0) * self.rate[band]
            arrived = np.random.default_rng([*seed, first]).poisson(expected)
            counts[band] = np.minimum(arrived, largest)

        list(pool.map(fill, range(0, len(counts), _BAND_ROWS)))
        return counts


def make_detector(settings: SimulationSettings) -> Detector:
    """The detector that `settings` ask for; the same for the same seed."""
    rng = np.random.default_rng([settings.seed, 3])
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
    return Detector(
        gain=None if sensitivity is None else np.reciprocal(sensitivity),
        rate=rate,
        bad_pixels=bad_pixels,
        dtype=np.uint8 if settings.electrons_per_px <= 20 else np.uint16,
    )


def _sensitivity(shape_px: tuple[int, int], rng: np.random.Generator) -> PixelArray:
    """Counts per electron (h, w), mean 1: stripes read out together, columns, single pixels."""
    width = shape_px[1]
    stripes = rng.normal(scale=_STRIPE_SCATTER, size=-(-width // _STRIPE_COLUMNS))
    columns = np.repeat(stripes, _STRIPE_COLUMNS)[:width]
    columns += rng.normal(scale=_COLUMN_SCATTER, size=width)
    pixels = rng.standard_normal(shape_px, dtype=np.float32) * np.float32(_PIXEL_SCATTER)
    sensitivity = np.clip(1 + columns.astype(np.float32) + pixels, 0.5, 1.5)
    return np.asarray(sensitivity / sensitivity.mean(dtype=np.float64), dtype=np.float32)
