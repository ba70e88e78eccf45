"""EER: the same events as imagecodecs sees, fractions, broken raw frames."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from flexalign.errors import InputError, ParameterError
from flexalign.io.movies.eer_writer import write_eer
from flexalign.io.movies.open_movie import open_movie
from flexalign.model import EerInfo

HEIGHT, WIDTH = 40, 56
CODECS = (65000, 65001, 65002)


def events(count, seed=0):
    """`count` events in as many pixels, at random places within them."""
    rng = np.random.default_rng(seed)
    y, x = np.divmod(rng.choice(HEIGHT * WIDTH, count, replace=False), WIDTH)
    return np.stack([4 * y, 4 * x], 1) + rng.integers(0, 4, (count, 2))


def image_of(place, cells_per_pixel):
    image = np.zeros((HEIGHT * cells_per_pixel, WIDTH * cells_per_pixel), int)
    y, x = (np.asarray(place) * cells_per_pixel // 4).T
    np.add.at(image, (y, x), 1)
    return image


def write(path, raw_frames, **more):
    write_eer(path, raw_frames, height_px=HEIGHT, width_px=WIDTH, **more)
    return path


def read(path, **options):
    with open_movie(path, **options) as movie:
        return list(movie.frames())


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_another_reader_sees_the_events_that_were_written(tmp_path, codec, level):
    corners = np.array([[0, 0], [3, 4 * WIDTH - 1], [4 * HEIGHT - 1, 0]])
    last = np.array([[4 * HEIGHT - 1, 4 * WIDTH - 1]])
    # Few events make long runs, an empty frame nothing but runs.
    raw = [events(600), np.empty((0, 2), int), corners, last, events(3), events(HEIGHT * WIDTH)]
    path = write(tmp_path / "a.eer", raw, codec=codec)

    images = tifffile.imread(path, superres=level)

    np.testing.assert_array_equal(images, [image_of(place, 2**level) for place in raw])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("pixel_count_over_run", [-1, 0, 1])
def test_runs_as_long_as_the_longest_one_come_back(tmp_path, codec, pixel_count_over_run):
    run = (255 if codec == 65000 else 127) + pixel_count_over_run
    raw = [np.array([[0, 0], [0, 4 * (run + 1)]]), np.array([[0, 4 * run]]), np.empty((0, 2), int)]
    path = tmp_path / "a.eer"
    write_eer(path, raw, height_px=1, width_px=2 * run + 2, codec=codec)

    with open_movie(path, eer_fractions=3) as movie:
        found = [np.flatnonzero(frame.pixels).tolist() for frame in movie.frames()]

    assert found == [[0, run + 1], [run], []]


@pytest.mark.parametrize("upsampling", [1, 2])
def test_raw_frames_are_summed_to_fractions(tmp_path, upsampling):
    raw = [events(300, seed) for seed in range(6)]
    path = write(tmp_path / "a.eer", raw)

    frames = read(path, eer_fractions=3, eer_upsampling=upsampling)

    expected = [
        image_of(a, upsampling) + image_of(b, upsampling) for a, b in (raw[:2], raw[2:4], raw[4:])
    ]
    np.testing.assert_array_equal([frame.pixels for frame in frames], expected)


@pytest.mark.parametrize(
    ("options", "frame_count", "per_frame", "leftover"),
    [
        ({"eer_fractions": 4}, 4, 2, 3),
        ({"eer_fractions": 11}, 11, 1, 0),
        ({"eer_fractions": 8}, 8, 1, 3),
        ({"eer_raw_frames_per_frame": 3}, 3, 3, 2),
    ],
)
def test_leftover_raw_frames_are_counted_and_told(
    tmp_path, options, frame_count, per_frame, leftover
):
    path = write(tmp_path / "a.eer", [events(5)] * 11)

    with open_movie(path, **options) as movie:
        assert movie.info.frame_count == frame_count
        assert movie.info.eer == EerInfo(11, per_frame, leftover, 1)
        assert bool(movie.info.notes) == bool(leftover)
        assert all(f"last {leftover} of 11" in note for note in movie.info.notes)


def test_more_fractions_than_raw_frames_are_refused(tmp_path):
    path = write(tmp_path / "a.eer", [events(5)] * 11)

    with pytest.raises(ParameterError, match=r"1 to 11 fractions.*found 12"):
        open_movie(path, eer_fractions=12)


def test_many_raw_frames_do_not_overflow_a_pixel(tmp_path):
    path = tmp_path / "a.eer"
    write_eer(path, [[[0, 0]]] * 600, height_px=2, width_px=2)

    with open_movie(path, eer_fractions=2) as movie:
        assert next(movie.frames()).pixels.tolist() == [[300, 0], [0, 0]]
        assert movie.info.pixel_dtype == "uint16"


def spoil(path, page):
    """Make the runs of one raw frame add up to too many pixels."""
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[page].dataoffsets[0], file.pages[page].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = b"\xfe" * count
    path.write_bytes(content)


def test_a_broken_raw_frame_is_left_out_and_told(tmp_path):
    raw = [events(300, seed) for seed in range(4)]
    path = write(tmp_path / "a.eer", raw)
    spoil(path, 1)

    broken, whole = read(path, eer_fractions=2)

    np.testing.assert_array_equal(broken.pixels, image_of(raw[0], 1))
    assert broken.problem == "1 of 2 raw frames cannot be decoded and were left out"
    assert whole.problem == ""


def test_a_fraction_without_a_good_raw_frame_has_no_pixels(tmp_path):
    path = write(tmp_path / "a.eer", [events(300, seed) for seed in range(4)])
    spoil(path, 0)
    spoil(path, 1)

    broken, whole = read(path, eer_fractions=2)

    assert broken.pixels is None
    assert "none of its 2 raw frames" in broken.problem
    assert whole.pixels is not None


def test_runs_that_fall_short_are_noticed(tmp_path):
    path = write(tmp_path / "a.eer", [events(300, seed) for seed in range(2)])
    with tifffile.TiffFile(path) as file:
        page = file.pages[1]
        tag = page.tags["StripByteCounts"]
    content = bytearray(path.read_bytes())
    content[tag.valueoffset : tag.valueoffset + 8] = (100).to_bytes(8, "little")
    path.write_bytes(content)

    assert [frame.pixels is None for frame in read(path, eer_fractions=2)] == [False, True]


def test_a_sum_on_the_first_page_is_no_raw_frame(tmp_path):
    path = write(tmp_path / "a.eer", [events(5)] * 3)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["Compression"]
    content[tag.valueoffset : tag.valueoffset + 2] = (1).to_bytes(2, "little")
    path.write_bytes(content)

    with open_movie(path, eer_fractions=2) as movie:
        assert movie.info.eer.raw_frame_count == 2


@pytest.mark.parametrize(("upsampling", "expected_A"), [(1, 0.7), (2, 0.35)])
def test_the_pixel_size_is_that_of_the_grid_used(tmp_path, upsampling, expected_A):
    path = write(tmp_path / "a.eer", [events(5)] * 2, pixel_size_A=0.7)

    with open_movie(path, eer_fractions=2, eer_upsampling=upsampling) as movie:
        assert movie.info.pixel_size_A == pytest.approx(expected_A)


def test_only_the_first_of_two_events_in_a_pixel_is_kept(tmp_path):
    path = write(tmp_path / "a.eer", [[[5, 6], [4, 7]]] * 2)

    (first, _) = read(path, eer_fractions=2, eer_upsampling=2)

    assert np.argwhere(first.pixels).tolist() == [[2, 3]]


def test_an_event_off_the_detector_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="expected events within"):
        write(tmp_path / "a.eer", [[[0, 0]], [[0, 4 * WIDTH]]])

    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_refused_when_opened(tmp_path):
    path = write(tmp_path / "a.eer", [events(300)] * 4)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InputError, match="truncated"):
        open_movie(path, eer_fractions=2)
