"""Frames that stay on a GPU: raw ones for the second pass, small ones for the estimation."""

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
    device: Device, count: int, needed_bytes: int, kept_bytes: int
) -> ResidentFrames | None:
    """An empty store for `count` raw frames, if the device has the memory; see `has_memory`."""
    return ResidentFrames(count) if has_memory(device, needed_bytes, kept_bytes) else None


def has_memory(device: Device, needed_bytes: int, kept_bytes: int) -> bool:
    """Whether the device is a GPU with enough free memory to keep something there.

    Parameters
    ----------
    needed_bytes : memory that the passes need in any case
    kept_bytes : all that is kept; twice as much has to be free, for another process that starts at
        the same time
    """
    free = device.free_bytes()
    return device.is_gpu and (free is None or needed_bytes + 2 * kept_bytes <= free)
