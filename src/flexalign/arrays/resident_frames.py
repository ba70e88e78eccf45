"""Raw frames that stay on a GPU from the first pass to the second."""

from __future__ import annotations

from typing import Any

from flexalign.arrays.device import Device


class ResidentFrames:
    """Raw frames on the device, by their index in the file.

    Attributes
    ----------
    count : maximum number of frames
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pixels: dict[int, Any] = {}

    def put(self, frame_index: int, pixels: Any) -> None:
        """Keep a frame (h, w), which is on the device."""
        self._pixels[frame_index] = pixels

    def get(self, frame_index: int) -> Any:
        """The frame on the device; None = not kept."""
        return self._pixels.get(frame_index)


def resident_frames(
    device: Device, count: int, frames_bytes: int, needed_bytes: int
) -> ResidentFrames | None:
    """An empty store for `count` frames of `frames_bytes` in all, if the device has the memory.

    As much memory again is left free, for the spectra of patches.

    Parameters
    ----------
    needed_bytes : memory that the passes need without the store
    """
    free = device.free_bytes()
    if not device.is_gpu or (free is not None and needed_bytes + 2 * frames_bytes > free):
        return None
    return ResidentFrames(count)
