"""Compressed files: read to their end, in memory that what is in them justifies."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc

import mrcfile
import numpy as np
import pytest
import zstandard

from flexalign.errors import InputError
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.reference_images import read_image
from flexalign.model import FrameRange

ZST = zstandard.ZstdCompressor(write_checksum=True)
PACK = {"bz2": bz2.compress, "gz": gzip.compress, "xz": lzma.compress, "zst": ZST.compress}


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).poisson(8, (5, 32, 48)).astype(np.int16)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, frames):
    """The bytes of an MRC movie."""
    path = tmp_path_factory.mktemp("plain") / "a.mrc"
    with mrcfile.new(path, frames) as file:
        file.set_image_stack()
        file.voxel_size = 2.0
    return path.read_bytes()


def read_all(path, frames=None):
    with open_movie(path) as movie:
        return np.array([frame.pixels for frame in movie.frames(frames)])


@pytest.mark.parametrize("name", PACK)
def test_no_damaged_bit_passes(tmp_path, plain, frames, name):
    packed, path = PACK[name](plain), tmp_path / f"a.mrc.{name}"
    rng = np.random.default_rng(3)
    # The last bits of a bzip2 stream are padding, which holds nothing.
    for place in rng.integers(20, len(packed) - (name == "bz2"), 60):
        damaged = bytearray(packed)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            read_all(path)


@pytest.mark.parametrize("name", PACK)
def test_damage_behind_the_frames_that_are_used_is_found(tmp_path, plain, name):
    packed, path = bytearray(PACK[name](plain)), tmp_path / f"a.mrc.{name}"
    packed[-1 if name == "zst" else -6] ^= 1  # in the checksum
    path.write_bytes(packed)

    with open_movie(path) as movie:
        with pytest.raises(InputError, match="decompress"):
            list(movie.frames(FrameRange(0, 2)))
        with pytest.raises(InputError, match="decompress"):
            movie.read_frame(0)


@pytest.mark.parametrize("name", PACK)
def test_garbage_behind_the_stream_is_refused(tmp_path, plain, name):
    path = tmp_path / f"a.mrc.{name}"
    path.write_bytes(PACK[name](plain) + b"something else")

    with pytest.raises(InputError, match="cannot be decompressed"):
        read_all(path)


@pytest.mark.parametrize("name", PACK)
def test_streams_in_a_row_are_one_file(tmp_path, plain, frames, name):
    path = tmp_path / f"a.mrc.{name}"
    path.write_bytes(b"".join(PACK[name](plain[i : i + 5000]) for i in range(0, len(plain), 5000)))

    np.testing.assert_array_equal(read_all(path), frames)


@pytest.mark.parametrize("name", ["bz2", "xz"])
def test_streams_may_be_padded_with_zeros(tmp_path, plain, frames, name):
    path = tmp_path / f"a.mrc.{name}"
    path.write_bytes(PACK[name](plain) + bytes(8))

    np.testing.assert_array_equal(read_all(path), frames)


@pytest.mark.parametrize("name", PACK)
def test_a_little_behind_the_last_frame_is_passed_over(tmp_path, plain, frames, name):
    path = tmp_path / f"a.mrc.{name}"
    path.write_bytes(PACK[name](plain + b"some words of a camera"))

    np.testing.assert_array_equal(read_all(path), frames)


@pytest.mark.parametrize("name", PACK)
def test_much_behind_the_last_frame_is_refused(tmp_path, plain, name):
    path = tmp_path / f"a.mrc.{name}"
    path.write_bytes(PACK[name](plain + bytes(3 << 20)))

    with pytest.raises(InputError, match="expected the end of the data"):
        read_all(path)


def header_of(plain, size_xyz, extended_bytes=0):
    header = bytearray(plain[:1024])
    header[:12] = np.array(size_xyz, "<i4").tobytes()
    header[92:96] = np.array([extended_bytes], "<i4").tobytes()
    return bytes(header)


@pytest.mark.parametrize("name", PACK)
def test_a_header_that_claims_more_than_the_file_can_hold_allocates_nothing(tmp_path, plain, name):
    path = tmp_path / f"a.mrc.{name}"
    path.write_bytes(PACK[name](header_of(plain, (1 << 20, 1 << 20, 4)) + bytes(2000)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="a header that claims 8796093023232"):
            open_movie(path)
        with pytest.raises(InputError, match="a header that claims"):
            read_image(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("name", PACK)
def test_an_extended_header_is_not_kept(tmp_path, plain, frames, name):
    path, extended = tmp_path / f"a.mrc.{name}", 24 << 20
    content = header_of(plain, frames.shape[::-1], extended) + bytes(extended) + plain[1024:]
    path.write_bytes(PACK[name](content))
    del content
    tracemalloc.start()
    try:
        found = read_all(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    np.testing.assert_array_equal(found, frames)
    assert peak_bytes < 16_000_000


def test_a_stream_without_a_checksum_is_named(tmp_path, plain):
    path = tmp_path / "a.mrc.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(plain))
    with open_movie(path) as movie:
        assert "without a checksum: damage may go unnoticed" in movie.info.notes
    path.write_bytes(ZST.compress(plain))
    with open_movie(path) as movie:
        assert movie.info.notes == ()
