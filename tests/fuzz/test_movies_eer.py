"""Damaged EER movies, and files of their groups."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import IS_FULL, fuzzing, mutated, mutated_text, only_typed_errors
from tiff_files import SPARE_BYTES, places, read_whole, with_other_types

from flexalign.io.inspect.inspection import inspect_file
from flexalign.io.movies.eer_groups import divide_raw_frames, read_fm_int_file
from flexalign.io.movies.eer_writer import write_eer
from flexalign.params import AlignParams

HEIGHT, WIDTH = 24, 32


def eer_of(codec: int) -> bytes:
    """An EER file of 6 raw frames."""
    rng = np.random.default_rng(2)
    raw = [rng.integers(0, (4 * HEIGHT, 4 * WIDTH), (40, 2)) for _ in range(6)]
    items = {"numberOfFrames": ("6", ""), "totalDose": ("40", "e/pixel")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.eer"
        write_eer(
            path, raw, height_px=HEIGHT, width_px=WIDTH, codec=codec, pixel_size_A=1.2,
            metadata=items,
        )  # fmt: skip
        return path.read_bytes()


SEEDS = {codec: eer_of(codec) for codec in (65000, 65001, 65002)}


READERS = {
    "movie": read_whole,
    "info": lambda path, params: inspect_file(path, params, read=True),
}


PARAMS = {up: AlignParams(pixel_size_A=1.0, eer_fractions=3, eer_upsampling=up) for up in (1, 2)}
DAMAGED = st.sampled_from(sorted(SEEDS)).flatmap(
    lambda codec: mutated(SEEDS[codec], at=places(SEEDS[codec]))
)


@pytest.mark.parametrize("reader", READERS)
@given(DAMAGED, st.sampled_from((1, 2)))
@fuzzing
def test_damaged_files_are_read_or_refused(tmp_path, reader, data, upsampling):
    path = tmp_path / "movie.eer"
    path.write_bytes(data)

    with only_typed_errors(max_bytes=SPARE_BYTES + 40 * len(data)):
        READERS[reader](path, PARAMS[upsampling])


def test_tags_of_any_type_are_read_or_refused(tmp_path):
    path = tmp_path / "movie.eer"
    for page in (0, 3):
        types = range(20) if IS_FULL else (2, 3, 5, 12)
        for content in with_other_types(SEEDS[65002], page, types):
            path.write_bytes(content)
            with only_typed_errors(max_bytes=SPARE_BYTES):
                READERS["movie"](path, PARAMS[2])


@given(mutated_text("# raw, per frame, dose\n20 10 0.5\n13 5 0.7\n"))
@fuzzing
def test_damaged_groups_are_read_or_refused(tmp_path, data):
    path = tmp_path / "groups.txt"
    path.write_bytes(data)

    with only_typed_errors(max_bytes=SPARE_BYTES):
        divide_raw_frames(path, read_fm_int_file(path), 40)
