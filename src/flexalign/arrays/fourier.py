"""Fourier transforms, cropping, frequencies; the only module that calls FFTs.

Spectra are half planes (h, w // 2 + 1) of real images, unnormalised forward, as numpy's `rfft2`.
Arrays are NumPy's or, except for `phase_shifted`, CuPy's; so are the results.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from flexalign.model import PixelArray

SpectrumArray = npt.NDArray[np.complex64]

# Rows transformed together when most of each row's spectrum is discarded: they fit into the cache.
_ROWS_PER_BATCH = 64
# cuFFT's constant for a forward transform.
_FORWARD = -1


def _library(array: Any, threads: int) -> tuple[Any, dict[str, int]]:
    """The FFT module for this kind of array, scipy.fft or CuPy's equivalent, and its options."""
    if not _is_on_gpu(array):
        return fft, {"workers": threads}
    return importlib.import_module("cupyx.scipy.fft"), {}


def _is_on_gpu(array: Any) -> bool:
    return not isinstance(array, np.ndarray)


def rfft2(images: PixelArray, threads: int = 1, columns: int | None = None) -> SpectrumArray:
    """Half-plane spectra (..., h, w // 2 + 1) of float32 images (..., h, w).

    Parameters
    ----------
    columns : number of columns to compute, from zero frequency on; None = all
    """
    library, options = _library(images, threads)
    if columns is None or _is_on_gpu(images):
        spectra: SpectrumArray = library.rfft2(images, **options)
        return spectra if columns is None else spectra[..., :columns].copy()
    rows = library.rfft(images, **options)[..., :columns].copy()
    return np.asarray(library.fft(rows, axis=-2, overwrite_x=True, **options))


def irfft2(spectra: SpectrumArray, shape_px: tuple[int, int], threads: int = 1) -> PixelArray:
    """Images (..., h, w) of half-plane spectra; `shape_px` is (h, w)."""
    library, options = _library(spectra, threads)
    images: PixelArray = library.irfft2(spectra, s=shape_px, **options)
    return images


def irfft2_near(spectra: SpectrumArray, shape_px: tuple[int, int], reach_px: int) -> PixelArray:
    """The rows 0, 1, ..., -2, -1 up to `reach_px` from row 0 of the images of `spectra`.

    The spectra are overwritten.

    Returns
    -------
    (..., 2 * reach_px + 1, w), or whole images when these have no more rows
    """
    (height, width), (library, options) = shape_px, _library(spectra, 1)
    columns = library.ifft(spectra, axis=-2, overwrite_x=True, **options)
    if 2 * reach_px + 1 < height:
        ends = (columns[..., : reach_px + 1, :], columns[..., height - reach_px :, :])
        columns = np.concatenate(ends, axis=-2)
    rows: PixelArray = library.irfft(columns, n=width, axis=-1, **options)
    return rows


def frequencies(shape_px: tuple[int, int]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Frequencies (h, 1) and (1, w // 2 + 1) in cycles per pixel of a half-plane spectrum."""
    height, width = shape_px
    return fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :]


def cropped(
    spectrum: SpectrumArray, shape_px: tuple[int, int], new_shape_px: tuple[int, int]
) -> SpectrumArray:
    """Fourier-cropped `spectrum` (..., h, w // 2 + 1): that of a smaller image.

    Grey values keep their mean.  Pixel i of the smaller image lies at i * h / new h of the larger.
    The Nyquist lines of an even new size are set to zero, since their phase is ambiguous.

    Parameters
    ----------
    shape_px, new_shape_px : (h, w) of the images; the new one at most as large

    Raises
    ------
    ValueError
        If the new size is larger.
    """
    (height, width), (new_height, new_width) = shape_px, new_shape_px
    if new_height > height or new_width > width:
        raise ValueError(f"expected at most {shape_px}, found {new_shape_px}")
    return _rows_kept(_columns_kept(spectrum, width, new_width), new_height)


def _columns_kept(spectra: SpectrumArray, width: int, new_width: int) -> SpectrumArray:
    """The low frequencies along x of spectra (..., w // 2 + 1), as of narrower images."""
    if new_width == width:
        return spectra
    kept = spectra[..., : new_width // 2 + 1] * np.float32(new_width / width)
    if new_width % 2 == 0:
        kept[..., -1] = 0
    return kept


def _rows_kept(spectra: SpectrumArray, new_height: int) -> SpectrumArray:
    """The low frequencies along y of spectra (..., h, n), as of lower images."""
    height = spectra.shape[-2]
    if new_height == height:
        return spectra
    scale = np.float32(new_height / height)
    low, high = (new_height + 1) // 2, new_height // 2
    kept = np.empty_like(spectra, shape=(*spectra.shape[:-2], new_height, spectra.shape[-1]))
    np.multiply(spectra[..., :low, :], scale, out=kept[..., :low, :])
    np.multiply(spectra[..., height - high :, :], scale, out=kept[..., low:, :])
    if new_height % 2 == 0:
        kept[..., low, :] = 0
    return kept


def rfft2_cropped(
    images: PixelArray, new_shape_px: tuple[int, int], threads: int = 1
) -> SpectrumArray:
    """The same as `cropped` of `rfft2` of images (..., h, w), in less time.

    Only the retained columns of the row spectra are transformed along y.

    Parameters
    ----------
    new_shape_px : (h, w) of the smaller images

    Returns
    -------
    (..., new h, new w // 2 + 1)

    Raises
    ------
    ValueError
        If the new size is larger.

    Examples
    --------
    >>> rfft2_cropped(np.ones((64, 96), np.float32), (16, 24)).shape
    (16, 13)
    """
    height, width = images.shape[-2:]
    if new_shape_px[0] > height or new_shape_px[1] > width:
        raise ValueError(f"expected at most {(height, width)}, found {new_shape_px}")
    if new_shape_px == (height, width):
        return rfft2(images, threads)
    if _is_on_gpu(images):
        return column_spectra(row_spectra(images, new_shape_px[1]), new_shape_px[0])
    shape = (*images.shape[:-1], new_shape_px[1] // 2 + 1)
    kept = np.empty_like(images, shape=shape, dtype=np.complex64)
    step = _ROWS_PER_BATCH * threads
    for top in range(0, height, step):
        rows = slice(top, top + step)
        kept[..., rows, :] = row_spectra(images[..., rows, :], new_shape_px[1], threads)
    return column_spectra(kept, new_shape_px[0], threads)


def row_spectra(rows: PixelArray, new_width: int, threads: int = 1) -> SpectrumArray:
    """Spectra (..., n, new width // 2 + 1) of rows (..., n, w) alone, cropped as in `cropped`.

    With `column_spectra` of all rows of an image this is `rfft2_cropped`, in two steps.
    """
    library, options = _library(rows, threads)
    return _columns_kept(library.rfft(rows, **options), rows.shape[-1], new_width)


def column_spectra(columns: SpectrumArray, new_height: int, threads: int = 1) -> SpectrumArray:
    """Spectra (..., new h, n) along y of some columns (..., h, n) of row spectra, cropped.

    `columns` is used as a work buffer if it owns its memory.
    """
    is_whole = columns.flags.c_contiguous
    if _is_on_gpu(columns) and is_whole and columns.ndim == 2:
        gpu: Any = columns
        _plan_of_columns(gpu.shape, gpu.device.id).fft(gpu, gpu, _FORWARD)
        return _rows_kept(columns, new_height)
    library, options = _library(columns, threads)
    spectra = library.fft(columns, axis=-2, overwrite_x=is_whole, **options)
    return _rows_kept(spectra, new_height)


def columns_back(columns: SpectrumArray) -> SpectrumArray:
    """Inverse of `column_spectra` (h, n); `columns` is overwritten.

    With `rows_back` of all columns this is `irfft2`, in two steps.
    """
    return np.asarray(fft.ifft(columns, axis=-2, overwrite_x=True))


def rows_back(rows: SpectrumArray, width: int) -> PixelArray:
    """Inverse of `row_spectra`: rows (n, w) of spectra (n, w // 2 + 1)."""
    return np.asarray(fft.irfft(rows, n=width, axis=-1))


@lru_cache(maxsize=4)
def _plan_of_columns(shape: tuple[int, int], gpu: int) -> Any:
    """CuFFT plan for an in-place transform of the columns (h, n) of an array on a GPU.

    CuPy's own transform along y makes two transposed copies, and takes twice as long.
    """
    cufft = importlib.import_module("cupy.cuda.cufft")
    height, count = shape
    layout = ((height,), count, 1)  # lengths, stride between rows, stride between columns
    return cufft.PlanNd((height,), *layout, *layout, cufft.CUFFT_C2C, count, "C", 0, height)


def phase_shifted(
    spectrum: SpectrumArray, shape_px: tuple[int, int], shift_px: npt.ArrayLike
) -> SpectrumArray:
    """Spectra of images (h, w) after a shift of their content by `shift_px` (..., 2).

    Parameters
    ----------
    spectrum : (..., h, columns), the first columns of the half planes or all
    shape_px : (h, w)
    """
    along_y, along_x = shift_phases(shape_px, shift_px, spectrum.shape[-1])
    return np.asarray(spectrum * along_y[..., :, None] * along_x[..., None, :])


def shift_phases(
    shape_px: tuple[int, int], shift_px: npt.ArrayLike, columns: int
) -> tuple[SpectrumArray, SpectrumArray]:
    """Factors (..., h) and (..., columns) of spectra, which shift their images by (..., 2)."""
    ky, kx = (wave.ravel() for wave in frequencies(shape_px))
    shift = np.asarray(shift_px)[..., None, :]
    along_y = np.exp(-2j * np.pi * ky * shift[..., 0]).astype(np.complex64)
    along_x = np.exp(-2j * np.pi * kx[:columns] * shift[..., 1]).astype(np.complex64)
    return along_y, along_x
