"""Interpolate frames along a motion and sum them tile by tile, so that none is held whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import detector, fourier, resample
from flexalign.arrays.detector import STRIP_ROWS, Correction
from flexalign.arrays.kernels import raw_frames, warp
from flexalign.arrays.lowrank_weights import ExponentialWeights, TimeFunctions, time_functions
from flexalign.arrays.threads import ThreadPool
from flexalign.model import PixelArray

# Spacing of the lattice on which the motion is given; it is interpolated linearly in between.
LATTICE_STEP_PX = 16
# A tile of a few frames with its margin fits into the cache.
_TILE_PX = (128, 512)
# Columns that are transformed and weighted together; they fit into the cache.
_FOURIER_COLUMNS = 64


class AlignedSums:
    """Running sums of motion-corrected frames.

    Each is a sum in real space at the frames' size.  The sum with frequency-dependent weights is a
    combination of several of them, made at the end.

    Parameters
    ----------
    shape_px, output_shape_px : (h, w) of the frames, and of the results
    frames_per_batch : frames processed per batch: gain and sums are read from memory once for all
        of them
    names : names of the unweighted sums; the first is the sum of all frames
    weights : exposure weights of the weighted sum; None = no such sum
    image_count : maximum number of moved frames to keep at the output's size
    """

    def __init__(
        self,
        correction: Correction,
        shape_px: tuple[int, int],
        output_shape_px: tuple[int, int],
        workers: ThreadPool,
        frames_per_batch: int,
        *,
        names: Sequence[str],
        weights: ExponentialWeights | None = None,
        image_count: int = 0,
    ) -> None:
        self._correction, self._workers = correction, workers
        self._frames_per_batch = frames_per_batch
        self._shape, self._output_shape = shape_px, output_shape_px
        self._names, self._weights = tuple(names), weights
        self._functions: TimeFunctions | None = None
        if weights is not None:
            if not -np.inf < weights.lowest_rate <= 0 or not np.isfinite(weights.time).all():
                raise ValueError("expected finite rates, not above zero, and finite times")
            self._functions = time_functions(weights.lowest_rate, weights.time)
        extra = 0 if self._functions is None else len(self._functions.value) - 1
        # Padded so that the spectrum of each row replaces the row in place.
        height, width = shape_px
        buffer = (len(self._names) + extra, height, 2 * (width // 2 + 1))
        self._totals = np.zeros(buffer, np.float32)
        self._counts = dict.fromkeys(self._names, 0)
        self._times: list[int] = []
        self._images = np.empty((image_count, *output_shape_px), np.float32)
        self._image_count = 0
        self._raws: list[npt.NDArray[Any]] = []
        self._lattices: list[PixelArray] = []
        self._replacements: list[PixelArray] = []
        self._in_sums: list[PixelArray] = []

    def add(
        self,
        raw: npt.NDArray[Any],
        frame_index: int,
        displacement_px: PixelArray,
        names: Sequence[str],
        time: int = 0,
    ) -> None:
        """Correct a frame, interpolate it along a displacement, and add it.

        Parameters
        ----------
        raw : (h, w)
        displacement_px : (2, ny, nx) at the nodes of a lattice of `LATTICE_STEP_PX`, as for
            `resample.sample`
        names : the unweighted sums to add it to, the first one included
        time : index of its time among those of the weights
        """
        weights = np.zeros(len(self._totals), np.float32)
        weights[: len(self._names)] = [name in names for name in self._names]
        if self._functions is not None:
            weights[len(self._names) :] = self._functions.value[1:, time]
        lattice = resample.lattice_for_loops(displacement_px, self._shape)
        replacements = detector.replacement_values(raw, self._correction, frame_index)
        self._raws.append(raw_frames.for_loops(raw))
        self._lattices.append(lattice)
        self._replacements.append(replacements)
        self._in_sums.append(weights)
        for name in names:
            self._counts[name] += 1
        self._times.append(time)
        if len(self._lattices) == self._frames_per_batch:
            self.flush()

    @property
    def sum_count(self) -> int:
        """Number of sums in real space."""
        return len(self._totals)

    def flush(self) -> None:
        """Interpolate and add the frames waiting in the batch; every result calls this first."""
        count, (height, width) = len(self._lattices), self._shape
        if count == 0:
            return
        waiting = self._raws, self._lattices, self._replacements, self._in_sums
        lattices, replacements, weights = (np.stack(part) for part in waiting[1:])
        kept = count if len(self._images) > 0 else 0
        moved = np.empty((kept, height, width), np.float32)
        raws, correction = raw_frames.padded(self._raws, self._frames_per_batch), self._correction
        columns = -(-width // _TILE_PX[1])

        def add_tiles(start: int, stop: int) -> None:
            for number in range(start, stop):
                row, column = divmod(number, columns)
                top, left = row * _TILE_PX[0], column * _TILE_PX[1]
                bottom, right = min(top + _TILE_PX[0], height), min(left + _TILE_PX[1], width)
                warp.add_tiles(
                    raws, *correction.references, correction.bad_start, correction.bad_x,
                    replacements, lattices, LATTICE_STEP_PX, weights.T,
                    np.array([top, bottom, left, right]),
                    self._totals, moved,
                )  # fmt: skip

        self._workers.share(columns * -(-height // _TILE_PX[0]), 1, add_tiles)
        for image in moved:
            self._images[self._image_count] = self.at_output_size(image)
            self._image_count += 1
        for part in waiting:
            part.clear()

    def mean(self, name: str) -> PixelArray:
        """The mean (h, w) of the frames added under `name`, at the output's size."""
        self.flush()
        height, width = self._shape
        total, count = self._totals[self._names.index(name), :, :width], max(self._counts[name], 1)
        mean = np.empty((height, width), np.float32)

        def divide(start: int, stop: int) -> None:
            np.divide(total[start:stop], np.float32(count), out=mean[start:stop])

        self._workers.share(height, STRIP_ROWS, divide)
        return self.at_output_size(mean)

    def weighted_mean(self) -> PixelArray | None:
        """The weighted mean (h, w), with the noise of an unweighted mean; None = not requested.

        The sums are overwritten: no other result is available afterwards.
        """
        if self._functions is None or self._weights is None:
            return None
        self.flush()
        sums = [0, *range(len(self._names), len(self._totals))]
        times = np.array(self._times, np.int64)
        tables = self._functions.mean_coefficient(times, self._weights.noise)
        rows = self._transform_rows(sums)
        spectrum = self._add_up_columns(rows, sums, tables.astype(np.float32))
        height, width = self._output_shape
        weighted = np.empty((height, width), np.float32)

        def fill(start: int, stop: int) -> None:
            weighted[start:stop] = fourier.rows_back(spectrum[start:stop], width)

        self._workers.share(height, STRIP_ROWS, fill)
        return weighted

    def _transform_rows(self, sums: Sequence[int]) -> fourier.SpectrumArray:
        """Spectra (sums, h, output w // 2 + 1) of the rows of some sums, computed in place."""
        width, output_width = self._shape[1], self._output_shape[1]
        rows = self._totals.view(np.complex64)[:, :, : output_width // 2 + 1]

        def transform(start: int, stop: int) -> None:
            for number in sums:
                strip = self._totals[number, start:stop, :width]
                rows[number, start:stop] = fourier.row_spectra(strip, output_width)

        self._workers.share(self._shape[0], STRIP_ROWS, transform)
        return rows

    def _add_up_columns(
        self, rows: fourier.SpectrumArray, sums: Sequence[int], tables: PixelArray
    ) -> fourier.SpectrumArray:
        """Row spectra (output h, output w // 2 + 1) of the weighted sum of some sums.

        Parameters
        ----------
        rows : row spectra of all sums, from `_transform_rows`
        tables : (those sums, nodes) their weights, tabulated at rates from zero to the lowest
        """
        assert self._functions is not None
        assert self._weights is not None
        weights, lowest_rate = self._weights, self._functions.lowest_rate
        # Subnormal rates are taken as zero.
        is_rate = lowest_rate < -float(np.finfo(np.float32).tiny)
        nodes_per_rate = np.float32((tables.shape[1] - 1) / lowest_rate if is_rate else 0)
        height = self._output_shape[0]
        spectrum: fourier.SpectrumArray = rows[0]
        if height != self._shape[0]:
            spectrum = np.empty((height, rows.shape[2]), np.complex64)

        def add_up(start: int, stop: int) -> None:
            total, rate = np.zeros((height, stop - start), np.complex64), weights.rate(start, stop)
            for number, table in zip(sums, tables, strict=True):
                block = fourier.column_spectra(rows[number, :, start:stop], height)
                warp.add_weighted_columns(block, total, rate, nodes_per_rate, table)
            spectrum[:, start:stop] = fourier.columns_back(total)

        self._workers.share(rows.shape[2], _FOURIER_COLUMNS, add_up)
        return spectrum

    def images(self) -> PixelArray | None:
        """The moved frames (t, h, w); None = not requested."""
        self.flush()
        return self._images[: self._image_count] if len(self._images) > 0 else None

    def at_output_size(self, image: PixelArray) -> PixelArray:
        """An image (h, w) of the frames' size, Fourier-cropped to the output's."""
        if self._output_shape == self._shape:
            return image
        threads = self._workers.threads
        spectrum = fourier.rfft2_cropped(image, self._output_shape, threads)
        return fourier.irfft2(spectrum, self._output_shape, threads)
