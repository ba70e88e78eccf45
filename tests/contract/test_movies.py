"""What every reader promises, whatever the format."""

from __future__ import annotations

import bz2
import gzip
import lzma
import threading
from pathlib import Path

import numpy as np
import pytest

from flexalign.errors import FlexAlignError, InputError, ParameterError
from flexalign.io.movies.open_movie import open_movie
from flexalign.model import FrameRange


def open_file_count() -> int:
    handles = Path("/proc/self/fd")
    return len(list(handles.iterdir())) if handles.exists() else 0


def read_all(path, **options):
    with open_movie(path, **options) as movie:
        return [frame.pixels for frame in movie.frames()]


@pytest.mark.parametrize("threads", [1, 3])
def test_frames_are_the_ones_written_in_order(case, threads):
    with open_movie(case.path, **case.options) as movie:
        frames = list(movie.frames(threads=threads))

    assert [frame.index for frame in frames] == list(range(len(case.expected)))
    assert all(frame.problem == "" for frame in frames)
    for frame, expected in zip(frames, case.expected, strict=True):
        assert frame.pixels.dtype == expected.dtype
        np.testing.assert_array_equal(frame.pixels, expected)


def test_info_tells_what_the_frames_are(case):
    with open_movie(case.path, **case.options) as movie:
        info = movie.info

    assert (info.frame_count, info.height_px, info.width_px) == case.expected.shape
    assert info.pixel_dtype == case.expected.dtype.name
    assert info.file_format == case.file_format
    assert info.path == str(case.path)
    assert info.size_bytes == case.path.stat().st_size


def test_a_range_gives_its_frames_only(case):
    with open_movie(case.path, **case.options) as movie:
        frames = list(movie.frames(FrameRange(1, 3)))

    assert [frame.index for frame in frames] == [1, 2]
    np.testing.assert_array_equal([frame.pixels for frame in frames], case.expected[1:3])


def test_a_range_past_the_end_is_refused(case):
    with (
        open_movie(case.path, **case.options) as movie,
        pytest.raises(ParameterError, match=r"1-5.*found 5-6"),
    ):
        movie.frames(FrameRange(4, 6))


def test_two_passes_are_equal(case):
    with open_movie(case.path, **case.options) as movie:
        first, second = ([frame.pixels for frame in movie.frames()] for _ in range(2))

    np.testing.assert_array_equal(first, second)


def test_a_pass_that_is_left_early_leaves_no_thread_and_no_open_file(case):
    before = open_file_count()

    with open_movie(case.path, **case.options) as movie:
        frames = movie.frames(threads=2)
        next(frames)
        frames.close()

        assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]
    assert open_file_count() == before


def test_a_full_pass_leaves_no_open_file(case):
    before = open_file_count()

    read_all(case.path, **case.options)

    assert open_file_count() == before


@pytest.mark.parametrize("kept", [0.999, 0.6, 0.1])
def test_a_truncated_file_is_refused(case, kept, caplog):
    content = case.path.read_bytes()
    case.path.write_bytes(content[: min(int(kept * len(content)), len(content) - 2)])

    with pytest.raises(InputError, match="truncated"):
        read_all(case.path, **case.options)

    assert caplog.records == []


def test_a_single_frame_is_refused(maker, tmp_path):
    # An EER file always has more raw frames: there it is what the user asked for.
    case = maker(tmp_path, frame_count=1)

    with pytest.raises(FlexAlignError, match="at least 2 frames, found 1"):
        open_movie(case.path, **case.options)


def test_the_content_decides_not_the_suffix(case):
    disguised = case.path.rename(case.path.with_suffix(".dat"))

    np.testing.assert_array_equal(read_all(disguised, **case.options), case.expected)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_movie(tmp_path / "movie.mrc")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="found a folder"):
        open_movie(tmp_path)


@pytest.mark.parametrize("suffix", [".mrc", ".tif", ".eer", ".bz2"])
def test_an_empty_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"movie{suffix}"
    path.touch()

    with pytest.raises(InputError, match="empty file"):
        open_movie(path)


def test_an_unknown_format_is_refused_and_the_known_ones_named(tmp_path):
    path = tmp_path / "movie.dm4"
    path.write_bytes(bytes(range(256)) * 8)

    with pytest.raises(InputError, match=r"MRC.*TIFF.*EER.*unknown format"):
        open_movie(path)


@pytest.mark.parametrize("compression", [bz2, gzip, lzma])
def test_a_compressed_file_that_is_no_mrc_is_refused(tmp_path, compression):
    path = tmp_path / "movie.tif.packed"
    path.write_bytes(compression.compress(b"II*\0" + bytes(range(256)) * 8))

    with pytest.raises(InputError, match="decompress it first"):
        open_movie(path)
