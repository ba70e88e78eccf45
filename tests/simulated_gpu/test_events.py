"""EER frames that are rendered by the kernels are those of the CPU, count for count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from eer_files import HEIGHT, WIDTH, stream_of, write

from flexalign.arrays.gpu import event_kernels
from flexalign.io.movies.eer import EerMovie
from flexalign.io.movies.eer_writer import write_eer

# Chunks of a few codes, so that codes cross their ends, and one chunk for all.
CHUNK_BITS = (50, 300, 16384)
MARK = b"ThermoFisherECComprOK000"


def written(path, counts, codec=65001):
    """A file of raw frames with so many events, at random places within as many pixels."""
    raw = []
    for seed, count in enumerate(counts):
        rng = np.random.default_rng(seed)
        y, x = np.divmod(rng.choice(HEIGHT * WIDTH, count, replace=False), WIDTH)
        raw.append(np.stack([4 * y, 4 * x], 1) + rng.integers(0, 4, (count, 2)))
    write_eer(path, raw, height_px=HEIGHT, width_px=WIDTH, codec=codec)
    return path


def streams(events, **how):
    """The bits of raw frames with so many events each."""
    found = []
    for seed, count in enumerate(events):
        frame = np.zeros(HEIGHT * WIDTH, np.uint8)
        frame[np.random.default_rng(seed).choice(frame.size, count, replace=False)] = 1
        found.append(stream_of(frame, **how))
    return found


def compare(movie, packed, chunk_bits):
    """Compare a frame with that of the CPU; the number of its broken raw frames."""
    expected = movie.decoded(packed)
    image, is_complete = event_kernels.render(
        np, packed, packed.data.copy(), packed.streams, chunk_bits
    )
    broken, raw_count = np.count_nonzero(is_complete == 0), len(is_complete)
    if expected.pixels is None:
        assert broken == raw_count
        assert not image.any()
    else:
        assert image.dtype == expected.pixels.dtype
        np.testing.assert_array_equal(image, expected.pixels)
        found = expected.problem.partition(" of ")[0] or "0"
        assert broken == int(found)
    return broken


@pytest.mark.parametrize("chunk_bits", CHUNK_BITS)
@pytest.mark.parametrize("codec", [65000, 65001, 65002])
@pytest.mark.parametrize("upsampling", [1, 2])
def test_counts_are_those_of_the_cpu(tmp_path, codec, upsampling, chunk_bits):
    path = written(tmp_path / "a.eer", [300, 0, 3, 900, 1], codec)

    with EerMovie(path, groups=(3, 2), upsampling=upsampling) as movie:
        for index in (0, 1):
            assert compare(movie, movie.packed_frame(index), chunk_bits) == 0


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_counts_above_255_are_added_in_each_dtype(tmp_path, dtype):
    path = tmp_path / "a.eer"
    write_eer(path, [[[0, 0], [0, 7]]] * 600, height_px=1, width_px=3)
    with EerMovie(path, fractions=2) as movie:
        packed = replace(movie.packed_frame(0), dtype=np.dtype(dtype))

    image, _ = event_kernels.render(np, packed, packed.data.copy(), packed.streams)

    assert image.dtype == dtype
    assert image.tolist() == [[300, 300, 0]]


@pytest.mark.parametrize("chunk_bits", CHUNK_BITS)
@pytest.mark.parametrize("keeps_places", [False, True])
def test_places_after_the_longest_run_are_passed_over(tmp_path, keeps_places, chunk_bits):
    path = write(tmp_path / "a.eer", streams([3, 0, 8, 500], keeps_places=keeps_places))

    with EerMovie(path, fractions=2) as movie:
        packed = movie.packed_frame(0)
        assert packed.keeps_places == keeps_places
        assert compare(movie, packed, chunk_bits) == 0


@pytest.mark.parametrize(
    "spare",
    [b"", b"\x12\x34", bytes(100), b"\xff" * 100, MARK],
    ids=["no", "bits", "0", "255", "mark"],
)
@pytest.mark.parametrize("strips", [1, 3])
def test_what_follows_the_last_pixel_is_judged_as_on_the_cpu(tmp_path, spare, strips):
    raw = streams([30, 30, 0, 30, 30], keeps_places=False, spare=spare)
    # The last pixel comes long before the end.
    raw[1] = raw[2][: -len(spare) or None] + raw[1][20:]

    with EerMovie(write(tmp_path / "a.eer", raw, strips=strips), groups=(3, 2)) as movie:
        assert [compare(movie, movie.packed_frame(index), 100) for index in (0, 1)] == [1, 0]


@pytest.mark.parametrize("keeps_places", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_damaged_raw_frames_are_those_of_the_cpu(tmp_path, keeps_places, seed):
    rng = np.random.default_rng(seed)
    path = write(tmp_path / "a.eer", streams([5, 60, 200, 9], keeps_places=keeps_places))
    with EerMovie(path, groups=(3, 1)) as movie:
        packed = movie.packed_frame(0)
        data = packed.data.copy()
        if seed % 3 == 0:  # one bit
            data[rng.integers(data.size)] ^= 1 << rng.integers(8)
        elif seed % 3 == 1:  # the end of a raw frame is missing
            rows = packed.streams.copy()
            rows[1, 1] -= rng.integers(1, rows[1, 1] + 1)
            packed = replace(packed, streams=rows)
        else:
            data[:] = rng.integers(0, 256, data.size) | rng.integers(0, 2, data.size) * 255

        compare(movie, replace(packed, data=data), 100)
