"""A frame of an EER movie before it is decoded, as a reader gives it and a GPU renders it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.array_value import ShortRepr

# Padding, so that 32 bits can be read at any bit of a stream.
PADDING = bytes(8)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PackedFrame(ShortRepr):
    """The codes of the raw frames that are summed to one frame.

    Attributes
    ----------
    index : zero-based in the file
    data : (n,) uint8, the streams of bits of the raw frames, each followed by `PADDING`
    streams : (raw frames, 5) int64, of each the first byte, the number of bytes, and the bits of a
        run and of a place in x and y
    keeps_places, spare_bytes : see `flexalign.io.movies.eer_streams.Style`
    shape_px : (h, w) of the detector
    upsampling : 1, or 2 for an image on a grid twice as fine
    dtype : of the image
    """

    index: int
    data: npt.NDArray[np.uint8]
    streams: npt.NDArray[np.int64]
    keeps_places: bool
    spare_bytes: int
    shape_px: tuple[int, int]
    upsampling: int
    dtype: np.dtype[Any]

    @property
    def image_shape_px(self) -> tuple[int, int]:
        """(h, w) of the image."""
        return self.shape_px[0] * self.upsampling, self.shape_px[1] * self.upsampling
