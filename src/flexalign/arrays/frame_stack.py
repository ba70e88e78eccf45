"""Small frames, and what the estimation computes of them, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from flexalign.arrays import blank_area, correlate, fourier
from flexalign.arrays.correlate import Peaks
from flexalign.arrays.downsample import downsampled_images
from flexalign.arrays.fourier import SpectrumArray
from flexalign.arrays.kernels import likelihood
from flexalign.arrays.kernels.float16 import add_scaled, stored
from flexalign.arrays.kernels.likelihood import Packing
from flexalign.arrays.kernels.tiles import taper_tile
from flexalign.arrays.threads import share_equally
from flexalign.model import FloatArray, PixelArray

# Number of pixels of a patch that are transformed together, so that they stay in the cache.
_PIXELS_PER_BATCH = 2**19


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Where the tiles lie that are cut from each frame.

    Attributes
    ----------
    corner_px : (tiles, 2) first row and column of each
    window : (h, w) factor of its pixels
    """

    corner_px: npt.NDArray[np.int64]
    window: PixelArray

    @property
    def shape_px(self) -> tuple[int, int]:
        """(h, w) of a tile."""
        return self.window.shape[0], self.window.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The pairs of images to correlate.

    Attributes
    ----------
    first, second : (pairs,) indices of the images
    radius_px : (pairs,) search radius
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    radius_px: FloatArray


class CpuFrameStack:
    """Small frames on the host.

    Parameters
    ----------
    pixels : (times, h, w) float32, or float16 with a constant subtracted and scaled
    """

    def __init__(self, pixels: PixelArray) -> None:
        self._pixels = pixels
        self._shape = pixels.shape[1], pixels.shape[2]

    def downsampled(
        self, shape_px: tuple[int, int], kept_share: float, threads: int = 1
    ) -> PixelArray:
        """The frames (times, new h, new w) float32 at a smaller size; see `axis_filter`."""
        return downsampled_images(self._pixels, shape_px, kept_share, threads)

    def selected(self, index: npt.NDArray[np.int64]) -> PixelArray:
        """A copy of some frames."""
        return self._pixels[index]

    def mean(self) -> PixelArray:
        """The mean frame (h, w), on the host."""
        return np.asarray(self._pixels.mean(axis=0, dtype=np.float32))

    def add_scaled(self, image: PixelArray, part: PixelArray, threads: int = 1) -> None:
        """Add to each frame its `part` (times,) of an image (h, w)."""
        frames = stored(self._pixels)

        def add(start: int, stop: int) -> None:
            for k in range(start, stop):
                add_scaled(image, part[k], frames[k])

        share_equally(add, len(frames), threads)

    def fade_out(self, taper: PixelArray, threads: int = 1) -> None:
        """Taper the frames to the mean of each by a factor (h, w)."""
        blank_area.fade_out(self._pixels, taper, threads)

    def group_spectra(
        self,
        groups: Sequence[npt.NDArray[np.int64]],
        response: PixelArray,
        threads: int = 1,
    ) -> SpectrumArray:
        """Spectra (groups, h, columns), on the host, of the sums of adjacent frames.

        Parameters
        ----------
        groups : indices of the frames of each
        response : (h, columns) of the filter that follows `correlate.whiten`, without the columns
            to leave out
        """
        spectra = np.empty((len(groups), *response.shape), np.complex64)

        def transform(start: int, stop: int) -> None:
            for k in range(start, stop):
                image = self._pixels[groups[k]].sum(axis=0, dtype=np.float32)
                spectra[k] = fourier.rfft2(image - image.mean(), columns=response.shape[1])

        share_equally(transform, len(groups), threads)
        correlate.whiten(spectra, self._shape, response, threads)
        return spectra

    def group_peaks(
        self,
        groups: Sequence[npt.NDArray[np.int64]],
        response: PixelArray,
        pairs: Pairs,
        threads: int = 1,
    ) -> Peaks:
        """Peaks of the correlations of the groups in `group_spectra`, pair by pair."""
        spectra = self.group_spectra(groups, response, threads)
        return _pair_peaks(spectra, pairs, self._shape, threads)

    def tile_peaks(
        self,
        tiles: Tiles,
        groups: Sequence[npt.NDArray[np.int64]],
        displacement_px: FloatArray,
        response: PixelArray,
        pairs: Pairs,
        threads: int = 1,
    ) -> list[Peaks]:
        """As `group_peaks` of each tile, whose frames are moved back along a displacement.

        Parameters
        ----------
        groups : of all frames, in order
        displacement_px : (times, 2)
        """
        whole = np.rint(displacement_px).astype(np.int64)
        every = np.arange(len(whole))

        def measure(start: int, stop: int) -> list[Peaks]:
            buffer = np.empty((len(whole), *tiles.shape_px), np.float32)
            found = []
            for tile in range(start, stop):
                cut = self.tapered_spectra(tiles, tile, every, whole, buffer, response.shape[1])
                moved = fourier.phase_shifted(cut, tiles.shape_px, whole - displacement_px)
                sums = np.stack([moved[g[0] : g[-1] + 1].sum(axis=0) for g in groups])
                correlate.whiten(sums, tiles.shape_px, response)
                found.append(_pair_peaks(sums, pairs, tiles.shape_px))
            return found

        count = len(tiles.corner_px)
        return list(chain.from_iterable(share_equally(measure, count, threads)))

    def packed_spectra(
        self,
        tiles: Tiles,
        offset_px: npt.NDArray[np.int64],
        packing: Packing,
        envelope: PixelArray,
        threads: int = 1,
    ) -> tuple[npt.NDArray[np.uint16], FloatArray]:
        """The spectra of all tiles in all frames, packed, and their power.

        Parameters
        ----------
        offset_px : (tiles, times, 2) integer shift of each tile
        envelope : (times, rings) factor of the spectra

        Returns
        -------
        packed : (tiles, 2, times * coefficients), see `likelihood.pack`
        power : (tiles, rings) summed over times
        """
        count, times = offset_px.shape[:2]
        packed = np.empty((count, 2, times * len(packing.ring_packed)), np.uint16)
        power = np.zeros((count, envelope.shape[1]))
        together = max(1, _PIXELS_PER_BATCH // math.prod(tiles.shape_px))

        def cut(start: int, stop: int) -> None:
            buffer = np.empty((together, *tiles.shape_px), np.float32)
            for tile in range(start, stop):
                for first in range(0, times, together):
                    which = np.arange(first, min(first + together, times))
                    spectra = self.tapered_spectra(
                        tiles, tile, which, offset_px[tile, which], buffer
                    )
                    likelihood.pack(
                        spectra, first, packing.ring, packing.wave, packing.start, envelope,
                        packed[tile], power[tile],
                    )  # fmt: skip

        share_equally(cut, count, threads)
        return packed, power

    def tapered_spectra(
        self,
        tiles: Tiles,
        tile: int,
        which: npt.NDArray[np.int64],
        offset_px: npt.NDArray[np.int64],
        buffer: PixelArray,
        columns: int | None = None,
    ) -> SpectrumArray:
        """Spectra (n, h, columns) of one tile in the frames `which` (n,), mean subtracted.

        Parameters
        ----------
        offset_px : (n, 2) integer shift (y, x) of the tile in each; frames are mirrored beyond
            their edges
        buffer : (n or more, h, w); allocating one for each call would double the time
        """
        frames, buffer = stored(self._pixels), buffer[: len(which)]
        for out, k, (top, left) in zip(
            buffer, which, tiles.corner_px[tile] + offset_px, strict=True
        ):
            taper_tile(frames[k], top, left, tiles.window, out)
        return fourier.rfft2(buffer, columns=columns)


def _pair_peaks(
    spectra: SpectrumArray, pairs: Pairs, shape_px: tuple[int, int], threads: int = 1
) -> Peaks:
    return correlate.pair_peaks(
        spectra, pairs.first, pairs.second, shape_px, pairs.radius_px, threads
    )
