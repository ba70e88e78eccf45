"""Spectral signal-to-noise ratio of a micrograph with respect to the true specimen.

Sign, as everywhere: ``corrected(p) = frame(p + displacement)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexalign.arrays import fourier, resample
from flexalign.comparison import MotionLike
from flexalign.model import FloatArray, PixelArray

BANDS_A = ((15.0, 8.0), (8.0, 5.0), (5.0, 3.5), (3.5, 2.6))

_STEP_PX = 32
_BORDER_PX = 64
# Wide enough that chance matters little, narrow against the bands.
_RING_PER_A = 1 / 250
_INVERSION_ROUNDS = 3


def on_lattice(motion: MotionLike, frame: int, y: FloatArray, x: FloatArray) -> FloatArray:
    """The displacement (2, len(y), len(x)) of one frame on rows `y` and columns `x`."""
    return np.stack(motion.displacement_px(frame, np.asarray(y)[:, None], np.asarray(x)[None, :]))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Result of a program on a movie.

    Attributes
    ----------
    motion : displacements in our sign
    image : (h, w) sum or mean of the frames along it, unweighted
    seconds : from the files to the image; None where nothing was estimated
    chosen : which of its motions flexalign kept
    """

    motion: MotionLike
    image: PixelArray
    seconds: float | None = None
    chosen: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A known motion with the interface that `passes.second_pass` requires."""

    motion: MotionLike

    def on_lattice(self, frame: int, y: FloatArray, x: FloatArray) -> FloatArray:
        """The displacement (2, len(y), len(x)) of one frame."""
        return on_lattice(self.motion, frame, y, x)


def mean_offset_px(
    estimate: MotionLike, truth: MotionLike, frame_count: int, y: FloatArray, x: FloatArray
) -> FloatArray:
    """What to add to a place in a sum along `estimate` to find its specimen: (2, ny, nx).

    Frame t puts at p what was at q, with ``q + true(t, q) = p + estimate(t, p)``; this is the
    mean of q - p over frames.  A motion that is right but for a constant has only that constant.
    """
    place = np.stack(np.broadcast_arrays(np.asarray(y, float)[:, None], np.asarray(x, float)))
    total = np.zeros_like(place)
    for frame in range(frame_count):
        mapped = place + on_lattice(estimate, frame, y, x)
        origin = place
        for _ in range(_INVERSION_ROUNDS):
            origin = mapped - np.stack(truth.displacement_px(frame, *origin))
        total += origin - place
    return total / frame_count


class Specimen:
    """The noise-free specimen, to be shifted to its position in a micrograph.

    It is kept twice as fine, so that interpolation does not cost it the detail that is judged.
    """

    def __init__(self, image: PixelArray, threads: int = 1) -> None:
        height, width = self.shape_px = (image.shape[0], image.shape[1])
        spectrum = fourier.rfft2(image - image.mean(dtype=np.float64).astype(np.float32), threads)
        fine = np.zeros((2 * height, width + 1), np.complex64)
        fine[: height // 2, : width // 2] = spectrum[: height // 2, : width // 2]
        fine[-(height // 2) :, : width // 2] = spectrum[-(height // 2) :, : width // 2]
        self._coefficients = resample.spline_coefficients(
            fourier.irfft2(4 * fine, (2 * height, 2 * width), threads), threads
        )
        self._threads = threads

    @property
    def lattice_px(self) -> tuple[FloatArray, FloatArray]:
        """Rows and columns at which `moved` takes the offset."""
        rows, columns = (
            resample.lattice_nodes(2 * size, 2 * _STEP_PX) / 2 for size in self.shape_px
        )
        return rows, columns

    def moved(self, offset_px: FloatArray) -> PixelArray:
        """The specimen (h, w) at p + offset(p), given on `lattice_px` as (2, ny, nx)."""
        fine = resample.sample(
            self._coefficients, (2 * offset_px).astype(np.float32), 2 * _STEP_PX, self._threads
        )
        return fine[::2, ::2]


def band_ssnr(
    image: PixelArray,
    specimen: PixelArray,
    pixel_size_A: float,
    bands_A: tuple[tuple[float, float], ...] = BANDS_A,
    threads: int = 1,
) -> list[float]:
    """Mean spectral signal-to-noise ratio of `image` in each band, given the true specimen.

    In rings, ``FRC = Re<M, S> / sqrt(<M, M> <S, S>)`` and ``SSNR = FRC^2 / (1 - FRC^2)``; the mean
    is over the Fourier components of the band.  The expectation for pure noise, one over
    twice the number of independent components, is taken off, so a ratio may be below zero.  A
    border of 64 px is left out, tapered over another 64.

    Parameters
    ----------
    image, specimen : (h, w) at least 256 px wide and high; scale and mean do not matter
    bands_A : (coarsest, finest) detail of each band

    Examples
    --------
    >>> signal, noise = np.random.default_rng(1).standard_normal((2, 512, 512), np.float32)
    >>> round(band_ssnr(2 * signal + noise, signal, 1.0)[3])
    4
    """
    inner_px = _inner_shape(image.shape)
    window = _window(inner_px)
    m, s = (_windowed_spectrum(array, window, threads) for array in (image, specimen))
    ky, kx = fourier.frequencies(inner_px)
    ring = (np.hypot(ky, kx) / (pixel_size_A * _RING_PER_A)).astype(np.int32).ravel()
    count = np.bincount(ring)
    cross, power_m, power_s = (
        np.bincount(ring, (a.real * b.real + a.imag * b.imag).ravel())
        for a, b in ((m, s), (m, m), (s, s))
    )
    # A window makes neighbouring components alike.
    independent = float(np.mean(window**2)) ** 2 / float(np.mean(window**4))
    middle_per_A = (np.arange(len(count)) + 0.5) * _RING_PER_A
    means = []
    for coarse_A, fine_A in bands_A:
        band = (middle_per_A > 1 / coarse_A) & (middle_per_A < 1 / fine_A)
        frc2 = cross[band] ** 2 / (power_m[band] * power_s[band])
        ssnr = frc2 / (1 - frc2) - 1 / (2 * independent * count[band])
        means.append(float(np.average(ssnr, weights=count[band])))
    return means


def _inner_shape(shape_px: tuple[int, ...]) -> tuple[int, int]:
    """(h, w) without the border."""
    return shape_px[0] - 2 * _BORDER_PX, shape_px[1] - 2 * _BORDER_PX


def _window(shape_px: tuple[int, int]) -> PixelArray:
    """Zero at the edges, rising as a cosine to one: (h, w)."""
    sides = []
    for size in shape_px:
        from_end = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
        sides.append(0.5 - 0.5 * np.cos(np.pi * np.minimum(from_end / _BORDER_PX, 1)))
    return np.outer(*sides).astype(np.float32)


def _windowed_spectrum(
    image: PixelArray, window: PixelArray, threads: int
) -> fourier.SpectrumArray:
    """Half-plane spectrum of the inner part of `image`, less its mean under the window."""
    inner = image[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX]
    mean = np.sum(inner * window, dtype=np.float64) / np.sum(window, dtype=np.float64)
    return fourier.rfft2((inner - np.float32(mean)) * window, threads)
