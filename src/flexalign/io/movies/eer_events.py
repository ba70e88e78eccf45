"""Compiled loops over the bits and events of EER movies; `eer_streams` describes the format."""

from __future__ import annotations

from typing import Any

from flexalign.compiling import cached_njit
from flexalign.event_codes import image_index, next_code


@cached_njit(nogil=True)
def decode(
    stream: Any,
    stream_bytes: int,
    run_bits: int,
    sub_bits: int,
    keeps_places: bool,
    pixel_count: int,
    events: Any,
) -> tuple[int, int]:
    """Fill `events` with pixel << sub_bits | place; their number, -1 for a broken stream, and the
    number of bits up to the last pixel.

    With `keeps_places` there are unused sub-pixel bits after the longest run too.
    """  # noqa: D205
    event_count, pixel, bit = 0, 0, 0
    last_bit = 8 * stream_bytes
    while pixel < pixel_count and bit + run_bits <= last_bit:
        bit, pixel, event = next_code(
            stream, bit, pixel, last_bit, pixel_count, run_bits, sub_bits, keeps_places
        )
        if event >= 0:
            events[event_count] = event
            event_count += 1
    return event_count if pixel == pixel_count else -1, min(bit, last_bit)


@cached_njit(nogil=True)
def add_up(
    events: Any, x_bits: int, y_bits: int, width_px: int, upsampling: int, image: Any
) -> None:
    """Add one to the pixel of each event of (h, w) `image`, on the grid that it has."""
    flat = image.ravel()
    for event in events:
        flat[image_index(event, x_bits, y_bits, width_px, upsampling)] += 1
