"""The codes of one raw EER frame, for the loops of the CPU and the kernels of a GPU.

`flexalign.io.movies.eer_streams` describes the format.  The functions call no others, so that both
compile them as they are.
"""

from __future__ import annotations

from typing import Any

from flexalign.compiling import cached_njit


@cached_njit(nogil=True)
def next_code(
    stream: Any,
    bit: int,
    pixel: int,
    last_bit: int,
    pixel_count: int,
    run_bits: int,
    sub_bits: int,
    keeps_places: bool,
) -> tuple[int, int, int]:
    """Bit and pixel after the code at `bit`, and its event: pixel << sub_bits | place, -1 = none.

    Each code advances by at least one pixel.  A raw frame is complete if the codes, read while
    ``pixel < pixel_count and bit + run_bits <= last_bit``, end at `pixel_count`.

    Parameters
    ----------
    stream : (n,) uint8, with at least four bytes after that of `last_bit`
    bit, pixel : where the code is, and the pixel it begins with
    last_bit : number of bits
    keeps_places : whether a place, without a meaning, follows the longest run too
    """
    byte = bit >> 3
    word = int(stream[byte]) | int(stream[byte + 1]) << 8 | int(stream[byte + 2]) << 16
    word = (word | int(stream[byte + 3]) << 24) >> (bit & 7)
    max_run = (1 << run_bits) - 1
    run = word & max_run
    bit += run_bits
    pixel += run
    if run == max_run:
        return (bit + sub_bits if keeps_places else bit), pixel, -1
    if pixel >= pixel_count:  # the run after the last event
        return bit, pixel, -1
    bit += sub_bits
    if bit > last_bit:  # an event without a place
        return bit, pixel, -1
    place = (word >> run_bits) & ((1 << sub_bits) - 1)
    return bit, pixel + 1, pixel << sub_bits | place


@cached_njit(nogil=True)
def image_index(event: int, x_bits: int, y_bits: int, width_px: int, upsampling: int) -> int:
    """Flat index of an event in the image; its grid is that of the pixels, or twice as fine.

    Parameters
    ----------
    width_px : of the detector
    upsampling : 1 or 2
    """
    sub_bits = x_bits + y_bits
    pixel = event >> sub_bits
    if upsampling == 1:
        return pixel
    # The inverted sign bit selects the half of the pixel.
    right = 1 - ((event >> (x_bits - 1)) & 1)
    upper = 1 - ((event >> (sub_bits - 1)) & 1)
    y = pixel // width_px
    x = pixel - y * width_px
    return (2 * y + upper) * 2 * width_px + 2 * x + right
