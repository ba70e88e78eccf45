"""Areas of the detector without electrons: dead sections, and the area outside the beam.

Their edges do not move and are sharper than any specimen, which would bias the motion of patches
that they cross toward zero.  Frames are therefore tapered toward them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from flexalign.arrays.device import CPU, Device
from flexalign.arrays.threads import share_equally
from flexalign.model import FloatArray, MaskArray, PixelArray

# Side of the blocks whose means are compared.  A block is blank if it has less than this
# fraction of the median counts in the mean of all frames.
_BLOCK_PX = 8
_BLANK_SHARE = 0.02
# If means scatter by more than this fraction of their median, none can be called blank.  At low
# counts, means are over squares of more blocks.
_MAX_SCATTER = 0.2
_SQUARES = (1, 3, 7)
# Small pixels beside the area that are affected by the filter.
_MARGIN_PX = 6


def blank_area(
    mean_image: PixelArray, shape_px: tuple[int, int], device: Device = CPU
) -> MaskArray | None:
    """Mask (h, w), at the size of the small frames, of the area without electrons; None = none.

    Parameters
    ----------
    mean_image : (height, width) mean of all corrected frames, on the device

    Examples
    --------
    >>> image = np.ones((64, 96), np.float32)
    >>> image[:, 72:] = 0
    >>> blank_area(image, (32, 48)).sum(axis=1).tolist()[:2]
    [12, 12]
    """
    counts = [size // _BLOCK_PX for size in mean_image.shape]
    if min(counts) == 0:
        return None
    covered = mean_image[: counts[0] * _BLOCK_PX, : counts[1] * _BLOCK_PX]
    tiled = covered.reshape(counts[0], _BLOCK_PX, counts[1], _BLOCK_PX)
    blocks = device.host(tiled.mean(axis=(1, 3)))
    squares = (_blank_squares(blocks, side) for side in _SQUARES)
    is_blank = next((found for found in squares if found is not None), None)
    if is_blank is None or not is_blank.any():
        return None
    row, column = (
        np.arange(size) * count // size for size, count in zip(shape_px, counts, strict=True)
    )
    return np.asarray(is_blank[row[:, None], column], np.bool_)


def _blank_squares(blocks: FloatArray, side: int) -> MaskArray | None:
    """Which blocks are in blank squares of `side` blocks; None = the means scatter too much."""
    means = ndimage.uniform_filter(blocks, side, mode="nearest")
    median = float(np.median(means))
    is_blank = means < _BLANK_SHARE * median
    if is_blank.all():
        return None
    scatter = 1.4826 * float(np.median(np.abs(means[~is_blank] - median)))
    if scatter > _MAX_SCATTER * median:
        return None
    return np.asarray(ndimage.binary_dilation(is_blank, np.ones((side, side), np.bool_)))


def taper_beside(blank: MaskArray, width_px: float) -> PixelArray:
    """Factor (h, w), 0 in and beside a `blank` area (h, w), rising to 1 over a width."""
    away: FloatArray = np.asarray(ndimage.distance_transform_edt(~blank))
    part = np.clip((away - _MARGIN_PX) / width_px, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * part), np.float32)


def fade_out(images: npt.NDArray[Any], taper: PixelArray, threads: int = 1) -> None:
    """Taper `images` (n, h, w) to the mean of each by a factor (h, w), in place."""

    def fade(start: int, stop: int) -> None:
        for image in images[start:stop]:
            wide = image.astype(np.float32)
            mean = float(np.sum(wide * taper, dtype=np.float64) / max(taper.sum(), 1.0))
            image[:] = (wide - np.float32(mean)) * taper + np.float32(mean)

    share_equally(fade, len(images), threads)
