"""Compiled loops over the bits and events of EER movies; `eer_streams` describes the format."""

from __future__ import annotations

from typing import Any

from flexalign.compiling import cached_njit


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
    max_run, sub_mask = (1 << run_bits) - 1, (1 << sub_bits) - 1
    event_count, pixel, bit = 0, 0, 0
    last_bit = 8 * stream_bytes
    while pixel < pixel_count and bit + run_bits <= last_bit:
        byte = bit >> 3
        word = int(stream[byte]) | int(stream[byte + 1]) << 8 | int(stream[byte + 2]) << 16
        word = (word | int(stream[byte + 3]) << 24) >> (bit & 7)
        run = word & max_run
        bit += run_bits
        pixel += run
        if run == max_run:
            if keeps_places:
                bit += sub_bits
            continue
        if pixel >= pixel_count:
            break
        if bit + sub_bits > last_bit:
            return -1, bit
        events[event_count] = pixel << sub_bits | (word >> run_bits) & sub_mask
        event_count += 1
        pixel += 1
        bit += sub_bits
    return event_count if pixel == pixel_count else -1, min(bit, last_bit)


@cached_njit(nogil=True)
def add_up(
    events: Any, x_bits: int, y_bits: int, width_px: int, upsampling: int, image: Any
) -> None:
    """Add one to the pixel of each event of (h, w) `image`, on the grid that it has."""
    sub_bits = x_bits + y_bits
    flat = image.ravel()
    for event in events:
        pixel = event >> sub_bits
        if upsampling == 1:
            flat[pixel] += 1
        else:
            # The inverted sign bit selects the half of the pixel.
            right = 1 - ((event >> (x_bits - 1)) & 1)
            upper = 1 - ((event >> (sub_bits - 1)) & 1)
            y, x = 2 * (pixel // width_px) + upper, 2 * (pixel % width_px) + right
            flat[y * 2 * width_px + x] += 1
