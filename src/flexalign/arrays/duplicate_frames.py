"""Frames that a camera or a program has written twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Of about so many pixels of each frame two are compared.
_SAMPLES = 1 << 16
# Neighbouring frames that differ by less than this part of the usual, squared, share their noise.
_SAME_NOISE = 0.1


class Copies:
    """Finds frames that have the noise of the one before: no two exposures have that."""

    def __init__(self) -> None:
        self._last: tuple[int, npt.NDArray[np.float32]] | None = None
        self._pairs: list[tuple[int, int]] = []
        self._apart: list[float] = []

    def see(self, index: int, pixels: npt.NDArray[Any]) -> None:
        """Take note of frame `index` (h, w), uncorrected, in the order of the file."""
        # An odd step, so that not all samples are of the same columns.
        step = max(pixels.size // _SAMPLES, 1) | 1
        values = pixels.reshape(-1)[::step].astype(np.float32)
        if self._last is not None:
            self._pairs.append((index, self._last[0]))
            self._apart.append(float(np.mean((values - self._last[1]) ** 2)))
        self._last = index, values

    def found(self) -> dict[int, int]:
        """Copies: index of each -> index of the frame before, whose noise it has."""
        # Of two pairs it cannot be told which one is odd.
        if len(self._apart) < 3:
            return {}
        median = float(np.median(self._apart))
        pairs = zip(self._pairs, self._apart, strict=True)
        return {index: before for (index, before), apart in pairs if apart < _SAME_NOISE * median}
