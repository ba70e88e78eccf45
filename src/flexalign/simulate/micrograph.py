"""A real micrograph as the specimen: denoised, and extended to the canvas."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexalign.arrays import fourier
from flexalign.errors import InputError, ParameterError
from flexalign.io.reference_images import read_image
from flexalign.model import FloatArray, PixelArray
from flexalign.parameter import quoted
from flexalign.simulated_choices import SPECIMENS

# Rings beyond this fraction of Nyquist are taken as pure noise.
_NOISE_FROM = 0.9
_MAX_DEVIATION_SD = 6.0
_SURE_SD = 3.0


def micrograph_contrast(path: str, canvas_px: tuple[int, int], threads: int = 1) -> PixelArray:
    """The contrast (h, w) of the image in a file: divided by its mean, minus one, denoised.

    It is centred on the canvas and mirrored beyond its edges; a larger one is cropped.

    Raises
    ------
    ParameterError
        If `path` is no file.
    InputError
        If the file is no single image, or has no mean to compare with.
    """
    if not Path(path).exists():
        raise ParameterError(
            f"{quoted('specimen')}: expected one of {', '.join(SPECIMENS)} or the file of a "
            f"micrograph, found {path}"
        )
    image = read_image(path)
    mean = float(image.mean(dtype=np.float64))
    if not (np.isfinite(mean) and mean > 0):
        raise InputError(
            f"{path}: expected a micrograph of positive mean, found a mean of {mean:g}"
        )
    contrast = (image / np.float32(mean) - 1).astype(np.float32)
    limit = np.float32(_MAX_DEVIATION_SD * contrast.std())
    return _on_canvas(without_noise(contrast.clip(-limit, limit), threads), canvas_px)


def without_noise(image: PixelArray, threads: int = 1) -> PixelArray:
    """Wiener filter of `image` (h, w), with white noise estimated from the outermost rings.

    In each ring the amplitudes are multiplied by ``1 - N / P``, with the mean power P of the ring
    and N the median of those beyond 0.9 of Nyquist; where P is not clearly above N, by zero.

    References
    ----------
    Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series (1949).
    """
    shape_px = image.shape[0], image.shape[1]
    # Mirrored to be periodic: otherwise its edges would look like fine detail.
    spectrum = fourier.rfft2(np.pad(image, [(0, size) for size in shape_px], "symmetric"), threads)
    ky, kx = fourier.frequencies((2 * shape_px[0], 2 * shape_px[1]))
    width = 1 / min(shape_px)
    ring = np.minimum(np.hypot(ky, kx) / width, 0.5 / width).astype(np.int32)
    kept = _wiener_filter(np.abs(spectrum.ravel()) ** 2, ring.ravel())
    cleaned = fourier.irfft2(
        spectrum * kept[ring].astype(np.float32), (2 * shape_px[0], 2 * shape_px[1]), threads
    )
    return np.ascontiguousarray(cleaned[: shape_px[0], : shape_px[1]])


def _wiener_filter(power: PixelArray, ring: np.ndarray) -> FloatArray:
    """Wiener factor of each ring, between 0 and 1."""
    count = np.maximum(np.bincount(ring), 1)
    mean = np.bincount(ring, power) / count
    noise = float(np.median(mean[int(_NOISE_FROM * (len(mean) - 1)) : -1]))
    kept = 1 - noise / np.maximum(mean, 1e-30)
    # The four mirror images hold each independent coefficient four times.
    noise_sd = _SURE_SD * np.sqrt(4 / count)
    kept[mean < noise * (1 + noise_sd)] = 0
    kept[0] = 1
    return np.clip(kept, 0, 1)


def _on_canvas(image: PixelArray, canvas_px: tuple[int, int]) -> PixelArray:
    """`image` in the middle of the canvas (h, w), mirrored or cut to its size."""
    for axis, size in enumerate(canvas_px):
        first = (image.shape[axis] - size) // 2
        place = np.arange(first, first + size) % (2 * image.shape[axis])
        place = np.minimum(place, 2 * image.shape[axis] - 1 - place)
        image = np.take(image, place, axis=axis)
    return image
