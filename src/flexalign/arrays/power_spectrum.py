"""Power spectra of images, and their radial averages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from flexalign.arrays.fourier import SpectrumArray, cropped, irfft2, rfft2, rfft2_cropped
from flexalign.arrays.kernels.tiles import add_amplitudes, add_powers, standard_tile
from flexalign.arrays.threads import share_equally
from flexalign.model import CtfSpectrum, PixelArray, PowerSpectrum

REFERENCE_TILE_PX = 384
REFERENCE_OVERLAP = 0.4
REFERENCE_TAPER = 0.025  # of the half-width
CTF_SPECTRUM_PX = 512
# Tiles that are transformed together.
_TILES_PER_BATCH = 4
CTF_PIXEL_SIZE_A = 1.4


def power_spectrum(
    image: npt.ArrayLike,
    pixel_size_A: float,
    tile_px: int = 512,
    overlap: float = 0.5,
    threads: int = 1,
) -> PowerSpectrum:
    """Mean periodogram of the tiles of an image; white noise gives one everywhere.

    Each tile is scaled to mean 0 and standard deviation 1 and multiplied by a Hann window.
    The last tile of a row or column is moved back to the edge, so that the whole image counts.

    Parameters
    ----------
    image : (h, w), real; not changed
    pixel_size_A : of this image
    tile_px : side of the tiles; in a smaller image the largest even side that fits
    overlap : of neighbouring tiles, as a fraction of their side
    threads : number of threads for the transforms

    Raises
    ------
    ValueError
        If the image is smaller than 2 x 2 pixels.

    References
    ----------
    Welch, IEEE Trans. Audio Electroacoust. 15:70 (1967).

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(256, 256))
    >>> spectrum = power_spectrum(noise, pixel_size_A=1.5, tile_px=64)
    >>> spectrum.power.shape, round(float(spectrum.frequency_per_A[-1]), 4)
    ((64, 64), 0.3333)
    """
    pixels = np.asarray(image, dtype=np.float32)
    side = _tile_side(pixels.shape, tile_px)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(side) + 0.5) / side)
    window = np.outer(hann, hann).astype(np.float32)
    total, count = _sum_over_tiles(add_powers, pixels, side, overlap, window, threads)
    power = np.fft.fftshift(_whole_plane(total / (count * np.sum(window**2))))
    frequency_per_A = np.arange(side // 2 + 1) / (side * pixel_size_A)
    return PowerSpectrum(power.astype(np.float32), frequency_per_A, radial_mean(power))


def radial_mean(power: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean over rings one pixel wide, from zero frequency to Nyquist: (n // 2 + 1,).

    Parameters
    ----------
    power : (n, n), zero frequency at (n // 2, n // 2)
    """
    values = np.asarray(power, dtype=np.float64)
    side = values.shape[0]
    offset = np.arange(side) - side // 2
    ring = np.rint(np.hypot(offset[:, None], offset)).astype(np.int64)
    count = np.bincount(ring.ravel())
    total = np.bincount(ring.ravel(), weights=values.ravel())
    return np.asarray((total / count)[: side // 2 + 1])


def amplitude_sum(
    image: npt.ArrayLike,
    tile_px: int = REFERENCE_TILE_PX,
    overlap: float = REFERENCE_OVERLAP,
    threads: int = 1,
) -> PixelArray:
    """Sum of the Fourier amplitudes of the tiles of an image: (n, n), zero frequency first.

    Tiles are scaled to mean 0 and standard deviation 1, their edges fall off as a cosine over
    the outer 2.5 % of the half-width, and the last one of a row or column is moved back to
    the edge.  An image smaller than `tile_px` has tiles of the largest even side that fits.

    Parameters
    ----------
    image : (h, w), real; not changed
    tile_px : side of the tiles
    overlap : of neighbouring tiles, as a fraction of their side
    threads : for the transforms
    """
    pixels = np.asarray(image, dtype=np.float32)
    side = _tile_side(pixels.shape, tile_px)
    taper = _edge_taper(side)
    window = np.outer(taper, taper).astype(np.float32)
    total, _ = _sum_over_tiles(add_amplitudes, pixels, side, overlap, window, threads)
    return _whole_plane(total).astype(np.float32)


def amplitude_composite(
    corrected: npt.ArrayLike, uncorrected: npt.ArrayLike, threads: int = 1
) -> PixelArray:
    """Amplitudes after and before correction side by side, as Xmipp shows them: (n, n).

    The first n / 2 columns are `amplitude_sum` of the corrected image, the others that of the
    uncorrected one, zero frequency first; n is 384, less for an image smaller than that.

    Parameters
    ----------
    corrected, uncorrected : (h, w), of one size; not changed
    """
    composite = amplitude_sum(uncorrected, threads=threads)
    half = composite.shape[1] // 2
    composite[:, :half] = amplitude_sum(corrected, threads=threads)[:, :half]
    return composite


def centred_amplitude(spectrum: SpectrumArray, width_px: int) -> PixelArray:
    """Amplitudes (h, w) of a half-plane spectrum (h, w // 2 + 1), zero frequency in the middle."""
    height = spectrum.shape[0]
    half = np.abs(spectrum)
    left = half[-np.arange(height) % height, (width_px - 1) // 2 : 0 : -1]
    whole = np.concatenate([half, left], axis=1)
    return np.fft.fftshift(whole).astype(np.float32)


class GroupedAmplitude:
    """Sum of the Fourier amplitudes of groups of unaligned frames, for CTF programs.

    Parameters
    ----------
    shape_px : (h, w) of the result
    group_frames : frames summed before the amplitude is taken
    """

    def __init__(self, shape_px: tuple[int, int], group_frames: int, threads: int = 1) -> None:
        self._shape, self._group_frames, self._threads = shape_px, group_frames, threads
        self._amplitude = np.zeros(shape_px, np.float32)
        self._group: PixelArray | None = None
        self._count = 0

    def add(self, image: PixelArray) -> None:
        """Add a corrected frame, at least as large as the result; it may be changed."""
        if self._group is None:
            self._group = image
        else:
            self._group += image
        self._count += 1
        if self._count % self._group_frames == 0:
            self._end_group()

    def _end_group(self) -> None:
        """Add the amplitude of the frames since the last group ended."""
        if self._group is not None:
            spectrum = rfft2_cropped(self._group, self._shape, self._threads)
            self._amplitude += centred_amplitude(spectrum, self._shape[1])
        self._group = None

    def result(self) -> PixelArray:
        """The sum (h, w), zero frequency in the middle."""
        self._end_group()
        return self._amplitude


def ctf_spectrum(
    amplitude: PixelArray, pixel_size_A: float, size_px: int = CTF_SPECTRUM_PX
) -> CtfSpectrum:
    """Amplitude spectrum for CTF programs: square, Nyquist at 2.8 A, `size_px` wide.

    A small image gives a narrower one, since no resolution is invented.  Zero frequency is replaced
    by the mean of its neighbours, to avoid ringing.

    Parameters
    ----------
    amplitude : (h, w), zero frequency at (h // 2, w // 2)
    pixel_size_A : of the images behind it
    """
    height, width = amplitude.shape
    side = min(height, width) // 2 * 2
    without_mean = amplitude.copy()
    around = amplitude[height // 2 - 1 : height // 2 + 2, width // 2 - 1 : width // 2 + 2]
    without_mean[height // 2, width // 2] = np.median(around)
    square = _resampled(without_mean, (side, side))
    needed = side
    if pixel_size_A < CTF_PIXEL_SIZE_A:
        needed = 2 * int(np.ceil(side * pixel_size_A / CTF_PIXEL_SIZE_A / 2))
    first = side // 2 - needed // 2
    middle = square[first : first + needed, first : first + needed]
    size = min(size_px, needed)
    small = _resampled(np.ascontiguousarray(middle), (size, size))
    return CtfSpectrum(small, pixel_size_A * side / needed)


def _resampled(image: PixelArray, shape_px: tuple[int, int]) -> PixelArray:
    """`image` resampled to a coarser grid by Fourier cropping about its centre pixel."""
    shape = (image.shape[0], image.shape[1])
    if shape == shape_px:
        return image
    spectrum = rfft2(np.fft.ifftshift(image))
    return np.fft.fftshift(irfft2(cropped(spectrum, shape, shape_px), shape_px))


def _tile_side(shape_px: tuple[int, ...], tile_px: int) -> int:
    """The largest even side up to `tile_px` that fits the image."""
    side = min(*shape_px, tile_px) // 2 * 2
    if side < 2:
        raise ValueError(f"expected an image of at least 2 x 2 px, found {shape_px}")
    return side


def _tile_starts(length_px: int, side_px: int, overlap: float) -> list[int]:
    """First pixels of the tiles along one axis; the last tile ends at the edge."""
    step = max(int(side_px * (1.0 - overlap)), 1)
    last = length_px - side_px
    starts = list(range(0, last + 1, step))
    return starts if starts[-1] == last else [*starts, last]


def _sum_over_tiles(
    add: Callable[[SpectrumArray, npt.NDArray[np.float64]], None],
    pixels: PixelArray,
    side: int,
    overlap: float,
    window: PixelArray,
    threads: int,
) -> tuple[npt.NDArray[np.float64], int]:
    """Sum (n, n // 2 + 1) of `add` over the spectra of all tiles, and their number."""
    tops = _tile_starts(pixels.shape[0], side, overlap)
    lefts = _tile_starts(pixels.shape[1], side, overlap)

    def sum_rows(start: int, stop: int) -> list[npt.NDArray[np.float64]]:
        tiles, sums = np.empty((_TILES_PER_BATCH, side, side), np.float32), []
        for top in tops[start:stop]:
            total = np.zeros((side, side // 2 + 1))
            for first in range(0, len(lefts), _TILES_PER_BATCH):
                some = lefts[first : first + _TILES_PER_BATCH]
                for left, tile in zip(some, tiles, strict=False):
                    standard_tile(pixels, top, left, window, tile)
                add(rfft2(tiles[: len(some)]), total)
            sums.append(total)
        return sums

    # Summed in the order of the rows: the result does not depend on the number of threads.
    parts = share_equally(sum_rows, len(tops), threads)
    total = np.sum([row for part in parts for row in part], axis=0)
    return total, len(tops) * len(lefts)


def _edge_taper(side: int) -> npt.NDArray[np.float64]:
    """One in the middle of a tile, falling to zero as a cosine towards its ends: (n,)."""
    from_center = np.abs((np.arange(side) + 0.5) / (side / 2) - 1.0)
    into_edge = np.clip((from_center - (1.0 - REFERENCE_TAPER)) / REFERENCE_TAPER, 0.0, 1.0)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * into_edge))


def _whole_plane(half: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The plane (n, n) of a real image's power or amplitude from its half (n, n // 2 + 1)."""
    side = half.shape[0]
    mirrored = half[-np.arange(side) % side, side // 2 - 1 : 0 : -1]
    return np.concatenate([half, mirrored], axis=1)
