"""Asynchronous copies of raw frames to a GPU, through pinned memory, on their own stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays.device import Device

# Dtypes that are copied as they are; others are converted to float32.
_UNCONVERTED_DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4")


class FrameUpload:
    """Copies raw frames to the device, up to two ahead of the computation.

    Parameters
    ----------
    kept_count : number of frames that stay valid; 0 = the memory of two is used in turn
    shape : of the largest frame, where they differ in the first axis
    """

    def __init__(
        self, device: Device, kept_count: int = 0, shape: tuple[int, ...] | None = None
    ) -> None:
        self._device, self._shape = device, shape
        self._count = max(2, kept_count)
        self._frames: Any = None  # (count, h, w) on the device
        self._slots: list[_Slot] = []
        self._sent = 0

    def upload(self, raw: npt.NDArray[Any]) -> Any:
        """The frame (h, w) on the device; valid until `done` has been called twice, or kept.

        A frame that is there already is returned.
        """
        if self._device.holds(raw):
            return raw
        kind = (
            raw.dtype.newbyteorder("=") if raw.dtype.str[1:] in _UNCONVERTED_DTYPES else np.float32
        )
        if self._device.is_simulated:
            return self._device.upload(raw, kind)
        if self._frames is None or self._frames.dtype != kind:
            # All at once: memory that is in use by queued work is waited for a single time.
            shape = self._shape or raw.shape
            self._frames, self._sent = self._device.xp.empty((self._count, *shape), kind), 0
            stream = self._device.xp.cuda.Stream(non_blocking=True)
            self._slots = [_Slot(self._device, stream, shape, kind) for _ in range(2)]
        frame = self._frames[self._sent % self._count][: len(raw)]
        return self._slots[self._sent % 2].upload(raw, frame)

    def done(self) -> None:
        """Note that all work on the last frame sent is in the queue."""
        if self._slots:
            self._slots[self._sent % 2].release()
            self._sent += 1


class _Slot:
    """A pinned buffer for a frame, with the events that free it and the frame's memory."""

    def __init__(self, device: Device, stream: Any, shape_px: tuple[int, ...], kind: Any) -> None:
        cupy = device.xp
        self._current, self._stream = cupy.cuda.get_current_stream, stream
        self._pinned = device.empty_on_host(shape_px, kind)
        self._uploaded, self._used = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        # The memory may have been freed by work that is still in the queue.
        self.release()

    def upload(self, raw: npt.NDArray[Any], out: Any) -> Any:
        """Copy a frame to `out`, on the device, and return it."""
        self._uploaded.synchronize()  # of the frame before the last, which is usually finished
        pinned = self._pinned[: len(raw)]
        np.copyto(pinned, raw, casting="unsafe")
        self._stream.wait_event(self._used)
        out.set(pinned, stream=self._stream)
        self._uploaded.record(self._stream)
        self._current().wait_event(self._uploaded)
        return out

    def release(self) -> None:
        self._used.record(self._current())
