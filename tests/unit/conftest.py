"""Small frames of a specimen that moves in a known way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from flexalign.arrays import fourier
from flexalign.estimate.frames import SmallFrames


def specimen(shape_px: tuple[int, int], seed: int) -> np.ndarray:
    """A Gaussian random image (h, w) whose amplitude falls as one over frequency, sd 1."""
    rng = np.random.default_rng(seed)
    spectrum = fourier.rfft2(rng.normal(size=shape_px).astype(np.float32))
    ky, kx = fourier.frequencies(shape_px)
    image = fourier.irfft2(spectrum / (0.01 + np.hypot(ky, kx)).astype(np.float32), shape_px)
    return (image - image.mean()) / image.std()


def drifting_frames(
    path_px: np.ndarray,
    shape_px: tuple[int, int] = (96, 128),
    noise: float = 1.0,
    *,
    seed: int = 0,
    frame: np.ndarray | None = None,
    scale: float = 2.0,
    pixel_size_A: float = 1.0,
) -> SmallFrames:
    """Frames of one specimen moved by `path_px` (n, 2), small pixels (y, x), with white noise.

    Parameters
    ----------
    noise : standard deviation, in that of the specimen
    frame : index of each in the file; default: 0, 1, 2, ...
    scale : unbinned pixels per small pixel
    """
    spectrum = fourier.rfft2(specimen(shape_px, seed))
    rng = np.random.default_rng(seed + 1)
    frames = [
        fourier.irfft2(fourier.phase_shifted(spectrum, shape_px, tuple(d)), shape_px)
        + noise * rng.normal(size=shape_px)
        for d in path_px
    ]
    index = np.arange(len(frames)) if frame is None else np.asarray(frame)
    full = (round(shape_px[0] * scale), round(shape_px[1] * scale))
    pixels = np.stack(frames).astype(np.float32)
    return SmallFrames(pixels, index.astype(float), full, pixel_size_A, measured=index)


@pytest.fixture(scope="session")
def make_drifting_frames() -> Callable[..., SmallFrames]:
    """The function `drifting_frames`."""
    return drifting_frames
