"""Down-sample corrected frames strip by strip: no corrected frame is ever held whole.

Each axis is filtered by a Kaiser-windowed sinc and decimated in one step.  Fourier cropping gives
the same result in the pass-band of the filter, in more than twice the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays import detector
from flexalign.arrays.detector import STRIP_ROWS, Correction
from flexalign.arrays.device import CPU, Device
from flexalign.arrays.kernels import downsample, float16, raw_frames
from flexalign.arrays.kernels.elementwise import reflected_index
from flexalign.arrays.kernels.float16 import UNSCALED, Coding, coding_for
from flexalign.arrays.threads import ThreadPool
from flexalign.model import PixelArray

# Integers of at most this many bits have exact sums over all frames of a movie in 32 bits.
_SMALL_ITEM_BYTES = 2
# Stop-band attenuation of the filter in dB; its pass-band ripple is equally small.
_ATTENUATION_DB = 40.0
# Step between the sampled rows and columns that decide the dtype of the small frames.
_CODING_STEP_PX = 16
# Rows of the small frame computed together: their input rows fit into the cache.
_SMALL_ROWS = 64
# Frames processed per batch: gain and sums are read from memory once for all of them.
FRAMES_PER_DOWNSAMPLING = 4
# 16-bit images down-sampled together; each needs a 32-bit copy.
_FRAMES_PER_WIDENING = 2


@dataclass(frozen=True, slots=True, eq=False)
class AxisFilter:
    """Filter and decimation of one axis: each new pixel is a weighted sum of some old ones.

    Attributes
    ----------
    start : (new size,) int64, first old pixel of each; may lie beyond the edge, where the image is
        mirrored
    weight : (new size, taps) float32
    """

    start: npt.NDArray[np.int64]
    weight: PixelArray


def axis_filter(size_px: int, new_size_px: int, kept_share: float) -> AxisFilter:
    """Filter weights that take `size_px` pixels to `new_size_px`.

    New pixel i lies at old pixel ``i * size / new size``, as in Fourier cropping.

    Parameters
    ----------
    kept_share : end of the pass-band as a fraction of the new Nyquist frequency; below it ripple
        and aliasing are under 1 % each

    References
    ----------
    Kaiser, Proc. IEEE Int. Symp. Circuits Syst. 1974, 20 (the window, and the length it needs).

    Examples
    --------
    >>> axis_filter(8, 4, kept_share=0.5).start
    array([-4, -2,  0,  2])
    """
    if new_size_px == size_px:
        delta = np.zeros((size_px, downsample.TAPS_PER_STEP), np.float32)
        delta[:, 0] = 1
        return AxisFilter(np.arange(size_px), delta)
    ratio = size_px / new_size_px
    length = (_ATTENUATION_DB - 7.95) / (14.36 * (1 - kept_share)) * ratio
    beta = 0.5842 * (_ATTENUATION_DB - 21) ** 0.4 + 0.07886 * (_ATTENUATION_DB - 21)
    together = downsample.TAPS_PER_STEP
    taps = math.ceil((math.floor(length) + 1) / together) * together
    center = np.arange(new_size_px) * ratio
    start = np.ceil(center - length / 2).astype(np.int64)
    away = start[:, None] + np.arange(taps) - center[:, None]
    inside = np.clip(1 - (2 * away / length) ** 2, 0, None)
    weight = np.sinc(away / ratio) * np.i0(beta * np.sqrt(inside)) * (np.abs(away) <= length / 2)
    # Weights that sum to one for every pixel: a constant image stays constant.
    weight /= weight.sum(axis=1, keepdims=True)
    return AxisFilter(start, weight.astype(np.float32))


def downsampled_images(
    images: PixelArray, new_shape_px: tuple[int, int], kept_share: float, threads: int = 1
) -> PixelArray:
    """Images (n, h, w) down-sampled to (n, new h, new w); see `axis_filter`.

    Examples
    --------
    >>> downsampled_images(np.ones((1, 64, 96), np.float32), (2, 3), 0.7).round(5)
    array([[[1., 1., 1.],
            [1., 1., 1.]]], dtype=float32)
    """
    count, height, width = images.shape
    no_correction = detector.make_correction(None, None, np.zeros((height, width), np.bool_))
    small = np.empty((count, *new_shape_px), np.float32)
    no_replacements = np.empty(0, np.float32)
    together = FRAMES_PER_DOWNSAMPLING if images.dtype != np.float16 else _FRAMES_PER_WIDENING
    buffer = np.empty((_FRAMES_PER_WIDENING, height, width), np.float32)
    with ThreadPool(threads) as workers:
        downsampler = Downsampler(no_correction, (height, width), small, workers, kept_share)
        for first in range(0, count, together):
            some = _widened(images[first : first + together], buffer, workers)
            places = range(first, first + len(some))
            downsampler.downsample_now(
                list(some), [_Waiting(k, k, False, no_replacements, ()) for k in places]
            )
    return small


def _widened(images: PixelArray, buffer: PixelArray, workers: ThreadPool) -> PixelArray:
    """Images (n, h, w) as float32; `buffer` (n or more, h, w) takes those of 16 bits."""
    if images.dtype != np.float16:
        return images
    wide, bits = buffer[: len(images)], float16.stored(images)

    def widen(start: int, stop: int) -> None:
        for k in range(start, stop):
            float16.widen(bits[k], wide[k])

    workers.share(len(images), 1, widen)
    return wide


def downsampled_pixels(
    index: npt.NDArray[np.int64],
    value: PixelArray,
    shape_px: tuple[int, int],
    new_shape_px: tuple[int, int],
    kept_share: float,
) -> PixelArray:
    """As `downsampled_images` of one image that is zero except at a few pixels.

    Parameters
    ----------
    index, value : (n,) flat indices and values of those pixels

    Examples
    --------
    >>> few = np.array([5, 40]), np.array([2, 3], np.float32)
    >>> image = np.zeros((8, 8), np.float32)
    >>> image.flat[few[0]] = few[1]
    >>> whole = downsampled_images(image[None], (4, 4), 0.5)[0]
    >>> np.allclose(downsampled_pixels(*few, (8, 8), (4, 4), 0.5), whole, atol=1e-6)
    True
    """
    small = np.zeros(new_shape_px, np.float32)
    y, x = np.divmod(index, shape_px[1])
    axes = (_spread(*sizes, kept_share) for sizes in zip(shape_px, new_shape_px, strict=True))
    along_y, along_x = axes
    downsample.spread_pixels(y, x, value, *along_y, *along_x, small)
    return small


def _spread(
    size_px: int, new_size_px: int, kept_share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], PixelArray]:
    """The weights of `axis_filter` by old pixel: first entry of each, new pixels, weights."""
    found = axis_filter(size_px, new_size_px, kept_share)
    taps = found.weight.shape[1]
    old = reflected_index(found.start[:, None] + np.arange(taps), size_px).ravel()
    order = np.argsort(old, kind="stable")
    start = np.searchsorted(old[order], np.arange(size_px + 1))
    return start, order // taps, found.weight.ravel()[order]


def load_compiled_loops() -> None:
    """Load the compiled loops ahead of their first use, which takes a fifth of a second."""
    downsample.add_rows(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.int32), 0, 1)


def sum_dtype(raw: npt.NDArray[Any]) -> type[np.number[Any]]:
    """The dtype in which raw frames such as this one are summed."""
    is_small = raw.dtype.kind in "iu" and raw.dtype.itemsize <= _SMALL_ITEM_BYTES
    return np.int32 if is_small else np.float32


def coding_by(
    raw: npt.NDArray[Any], correction: Correction, small: PixelArray, device: Device = CPU
) -> Coding:
    """The coding for the frames `small`, by some pixels of the first raw frame (h, w).

    It is on the host or on `device`.
    """
    place = (slice(None, None, _CODING_STEP_PX),) * 2
    pixels = detector.corrected_at(place, device.host(raw[place]), correction)
    return coding_for(small, float(pixels.mean()), float(pixels.std()))


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A frame waiting for its batch: its place, whether it is added there, its correction."""

    index: int
    place: int
    is_more: bool
    replacements: PixelArray
    sums: Sequence[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class DownsampledFrame:
    """Index, mean and standard deviation of a frame that was down-sampled."""

    frame_index: int
    mean: float
    spread: float


class Downsampler:
    """Corrects and down-samples raw frames.

    Parameters
    ----------
    shape_px : (h, w) of the frames
    small : (n, h, w) float32 or float16, output; encoded by `coding`
    kept_share : pass-band as a fraction of the small frames' Nyquist frequency, see `axis_filter`

    Attributes
    ----------
    coding : encoding of the small frames, decided by the first frame
    """

    def __init__(
        self,
        correction: Correction,
        shape_px: tuple[int, int],
        small: PixelArray,
        workers: ThreadPool,
        kept_share: float,
    ) -> None:
        self._correction, self._workers = correction, workers
        self._shape, self._small = shape_px, small
        sizes = zip(shape_px, small.shape[1:], strict=True)
        self._along_y, self._along_x = (axis_filter(a, b, kept_share) for a, b in sizes)
        self._raws: list[npt.NDArray[Any]] = []
        self._waiting: list[_Waiting] = []
        self._used: set[int] = set()
        self.coding = UNSCALED

    def empty_sum(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Zeros (h, w) in which raw frames such as this one are summed."""
        return np.zeros(raw.shape, sum_dtype(raw))

    def add(
        self,
        raw: npt.NDArray[Any],
        frame_index: int,
        place: int,
        sums: Sequence[npt.NDArray[Any]] = (),
    ) -> list[DownsampledFrame]:
        """Down-sample a frame (h, w) and add it to the small frame number `place`.

        Frames are processed in batches; those completed are returned.  `flush` processes the last
        batch and must be called at the end.

        Parameters
        ----------
        sums : sums to which the raw frame is added
        """
        if not self._used:
            self.coding = coding_by(raw, self._correction, self._small)
        self._raws.append(raw_frames.for_loops(raw))
        replacements = detector.replacement_values(raw, self._correction, frame_index)
        self._waiting.append(_Waiting(frame_index, place, place in self._used, replacements, sums))
        self._used.add(place)
        return self.flush() if len(self._waiting) == FRAMES_PER_DOWNSAMPLING else []

    def flush(self) -> list[DownsampledFrame]:
        """Process the frames that still wait for their batch."""
        waiting, self._waiting = self._waiting, []
        raws, self._raws = self._raws, []
        return self.downsample_now(raws, waiting) if waiting else []

    def downsample_now(
        self, raws: Sequence[npt.NDArray[Any]], waiting: Sequence[_Waiting]
    ) -> list[DownsampledFrame]:
        """Process a batch of frames (h, w) from `raw_frames.for_loops`."""
        correction = self._correction
        together = raw_frames.padded(raws, FRAMES_PER_DOWNSAMPLING)
        replacements = np.stack([frame.replacements for frame in waiting])
        places = np.array([frame.place for frame in waiting])
        is_more = np.array([frame.is_more for frame in waiting])
        y, x = self._along_y, self._along_x
        # Sums of the values and of their squares, row by row.
        moments = np.empty((len(raws), self._small.shape[1], 2))

        def downsample_rows(start: int, stop: int) -> None:
            downsample.downsample_rows(
                together, *correction.references, correction.bad_start, correction.bad_x,
                replacements, y.start, y.weight, x.start, x.weight, start, stop, places, is_more,
                self.coding.level, self.coding.factor, float16.stored(self._small), moments,
            )  # fmt: skip

        def add_rows(start: int, stop: int) -> None:
            for raw, frame in zip(raws, waiting, strict=True):
                for total in frame.sums:
                    downsample.add_rows(raw, total, start, stop)

        self._workers.share(self._small.shape[1], _SMALL_ROWS, downsample_rows)
        self._workers.share(self._shape[0], STRIP_ROWS, add_rows)
        means, squares = moments.sum(axis=1).T / math.prod(self._small.shape[1:])
        spreads = np.sqrt(np.maximum(squares - means**2, 0))
        return [
            DownsampledFrame(frame.index, float(mean), float(spread))
            for frame, mean, spread in zip(waiting, means, spreads, strict=True)
        ]

    def fetched(self, total: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A sum in host memory."""
        return total


def mean_corrected(
    total: npt.NDArray[Any], count: int, correction: Correction, workers: ThreadPool
) -> PixelArray:
    """Mean corrected frame (h, w) from the sum of `count` raw ones, which is overwritten.

    The correction is linear, so it is applied once, to the sum.
    """
    mean = total.view(np.float32)  # sums of either dtype have 32 bits
    gain, dark = correction.gain, correction.dark

    def correct_rows(start: int, stop: int) -> None:
        rows = np.divide(total[start:stop], np.float32(count), dtype=np.float32)
        if dark is not None:
            rows -= dark[start:stop]
        if gain is not None:
            rows *= gain[start:stop]
        mean[start:stop] = rows

    workers.share(len(mean), STRIP_ROWS, correct_rows)
    detector.replace_bad_pixels(mean, correction)
    return mean
