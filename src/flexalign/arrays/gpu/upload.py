"""Asynchronous copies of raw frames to a GPU, through pinned memory, on their own stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays.device import Device

# Dtypes that are copied as they are; others are converted to float32.
_UNCONVERTED_DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4")


class FrameUpload:
    """Copies raw frames to the device, up to two ahead of the computation."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._slots: list[_Slot] = []
        self._next_slot = 0

    def upload(self, raw: npt.NDArray[Any]) -> Any:
        """The frame (h, w) on the device; valid until `done` has been called twice."""
        kind = (
            raw.dtype.newbyteorder("=") if raw.dtype.str[1:] in _UNCONVERTED_DTYPES else np.float32
        )
        if self._device.is_simulated:
            return self._device.upload(raw, kind)
        if not self._slots or self._slots[0].array.dtype != kind:
            stream = self._device.xp.cuda.Stream(non_blocking=True)
            self._slots = [_Slot(self._device, stream, raw.shape, kind) for _ in range(2)]
        return self._slots[self._next_slot].upload(raw)

    def done(self) -> None:
        """Note that all work on the last frame sent is in the queue."""
        if self._slots:
            self._slots[self._next_slot].release()
            self._next_slot = 1 - self._next_slot


class _Slot:
    """Buffers for one frame, pinned and on the device, with the events that free them."""

    def __init__(self, device: Device, stream: Any, shape_px: tuple[int, ...], kind: Any) -> None:
        cupy = device.xp
        self._current, self._stream = cupy.cuda.get_current_stream, stream
        self._pinned, self.array = device.empty_on_host(shape_px, kind), cupy.empty(shape_px, kind)
        self._uploaded, self._used = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        # The memory may have been freed by work that is still in the queue.
        self.release()

    def upload(self, raw: npt.NDArray[Any]) -> Any:
        self._uploaded.synchronize()  # of the frame before the last, which is usually finished
        np.copyto(self._pinned, raw, casting="unsafe")
        self._stream.wait_event(self._used)
        self.array.set(self._pinned, stream=self._stream)
        self._uploaded.record(self._stream)
        self._current().wait_event(self._uploaded)
        return self.array

    def release(self) -> None:
        self._used.record(self._current())
