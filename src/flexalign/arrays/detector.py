"""Correct detector effects in a frame: dark, gain, bad pixels.

Arrays only: the references are read and oriented elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays.device import CPU, Device
from flexalign.arrays.kernels.elementwise import pixel_hash
from flexalign.arrays.threads import ThreadPool
from flexalign.model import MaskArray, PixelArray

NEIGHBOURS = 8
# A strip of this many rows fits into the cache through all steps.
STRIP_ROWS = 64
# Rows sampled to estimate the mean level of a frame.
_LEVEL_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """The input of `correct`, prepared once per movie.

    Attributes
    ----------
    gain : (h, w) float32 or None; multiplies
    dark : (h, w) float32 or None; subtracted before
    bad_index : (n,) int64, flat indices of the bad pixels, ascending
    bad_start : (h + 1,) int64, index of the first bad pixel of each row
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
        """Gain and dark for the compiled loops: empty arrays where there is none."""
        nothing = np.empty((0, 0), np.float32)
        return (
            nothing if self.gain is None else self.gain,
            nothing if self.dark is None else self.dark,
        )


def make_correction(gain: PixelArray | None, dark: PixelArray | None, bad: MaskArray) -> Correction:
    """Prepare the correction by gain and dark, with the good neighbours of each bad pixel.

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


def level_below_zero(
    raw: npt.NDArray[Any], correction: Correction, device: Device = CPU
) -> float | None:
    """Mean of a dark-subtracted frame if nearly all of it is below zero, else None.

    Such values are not counts: they have an offset, which a gain must not multiply.

    Parameters
    ----------
    raw : (h, w), finite, on the host or on `device`

    Examples
    --------
    >>> no_reference = make_correction(None, None, np.zeros((2, 2), np.bool_))
    >>> level_below_zero(np.array([[-32768, -32767], [-32766, -32768]]), no_reference)
    -32767.25
    >>> level_below_zero(np.array([[-0.5, -0.5], [-0.5, 1.5]]), no_reference)
    """
    rows = slice(None, None, max(1, len(raw) // _LEVEL_ROWS))
    values = device.host(raw[rows]).astype(np.float64)
    if correction.dark is not None:
        values -= correction.dark[rows]
    mean = float(values.mean())
    return mean if mean < -float(values.std()) else None


def load_kd_tree() -> None:
    """Import the k-d tree, which takes some hundredths of a second."""
    import scipy.spatial  # noqa: F401


def _nearest_good(bad: MaskArray, bad_index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Flat indices (n, 8) of good pixels near each bad one, repeated where there are fewer."""
    if bad_index.size == 0:
        return np.empty((0, NEIGHBOURS), np.int64)
    if bad_index.size == bad.size:
        raise ValueError("expected some good pixels, found only bad ones")
    from scipy.spatial import cKDTree

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
    # A balanced tree over a regular grid is slow to build and no faster to query.
    tree = cKDTree(places, balanced_tree=False, compact_nodes=False)
    distance, found = tree.query(np.stack([y, x], axis=1), k=list(range(1, count + 1)))
    # Equal distances are ordered by index, whatever the order in the tree.
    order = np.lexsort((found, np.round(distance**2).astype(np.int64)), axis=1)
    chosen = good_index[np.take_along_axis(found, order, axis=1)]
    return np.asarray(np.resize(chosen.T, (NEIGHBOURS, len(chosen))).T, np.int64)


def correct(
    raw: npt.NDArray[Any], correction: Correction, frame_index: int, threads: int = 1
) -> PixelArray:
    """The frame ``(raw - dark) * gain`` with its bad pixels replaced.

    A bad pixel takes the value of one of its good neighbours, chosen pseudo-randomly by pixel and
    frame: it keeps the noise of a single pixel, and the noise of different frames stays
    independent.

    Parameters
    ----------
    raw : (h, w) of any dtype; not changed
    correction : from `make_correction`
    frame_index : zero-based in the file
    threads : number of threads over which the rows are divided

    Returns
    -------
    corrected : (h, w) float32
    """
    out = np.empty(raw.shape, np.float32)
    fill = corrected_rows(raw, correction, frame_index)
    with ThreadPool(threads) as workers:
        workers.share(len(out), STRIP_ROWS, lambda start, stop: fill(start, stop, out[start:stop]))
    return out


def corrected_rows(
    raw: npt.NDArray[Any], correction: Correction, frame_index: int
) -> Callable[[int, int, PixelArray], None]:
    """Function ``fill(start, stop, out)`` that writes rows of the corrected frame to `out`.

    The result does not depend on how the frame is cut into strips; see `correct`.
    """
    width = raw.shape[1]
    gain, dark, bad = correction.gain, correction.dark, correction.bad_index
    replacements = replacement_values(raw, correction, frame_index)

    def fill(start: int, stop: int, out: PixelArray) -> None:
        out[...] = raw[start:stop]
        if dark is not None:
            out -= dark[start:stop]
        if gain is not None:
            out *= gain[start:stop]
        first, last = np.searchsorted(bad, (start * width, stop * width))
        out.reshape(-1)[bad[first:last] - start * width] = replacements[first:last]

    return fill


def replacement_values(
    raw: npt.NDArray[Any], correction: Correction, frame_index: int
) -> PixelArray:
    """Values (n,) of the bad pixels of the corrected frame; see `correct`."""
    place = np.divmod(_random_neighbours(correction, frame_index), raw.shape[1])
    return corrected_at(place, raw[place], correction)


def corrected_at(place: Any, raw: npt.NDArray[Any], correction: Correction) -> PixelArray:
    """The pixels `raw` of a frame, at `place` in it, corrected; bad ones are not replaced."""
    pixels = raw.astype(np.float32)
    if correction.dark is not None:
        pixels -= correction.dark[place]
    if correction.gain is not None:
        pixels *= correction.gain[place]
    return np.asarray(pixels)


def _random_neighbours(correction: Correction, frame_index: int) -> npt.NDArray[np.int64]:
    """Flat indices (n,) of the pixels that replace the bad ones in a frame."""
    number = pixel_hash(correction.bad_index.astype(np.uint64), frame_seed(frame_index))
    chosen = (number % np.uint64(NEIGHBOURS)).astype(np.int64)
    return np.take_along_axis(correction.neighbour_index, chosen[:, None], 1)[:, 0]


def frame_seed(frame_index: int) -> np.uint64:
    """Seed of the pseudo-random numbers of a frame."""
    return np.uint64((frame_index + 1) * 0x9E3779B97F4A7C15 % 2**64)


def replace_bad_pixels(image: PixelArray, correction: Correction) -> PixelArray:
    """Fill the bad pixels of a corrected image (h, w) in place, as `correct` does.

    Returns
    -------
    excess : (bad pixels,) their values before minus after
    """
    values = replacement_values(image, replace(correction, gain=None, dark=None), frame_index=0)
    flat = image.reshape(-1)
    excess = flat[correction.bad_index] - values
    flat[correction.bad_index] = values
    return np.asarray(excess)
