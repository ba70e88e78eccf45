"""Arrays and readers of one's own keep what the readers of files promise."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign import (
    AlignParams,
    ArrayMovie,
    FrameRange,
    MovieInfo,
    MovieReader,
    ParameterError,
    RawFrame,
    SeekableMovie,
)
from flexalign.io.movies.open_movie import open_movie, opened

FRAMES = np.random.default_rng(7).integers(0, 65535, (5, 12, 17), np.uint16, endpoint=True)


class OwnMovie(SeekableMovie):
    """The frames, as a class outside of the package gives them."""

    def __init__(self) -> None:
        count, height, width = FRAMES.shape
        super().__init__(MovieInfo("own", "own", count, height, width, "uint16", None, 0))

    def read_frame(self, index: int) -> RawFrame:
        return RawFrame(index, FRAMES[index])


class Bare:
    """The members of the protocol and nothing else."""

    def __init__(self) -> None:
        self.info = OwnMovie().info

    def frames(self, frames=None, *, threads=1):
        return iter([RawFrame(i, FRAMES[i]) for i in frames or range(len(FRAMES))])

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


@pytest.fixture(params=[lambda: FRAMES, lambda: ArrayMovie(FRAMES), OwnMovie, Bare])
def reader(request):
    """A reader as an alignment uses it."""
    with opened(request.param(), AlignParams()) as reader:
        yield reader


def test_every_reader_of_files_has_the_members_of_the_protocol(case):
    with open_movie(case.path, **case.options) as movie:
        assert isinstance(movie, MovieReader)


def test_an_array_is_no_reader_and_is_opened_as_one(reader):
    assert isinstance(reader, MovieReader)
    assert not isinstance(FRAMES, MovieReader)


@pytest.mark.parametrize("threads", [1, 3])
def test_frames_come_in_order(reader, threads):
    frames = list(reader.frames(threads=threads))

    assert [frame.index for frame in frames] == list(range(len(FRAMES)))
    np.testing.assert_array_equal([frame.pixels for frame in frames], FRAMES)


def test_a_range_gives_its_frames_only_and_can_be_read_again(reader):
    for _ in range(2):
        frames = list(reader.frames(FrameRange(1, 3)))
        np.testing.assert_array_equal([frame.pixels for frame in frames], FRAMES[1:3])


def test_a_range_past_the_end_is_refused(reader):
    with pytest.raises(ParameterError, match=r"1-5.*found 5-6"):
        reader.frames(FrameRange(4, 6))


def test_the_info_describes_the_frames(reader):
    info = reader.info

    assert (info.frame_count, info.height_px, info.width_px) == FRAMES.shape
    assert info.pixel_dtype == "uint16"
