"""Damaged TIFF movies and images."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import IS_FULL, fuzzing, mutated, only_typed_errors
from tiff_files import SPARE_BYTES, places, read_whole, with_other_types

from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.reference_images import read_image
from flexalign.params import AlignParams

PARAMS = AlignParams(pixel_size_A=1.0)
FRAMES = np.random.default_rng(1).poisson(3, (4, 32, 48))


def tiff_of(frames: np.ndarray, **how: object) -> bytes:
    """A TIFF in memory."""
    with io.BytesIO() as file:
        tifffile.imwrite(file, frames, photometric="minisblack", **how)  # type: ignore[arg-type]
        return file.getvalue()


SEEDS = {
    "strips": tiff_of(FRAMES.astype("u2"), rowsperstrip=8, metadata=None),
    "lzw": tiff_of(FRAMES.astype("u1"), compression="lzw", rowsperstrip=8, metadata=None),
    "tiles": tiff_of(FRAMES.astype("u2"), compression="zlib", tile=(16, 16), metadata=None),
    "zstd": tiff_of(FRAMES.astype("f4"), compression="zstd", predictor=True, bigtiff=True),
    "behind": tiff_of(FRAMES.astype("u2"), imagej=True, truncate=True),
    "packed": tiff_of(
        FRAMES.astype("u1"), description="SerialEMCCD: 4 bits packed\n", metadata=None
    ),
}


READERS = {
    "movie": lambda path: read_whole(path, PARAMS),
    "image": read_image,
    "info": lambda path: inspect_file(path, PARAMS, read=True),
}


# Pixels of both infinities have no mean.
INFINITE = tiff_of(np.where(FRAMES > 2, np.inf, -np.inf).astype("f4"), metadata=None)
DAMAGED = st.sampled_from(sorted(SEEDS)).flatmap(
    lambda name: mutated(SEEDS[name], at=places(SEEDS[name]))
)


@pytest.mark.parametrize("reader", READERS)
@given(DAMAGED)
@example(INFINITE)
@fuzzing
def test_damaged_files_are_read_or_refused(tmp_path, reader, data):
    path = tmp_path / "movie.tif"
    path.write_bytes(data)

    with only_typed_errors(max_bytes=SPARE_BYTES + 40 * len(data)):
        READERS[reader](path)


@pytest.mark.parametrize("seed", ["strips", "tiles", "behind"])
def test_tags_of_any_type_are_read_or_refused(tmp_path, seed):
    path = tmp_path / "movie.tif"
    for content in with_other_types(SEEDS[seed], 0, range(20) if IS_FULL else (2, 5, 12, 16)):
        path.write_bytes(content)
        with only_typed_errors(max_bytes=SPARE_BYTES):
            READERS["movie"](path)
