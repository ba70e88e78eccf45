"""TIFF pages that promise more than the file holds, and frames that lie behind one page."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from flexalign.errors import InputError
from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.movies.tiff import whole_pages
from flexalign.io.reference_images import read_image
from flexalign.params import AlignParams

FRAMES = np.random.default_rng(5).poisson(20, (4, 64, 64)).astype(np.uint16)
PIECES = {"strips": {"rowsperstrip": 16}, "tiles": {"tile": (16, 32)}}
LENGTH, WIDTH, DESCRIPTION = 257, 256, 270


def write(path, frames=FRAMES, pieces="strips", **how):
    tifffile.imwrite(path, frames, photometric="minisblack", metadata=None, **PIECES[pieces], **how)
    return path


def change(path, pages, codes, edit):
    """Edit the 12 bytes of these tags of these pages, counted from 0."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for number in pages:
            for code in codes:
                tag = file.pages[number].tags[code]
                content[tag.offset : tag.offset + 12] = edit(tag, content)
    path.write_bytes(content)
    return path


def one_less(tag, content):
    """The tag with one value fewer."""
    return struct.pack("<HHI", tag.code, tag.dtype, tag.count - 1) + bytes(
        content[tag.offset + 8 : tag.offset + 12]
    )


def double(tag, content):
    """The tag with twice its value."""
    return struct.pack("<HHII", tag.code, 4, 1, 2 * tag.value)


def frames_of(path):
    with open_movie(path, tiff_rows="file") as movie:
        return list(movie.frames())


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd", "packbits"])
@pytest.mark.parametrize("pieces", PIECES)
def test_a_frame_with_a_piece_too_few_is_a_problem_of_that_frame(tmp_path, compression, pieces):
    path = write(tmp_path / "a.tif", pieces=pieces, compression=compression)
    codes = (324, 325) if pieces == "tiles" else (273, 279)

    frames = frames_of(change(path, [2], codes, one_less))

    assert [frame.pixels is None for frame in frames] == [False, False, True, False]
    needed = 8 if pieces == "tiles" else 4
    assert f"needs {needed} {pieces}, but there are {needed - 1}" in frames[2].problem
    np.testing.assert_array_equal(frames[3].pixels, FRAMES[3])


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
@pytest.mark.parametrize("pieces", PIECES)
def test_a_movie_in_which_every_page_lacks_data_is_refused(tmp_path, compression, pieces):
    path = write(tmp_path / "a.tif", pieces=pieces, compression=compression)
    change(path, range(4), [LENGTH], double)

    with pytest.raises(InputError, match="found none that is whole"):
        open_movie(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_strip_of_no_bytes_is_a_problem_of_its_frame(tmp_path, compression):
    path = write(tmp_path / "a.tif", compression=compression)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[1].tags[279]
        size = tag.valuebytecount // tag.count
    content[tag.valueoffset : tag.valueoffset + size] = bytes(size)
    path.write_bytes(content)

    frames = frames_of(path)

    assert frames[1].pixels is None
    assert "1 of its 4 strips have no data" in frames[1].problem
    assert frames[0].problem == ""


def test_a_strip_shorter_than_its_rows_is_a_problem_of_its_frame(tmp_path):
    path = write(tmp_path / "a.tif")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[1].tags[279]
        size, expected = tag.valuebytecount // tag.count, tag.value[0]
    content[tag.valueoffset : tag.valueoffset + size] = (expected - 2).to_bytes(size, "little")
    path.write_bytes(content)

    assert "1 of its 4 strips are shorter than their rows" in frames_of(path)[1].problem


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd"])
def test_a_strip_that_unpacks_to_too_little_is_a_problem_of_its_frame(tmp_path, compression):
    path = write(tmp_path / "a.tif", compression=compression)
    # Each strip holds 16 rows.
    change(path, [1], [278], double)

    frames = frames_of(path)

    assert [frame.pixels is None for frame in frames] == [False, True, False, False]
    assert frames[1].problem.startswith("the frame cannot be decoded")


def test_a_size_that_no_compression_reaches_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", compression="zlib")
    for code in (WIDTH, LENGTH, 278):
        change(path, range(4), [code], lambda tag, _: struct.pack("<HHII", tag.code, 4, 1, 60000))

    with pytest.raises(InputError, match="cannot hold 60000 x 60000 pixels"):
        open_movie(path)


def test_a_reference_that_lacks_data_is_refused(tmp_path):
    path = change(write(tmp_path / "gain.tif", FRAMES[:1]), [0], (273, 279), one_less)

    with pytest.raises(InputError, match="needs 4 strips, but there are 3"):
        read_image(path)


def test_whole_pages_end_at_the_first_that_lacks_data(tmp_path):
    path = change(write(tmp_path / "a.tif"), [2], (273, 279), one_less)

    assert whole_pages(path) == [(64, 64)] * 2


STACKS = {
    "ImageJ": {"imagej": True, "metadata": {"axes": "TYX"}},
    "tifffile": {"photometric": "minisblack"},
}


@pytest.mark.parametrize("writer", STACKS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("byteorder", "<>")
def test_frames_behind_the_only_page_are_read(tmp_path, writer, dtype, byteorder):
    path, frames = tmp_path / "a.tif", FRAMES.astype(dtype)
    tifffile.imwrite(path, frames, truncate=True, byteorder=byteorder, **STACKS[writer])
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1

    with open_movie(path) as movie:
        assert movie.info.frame_count == 4
        found = np.array([frame.pixels for frame in movie.frames(threads=2)])

    np.testing.assert_array_equal(found, frames[:, ::-1])
    assert found.dtype == frames.dtype
    facts = inspect_file(path, AlignParams(pixel_size_A=1.0))
    assert (facts.kind, facts.values["movie"].frame_count) == ("movie", 4)


def test_frames_behind_the_only_page_that_are_not_there_are_missed(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, truncate=True)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InputError, match=r"4 images that its description declares.*truncated"):
        open_movie(path)
    assert len(whole_pages(path)) == 3


def test_a_compressed_page_that_tells_of_others_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, FRAMES[0], compression="zlib", description="ImageJ=1.54f\nimages=4\n", metadata=None
    )

    with pytest.raises(InputError, match=r"4 images one after the other.*compressed or in pieces"):
        open_movie(path)


def test_a_stack_behind_one_page_is_no_reference(tmp_path):
    path = tmp_path / "gain.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, truncate=True)

    with pytest.raises(InputError, match="expected a single image, found 4"):
        read_image(path)


@pytest.mark.parametrize("words", ['{"shape": "x"}', '{"shape": [1e999]}', '{"shape":', "ImageJ="])
def test_a_description_that_makes_no_sense_is_one_image(tmp_path, words):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FRAMES[0], description=words, metadata=None)

    with pytest.raises(InputError, match="at least 2 frames, found 1"):
        open_movie(path)
