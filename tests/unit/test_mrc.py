"""MRC: what the header says and what is believed of it."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.movies import open_movie
from flexalign.io.mrc import HEADER_BYTES, IMOD_STAMP


def write(path, frames, pixel_size_A=0.8, **fields):
    """A stack written by mrcfile, some header fields changed afterwards."""
    with mrcfile.new(path, frames, overwrite=True) as file:
        file.voxel_size = pixel_size_A
        for name, value in fields.items():
            file.header[name] = value
    return path


@pytest.fixture
def frames():
    return np.arange(2 * 3 * 5, dtype=np.int16).reshape(2, 3, 5)


def info_of(path):
    with open_movie(path) as movie:
        return movie.info


def test_a_stack_written_by_mrcfile_is_read(tmp_path, frames):
    with open_movie(write(tmp_path / "a.mrcs", frames)) as movie:
        read = [frame.pixels for frame in movie.frames()]

    np.testing.assert_array_equal(read, frames)
    assert movie.info.pixel_size_A == 0.8


@pytest.mark.parametrize(
    ("stamp", "flags", "dtype"),
    [(0, 0, "int8"), (IMOD_STAMP, 1, "int8"), (IMOD_STAMP, 0, "uint8"), (0, 1, "int8")],
)
def test_imod_flags_say_whether_bytes_are_signed(tmp_path, stamp, flags, dtype):
    values = np.array([[[0, 127, 128, 255]]] * 2, np.uint8)
    path = write(tmp_path / "a.mrc", values.view(np.int8))
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([stamp, flags], "<i4").tobytes()
    path.write_bytes(content)

    with open_movie(path) as movie:
        pixels = next(movie.frames()).pixels

    np.testing.assert_array_equal(pixels, values[0].view(dtype))
    assert movie.info.pixel_dtype == dtype


def test_two_values_in_a_byte_of_mode_0_are_refused(tmp_path):
    path = write(tmp_path / "a.mrc", np.zeros((2, 3, 4), np.int8))
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([IMOD_STAMP, 16], "<i4").tobytes()
    path.write_bytes(content)

    with pytest.raises(InputError, match="two 4-bit values per byte"):
        open_movie(path)


@pytest.mark.parametrize("size_A", [1.0, 0.0, (0.8, 0.9, 0.8), -1.0, 1e6, np.nan])
def test_a_doubtful_pixel_size_is_not_trusted_and_the_user_is_told(tmp_path, frames, size_A):
    info = info_of(write(tmp_path / "a.mrc", frames, size_A))

    assert info.pixel_size_A is None
    assert "pixel size" in info.notes[0]


def test_a_pixel_size_has_no_noise_digits(tmp_path, frames):
    assert info_of(write(tmp_path / "a.mrc", frames, 0.6485)).pixel_size_A == 0.6485


@pytest.mark.parametrize("fields", [{"nx": 0}, {"ny": -3}, {"nz": -1}, {"mode": 3}, {"mode": 4}])
def test_a_header_that_makes_no_sense_is_refused(tmp_path, frames, fields):
    with pytest.raises(InputError, match="positive sizes and one of the modes"):
        open_movie(write(tmp_path / "a.mrc", frames, **fields))


def test_a_file_cut_in_its_header_is_refused(tmp_path, frames):
    path = write(tmp_path / "a.mrc", frames)
    path.write_bytes(path.read_bytes()[: HEADER_BYTES - 1])

    with pytest.raises(InputError, match="1024 bytes, found 1023"):
        open_movie(path)


def test_a_truncated_file_says_how_much_is_missing(tmp_path, frames):
    path = write(tmp_path / "a.mrc", frames)
    path.write_bytes(path.read_bytes()[:-7])

    with pytest.raises(InputError, match=r"expected 1084 bytes .* found 1077"):
        open_movie(path)


def test_a_file_without_the_map_mark_is_read_for_its_suffix(tmp_path, frames):
    path = write(tmp_path / "a.st", frames, map=b"\0\0\0\0")

    assert info_of(path).frame_count == 2


def test_a_big_endian_file_of_256_columns_of_bytes_is_not_taken_for_65536(tmp_path):
    frames = np.zeros((2, 256, 256), np.int8)
    path = write(tmp_path / "a.mrc", frames)
    content = bytearray(path.read_bytes())
    head = np.frombuffer(bytes(content[:HEADER_BYTES]), "<i4").astype(">i4").tobytes()
    content[:208] = head[:208]
    content[212:216] = b"\x11\x11\0\0"
    path.write_bytes(content)

    assert (info_of(path).height_px, info_of(path).width_px) == (256, 256)
