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
    device: Device, count: int, frames_bytes: int, needed_bytes: int
) -> ResidentFrames | None:
    """An empty store for `count` raw frames of `frames_bytes` in all, if the device has the memory.

    Parameters
    ----------
    needed_bytes : memory that passes and estimation need without the store
    """
    return ResidentFrames(count) if has_memory(device, needed_bytes + frames_bytes) else None


def has_memory(device: Device, needed_bytes: int) -> bool:
    """Whether the device is a GPU with this much memory free."""
    free = device.free_bytes()
    return device.is_gpu and (free is None or needed_bytes <= free)
