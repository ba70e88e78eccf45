"""MRC: what the header says and what is believed of it."""

from __future__ import annotations

import gzip

import mrcfile
import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.movies.mrc_header import HEADER_BYTES, IMOD_STAMP, UNSTAMPED
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.references import load_references


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


def stamped(path, flags, stamp=IMOD_STAMP):
    """The file at `path` with IMOD's stamp and these bit flags."""
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([stamp, flags], "<i4").tobytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("stamp", "flags", "expected"),
    [
        (0, 0, [0, 127, -128, -1]),
        (0, 1, [0, 127, -128, -1]),
        (IMOD_STAMP, 0, [0, 127, 128, 255]),
        (IMOD_STAMP, 1, [128, 255, 0, 127]),
        (IMOD_STAMP, 1 + 2 + 4, [128, 255, 0, 127]),
    ],
)
def test_the_stamp_of_imod_says_what_bytes_are(tmp_path, stamp, flags, expected):
    values = np.array([[[0, 127, 128, 255]]] * 2, np.uint8)
    path = stamped(write(tmp_path / "a.mrc", values.view(np.int8)), flags, stamp)

    with open_movie(path) as movie:
        pixels = next(movie.frames()).pixels

    np.testing.assert_array_equal(pixels[0].astype(int), expected)
    assert movie.info.pixel_dtype == pixels.dtype.name


def test_the_user_is_told_that_bytes_without_a_stamp_are_taken_as_signed(tmp_path):
    path = write(tmp_path / "a.mrc", np.zeros((2, 3, 4), np.int8))

    assert UNSTAMPED in info_of(path).notes
    assert UNSTAMPED not in info_of(stamped(path, 0)).notes


@pytest.mark.parametrize("is_labelled", [False, True])
def test_two_values_in_a_byte_of_mode_0_make_twice_the_width(tmp_path, is_labelled):
    packed = np.array([[[0x21, 0x43, 0x65]] * 2] * 2, np.uint8)
    path = write(tmp_path / "a.mrc", packed.view(np.int8))
    if is_labelled:
        with mrcfile.open(path, "r+") as file:
            file.header.nlabl, file.header.label[0] = 1, b"SerialEMCCD: Dose frac. 4 bits packed"
    else:
        stamped(path, 16)

    with open_movie(path) as movie:
        pixels = next(movie.frames()).pixels

    np.testing.assert_array_equal(pixels, [[1, 2, 3, 4, 5, 6]] * 2)
    assert movie.info.width_px == 6
    # A cell of 3 columns of 0.8 A is one of 6 columns to IMOD, which doubles it.
    assert movie.info.pixel_size_A == 0.8


def test_packed_bytes_marked_as_signed_are_refused(tmp_path):
    path = stamped(write(tmp_path / "a.mrc", np.zeros((2, 3, 4), np.int8)), 17)

    with pytest.raises(InputError, match="marked as signed"):
        open_movie(path)


@pytest.mark.parametrize("suffix", [".mrc", ".mrc.gz"])
def test_the_stamp_holds_for_references(tmp_path, suffix):
    good = np.full((8, 8), -128, np.int8)
    good[2, 3] = -127  # the one bad pixel, 1 as IMOD has it
    content = stamped(write(tmp_path / "plain.mrc", good), 1).read_bytes()
    path = tmp_path / f"defects{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    info = info_of(write(tmp_path / "movie.mrc", np.zeros((2, 8, 8), np.uint16)))

    found = load_references(info, defects=path, dark=path)

    assert np.argwhere(found.defects).tolist() == [[2, 3]]
    assert found.dark[2, 3] == 1
    assert found.dark.sum() == 1


def test_an_extended_header_that_no_program_writes_is_refused(tmp_path, frames):
    with pytest.raises(InputError, match="extended header of at most"):
        open_movie(write(tmp_path / "a.mrc", frames, nsymbt=1 << 30))


@pytest.mark.parametrize("size_A", [1.0, 0.0, (0.8, 0.9, 0.8), -1.0, 0.08, 101.0, 1e6, np.nan])
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
