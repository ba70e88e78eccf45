"""Launch the kernels that render EER frames on a GPU; the codes are those of `event_codes`.

Where a code begins is only known after the one before, so that a raw frame is cut into chunks of
bits: first, of each chunk, one thread for each bit at which the first code may begin finds where
the codes end, and their pixels; then one thread for each raw frame goes from chunk to chunk, and
finds whether it is complete; last, one thread for each chunk adds its events to the image.  Sums of
whole numbers do not depend on the order of atomic additions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from flexalign import event_codes
from flexalign.arrays.gpu import kernels
from flexalign.packed_frame import PackedFrame

CHUNK_BITS = 4096
# More pixels than any frame has.
_ENDLESS = 1 << 62
_WORD_BYTES = 4

_next_code = cuda.jit(device=True)(event_codes.next_code.py_func)
_image_index = cuda.jit(device=True)(event_codes.image_index.py_func)


def render(
    xp: Any, packed: PackedFrame, data: Any, streams: Any, chunk_bits: int = CHUNK_BITS
) -> tuple[Any, Any]:
    """The image (h, w) of a frame, and which of its raw frames are complete, on the device.

    Raw frames that are not complete are left out; see `eer_streams.read_events`.

    Parameters
    ----------
    xp : the library of arrays
    packed : the frame, of which `data` and `streams` are copies on the device

    Returns
    -------
    image : (h, w) of the dtype of the frame
    is_complete : (raw frames,) int32, 1 = yes
    """
    raw_count, pixel_count = len(packed.streams), math.prod(packed.shape_px)
    starts = int(packed.streams[:, 2:].sum(axis=1).max())
    chunks = max(1, math.ceil(8 * int(packed.streams[:, 1].max()) / chunk_bits))
    end, advance = (xp.empty((raw_count, chunks, starts), np.int32) for _ in range(2))
    # Of each chunk, the bit and pixel of the first code.
    begin = xp.empty((raw_count, chunks, 2), np.int64)
    is_complete = xp.zeros(raw_count, np.int32)
    words, image = _empty_image(xp, packed)
    how = streams, int(packed.keeps_places), chunk_bits
    kernels.launch(_measure_chunks, chunks * starts, raw_count, data, *how, end, advance)
    kernels.launch(
        _join_chunks, raw_count, 1, data, *how, end, advance, pixel_count, packed.spare_bytes,
        begin, is_complete,
    )  # fmt: skip
    kernels.launch(
        _add_events, chunks, raw_count, data, *how, begin, is_complete, pixel_count,
        packed.shape_px[1], packed.upsampling, packed.dtype.itemsize, words,
    )  # fmt: skip
    return image, is_complete


def _empty_image(xp: Any, packed: PackedFrame) -> tuple[Any, Any]:
    """Zeros as words of 32 bits, to which a GPU adds atomically, and the image (h, w) in them."""
    shape_px, dtype = packed.image_shape_px, packed.dtype
    words = xp.zeros(math.ceil(math.prod(shape_px) * dtype.itemsize / _WORD_BYTES), np.uint32)
    return words, words.view(dtype)[: math.prod(shape_px)].reshape(shape_px)


@cuda.jit(cache=True)
def _measure_chunks(data, streams, keeps_places, chunk_bits, end, advance):  # type: ignore[no-untyped-def]
    """Of each chunk and start of its codes: their end, in bits after it, and their pixels."""
    at, raw = cuda.grid(2)
    starts = end.shape[2]
    chunk = at // starts
    if raw >= end.shape[0] or chunk >= end.shape[1]:
        return
    first, run_bits, sub_bits = streams[raw, 0], streams[raw, 2], streams[raw, 3] + streams[raw, 4]
    stream, last_bit = data[first:], 8 * streams[raw, 1]
    start = at - chunk * starts
    bit, pixel, stop = chunk * chunk_bits + start, 0, (chunk + 1) * chunk_bits
    while bit < stop and bit + run_bits <= last_bit:
        bit, pixel, _ = _next_code(
            stream, bit, pixel, last_bit, _ENDLESS, run_bits, sub_bits, keeps_places
        )
    end[raw, chunk, start] = bit - stop
    advance[raw, chunk, start] = pixel


@cuda.jit(cache=True)
def _join_chunks(  # type: ignore[no-untyped-def]
    data, streams, keeps_places, chunk_bits, end, advance, pixel_count, spare_bytes, begin,
    is_complete,
):  # fmt: skip
    """The first code of each chunk up to the last pixel, and whether the raw frame is complete."""
    raw, _ = cuda.grid(2)
    if raw >= end.shape[0]:
        return
    first, run_bits, sub_bits = streams[raw, 0], streams[raw, 2], streams[raw, 3] + streams[raw, 4]
    stream, last_bit = data[first:], 8 * streams[raw, 1]
    last_chunk = (last_bit - 1) // chunk_bits
    chunk, bit, pixel = 0, 0, 0
    while chunk < last_chunk:
        begin[raw, chunk, 0], begin[raw, chunk, 1] = bit, pixel
        start = bit - chunk * chunk_bits
        pixels = int(advance[raw, chunk, start])
        if pixel + pixels >= pixel_count:
            break
        bit = (chunk + 1) * chunk_bits + int(end[raw, chunk, start])
        pixel += pixels
        chunk += 1
    begin[raw, chunk, 0], begin[raw, chunk, 1] = bit, pixel
    for after in range(chunk + 1, end.shape[1]):
        begin[raw, after, 0], begin[raw, after, 1] = last_bit, pixel_count
    while pixel < pixel_count and bit + run_bits <= last_bit:
        bit, pixel, _ = _next_code(
            stream, bit, pixel, last_bit, pixel_count, run_bits, sub_bits, keeps_places
        )
    used_bytes = (min(bit, last_bit) + 7) // 8
    is_padded = streams[raw, 1] - used_bytes <= spare_bytes
    if not is_padded:
        filling = stream[used_bytes]
        is_padded = filling == 0 or filling == 255
        byte = used_bytes
        while is_padded and byte < streams[raw, 1]:
            is_padded = stream[byte] == filling
            byte += 1
    is_complete[raw] = int(pixel == pixel_count and is_padded)


@cuda.jit(cache=True)
def _add_events(  # type: ignore[no-untyped-def]
    data, streams, keeps_places, chunk_bits, begin, is_complete, pixel_count, width_px, upsampling,
    item_bytes, words,
):  # fmt: skip
    """Add the events of each chunk of a complete raw frame to an image of unsigned integers."""
    chunk, raw = cuda.grid(2)
    if raw >= begin.shape[0] or chunk >= begin.shape[1] or not is_complete[raw]:
        return
    first, run_bits = streams[raw, 0], streams[raw, 2]
    x_bits, y_bits = streams[raw, 3], streams[raw, 4]
    stream, last_bit = data[first:], 8 * streams[raw, 1]
    bit, pixel, stop = begin[raw, chunk, 0], begin[raw, chunk, 1], (chunk + 1) * chunk_bits
    while bit < stop and pixel < pixel_count and bit + run_bits <= last_bit:
        bit, pixel, event = _next_code(
            stream, bit, pixel, last_bit, pixel_count, run_bits, x_bits + y_bits, keeps_places
        )
        if event >= 0:
            byte = item_bytes * _image_index(event, x_bits, y_bits, width_px, upsampling)
            # Counts fit into the dtype, so that none is carried to the next pixel of the word.
            cuda.atomic.add(words, byte >> 2, np.uint32(1 << 8 * (byte & 3)))
