"""Small pictures of a movie's mean with its gain in each orientation, to be judged by eye."""

import os
import subprocess
import tempfile

import mrcfile
import numpy as np
import tifffile

from .. import Plugin, engine
from ..constants import EER_SUFFIX

TIFF_SUFFIXES = (".tif", ".tiff", ".gain")
MAX_FRAMES_READ = 10
# Half of them flipped: the eight ways that a rectangle can be laid down.
ORIENTATIONS = [(rotation, flip) for flip in (0, 1) for rotation in range(4)]


def mean_without_gain(movie, pixel_size_A, eer_frames, frames):
    """The mean (h, w) of the first frames as they were recorded, made by the engine.

    Raises `EngineError` when the engine cannot read the movie.
    """
    is_eer = movie.lower().endswith(EER_SUFFIX)
    options = {
        "pixel-size": pixel_size_A,
        "eer-fractions": eer_frames if is_eer else None,
        "align-last": min(MAX_FRAMES_READ, eer_frames if is_eer else frames),
        "save-unaligned": True,
        "hot-pixels": False,
        "local": False,
        "refine": False,
        "psd": False,
        "dose-weight": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        words = engine.align_words(os.path.abspath(movie), folder, options)
        done = subprocess.run(
            Plugin.getCommand(words),
            shell=True,
            env=Plugin.getEnviron(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        if done.returncode:
            raise engine.EngineError(engine.last_error(done.stderr))
        root = engine.movie_root(movie)
        return mrcfile.read(os.path.join(folder, root + "_unaligned_mic.mrc"))


def read_gain(path, movie):
    """The gain (h, w) with its rows in the order in which the engine takes them."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in TIFF_SUFFIXES:
        with mrcfile.open(path, permissive=True) as file:
            return np.squeeze(file.data).astype(np.float32)
    image = np.squeeze(tifffile.imread(path)).astype(np.float32)
    image = image if image.ndim == 2 else image[0]
    as_stored = suffix == ".gain" and movie.lower().endswith(EER_SUFFIX)
    return image if as_stored else image[::-1]


def oriented(gain, rotation, flip):
    """The gain turned counter-clockwise `rotation` times by 90 degrees, then upside down or not."""
    turned = np.rot90(gain, rotation)
    return turned[::-1] if flip else turned


def corrected(mean, gain, divides):
    """The mean with the gain applied, None when their sizes differ: flat where it fits."""
    if mean.shape != gain.shape:
        return None
    usable = np.isfinite(gain) & (gain > 0)
    factor = np.where(usable, gain, 1)
    return np.where(usable, mean / factor if divides else mean * factor, np.median(mean))


def spread(image):
    """Standard deviation over mean: smallest where the gain fits."""
    return float(np.std(image) / max(abs(np.mean(image)), 1e-9))


def thumbnail(image, side):
    """The image as 8-bit grey values (h, w) of at most `side` pixels; grey levels by its spread."""
    step = max(-(-max(image.shape) // side), 1)
    height, width = (size // step * step for size in image.shape)
    blocks = image[:height, :width].reshape(height // step, step, width // step, step)
    small = blocks.mean(axis=(1, 3))
    low, high = np.percentile(small, [1, 99])
    return (np.clip((small - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)
