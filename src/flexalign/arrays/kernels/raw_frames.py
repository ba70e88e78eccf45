"""Convert raw frames for the compiled loops, and correct tiles of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays.kernels.elementwise import reflected
from flexalign.compiling import cached_njit

# Dtypes of raw frames for which loops are compiled.
_RAW_DTYPES = ("uint8", "int8", "uint16", "int16", "float32")


def dtype_for_loops(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype to which raw frames of `dtype` are converted for the loops.

    Examples
    --------
    >>> dtype_for_loops(np.dtype(">i2")), dtype_for_loops(np.dtype("float16"))
    (dtype('int16'), dtype('float32'))
    """
    native = dtype.newbyteorder("=")
    return native if native.name in _RAW_DTYPES else np.dtype(np.float32)


def for_loops(raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A raw frame as the loops take it; a copy only if its dtype or memory layout differs."""
    return np.require(raw, dtype_for_loops(raw.dtype), ["C", "W"])


def padded(frames: Sequence[npt.NDArray[Any]], count: int) -> tuple[npt.NDArray[Any], ...]:
    """Frames padded to `count` by repeating the last: loops are compiled for one number."""
    return (*frames, *[frames[-1]] * (count - len(frames)))


@cached_njit(nogil=True, fastmath=True, inline="always")
def correct_tile(raw, gain, dark, bad_start, bad_x, replacements, top, left, out):  # type: ignore[no-untyped-def]
    """Fill `out` (n, m) with the corrected frame from (top, left) on, reflected at its edges.

    Parameters
    ----------
    raw : (h, w)
    gain, dark : (h, w) float32, or empty
    bad_start : (h + 1,) index of the first bad pixel of each row
    bad_x, replacements : (bad pixels,) their columns, and their replacement values
    """
    height, width = raw.shape
    columns = out.shape[1]
    # The columns of `out` from `begin` to `end` lie within the frame.
    begin, end = max(-left, 0), min(width - left, columns)
    if begin >= end:
        begin = end = 0
    for j in range(out.shape[0]):
        y = reflected(top + j, height)
        row, inside = raw[y, left + begin : left + end], out[j, begin:end]
        if gain.size > 0:
            factor = gain[y, left + begin : left + end]
            if dark.size > 0:
                subtract = dark[y, left + begin : left + end]
                for i in range(inside.size):
                    inside[i] = (np.float32(row[i]) - subtract[i]) * factor[i]
            else:
                for i in range(inside.size):
                    inside[i] = np.float32(row[i]) * factor[i]
        elif dark.size > 0:
            subtract = dark[y, left + begin : left + end]
            for i in range(inside.size):
                inside[i] = np.float32(row[i]) - subtract[i]
        else:
            for i in range(inside.size):
                inside[i] = np.float32(row[i])
        for k in range(bad_start[y], bad_start[y + 1]):
            if left + begin <= bad_x[k] < left + end:
                out[j, bad_x[k] - left] = replacements[k]
        for outside in ((0, begin), (end, columns)):
            for i in range(outside[0], outside[1]):
                x = reflected(left + i, width)
                value = np.float32(raw[y, x])
                if dark.size > 0:
                    value -= dark[y, x]
                if gain.size > 0:
                    value *= gain[y, x]
                for k in range(bad_start[y], bad_start[y + 1]):
                    if bad_x[k] == x:
                        value = replacements[k]
                out[j, i] = value
