"""Damaged references: gain and dark in all formats, lists and maps of defects."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import fuzzing, mutated, mutated_text, only_typed_errors

from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.references import load_references
from flexalign.model import EerInfo, MovieInfo
from flexalign.params import AlignParams

SEEDS = Path(__file__).parent / "seeds"
HEIGHT, WIDTH = 6, 10
MOVIE = MovieInfo("movie.mrc", "mrc", 3, HEIGHT, WIDTH, "uint8", 1.0, 1000)
EER = MovieInfo(
    "movie.eer", "eer", 3, 2 * HEIGHT, 2 * WIDTH, "uint8", 1.0, 1000, eer=EerInfo(9, 3, 0, 2)
)
PARAMS = AlignParams(pixel_size_A=1.0)
# The decoders of TIFF have tables of about a megabyte.
MAX_BYTES = 24_000_000
TIFF_KINDS = {
    "tif": {},
    "lzw.tif": {"compression": "lzw", "predictor": 2},
    "zlib.tif": {"compression": "zlib", "rowsperstrip": 2},
    "tiles.tif": {"compression": "zlib", "tile": (16, 16)},
    "gain": {"compression": "lzw"},
}
LIST = "# bad columns\n0 0 1 6\n3, 2, 2, 1\n\n9 5 1 1\n"


@cache
def image_bytes(kind):
    """A small reference, the same every time."""
    image = np.random.default_rng(0).normal(1, 0.1, (HEIGHT, WIDTH)).astype(np.float32)
    if kind == "dm4":
        return (SEEDS / "gain.dm4").read_bytes()
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.mrc")
        if kind in TIFF_KINDS:
            stored = (1000 * image).astype(np.uint16)
            tifffile.imwrite(path, stored, metadata=None, software=False, **TIFF_KINDS[kind])
            return path.read_bytes()
        with mrcfile.new(path, image) as file:
            file.voxel_size = 1.5
            file.header.label[0] = b"which has the time otherwise"
        return path.read_bytes()


def load(path):
    """Everything that is done with a reference."""
    for movie in (MOVIE, EER):
        for way in ("gain", "dark", "defects"):
            with only_typed_errors(max_bytes=MAX_BYTES):
                load_references(movie, **{way: path})
        for sense in ("multiply", "divide"):
            with only_typed_errors(max_bytes=MAX_BYTES):
                load_references(movie, gain=path, gain_sense=sense, gain_rotate=90)
    with only_typed_errors(max_bytes=MAX_BYTES):
        inspect_file(path, PARAMS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    # The libraries are loaded before memory and time are counted.
    for kind in ("mrc", "dm4", *TIFF_KINDS):
        (folder / f"good.{kind}").write_bytes(image_bytes(kind))
        load_references(MOVIE, gain=folder / f"good.{kind}")
    return folder


@pytest.mark.parametrize("kind", ["mrc", "dm4", *TIFF_KINDS])
@given(data=st.data())
@fuzzing
def test_images(folder, kind, data):
    path = folder / f"damaged.{kind}"
    path.write_bytes(data.draw(mutated(image_bytes(kind))))
    load(path)


@given(data=st.data())
@fuzzing
def test_compressed_images(folder, data):
    path = folder / "damaged.mrc.gz"
    path.write_bytes(data.draw(mutated(gzip.compress(image_bytes("mrc"), mtime=0))))
    load(path)


@given(content=mutated_text(LIST, words=("BadColumns", "#", "-1", "1 1 1 1")))
@example(b"\xff\xfe0\x000\x00")
@example(b"9" * 5000 + b" 0 1 1\n")
@example(b"0 0 1 1\n" * 100)
@fuzzing
def test_lists_of_defects(folder, content):
    path = folder / "defects.txt"
    path.write_bytes(content)
    for movie in (MOVIE, EER):
        with only_typed_errors(max_bytes=MAX_BYTES):
            load_references(movie, defects=path)
    with only_typed_errors(max_bytes=MAX_BYTES):
        inspect_file(path, PARAMS)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int16"])
@given(data=st.data())
@fuzzing
def test_extreme_pixels(folder, dtype, data):
    if np.dtype(dtype).kind == "f":
        values = [0, 1, -1, 1e-45, 1e-40, 6e4, 1e38, 3e38, -3e38, np.inf, -np.inf, np.nan]
    else:
        values = [0, 1, -1, np.iinfo(dtype).max, np.iinfo(dtype).min]
    with np.errstate(over="ignore"):
        some = st.sampled_from(np.array(values).astype(dtype).tolist())
    height, width = data.draw(st.sampled_from([(HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH), (3, 5)]))
    image = np.resize(
        np.array(data.draw(st.lists(some, min_size=1, max_size=7)), dtype), (height, width)
    )
    path = folder / "extreme.mrc"
    # A memory map takes values that are not finite without a word.
    mode = mrcfile.utils.mode_from_dtype(image.dtype)
    with mrcfile.new_mmap(path, image.shape, mrc_mode=mode, overwrite=True) as file:
        file.data[:] = image
    load(path)
