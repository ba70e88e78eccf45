"""The pixels of a raw frame by which the host checks it; few, where the frame is on a GPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

from flexalign.arrays.duplicate_frames import sampled_pixels
from flexalign.arrays.frame_checks import sampled_rows


class FrameSamples(NamedTuple):
    """Views of a frame, or copies of them on the host.

    Attributes
    ----------
    rows : (n, w), see `frame_checks.sampled_rows`
    pixels : (m,), see `duplicate_frames.sampled_pixels`
    """

    rows: npt.NDArray[Any]
    pixels: npt.NDArray[Any]


class Rendered(NamedTuple):
    """A frame that was rendered on a device.

    Attributes
    ----------
    pixels : (h, w), on the device
    broken : number of its raw frames that were left out
    samples : on the host
    """

    pixels: Any
    broken: int
    samples: FrameSamples


def samples_of(pixels: npt.NDArray[Any]) -> FrameSamples:
    """The samples of a frame (h, w), where it is."""
    return FrameSamples(sampled_rows(pixels), sampled_pixels(pixels))
