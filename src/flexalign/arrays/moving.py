"""Frames moved along a motion and summed, strip by strip: no whole moved frame is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import cpu, detector, fourier
from flexalign.arrays.detector import STRIP_ROWS, Correction
from flexalign.arrays.workers import Workers
from flexalign.model import FloatArray, PixelArray

# Nodes of the lattice on which the motion is given, then interpolated between.
LATTICE_STEP_PX = 16
_SPLINE_COLUMNS = 128
# Columns that are transformed and weighed together stay in the cache.
_FOURIER_COLUMNS = 64


class MovingSums:
    """Running sums of frames that are moved on the way.

    Plain sums are kept at full size; the weighted one as a spectrum at the output's size.

    Parameters
    ----------
    shape_px, output_shape_px : (h, w) of the frames, and of the results
    names : of the plain sums
    log_weight_per_frame : (h, w // 2 + 1) at the output's size, logarithm of the factor by which
        each frame weighs less than the one before; None = no weighted sum
    image_count : moved frames to keep at the output's size, at most
    """

    def __init__(
        self,
        correction: Correction,
        shape_px: tuple[int, int],
        output_shape_px: tuple[int, int],
        workers: Workers,
        *,
        names: Sequence[str],
        log_weight_per_frame: FloatArray | None = None,
        image_count: int = 0,
    ) -> None:
        self._correction, self._workers = correction, workers
        self._shape, self._output_shape = shape_px, output_shape_px
        self._totals = {name: np.zeros(shape_px, np.float32) for name in names}
        self._counts = dict.fromkeys(names, 0)
        self._coefficients = np.empty(shape_px, np.float32)
        half_plane = (output_shape_px[0], output_shape_px[1] // 2 + 1)
        self._ratio: PixelArray | None = None
        if log_weight_per_frame is not None:
            self._ratio = np.exp(log_weight_per_frame).astype(np.float32)
            self._weight = np.ones(half_plane, np.float32)
            self._weighted = np.zeros(half_plane, np.complex64)
            self._exponents: list[int] = []
        self._images = np.empty((image_count, *output_shape_px), np.float32)
        self._image_count = 0
        if self._needs_spectra:
            self._rows = np.empty((shape_px[0], half_plane[1]), np.complex64)

    @property
    def _needs_spectra(self) -> bool:
        return self._ratio is not None or len(self._images) > 0

    def add(
        self,
        raw: npt.NDArray[Any],
        frame_index: int,
        displacement_px: PixelArray,
        names: Sequence[str],
        exponent: int = 0,
    ) -> None:
        """Correct a frame, move it along a displacement, and add it.

        Parameters
        ----------
        raw : (h, w)
        displacement_px : (2, ny, nx) at the nodes of a lattice of `LATTICE_STEP_PX`, as for
            `resample.sample`
        names : plain sums to add it to
        exponent : number of times that its weight is multiplied; not less than the last one's
        """
        height, width = self._shape
        fill = detector.corrected_rows(raw, self._correction, frame_index)
        lattice = np.ascontiguousarray(displacement_px, dtype=np.float32)

        def filter_rows(start: int, stop: int) -> None:
            strip = np.empty((stop - start, width), np.float32)
            fill(start, stop, strip)
            cpu.prefilter_rows(strip, self._coefficients[start:stop])

        def filter_columns(start: int, stop: int) -> None:
            cpu.prefilter_columns(self._coefficients, start, stop)

        def move_rows(start: int, stop: int) -> None:
            strip = np.empty((stop - start, width), np.float32)
            cpu.sample_rows(self._coefficients, lattice, LATTICE_STEP_PX, strip, start, stop)
            for name in names:
                self._totals[name][start:stop] += strip
            if self._needs_spectra:
                self._rows[start:stop] = fourier.row_spectra(strip, self._output_shape[1])

        self._workers.share(height, STRIP_ROWS, filter_rows)
        self._workers.share(width, _SPLINE_COLUMNS, filter_columns)
        self._workers.share(height, STRIP_ROWS, move_rows)
        for name in names:
            self._counts[name] += 1
        if self._needs_spectra:
            self._add_spectrum(exponent)

    def _add_spectrum(self, exponent: int) -> None:
        """Finish the transform of the moved frame, column by column, and add it."""
        image = None
        if len(self._images) > 0:
            image = np.empty((self._output_shape[0], self._rows.shape[1]), np.complex64)
        steps = 0
        if self._ratio is not None:
            steps = exponent - (self._exponents[-1] if self._exponents else 0)
            self._exponents.append(exponent)

        def add_columns(start: int, stop: int) -> None:
            block = fourier.column_spectra(self._rows[:, start:stop], self._output_shape[0])
            if image is not None:
                image[:, start:stop] = block
            if self._ratio is not None:
                cpu.weigh_columns(block, self._weighted, self._weight, self._ratio, steps, start)

        self._workers.share(self._rows.shape[1], _FOURIER_COLUMNS, add_columns)
        if image is not None:
            self._images[self._image_count] = self._image_of(image)
            self._image_count += 1

    def mean(self, name: str) -> PixelArray:
        """The mean (h, w) of the frames added under `name`, at the output's size."""
        return self.at_output_size(self._totals[name] / np.float32(max(self._counts[name], 1)))

    def weighted_mean(self) -> PixelArray | None:
        """The weighted mean (h, w), with the noise of an unweighted mean; None = not asked for.

        References
        ----------
        Grant & Grigorieff, eLife 4:e06980 (2015), equation 9.
        """
        if self._ratio is None:
            return None
        power = np.empty(self._ratio.shape, np.float32)
        exponents = np.array(self._exponents, np.int64)
        threads = self._workers.threads
        cpu.in_blocks(cpu.weight_power_rows, len(power), threads, self._ratio, exponents, power)
        # Noise of the mean of n frames: a sum of n of equal weight, divided by n.
        power *= max(len(exponents), 1)
        np.maximum(power, np.float32(1e-12), out=power)
        np.reciprocal(np.sqrt(power, out=power), out=power)
        return self._image_of(self._weighted * power)

    def images(self) -> PixelArray | None:
        """The moved frames (t, h, w); None = not asked for."""
        return self._images[: self._image_count] if len(self._images) > 0 else None

    def at_output_size(self, image: PixelArray) -> PixelArray:
        """An image (h, w) of the frames' size, Fourier-cropped to the output's."""
        if self._output_shape == self._shape:
            return image
        threads = self._workers.threads
        return self._image_of(fourier.rfft2_cropped(image, self._output_shape, threads))

    def _image_of(self, spectrum: fourier.SpectrumArray) -> PixelArray:
        return fourier.irfft2(spectrum, self._output_shape, self._workers.threads)
