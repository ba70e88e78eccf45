"""Find frames that a camera or a program has written twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Number of pixels of each frame that are compared.
_SAMPLES = 1 << 16
# Neighbouring frames whose mean square difference is below this fraction of the median are copies.
_SAME_NOISE = 0.1
# Two exposures in which this many samples vary agree in all of them with a probability of less than
# exp(-40).
_MIN_VARYING_SAMPLES = 40


def sampled_pixels(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels (n,) of a frame (h, w) that are compared with those of the others."""
    # An odd step, so that the samples do not all lie in the same columns.
    return pixels.reshape(-1)[:: max(pixels.size // _SAMPLES, 1) | 1]


class DuplicateFrames:
    """Finds frames with the same noise as the one before; independent exposures differ in it."""

    def __init__(self) -> None:
        self._last: tuple[int, npt.NDArray[np.float32]] | None = None
        self._pairs: list[tuple[int, int]] = []
        self._differences: list[float] = []
        self._identical: dict[int, int] = {}

    def add(self, index: int, sampled: npt.NDArray[Any]) -> None:
        """Add the `sampled_pixels` of frame `index`, uncorrected, in the order of the file."""
        values = sampled.astype(np.float32)
        if self._last is not None:
            self._pairs.append((index, self._last[0]))
            self._differences.append(float(np.mean((values - self._last[1]) ** 2)))
            if self._differences[-1] == 0 and _varying(values) >= _MIN_VARYING_SAMPLES:
                self._identical[index] = self._last[0]
        self._last = index, values

    def found(self) -> dict[int, int]:
        """Copies: index of each -> index of the frame before, of which it is a copy."""
        if not any(self._differences):
            return {}  # all frames are alike, as an image without noise that does not move
        # Of two pairs the outlier cannot be determined, unless it is identical.
        if len(self._differences) < 3:
            return dict(self._identical)
        median = float(np.median(self._differences))
        pairs = zip(self._pairs, self._differences, strict=True)
        similar = {
            index: before for (index, before), apart in pairs if apart < _SAME_NOISE * median
        }
        return similar | self._identical


def _varying(values: npt.NDArray[np.float32]) -> int:
    """Number of samples that differ from the median."""
    return int(np.count_nonzero(values != np.median(values)))
