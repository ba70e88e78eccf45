"""Gain, dark and defects: orientation, sense, size, and what is refused."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
import tifffile

from flexalign.errors import InputError
from flexalign.io.reference_images import read_image
from flexalign.io.references import load_references
from flexalign.model import EerInfo, MovieInfo

SHAPE = (6, 8)
IMAGE = np.arange(1, 49, dtype=np.float32).reshape(SHAPE)


def movie(shape=SHAPE, file_format="mrc", upsampling=1):
    eer = EerInfo(10, 5, 0, upsampling) if file_format == "eer" else None
    return MovieInfo("movie", file_format, 2, *shape, "uint8", None, 1, eer)


def mrc(path, image):
    mrcfile.write(path, np.asarray(image, np.float32), overwrite=True)
    return path


def tiff(path, image):
    tifffile.imwrite(path, np.asarray(image, np.float32))
    return path


@pytest.fixture
def gain(tmp_path):
    return mrc(tmp_path / "gain.mrc", IMAGE)


# What the official Scipion protocol (scipion-em-xmipp 29.0.1) makes of 1..25 in rows of 5: the
# first and the last row of its result. It flips before it turns, we after, as its help says: so
# for a turn by 90 or 270 degrees its two flips change places.
OFFICIAL = {
    (0, "none"): ([1, 2, 3, 4, 5], [21, 22, 23, 24, 25]),
    (0, "upside-down"): ([21, 22, 23, 24, 25], [1, 2, 3, 4, 5]),
    (0, "left-right"): ([5, 4, 3, 2, 1], [25, 24, 23, 22, 21]),
    (90, "none"): ([5, 10, 15, 20, 25], [1, 6, 11, 16, 21]),
    (90, "left-right"): ([25, 20, 15, 10, 5], [21, 16, 11, 6, 1]),
    (90, "upside-down"): ([1, 6, 11, 16, 21], [5, 10, 15, 20, 25]),
    (180, "none"): ([25, 24, 23, 22, 21], [5, 4, 3, 2, 1]),
    (180, "upside-down"): ([5, 4, 3, 2, 1], [25, 24, 23, 22, 21]),
    (180, "left-right"): ([21, 22, 23, 24, 25], [1, 2, 3, 4, 5]),
    (270, "none"): ([21, 16, 11, 6, 1], [25, 20, 15, 10, 5]),
}


@pytest.mark.parametrize(("rotate", "flip"), OFFICIAL)
def test_the_gain_is_oriented_as_by_the_official_protocol(tmp_path, rotate, flip):
    path = mrc(tmp_path / "gain.mrc", np.arange(1, 26).reshape(5, 5))

    found = load_references(movie((5, 5)), gain=path, gain_rotate=rotate, gain_flip=flip).gain

    assert (found[0].tolist(), found[-1].tolist()) == OFFICIAL[rotate, flip]


@pytest.mark.parametrize("rotate", [90, 270])
@pytest.mark.parametrize(
    ("flip", "flipped"), [("upside-down", np.flipud), ("left-right", np.fliplr)]
)
def test_a_gain_that_is_not_square_is_turned_to_the_pixel_and_then_flipped(
    gain, rotate, flip, flipped
):
    found = load_references(movie((8, 6)), gain=gain, gain_rotate=rotate, gain_flip=flip).gain

    np.testing.assert_array_equal(found, flipped(np.rot90(IMAGE, rotate // 90)))


def test_the_dark_is_oriented_as_the_gain_and_the_defects_are_not(tmp_path, gain):
    dark = mrc(tmp_path / "dark.mrc", IMAGE)
    defects = mrc(tmp_path / "defects.mrc", IMAGE > 40)

    found = load_references(movie(), gain=gain, dark=dark, defects=defects, gain_rotate=180)

    np.testing.assert_array_equal(found.dark, IMAGE[::-1, ::-1])
    np.testing.assert_array_equal(found.defects, IMAGE > 40)


@pytest.mark.parametrize(("rows", "expected"), [("imod", IMAGE[::-1]), ("file", IMAGE)])
def test_tiff_references_are_turned_over_like_tiff_movies(tmp_path, rows, expected):
    path = tiff(tmp_path / "gain.tif", IMAGE)

    found = load_references(movie(file_format="tiff"), gain=path, tiff_rows=rows)

    np.testing.assert_array_equal(found.gain, expected)


def test_a_gain_file_for_eer_multiplies_and_is_taken_as_stored(tmp_path):
    path = tiff(tmp_path / "movie.gain", IMAGE)

    np.testing.assert_array_equal(load_references(movie(file_format="eer"), gain=path).gain, IMAGE)


@pytest.mark.parametrize(
    ("write", "name", "rows"),
    [(mrc, "gain.mrc", slice(None)), (tiff, "gain.tif", slice(None, None, -1))],
)
def test_counts_for_eer_divide(tmp_path, write, name, rows):
    path = write(tmp_path / name, IMAGE)

    found = load_references(movie(file_format="eer"), gain=path).gain

    np.testing.assert_allclose(found, IMAGE.mean() / IMAGE[rows], rtol=1e-6)


@pytest.mark.parametrize(
    ("sense", "file_format", "expected"),
    [("multiply", "eer", IMAGE), ("divide", "mrc", IMAGE.mean() / IMAGE)],
)
def test_the_sense_can_be_forced(gain, sense, file_format, expected):
    found = load_references(movie(file_format=file_format), gain=gain, gain_sense=sense).gain

    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("sense", ["multiply", "divide"])
def test_a_gain_that_is_not_positive_and_finite_is_a_defect(tmp_path, sense):
    image = IMAGE.copy()
    image.flat[[3, 11, 20, 30, 41]] = [0, np.nan, np.inf, -np.inf, -2]
    path = tiff(tmp_path / "gain.tif", image)

    found = load_references(movie(), gain=path, gain_sense=sense, tiff_rows="file")

    assert np.flatnonzero(found.defects).tolist() == [3, 11, 20, 30, 41]
    assert (found.gain.flat[[3, 11, 20, 30, 41]] == 1).all()
    assert any("5 pixels have no usable gain" in note for note in found.notes)


def test_the_mean_of_counts_is_that_of_good_pixels(tmp_path):
    image = np.full(SHAPE, 50.0)
    image[2, 3] = 0
    path = mrc(tmp_path / "gain.mrc", image)

    found = load_references(movie(), gain=path, gain_sense="divide").gain

    np.testing.assert_array_equal(found, np.ones(SHAPE))


def test_a_gain_of_twice_the_size_makes_flat_the_sum_of_four_counts(tmp_path):
    fine_gain = np.random.default_rng(1).uniform(0.7, 1.4, (12, 16)).astype(np.float32)
    counts = (1 / fine_gain).reshape(6, 2, 8, 2).sum(axis=(1, 3))

    found = load_references(movie(), gain=mrc(tmp_path / "gain.mrc", fine_gain)).gain

    np.testing.assert_allclose(counts * found, 4, rtol=1e-5)


def test_of_four_gains_two_must_be_good(tmp_path):
    fine_gain = np.ones((12, 16))
    fine_gain[0, 0] = fine_gain[1, 1] = 0
    fine_gain[4:6, 6] = fine_gain[4, 7] = 0

    found = load_references(movie(), gain=mrc(tmp_path / "gain.mrc", fine_gain))

    assert np.argwhere(found.defects).tolist() == [[2, 3]]
    assert found.gain[0, 0] == 2


def test_a_gain_of_half_the_size_is_repeated(gain):
    found = load_references(movie((12, 16)), gain=gain).gain

    np.testing.assert_array_equal(found, np.kron(IMAGE, np.ones((2, 2))))


@pytest.mark.parametrize("shape", [(3, 4), (12, 16)])
def test_a_dark_of_another_size_keeps_its_sum(tmp_path, shape):
    dark = mrc(tmp_path / "dark.mrc", IMAGE)

    found = load_references(movie(shape), dark=dark).dark

    assert found.sum() == pytest.approx(IMAGE.sum())
    assert found[0, 0] == (IMAGE[:2, :2].sum() if shape == (3, 4) else IMAGE[0, 0] / 4)


@pytest.mark.parametrize(
    ("shape", "hint"), [((8, 6), "`gain_rotate` 90 or 270"), ((7, 8), "is it the right file")]
)
def test_another_size_is_refused_with_both_sizes_and_a_hint(gain, shape, hint):
    with pytest.raises(InputError, match=rf"{shape[1]} x {shape[0]} .*found 8 x 6; .*{hint}"):
        load_references(movie(shape), gain=gain)


def test_a_gain_without_a_good_pixel_is_refused(tmp_path):
    path = tiff(tmp_path / "gain.tif", np.full(SHAPE, np.nan))

    with pytest.raises(InputError, match="no pixel above 0"):
        load_references(movie(), gain=path)


def test_counts_taken_for_a_gain_are_told(tmp_path):
    found = load_references(movie(), gain=mrc(tmp_path / "gain.mrc", 300 + IMAGE))

    assert any("`gain_sense` divide" in note for note in found.notes)


def test_a_text_of_defects_marks_rectangles(tmp_path):
    path = tmp_path / "defects.txt"
    path.write_text("# x y w h\n\n7 0 1 6  # the last column\n2, 3, 2, 1\n")
    expected = np.zeros(SHAPE, bool)
    expected[:, 7] = True
    expected[3, 2:4] = True

    np.testing.assert_array_equal(load_references(movie(), defects=path).defects, expected)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_text_of_defects_from_windows_is_the_same(tmp_path, encoding):
    path = tmp_path / "defects.txt"
    path.write_bytes("7 0 1 6\r\n2 3 2 1\r\n".encode(encoding))

    assert load_references(movie(), defects=path).defects.sum() == 6 + 2


@pytest.mark.parametrize("text", ["0 0 8 6\n1 1 1 1\n", f"0 0 1 {'9' * 20}", f"{'9' * 5000} 0 1 1"])
def test_more_bad_pixels_than_there_are_pixels_are_refused(tmp_path, text):
    path = tmp_path / "defects.txt"
    path.write_text(text)

    with pytest.raises(InputError, match=r"expected (bad pixels within|four whole numbers)"):
        load_references(movie(), defects=path)


def test_a_text_of_defects_is_in_pixels_of_the_detector(tmp_path):
    path = tmp_path / "defects.txt"
    path.write_text("1 2 1 1\n")

    found = load_references(movie((12, 16), "eer", upsampling=2), defects=path).defects

    assert np.argwhere(found).tolist() == [[4, 2], [4, 3], [5, 2], [5, 3]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("7 0 2 1", "rectangle within 8 x 6"),
        ("-1 0 2 1", "four whole numbers"),
        ("1 1 0 1", "four whole numbers"),
        ("1 1 1", "four whole numbers"),
        ("1 1 1 x", "four whole numbers"),
        ("CameraSizeX 5760", "SerialEM"),
    ],
)
def test_a_wrong_line_of_defects_is_refused_by_its_number(tmp_path, line, words):
    path = tmp_path / "defects.txt"
    path.write_text(f"1 1 1 1\n{line}\n")

    with pytest.raises(InputError, match=rf"line 2: .*{words}"):
        load_references(movie(), defects=path)


def test_nothing_but_defects_is_refused(tmp_path):
    with pytest.raises(InputError, match="only defects"):
        load_references(movie(), defects=mrc(tmp_path / "defects.mrc", np.ones(SHAPE)))


def test_without_references_no_pixel_is_bad():
    found = load_references(movie())

    assert found.gain is None
    assert found.dark is None
    assert not found.defects.any()


def test_a_stack_of_one_is_an_image_and_a_stack_of_two_is_not(tmp_path):
    np.testing.assert_array_equal(read_image(mrc(tmp_path / "a.mrcs", IMAGE[None])), IMAGE)

    with pytest.raises(InputError, match="single image, found 2"):
        read_image(mrc(tmp_path / "b.mrcs", np.stack([IMAGE, IMAGE])))


def test_a_missing_gain_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_references(movie(), gain=tmp_path / "gain.mrc")


def test_a_gain_of_unknown_format_is_refused(tmp_path):
    path = tmp_path / "gain.dm4"
    path.write_bytes(b"\0\0\0\4" * 100)

    with pytest.raises(InputError, match="expected an image in MRC, TIFF or DM4"):
        load_references(movie(), gain=path)
