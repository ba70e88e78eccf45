"""Stacks of images that are written one after the other."""

from __future__ import annotations

import tracemalloc

import mrcfile
import numpy as np
import pytest

from flexalign.errors import InputError
from flexalign.io.stacks import read_image, write_stack


def images(count: int, dtype: type = np.float32, side: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(i, 1, (side, side + 8)).astype(dtype) for i in range(count)]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_stack_is_read_back_with_its_statistics(tmp_path, dtype):
    stack = images(5, dtype)
    path = tmp_path / "a.mrc"

    write_stack(path, stack, [-3.01, 0, 3, 6, 9], (1.5, 1.4), ["one", "two"])

    with mrcfile.open(path) as file:
        np.testing.assert_array_equal(file.data, np.array(stack))
        assert file.is_image_stack()
        assert (file.voxel_size.y, file.voxel_size.x) == pytest.approx((1.5, 1.4))
        assert float(file.header.dmean) == pytest.approx(np.mean(stack, dtype=float), abs=1e-3)
        assert float(file.header.rms) == pytest.approx(np.std(stack, dtype=float), abs=1e-3)
        assert (float(file.header.dmin), float(file.header.dmax)) == (np.min(stack), np.max(stack))
        assert [b"one" in label for label in file.header.label[:3]] == [False, True, False]


def test_one_image_is_in_memory_at_a_time(tmp_path):
    side, count = 512, 24
    image_bytes = 4 * side * side

    def made():
        for number in range(count):
            yield np.full((side, side), number, np.float32)

    tracemalloc.start()
    write_stack(tmp_path / "a.mrc", made(), list(range(count)), (1.0, 1.0))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert most < 4 * image_bytes


@pytest.mark.parametrize("wrong", ["size", "count"])
def test_images_that_do_not_belong_together_leave_nothing(tmp_path, wrong):
    stack = images(3) + images(1, side=41) if wrong == "size" else images(3)

    with pytest.raises(ValueError, match="expected"):
        write_stack(tmp_path / "a.mrc", stack, [0, 1, 2, 3], (1.0, 1.0))

    assert not list(tmp_path.iterdir())


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.mrc").write_bytes(b"x" * 2000)
    write_stack(tmp_path / "b.mrc", images(2), [0, 1], (1.0, 1.0))

    for name in ("a.mrc", "b.mrc", "c.mrc"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)
