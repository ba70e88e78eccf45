"""Fast simulation of movies of any size: counts of a smooth texture that drifts and deforms.

Detector and motion are the simulator's; the specimen is smoothed noise that neither burns nor
blurs.  One frame at a time is held in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import numpy.typing as npt
import tifffile
from scipy.ndimage import gaussian_filter

from flexalign.arrays.resample import lattice_nodes, sample, spline_coefficients
from flexalign.atomic import replacing
from flexalign.io.micrographs import write_mrc
from flexalign.io.movies.eer_writer import write_eer
from flexalign.model import PixelArray
from flexalign.simulate import SimulationSettings
from flexalign.simulate.detector import make_detector
from flexalign.simulate.motions import make_motion

_CONTRAST, _BLUR_PX = 0.06, 1.5
_LATTICE_STEP_PX = 16
_EER_SUBPIXELS = 4

Counts = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class MovieFiles:
    """A movie on disk.

    Attributes
    ----------
    gain : MRC; multiplies the frames, but divides those of an EER movie
    origin : what it shows, in a few words
    """

    movie: Path
    gain: Path
    origin: str


def make_movie(
    settings: SimulationSettings,
    folder: Path,
    file_format: str = "mrc",
    raw_frames_per_frame: int = 1,
    threads: int = 2,
) -> MovieFiles:
    """A movie of a drifting texture in `folder`, made unless it is there.

    Parameters
    ----------
    file_format : "mrc", "tiff" or "eer"
    raw_frames_per_frame : EER frames over which the electrons of a frame are spread
    """
    files = MovieFiles(
        folder / f"movie.{file_format}", folder / "movie_gain.mrc", "drifting texture"
    )
    if files.gain.exists():  # it is written last
        return files
    folder.mkdir(parents=True, exist_ok=True)
    detector = make_detector(settings)
    with ThreadPoolExecutor(threads) as pool:
        counts = (
            detector.counts(image, (settings.seed, 4, frame), pool)
            for frame, image in enumerate(intensities(settings, threads))
        )
        if file_format == "eer":
            rng = np.random.default_rng([settings.seed, 5])
            events = (e for c in counts for e in _spread(c, raw_frames_per_frame, rng))
            height_px, width_px = settings.shape_px
            write_eer(
                files.movie, events, height_px=height_px, width_px=width_px,
                pixel_size_A=settings.pixel_size_A,
            )  # fmt: skip
        else:
            write_counts(files.movie, counts, settings)
    gain = detector.gain
    assert gain is not None
    write_mrc(files.gain, 1 / gain if file_format == "eer" else gain, settings.pixel_size_A)
    return files


def intensities(settings: SimulationSettings, threads: int) -> Iterator[PixelArray]:
    """The mean image (h, w) of each frame; 1 = no specimen."""
    rng = np.random.default_rng([settings.seed, 6])
    texture = gaussian_filter(rng.standard_normal(settings.shape_px, np.float32), _BLUR_PX)
    texture *= np.float32(_CONTRAST) / texture.std()
    coefficients = spline_coefficients(texture, threads)
    motion = make_motion(settings)
    rows, columns = (lattice_nodes(size, _LATTICE_STEP_PX) for size in settings.shape_px)
    for frame in range(settings.frame_count):
        dy, dx = motion.displacement_px(frame, rows[:, None], columns[None, :])
        # The field bends so little that its opposite leads back to within a fraction of a pixel.
        back = -np.stack([dy, dx]).astype(np.float32)
        yield 1 + sample(coefficients, back, _LATTICE_STEP_PX, threads)


def write_counts(path: Path, frames: Iterable[Counts], settings: SimulationSettings) -> None:
    """Write 8-bit `frames` (h, w) one after the other as MRC of mode 0, or as TIFF with LZW."""
    with replacing(path) as temporary:
        if path.suffix == ".tiff":
            _write_tiff(temporary, frames)
            return
        shape = (settings.frame_count, *settings.shape_px)
        with mrcfile.new_mmap(temporary, shape, mrc_mode=0) as mrc:
            mrc.set_image_stack()
            mrc.voxel_size = settings.pixel_size_A
            for index, frame in enumerate(frames):
                mrc.data[index] = frame.view(np.int8)


def _write_tiff(path: Path, frames: Iterable[Counts]) -> None:
    """Write a TIFF with the last row first, as IMOD does, so that an MRC gain fits."""
    with tifffile.TiffWriter(path) as tiff:
        for frame in frames:
            rows = np.ascontiguousarray(frame[::-1])
            tiff.write(rows, compression="lzw", photometric="minisblack", metadata=None)


def _spread(counts: Counts, raw_frames: int, rng: np.random.Generator) -> Iterator[Counts]:
    """The events (n, 2) of each raw frame: random raw frame and position within its pixel."""
    pixel = np.repeat(np.arange(counts.size, dtype=np.int32), counts.ravel())
    raw = rng.integers(raw_frames, size=pixel.size, dtype=np.int32)
    for number in range(raw_frames):
        of_frame = pixel[raw == number]
        place = _EER_SUBPIXELS * np.stack(np.divmod(of_frame, counts.shape[1]), axis=1)
        yield place + rng.integers(_EER_SUBPIXELS, size=place.shape, dtype=np.int32)


def read_through(path: Path) -> None:
    """Read a file once, so that it is in the page cache."""
    with path.open("rb") as file:
        while os.read(file.fileno(), 1 << 24):
            pass
