"""What a GPU computes of small frames agrees with the CPU, whole or in batches."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays import fourier
from flexalign.arrays.blank_area import taper_beside
from flexalign.arrays.correlate import limited_radius_px, low_pass
from flexalign.arrays.frame_stack import CpuFrameStack, Pairs, Tiles
from flexalign.arrays.gpu import pair_kernels
from flexalign.arrays.gpu.frame_stack import GpuFrameStack
from flexalign.arrays.gpu.sweeps import GpuSweeps
from flexalign.arrays.kernels import likelihood, peaks

TIMES, SHAPE_PX, TILE_PX = 4, (16, 20), (8, 10)
GROUPS = [np.array([0, 1]), np.array([2]), np.array([3])]
BATCHES = pytest.mark.parametrize("batch_bytes", [2**20, 1], ids=["whole", "batches"])


@pytest.fixture(params=[np.float32, np.float16], ids=["32 bits", "16 bits"])
def pixels(request):
    """Frames of one specimen that moves, with noise."""
    rng = np.random.default_rng(1)
    specimen = fourier.rfft2(rng.normal(size=SHAPE_PX).astype(np.float32))
    shift_px = rng.normal(0, 1, (TIMES, 2))
    moved = fourier.irfft2(fourier.phase_shifted(specimen, SHAPE_PX, shift_px), SHAPE_PX)
    noise = rng.normal(0, 0.3, moved.shape)
    return (moved + noise + 3).astype(request.param)


@pytest.fixture
def tiles():
    corner = np.array([[0, 0], [8, 10], [3, 7]])
    return Tiles(corner, np.random.default_rng(2).random(TILE_PX).astype(np.float32))


def both(pixels, device, batch_bytes=2**20):
    """The same frames on the CPU and on the GPU."""
    return CpuFrameStack(pixels.copy()), GpuFrameStack(pixels.copy(), device, batch_bytes)


def pairs_of(count, radius_px):
    first, second = (i.astype(np.int64) for i in np.triu_indices(count, 1))
    return Pairs(first, second, np.linspace(1, radius_px, len(first)))


def response(shape_px):
    """A filter (h, columns) without its last columns."""
    return np.ascontiguousarray(low_pass(shape_px, (0.2, 0.2))[:, : shape_px[1] // 2 - 1])


def test_frames_are_made_smaller_selected_and_averaged(pixels, device):
    cpu, gpu = both(pixels, device)
    index = np.array([3, 1])

    np.testing.assert_allclose(
        gpu.downsampled((9, 11), 0.5), cpu.downsampled((9, 11), 0.5), atol=1e-5
    )
    assert np.array_equal(gpu.selected(index), cpu.selected(index))
    np.testing.assert_allclose(gpu.mean(), cpu.mean(), atol=1e-6)


def test_an_image_is_added_to_the_frames_in_parts(pixels, device):
    image = np.random.default_rng(3).normal(size=SHAPE_PX).astype(np.float32)
    part = np.array([0, -1, 0.5, 2], np.float32)
    found = [pixels.copy(), pixels.copy()]

    CpuFrameStack(found[0]).add_scaled(image, part)
    GpuFrameStack(found[1], device).add_scaled(image, part)

    assert np.abs(found[0] - pixels).max() > 1
    np.testing.assert_allclose(found[1], found[0], rtol=2e-3, atol=1e-6)


def test_frames_fade_out_toward_a_blank_area(pixels, device):
    blank = np.zeros(SHAPE_PX, np.bool_)
    blank[:, :3] = True
    found = [pixels.copy(), pixels.copy()]

    taper = taper_beside(blank, 5.0)
    CpuFrameStack(found[0]).fade_out(taper)
    GpuFrameStack(found[1], device).fade_out(taper)

    assert found[0][0, :, 0].std() < 0.01 < pixels[0, :, 0].std()
    np.testing.assert_allclose(found[1], found[0], rtol=2e-3)


@BATCHES
def test_pairs_of_groups_have_the_spectra_and_peaks_of_the_cpu(pixels, device, batch_bytes):
    cpu, gpu = both(pixels, device, batch_bytes)
    filtered, pairs = response(SHAPE_PX), pairs_of(len(GROUPS), 6.0)

    expected = cpu.group_spectra(GROUPS, filtered)
    found = gpu.group_spectra(GROUPS, filtered)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())

    expected, found = (stack.group_peaks(GROUPS, filtered, pairs) for stack in (cpu, gpu))
    assert np.abs(expected.shift_px).max() > 0.5
    assert expected.score.max() > 1
    np.testing.assert_allclose(found.shift_px, expected.shift_px, atol=1e-3)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-4)


@BATCHES
def test_pairs_of_groups_in_tiles_have_the_peaks_of_the_cpu(pixels, tiles, device, batch_bytes):
    displacement_px = np.random.default_rng(5).normal(0, 3, (TIMES, 2))
    arguments = tiles, GROUPS, displacement_px, response(TILE_PX), pairs_of(len(GROUPS), 3.0)

    expected, found = (stack.tile_peaks(*arguments) for stack in both(pixels, device, batch_bytes))

    assert len(found) == len(tiles.corner_px)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.shift_px, other.shift_px, atol=1e-3)
        np.testing.assert_allclose(one.score, other.score, rtol=1e-4)


@BATCHES
def test_spectra_of_tiles_are_cut_and_packed_as_on_the_cpu(pixels, tiles, device, batch_bytes):
    radius = np.hypot(*fourier.frequencies(TILE_PX)) * max(TILE_PX)
    ring = np.where((radius < 5) & (radius > 1), radius, -1).astype(np.int32)
    packing = likelihood.packing_of(ring)
    offset = np.random.default_rng(6).integers(-30, 30, (len(tiles.corner_px), TIMES, 2))
    envelope = np.linspace(1, 0.5, TIMES * 5).reshape(TIMES, 5).astype(np.float32)
    cpu, gpu = both(pixels, device, batch_bytes)

    expected, expected_power = cpu.packed_spectra(tiles, offset, packing, envelope)
    packed, power = gpu.packed_spectra(tiles, offset, packing, envelope)

    assert packed.dtype == expected.dtype
    sweeps = GpuSweeps(packed, packing, TILE_PX, device, is_resident=True)
    for patch, one in enumerate(expected):
        found = likelihood.as_float32(sweeps.packed(patch))
        # A different order of summation may round to the next number of 8 bits.
        np.testing.assert_allclose(found, likelihood.as_float32(one), rtol=8e-3, atol=1e-4)
    np.testing.assert_allclose(power, expected_power, rtol=2e-3)
    assert expected_power[:, 2:].min() > 0


def peaks_of(rows, radius_px):
    """Places and heights of the maxima of surfaces, by the CPU and by the GPU."""
    places, heights = np.zeros((len(rows), 2)), np.zeros(len(rows))
    peaks.highest_near(rows, radius_px, places, heights)
    tops, found = np.empty(rows.shape[:2], np.float32), np.empty((*rows.shape[:2], 4))
    gpu = np.empty((len(rows), 3))
    pair_kernels.row_tops(rows, radius_px, tops)
    pair_kernels.row_peaks(rows, radius_px, tops, tops.max(axis=1), found)
    pair_kernels.highest_of_rows(found, rows.shape[2], gpu)
    return places, heights, gpu


@pytest.mark.parametrize("smooth", [1, 3])
def test_the_highest_maximum_is_found_among_many(smooth):
    rng, shape_px = np.random.default_rng(7), (15, 18)
    noise = rng.normal(size=(3, *shape_px)).astype(np.float32)
    spectra = fourier.rfft2(noise) * low_pass(shape_px, (0.5 / smooth, 0.5 / smooth))
    rows = fourier.irfft2(spectra, shape_px)
    radius_px = limited_radius_px(np.array([2.0, 5.0, 99.0]), shape_px)

    places, heights, gpu = peaks_of(rows, radius_px)

    assert (heights > 0).any()
    np.testing.assert_allclose(gpu[:, :2], places, atol=1e-6)
    np.testing.assert_allclose(gpu[:, 2], heights, rtol=1e-6)


def test_where_a_neighbour_outside_the_disc_is_higher_there_is_no_peak():
    rows = np.zeros((2, 15, 18), np.float32)
    y, x = np.ogrid[-7:8, -9:9]
    rows[0] = np.roll(np.exp(-((y - 3.0) ** 2 + x**2) / 4), (-7, -9), (0, 1))

    places, heights, gpu = peaks_of(rows, np.array([2.0, 2.0]))

    assert places.tolist() == gpu[:, :2].tolist() == [[2.0, 0.0], [0.0, 0.0]]
    assert heights.tolist() == gpu[:, 2].tolist() == [0.0, 0.0]


def test_pairs_without_signal_have_no_score(device):
    frames = np.ones((2, *SHAPE_PX), np.float32)
    groups, pairs = [np.array([0]), np.array([1])], pairs_of(2, 4.0)

    found = GpuFrameStack(frames, device).group_peaks(groups, response(SHAPE_PX), pairs)

    assert found.score.tolist() == [0.0]
