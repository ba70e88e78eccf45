"""A movie that remembers its frames."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from flexalign.errors import ParameterError
from flexalign.io.movies.open_movie import open_movie
from flexalign.io.movies.reader import CachingMovie
from flexalign.model import FrameRange


@pytest.fixture
def frames():
    return np.random.default_rng(1).poisson(3, (5, 40, 48)).astype(np.uint8)


def test_a_second_pass_needs_no_file(tmp_path, frames):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, frames[:, ::-1], compression="lzw")

    with CachingMovie(open_movie(path)) as movie:
        first = [(f.index, f.pixels.copy()) for f in movie.frames(threads=2)]
        path.unlink()
        again = [(f.index, f.pixels) for f in movie.frames(FrameRange(1, 4), threads=2)]
        with pytest.raises(ParameterError, match="expected frames within"):
            list(movie.frames(FrameRange(3, 7)))

    for index, pixels in [*first, *again]:
        np.testing.assert_array_equal(pixels, frames[index])
    assert [index for index, _ in again] == [1, 2, 3]


def test_frames_that_were_not_asked_for_before_are_read(tmp_path, frames):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, frames[:, ::-1])

    with CachingMovie(open_movie(path)) as movie:
        assert [f.index for f in movie.frames(FrameRange(1, 3))] == [1, 2]
        found = list(movie.frames())

    assert [f.index for f in found] == list(range(5))
    np.testing.assert_array_equal(found[4].pixels, frames[4])
