"""Damaged MRC movies, plain and compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import mrcfile
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from mutations import fuzzing, mutated, only_typed_errors

from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.movies.mrc_header import IMOD_STAMP
from flexalign.io.movies.open_movie import open_movie
from flexalign.model import FrameRange
from flexalign.params import AlignParams

PACK = {
    "bz2": bz2.compress,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
# Sizes, mode, grid, cell, length of the extended header, IMOD's stamp and flags, marks.
FIELDS = [0, 4, 8, 12, 28, 32, 36, 40, 44, 92, 152, 156, 208, 212]
# Twice the file with room for the decompressors, of which that of xz has a dictionary of 8 MB.
MAX_BYTES = 24_000_000
PARAMS = AlignParams(pixel_size_A=1.0)


@cache
def movie_bytes(kind="int16", stamp=None):
    """A small movie, the same every time."""
    frames = np.random.default_rng(0).poisson(3, (4, 6, 10)).astype(kind)
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.mrc")
        with mrcfile.new(path, frames) as file:
            file.set_image_stack()
            file.voxel_size = 1.5
            file.set_extended_header(np.zeros(32, np.int8))
            file.header.label[0] = b"which has the time otherwise"
        content = bytearray(path.read_bytes())
    if stamp is not None:
        content[152:160] = np.array(stamp, "<i4").tobytes()
    return bytes(content)


def read(path):
    """Everything that is done with a movie before it is aligned."""
    with only_typed_errors(max_bytes=MAX_BYTES), open_movie(path) as movie:
        for frame in movie.frames():
            assert frame.pixels.shape == (movie.info.height_px, movie.info.width_px)
    with only_typed_errors(max_bytes=MAX_BYTES), open_movie(path) as movie:
        list(movie.frames(FrameRange(1, 2)))
    with only_typed_errors(max_bytes=MAX_BYTES):
        inspect_file(path, PARAMS, read=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("movies")


KINDS = {
    "int16": movie_bytes(),
    "float32": movie_bytes("float32"),
    "float16": movie_bytes("float16"),
    "uint16": movie_bytes("uint16"),
    "signed-bytes": movie_bytes("int8", (IMOD_STAMP, 1)),
    "packed-bytes": movie_bytes("int8", (IMOD_STAMP, 16)),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@fuzzing
def test_plain_movies(folder, kind, data):
    path = folder / "damaged.mrcs"
    path.write_bytes(data.draw(mutated(KINDS[kind], at=FIELDS)))
    read(path)


@pytest.mark.parametrize("name", PACK)
@given(data=st.data())
@fuzzing
def test_damaged_compressed_movies(folder, name, data):
    path = folder / f"damaged.mrc.{name}"
    path.write_bytes(data.draw(mutated(PACK[name](movie_bytes()))))
    read(path)


@pytest.mark.parametrize("name", PACK)
@given(data=st.data())
@fuzzing
def test_movies_that_were_damaged_before_they_were_compressed(folder, name, data):
    path = folder / f"damaged.mrc.{name}"
    path.write_bytes(PACK[name](data.draw(mutated(movie_bytes(), at=FIELDS))))
    read(path)
