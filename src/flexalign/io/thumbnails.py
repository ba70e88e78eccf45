"""Thumbnails of one movie for pages: its micrographs, and its spectra before and after."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from flexalign.atomic import replacing
from flexalign.model import FloatArray, PixelArray, PowerSpectrum

SIDE_PX = 512
DETAIL_PX = 256
# No rings are visible beyond this resolution in a picture of this size.
MAX_SHOWN_RESOLUTION_A = 3.0
_BLUR_PX = 1.0
_PERCENTILES = (1.0, 99.0)
# Few grey levels suffice for noisy images, and halve the file size.
_GREY_LEVELS = 64
# The innermost rings contain the taper and the ice gradient.
_FIRST_RING = 3
_BACKGROUND_RINGS = 8.0


def write_thumbnail(path: str | Path, image: PixelArray) -> None:
    """Write a small grey picture (PNG) of an image (h, w), the longer side at most 512 pixels.

    Blocks of pixels are averaged and smoothed by a Gaussian of one pixel of the picture; the
    contrast is clipped at the 1st and 99th percentiles.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    _write(path, _png([_small(image)])[0])


def thumbnails_of(images: Sequence[PixelArray]) -> list[bytes]:
    """Thumbnails (PNG) of images of one movie, as of `write_thumbnail`, with one grey scale."""
    return _png([_small(image) for image in images])


def details_of(images: Sequence[PixelArray]) -> list[bytes]:
    """The middle of images of one movie (PNG), 256 pixels wide and high, with one grey scale.

    The pixels are those of the images, smoothed by a Gaussian of one pixel.
    """
    return _png([gaussian_filter(_middle(image), _BLUR_PX) for image in images])


def write_strip(path: str | Path, pictures: Sequence[str | Path], height_px: int) -> None:
    """Write small pictures (PNG) of thumbnails side by side, in their order.

    Parameters
    ----------
    pictures : paths of thumbnails; for one that cannot be read there is a gap
    height_px : of each

    Raises
    ------
    OutputError
        If the file cannot be written; nothing is left behind.
    """
    from PIL import Image

    shown: list[Image.Image | None] = []
    for picture in pictures:
        try:
            with Image.open(picture) as found:
                width_px = max(1, round(found.width * height_px / found.height))
                shown.append(found.resize((width_px, height_px)))
        except OSError:
            shown.append(None)
    default_px = next((image.width for image in shown if image is not None), height_px)
    widths_px = [default_px if image is None else image.width for image in shown]
    strip = Image.new("L", (sum(widths_px) + len(shown) - 1, height_px), 255)
    left_px = 0
    for image, width_px in zip(shown, widths_px, strict=True):
        if image is not None:
            strip.paste(image, (left_px, 0))
        left_px += width_px + 1
    with replacing(path) as temporary, temporary.open("wb") as file:
        strip.save(file, format="PNG")


def write_spectra_thumbnail(path: str | Path, before: PowerSpectrum, after: PowerSpectrum) -> None:
    """Write both spectra as one small picture (PNG), the left half before, the right one after.

    Each is divided by its smooth background, so that rings are visible at all frequencies.  The
    frequency at the middle of the edges is `shown_edge_per_A`.

    Parameters
    ----------
    before, after : of one size

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    _write(path, spectra_thumbnail(before, after))


def spectra_thumbnail(before: PowerSpectrum, after: PowerSpectrum) -> bytes:
    """The picture (PNG) of `write_spectra_thumbnail`."""
    step_per_A = float(after.frequency_per_A[1])
    reach = max(_FIRST_RING + 1, round(shown_edge_per_A(after) / step_per_A))
    reach = min(reach, after.power.shape[0] // 2)
    left, right = (_flattened(spectrum, reach) for spectrum in (before, after))
    return _png([np.concatenate([left[:, :reach], right[:, reach:]], axis=1)])[0]


def _flattened(spectrum: PowerSpectrum, reach: int) -> FloatArray:
    """The centre (2 reach, 2 reach) of a spectrum over its background, slightly smoothed."""
    middle = spectrum.power.shape[0] // 2
    inside = slice(middle - reach, middle + reach)
    offset = np.arange(-reach, reach)
    ring = np.hypot(offset[:, None], offset)
    flat = spectrum.power[inside, inside] / np.interp(
        ring, np.arange(middle + 1), _background(spectrum)
    )
    flat[ring < _FIRST_RING] = 1.0
    # Averaging along arcs would show more rings, but also false ones in noise.
    return np.asarray(gaussian_filter(flat, _BLUR_PX))


def shown_edge_per_A(spectrum: PowerSpectrum) -> float:
    """Frequency at the middle of the edges of the picture of a spectrum."""
    return min(float(spectrum.frequency_per_A[-1]), 1 / MAX_SHOWN_RESOLUTION_A)


def _background(spectrum: PowerSpectrum) -> FloatArray:
    """Smooth background (rings,) of the radial power."""
    radial = np.array(spectrum.radial_power)
    radial[:_FIRST_RING] = radial[_FIRST_RING]
    smooth = np.exp(gaussian_filter1d(np.log(np.maximum(radial, 1e-12)), _BACKGROUND_RINGS))
    return np.asarray(smooth)


def _small(image: PixelArray) -> FloatArray:
    """An image (h, w) with the longer side at most `SIDE_PX`, smoothed."""
    block = max(1, -(-max(image.shape) // SIDE_PX))
    return np.asarray(gaussian_filter(_block_means(image, block), _BLUR_PX))


def _middle(image: PixelArray) -> PixelArray:
    """The middle (h, w) of an image, at most `DETAIL_PX` wide and high."""
    rows, columns = (
        slice(max(0, (size - DETAIL_PX) // 2), max(0, (size - DETAIL_PX) // 2) + DETAIL_PX)
        for size in image.shape
    )
    return image[rows, columns]


def _block_means(image: PixelArray, block: int) -> PixelArray:
    """Means over blocks of `block` x `block` pixels; incomplete blocks are dropped."""
    height, width = (size // block for size in image.shape)
    whole = image[: height * block, : width * block]
    # Sum rows first, for contiguous memory access.
    rows = whole.reshape(height, block, width * block).sum(axis=1)
    return np.asarray(rows.reshape(height, width, block).sum(axis=2) / np.float32(block**2))


def _png(images: Sequence[PixelArray | FloatArray]) -> list[bytes]:
    """Images (h, w) as PNG, grey levels between the percentiles of the first."""
    from PIL import Image

    low, high = np.percentile(images[0], _PERCENTILES)
    found = []
    for values in images:
        grey = ((values - low) / max(high - low, np.finfo(np.float32).tiny)).clip(0, 1)
        levels = np.rint(grey * (_GREY_LEVELS - 1)) * (255 / (_GREY_LEVELS - 1))
        file = BytesIO()
        Image.fromarray(np.rint(levels).astype(np.uint8)).save(file, format="PNG")
        found.append(file.getvalue())
    return found


def _write(path: str | Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
