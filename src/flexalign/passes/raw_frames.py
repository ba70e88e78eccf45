"""The raw frames of a pass: decoded on the host or, where a GPU can, rendered there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flexalign.arrays.backends import make_renderer
from flexalign.arrays.device import Device
from flexalign.arrays.frame_samples import FrameSamples, Rendered, samples_of
from flexalign.io.movies.packed_movie import PackedMovie, rendered_frame
from flexalign.io.movies.reader import MovieReader, RawFrame, read_ahead
from flexalign.model import FrameRange


def raw_frames(
    reader: MovieReader, frames: FrameRange, threads: int, device: Device
) -> Iterator[tuple[RawFrame, FrameSamples | None]]:
    """The frames in order, on the host or on `device`, with samples on the host.

    Without pixels there are no samples.
    """
    if device.is_gpu and isinstance(reader, PackedMovie):
        yield from _rendered(reader, frames, threads, device)
        return
    for raw in reader.frames(frames, threads=threads):
        yield raw, None if raw.pixels is None else samples_of(raw.pixels)


def _rendered(
    reader: PackedMovie, frames: FrameRange, threads: int, device: Device
) -> Iterator[tuple[RawFrame, FrameSamples | None]]:
    """The same, rendered; the host waits for a frame only when the next one is in the queue."""
    renderer = make_renderer(device, reader.max_packed_bytes)
    before: tuple[int, int, Callable[[], Rendered]] | None = None
    for packed in read_ahead(reader.packed_frame, frames, threads):
        queued = packed.index, len(packed.streams), renderer.render(packed)
        if before is not None:
            yield _finished(*before)
        before = queued
    if before is not None:
        yield _finished(*before)


def _finished(
    index: int, raw_count: int, wait: Callable[[], Rendered]
) -> tuple[RawFrame, FrameSamples | None]:
    """A frame once the device has rendered it."""
    pixels, broken, samples = wait()
    raw = rendered_frame(index, pixels, broken, raw_count)
    return raw, None if raw.pixels is None else samples
