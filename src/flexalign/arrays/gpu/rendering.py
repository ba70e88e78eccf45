"""EER frames rendered on a GPU: their codes are copied to it, and the counts stay there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from flexalign.arrays.device import Device
from flexalign.arrays.frame_samples import FrameSamples, Rendered, samples_of
from flexalign.arrays.gpu import event_kernels
from flexalign.arrays.gpu.upload import FrameUpload
from flexalign.packed_frame import PackedFrame


class GpuRenderer:
    """Renders frames on a GPU; see `backends.FrameRenderer`.

    Parameters
    ----------
    max_bytes : size of the data of the largest frame
    """

    def __init__(self, device: Device, max_bytes: int) -> None:
        self._device, self._upload = device, FrameUpload(device, shape=(max_bytes,))

    def render(self, packed: PackedFrame) -> Callable[[], Rendered]:
        """Queue a frame; the function returned waits for it."""
        device = self._device
        data, streams = self._upload.upload(packed.data), device.upload(packed.streams)
        image, is_complete = event_kernels.render(device.xp, packed, data, streams)
        self._upload.done()
        is_complete, *samples = (self._fetched(part) for part in (is_complete, *samples_of(image)))
        wait = device.mark()

        def rendered() -> Rendered:
            wait()
            broken = int(np.count_nonzero(is_complete == 0))
            return Rendered(image, broken, FrameSamples(*samples))

        return rendered

    def _fetched(self, array: Any) -> npt.NDArray[Any]:
        """An array of the device on the host, as soon as the queued work is done."""
        out = self._device.empty_on_host(array.shape, array.dtype)
        self._device.fetch(array.copy(), out)
        return out
