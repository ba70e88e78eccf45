"""Two counts of 4 bits in each byte of a TIFF."""

from __future__ import annotations

import struct

import mrcfile
import numpy as np
import pytest
import tifffile

from flexalign.align import align_movie
from flexalign.io.movies.open_movie import open_for, open_movie
from flexalign.params import AlignParams

COUNTS = np.random.default_rng(2).poisson(1.2, (4, 48, 96)).clip(0, 15).astype(np.uint8)
# Low half first, as SerialEM writes and IMOD reads.
PACKED = COUNTS[..., 0::2] | COUNTS[..., 1::2] << 4
SERIALEM = "SerialEMCCD: Dose fractionation image, 4 bits packed, scaled by 1.00\n  r/f 3\n"


def write(path, frames, description=None, **how):
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            file.write(frame, contiguous=False, metadata=None, description=description, **how)
    return path


def write_gain(path, shape):
    with mrcfile.new(path, data=np.ones(shape, np.float32)):
        pass
    return str(path)


def pixels_of(reader):
    with reader as movie:
        frames = list(movie.frames())
    assert (movie.info.height_px, movie.info.width_px) == frames[0].pixels.shape
    return np.array([frame.pixels for frame in frames]), [frame.problem for frame in frames]


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_they_are_taken_apart_where_serialem_says_so(tmp_path, compression):
    path = write(tmp_path / "a.tif", PACKED, SERIALEM, compression=compression)

    found, problems = pixels_of(open_movie(path))

    np.testing.assert_array_equal(found, COUNTS[:, ::-1])
    assert problems == [""] * 4
    with open_movie(path) as movie:
        assert any("packed" in note for note in movie.info.notes)


@pytest.mark.parametrize(
    "description", [SERIALEM.replace("4 bits", "4-bits"), SERIALEM + "clip: unpack\n"]
)
def test_they_are_not_taken_apart_where_another_program_has_done_so(tmp_path, description):
    path = write(tmp_path / "a.tif", COUNTS, description)

    np.testing.assert_array_equal(pixels_of(open_movie(path))[0], COUNTS[:, ::-1])


@pytest.mark.parametrize("shape", [(48, 96), (96, 48)])
@pytest.mark.parametrize("suffix", [".mrc", ".tif"])
def test_a_gain_of_twice_the_width_has_them_taken_apart(tmp_path, shape, suffix):
    path, gain = write(tmp_path / "a.tif", PACKED), tmp_path / f"gain{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(gain, np.ones(shape, np.float32))
    else:
        write_gain(gain, shape)

    found, problems = pixels_of(open_for(path, AlignParams(gain=str(gain))))

    np.testing.assert_array_equal(found, COUNTS[:, ::-1])
    assert problems == [""] * 4


@pytest.mark.parametrize("shape", [(48, 48), (96, 96), (24, 24)])
def test_other_gains_leave_the_bytes_as_they_are(tmp_path, shape):
    path = write(tmp_path / "a.tif", PACKED)
    gain = write_gain(tmp_path / "gain.mrc", shape)

    np.testing.assert_array_equal(
        pixels_of(open_for(path, AlignParams(gain=gain)))[0], PACKED[:, ::-1]
    )


def test_sixteen_bits_are_never_taken_apart(tmp_path):
    path = write(tmp_path / "a.tif", PACKED.astype(np.uint16), SERIALEM)
    gain = write_gain(tmp_path / "gain.mrc", (48, 96))

    found, _ = pixels_of(open_for(path, AlignParams(gain=gain)))

    np.testing.assert_array_equal(found, PACKED[:, ::-1])


@pytest.mark.parametrize("mean", [0.1, 0.5, 2.0])
def test_bytes_that_look_packed_are_told_once(tmp_path, mean):
    counts = np.random.default_rng(4).poisson(mean, (3, 64, 128)).clip(0, 15).astype(np.uint8)
    path = write(tmp_path / "a.tif", counts[..., 0::2] | counts[..., 1::2] << 4)

    _, problems = pixels_of(open_movie(path))

    assert ["packed" in problem for problem in problems] == [True, False, False]


@pytest.mark.parametrize("mean", [0.02, 0.5, 3, 8, 15, 16, 20, 40, 80, 128, 180])
def test_bytes_with_one_count_each_do_not_look_packed(tmp_path, mean):
    counts = np.random.default_rng(4).poisson(mean, (2, 64, 128)).clip(0, 255).astype(np.uint8)

    _, problems = pixels_of(open_movie(write(tmp_path / "a.tif", counts)))

    assert problems == ["", ""]


def test_the_record_of_a_movie_that_looks_packed_warns(tmp_path):
    path = write(tmp_path / "a.tif", PACKED)

    result = align_movie(path, AlignParams(pixel_size_A=2.0, local=False, device="cpu", threads=1))

    assert any("packed" in warning for warning in result.record.warnings)


def test_four_bits_by_the_tags_are_read_with_the_high_half_first(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(four_bit_tiff(COUNTS))

    np.testing.assert_array_equal(pixels_of(open_movie(path))[0], COUNTS[:, ::-1])


def four_bit_tiff(frames):
    """A TIFF of 4 bits per sample, of even width."""
    data, link = bytearray(struct.pack("<2sHI", b"II", 42, 0)), 4
    for frame in frames:
        offset, pixels = len(data), (frame[:, 0::2] << 4 | frame[:, 1::2]).tobytes()
        data += pixels
        data[link : link + 4] = struct.pack("<I", len(data))
        height, width = frame.shape
        values = [
            (256, width), (257, height), (258, 4), (259, 1), (262, 1), (273, offset), (277, 1),
            (278, height), (279, len(pixels)),
        ]  # fmt: skip
        data += struct.pack("<H", len(values))
        data += b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in values)
        link = len(data)
        data += bytes(4)
    return bytes(data)
