"""EER files bit by bit, as different programs write them."""

from __future__ import annotations

import itertools
import struct

import numpy as np

HEIGHT, WIDTH = 40, 56


def stream_of(frame, *, keeps_places, run_bits=8, spare=b""):
    """The bits of one raw frame; all events lie in the middle of their pixel."""
    value, length, place = 0, 0, 0b0101
    longest = (1 << run_bits) - 1

    def put(word, bits):
        nonlocal value, length
        value |= word << length
        length += bits

    pixels = np.flatnonzero(frame)
    for run, is_event in zip(
        np.diff([-1, *pixels, frame.size]) - 1, [True] * len(pixels) + [False], strict=True
    ):
        left = int(run)
        while left >= longest:
            put(longest, run_bits)
            if keeps_places:
                put(0b1111, 4)
            left -= longest
        put(left, run_bits)
        if is_event:
            put(place, 4)
    return value.to_bytes(-(-length // 8), "little") + spare


def write(path, streams, codec=65000, strips=1, metadata=b""):
    """A TIFF with a page for each stream, cut into so many strips."""
    data, link = bytearray(struct.pack("<2sHI", b"II", 42, 0)), 4
    for number, stream in enumerate(streams):
        edges = np.linspace(0, len(stream), strips + 1).astype(int)
        pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
        offsets = []
        for piece in pieces[::-1]:  # not side by side
            offsets.insert(0, len(data))
            data += piece + b"\xaa"
        places = [len(data), len(data) + 4 * strips]
        data += struct.pack(f"<{2 * strips}I", *offsets, *map(len, pieces))
        values = [(256, 4, 1, WIDTH), (257, 4, 1, HEIGHT), (259, 3, 1, codec), (262, 3, 1, 1)]
        if strips == 1:
            values += [(273, 4, 1, offsets[0]), (279, 4, 1, len(stream))]
        else:
            values += [(273, 4, strips, places[0]), (279, 4, strips, places[1])]
        values.insert(5, (278, 4, 1, -(-HEIGHT // strips)))
        if metadata and number == 0:
            values.append((65001, 7, len(metadata), len(data)))
            data += metadata
        data[link : link + 4] = struct.pack("<I", len(data))
        data += struct.pack("<H", len(values))
        data += b"".join(struct.pack("<HHII", *value) for value in values)
        link = len(data)
        data += bytes(4)
    path.write_bytes(data)
    return path
