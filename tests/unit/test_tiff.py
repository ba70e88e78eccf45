"""TIFF: rows, pages, kinds, and broken files."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from flexalign.errors import InputError
from flexalign.io.movies.open_movie import open_movie

FRAMES = np.random.default_rng(3).integers(0, 255, (4, 30, 40), dtype=np.uint8)


def write(path, pages, **how):
    with tifffile.TiffWriter(path) as file:
        for page in pages:
            file.write(page, contiguous=False, metadata=None, **how)
    return path


def read(path, **options):
    with open_movie(path, **options) as movie:
        return list(movie.frames())


def test_the_last_row_of_the_file_comes_first(tmp_path):
    frames = read(write(tmp_path / "a.tif", FRAMES))

    np.testing.assert_array_equal(frames[0].pixels, FRAMES[0, ::-1])


def test_rows_in_the_order_of_the_file_on_request(tmp_path):
    frames = read(write(tmp_path / "a.tif", FRAMES), tiff_rows="file")

    np.testing.assert_array_equal(frames[0].pixels, FRAMES[0])


def test_thumbnails_are_left_out_and_the_user_is_told(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for frame in FRAMES:
            file.write(frame, metadata=None, contiguous=False)
            file.write(frame[::4, ::4], metadata=None, subfiletype=1)

    with open_movie(path) as movie:
        assert movie.info.frame_count == 4
        assert movie.info.notes == ("4 thumbnail pages were left out",)
        np.testing.assert_array_equal([frame.pixels for frame in movie.frames()], FRAMES[:, ::-1])


def test_pages_of_different_sizes_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", [FRAMES[0], FRAMES[1, :20]])

    with pytest.raises(InputError, match=r"40 x 30 uint8 in page 1 and 40 x 20 uint8 in page 2"):
        open_movie(path)


def test_pages_of_different_kinds_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", [FRAMES[0], FRAMES[1].astype(np.uint16)])

    with pytest.raises(InputError, match="uint8 in page 1 and 40 x 30 uint16 in page 2"):
        open_movie(path)


def test_colour_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((2, 30, 40, 3), np.uint8), photometric="rgb")

    with pytest.raises(InputError, match="found 3 samples"):
        open_movie(path)


def test_double_precision_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", FRAMES.astype(np.float64))

    with pytest.raises(InputError, match="found float64 of 64 bits"):
        open_movie(path)


def test_a_page_that_cannot_be_decoded_is_a_problem_and_no_error(tmp_path, caplog):
    path = write(tmp_path / "a.tif", FRAMES, compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[2].dataoffsets[0], file.pages[2].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset + 2 : offset + count] = b"\xff" * (count - 2)
    path.write_bytes(content)

    frames = read(path)

    assert [frame.pixels is None for frame in frames] == [False, False, True, False]
    assert frames[2].problem.startswith("the frame cannot be decoded")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("resolution", "unit", "expected_A"),
    [
        ((1e8 / 0.83, 1e8 / 0.83), "CENTIMETER", 0.83),
        ((2.54e8 / 1.2, 2.54e8 / 1.2), "INCH", 1.2),
        ((72, 72), "INCH", None),
        ((1e8, 1e8), "CENTIMETER", None),
        ((1e8 / 0.83, 1e8 / 1.83), "CENTIMETER", None),
        ((1 / 0.83, 1 / 0.83), "NONE", None),
    ],
)
def test_the_resolution_is_a_pixel_size_only_where_it_can_be(
    tmp_path, resolution, unit, expected_A
):
    path = write(tmp_path / "a.tif", FRAMES, resolution=resolution, resolutionunit=unit)

    with open_movie(path) as movie:
        assert movie.info.pixel_size_A == (
            None if expected_A is None else pytest.approx(expected_A, rel=1e-5)
        )


def test_imagej_gives_the_unit_in_words(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        FRAMES,
        imagej=True,
        resolution=(1 / 0.083, 1 / 0.083),
        metadata={"unit": "nm", "axes": "TYX"},
    )

    with open_movie(path) as movie:
        assert movie.info.pixel_size_A == pytest.approx(0.83, rel=1e-4)
