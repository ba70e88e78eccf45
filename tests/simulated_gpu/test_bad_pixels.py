"""Bad pixels and blank areas in a mean image on a GPU are those found on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from counting_gpu import on_device

from flexalign.arrays.blank_area import blank_area
from flexalign.arrays.hot_pixels import find_outlier_lines, find_outlier_pixels

# More rows than a GPU takes at once, and some that fill no block.
SHAPE_PX = 1100, 170
HOT, DEAD, LINE, KNOWN = (50, 60), (1098, 20), 100, (400, 99)


@pytest.fixture
def image():
    """Counts with bad pixels, a bad column, and values that are not finite."""
    counts = np.random.default_rng(1).poisson(100, SHAPE_PX).astype(np.float32)
    counts[HOT], counts[DEAD], counts[KNOWN] = 400, 0, 1000
    counts[:500, LINE] *= 1.5
    counts[700, 30:33] = np.nan
    return counts


@pytest.fixture
def known():
    bad = np.zeros(SHAPE_PX, np.bool_)
    bad[KNOWN] = True
    return bad


@pytest.mark.parametrize("find", [find_outlier_lines, find_outlier_pixels])
def test_outliers_are_those_of_the_cpu_and_few_numbers_come_back(
    image, known, counting_device, find
):
    found = find(on_device(image, counting_device.counts), known, device=counting_device)

    assert np.array_equal(found, find(image, known))
    if find is find_outlier_pixels:
        assert found[HOT]
        assert found[DEAD]
    else:
        assert found[:, LINE].any()
    assert not found[KNOWN]
    assert counting_device.counts.bytes_up < image.nbytes
    # The median is that of every third pixel; of larger images, of 65536 pixels.
    assert counting_device.counts.bytes_down < image.nbytes * (1 / 3 + 1 / 4)


def test_bright_squares_are_those_of_the_cpu(known, counting_device):
    counts = np.random.default_rng(2).poisson(0.5, SHAPE_PX).astype(np.float32)
    counts[200:206, 30:36] += 4

    found = find_outlier_pixels(
        on_device(counts, counting_device.counts), known, device=counting_device
    )

    assert found[202:204, 32:34].all()
    assert np.array_equal(found, find_outlier_pixels(counts, known))
    assert counting_device.counts.bytes_down < counts.nbytes * (1 / 3 + 1 / 4)


def test_a_blank_area_is_that_of_the_cpu(image, counting_device):
    image[700, 30:33] = 100
    image[900:1000, 100:] = 0

    found = blank_area(on_device(image, counting_device.counts), (275, 44), counting_device)

    assert found.any()
    assert np.array_equal(found, blank_area(image, (275, 44)))
    assert counting_device.counts.bytes_down < image.nbytes / 32
