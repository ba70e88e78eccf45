"""Simulate a movie: a moving specimen, radiation damage and electron counting."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.array_value import ShortRepr
from flexalign.arrays import fourier
from flexalign.arrays.dose import critical_exposure_e_A2
from flexalign.arrays.resample import lattice_nodes, sample, spline_coefficients
from flexalign.model import FloatArray, MaskArray, PixelArray
from flexalign.plan_sizes import fast_size
from flexalign.simulate.detector import Detector, make_detector
from flexalign.simulate.files import save_movie
from flexalign.simulate.layers import Layer, make_layers, make_motions
from flexalign.simulate.motions import TrueMotion, truth_lattice
from flexalign.simulate.settings import SimulationSettings
from flexalign.simulate.specimen import frequency_per_A

_WARP_STEP_PX = 16
_MARGIN_PX = 16
_INVERSION_ROUNDS = 8


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SimulatedMovie(ShortRepr):
    """A movie and the truth about it.

    Attributes
    ----------
    settings : the settings of the simulation
    counts : (t, h, w) uint8 (at most 127) or, above 20 electrons per pixel, uint16
    gain : (h, w) float32 that multiplies the counts, or None
    bad_pixels : (h, w) bool, True = hot or dead; the gain does not mark them
    specimen : (h, w) float32, the image without noise and damage where the specimen was in the
        first frame; mean about 1
    displacement_px : (t, 17, 17, 2) (y, x), mean over each frame, at rows `lattice_y_px` and
        columns `lattice_x_px`; zero in the first frame, ``corrected(p) = frame(p + displacement)``
    motion : the same as a function of place
    """

    settings: SimulationSettings
    counts: npt.NDArray[Any]
    gain: PixelArray | None
    bad_pixels: MaskArray
    specimen: PixelArray
    displacement_px: FloatArray
    lattice_y_px: FloatArray
    lattice_x_px: FloatArray
    motion: TrueMotion

    def __post_init__(self) -> None:
        for name in ("counts", "gain", "bad_pixels", "specimen", "displacement_px"):
            array = getattr(self, name)
            if array is not None:
                array.flags.writeable = False

    def displacement_at(
        self, frame: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Exact mean displacement (dy, dx) during `frame` at (y, x), px; arguments broadcast."""
        return self.motion.displacement_px(frame, y, x)

    def save(
        self,
        folder: str | Path,
        name: str,
        file_format: str = "mrc",
        raw_frames_per_frame: int | None = None,
    ) -> dict[str, Path]:
        """The files written: "movie", "gain" and "truth"; see `save_movie`."""
        return save_movie(self, folder, name, file_format, raw_frames_per_frame)


def simulate_movie(
    settings: SimulationSettings | None = None,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> SimulatedMovie:
    """A movie with known motion: protein in ice, radiation damage, a counting detector.

    Parameters
    ----------
    settings : default: `SimulationSettings()`
    threads : default: all; the result does not depend on it
    progress : called with the number of frames done and their total
    changes : fields of `settings` to replace, such as ``shape_px=(512, 512)``

    Returns
    -------
    The counts of the detector, its gain, and the motion

    Raises
    ------
    ParameterError
        If a setting is out of its limits or the particles do not fit.

    References
    ----------
    Grant & Grigorieff, eLife 4:e06980 (2015), equation 3, for the damage.

    Examples
    --------
    >>> movie = simulate_movie(shape_px=(64, 64), frame_count=3, particles=0, threads=1)
    >>> movie.counts.shape
    (3, 64, 64)
    """
    settings = replace(settings or SimulationSettings(), **changes)
    threads = threads or os.cpu_count() or 1
    return exposed(
        settings, make_motions(settings), make_detector(settings),
        lambda canvas_px: make_layers(settings, canvas_px, threads), threads, progress,
    )  # fmt: skip


def exposed(
    settings: SimulationSettings,
    motions: Mapping[str, TrueMotion],
    detector: Detector,
    layers_on: Callable[[tuple[int, int]], list[Layer]],
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SimulatedMovie:
    """The movie of layers that move, as a detector counts it.

    Parameters
    ----------
    motions : by what layers move with, among them that of the "specimen", the truth
    layers_on : makes the layers on a canvas (height, width)
    """
    motion = motions["specimen"]
    canvas = Canvas.around(settings, motions.values())
    layers = layers_on(canvas.shape_px)
    counts = np.empty((settings.frame_count, *settings.shape_px), detector.dtype)
    with ThreadPoolExecutor(threads) as pool:
        for frame, intensity in enumerate(_intensities(settings, motions, canvas, layers, threads)):
            if frame == settings.duplicate_frame:
                counts[frame] = counts[frame - 1]
            else:
                counts[frame] = detector.counts(intensity, (settings.seed, 4, frame), pool)
            if progress is not None:
                progress(frame + 1, settings.frame_count)
    y, x = truth_lattice(settings.shape_px)
    return SimulatedMovie(
        settings=settings,
        counts=counts,
        gain=detector.gain,
        bad_pixels=detector.bad_pixels,
        specimen=1 + canvas.cropped(_specimen(layers, canvas, threads)),
        displacement_px=motion.on_lattice(y, x),
        lattice_y_px=y,
        lattice_x_px=x,
        motion=motion,
    )


@dataclass(frozen=True, slots=True)
class Canvas:
    """A field larger than the frame at its centre, so that specimen moves in at the edges."""

    frame_shape_px: tuple[int, int]
    shape_px: tuple[int, int]

    @classmethod
    def around(cls, settings: SimulationSettings, motions: Iterable[TrueMotion]) -> Canvas:
        """The canvas for things that move along `motions`."""
        y, x = truth_lattice(settings.shape_px)
        largest_px = max(
            float(np.abs(motion.step_displacement_px(frame, step, y[:, None], x)).max())
            for motion in motions
            for frame in range(settings.frame_count)
            for step in range(settings.in_frame_steps)
        )
        margin_px = math.ceil(largest_px) + _MARGIN_PX
        height, width = (fast_size(size + 2 * margin_px) for size in settings.shape_px)
        return cls(settings.shape_px, (height, width))

    @property
    def offset_px(self) -> tuple[int, int]:
        """Offset of the frame's first pixel on the canvas."""
        (height, width), (canvas_height, canvas_width) = self.frame_shape_px, self.shape_px
        return (canvas_height - height) // 2, (canvas_width - width) // 2

    def cropped(self, image: PixelArray) -> PixelArray:
        """The part of `image` that the frame shows."""
        (height, width), (top, left) = self.frame_shape_px, self.offset_px
        return np.ascontiguousarray(image[top : top + height, left : left + width])

    def lattice_px(self) -> tuple[FloatArray, FloatArray]:
        """Rows (ny, 1) and columns (1, nx) of the warp's nodes, in pixels of the frame."""
        rows, columns = (
            lattice_nodes(size, _WARP_STEP_PX) - offset
            for size, offset in zip(self.shape_px, self.offset_px, strict=True)
        )
        return rows[:, None].astype(np.float64), columns[None, :].astype(np.float64)


def _intensities(
    settings: SimulationSettings,
    motions: Mapping[str, TrueMotion],
    canvas: Canvas,
    layers: Sequence[Layer],
    threads: int,
) -> Iterator[PixelArray]:
    """The mean image (h, w) of each frame, blurred by the motion within it; 1 = an empty beam."""
    undamaged = [
        None if layer.is_damaged else _coefficients(layer.spectrum, canvas, threads)
        for layer in layers
    ]
    frequency = frequency_per_A(canvas.shape_px, settings.pixel_size_A)
    critical = critical_exposure_e_A2(frequency, settings.voltage_kV)
    decay_A2_per_e = (-0.5 / critical).astype(np.float32)
    for frame in range(settings.frame_count):
        dose_e_A2 = settings.pre_exposure_e_A2 + (frame + 0.5) * settings.dose_e_A2
        damage = np.exp(decay_A2_per_e * np.float32(dose_e_A2))
        coefficients = [
            _coefficients(layer.spectrum * damage, canvas, threads) if kept is None else kept
            for layer, kept in zip(layers, undamaged, strict=True)
        ]
        total = np.ones(settings.shape_px, np.float32)
        for step in range(settings.in_frame_steps):
            layer_images = [
                _layer_at(found, motions[layer.moves_with], frame, step, canvas, threads)
                for layer, found in zip(layers, coefficients, strict=True)
            ]
            total += _combined(layer_images) / settings.in_frame_steps
        yield total


def _coefficients(spectrum: fourier.SpectrumArray, canvas: Canvas, threads: int) -> PixelArray:
    """The spline through the image of a half plane."""
    return spline_coefficients(fourier.irfft2(spectrum, canvas.shape_px, threads), threads)


def _layer_at(
    coefficients: PixelArray,
    motion: TrueMotion,
    frame: int,
    step: int,
    canvas: Canvas,
    threads: int,
) -> PixelArray:
    """A layer (h, w) at its position at one step of one frame."""
    back = _source_displacement_px(motion, frame, step, canvas)
    return canvas.cropped(sample(coefficients, back, _WARP_STEP_PX, threads))


def _combined(parts: Sequence[PixelArray]) -> PixelArray:
    """Product of (1 + layer) over the layers, minus one."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part + total * part
    return total


def _specimen(layers: Sequence[Layer], canvas: Canvas, threads: int) -> PixelArray:
    """Intensity of the layers that move with the specimen, on the whole canvas, minus one."""
    spectra = [layer.spectrum for layer in layers if layer.moves_with == "specimen"]
    return _combined([fourier.irfft2(s, canvas.shape_px, threads) for s in spectra])


def _source_displacement_px(
    motion: TrueMotion, frame: int, step: int, canvas: Canvas
) -> PixelArray:
    """Displacement (2, ny, nx) from a place in the frame to the same specimen in the first one.

    Solves ``back(q) = -displacement(q + back(q))`` by fixed-point iteration, which converges as the
    displacement changes by far less than a pixel per pixel.
    """
    y, x = canvas.lattice_px()
    back = np.zeros((2, *np.broadcast(y, x).shape))
    for _ in range(_INVERSION_ROUNDS):
        back = -motion.step_displacement_px(frame, step, y + back[0], x + back[1])
    return back.astype(np.float32)
