"""Launches, bytes each way and waits of passes and estimation, as formulas of frames and sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from counting_gpu import CountingDevice, on_device

from flexalign.arrays import fourier, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
from flexalign.arrays.detector import make_correction
from flexalign.arrays.downsample import axis_filter
from flexalign.arrays.frame_stack import Pairs, Tiles
from flexalign.arrays.gpu.frame_stack import GpuFrameStack
from flexalign.arrays.gpu.passes import GpuAlignedSums, GpuDownsampler
from flexalign.arrays.gpu.sweeps import GpuSweeps
from flexalign.arrays.kernels import likelihood
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.resident_frames import resident_frames

SHAPE_PX, SMALL_PX, KEPT_SHARE = (10, 16), (6, 9), 0.5
PX, SMALL, BAD = 10 * 16, 6 * 9, 2
# Per bad pixel: its index and those of its eight neighbours, in 64 bits.
REFERENCE_BYTES = 4 * PX + BAD * 8 * (1 + 8)
# The sum.
OPERATIONS = 1


@pytest.fixture
def correction():
    bad = np.zeros(SHAPE_PX, np.bool_)
    bad[3, [4, 9]] = True
    return make_correction(np.ones(SHAPE_PX, np.float32), None, bad)


def raw_frames(frames, dtype):
    return np.random.default_rng(1).poisson(20, (frames, *SHAPE_PX)).astype(dtype)


@pytest.mark.parametrize("keeps_small", [False, True])
@pytest.mark.parametrize(("frames", "dtype"), [(2, "u1"), (3, "u1"), (2, "i2")])
def test_the_first_pass_copies_each_frame_once_and_waits_for_it_unless_it_is_kept(
    counting_device, correction, frames, dtype, keeps_small
):
    raw, small = raw_frames(frames, dtype), np.empty((frames, *SMALL_PX), np.float32)
    small = on_device(small, counting_device.counts) if keeps_small else small
    filters = [axis_filter(a, b, KEPT_SHARE) for a, b in zip(SHAPE_PX, SMALL_PX, strict=True)]

    downsampler = GpuDownsampler(
        correction, SHAPE_PX, small, counting_device, KEPT_SHARE, keeps_small=keeps_small
    )
    total = downsampler.empty_sum(raw[0])
    for k, frame in enumerate(raw):
        downsampler.add(frame, k, k, [total])
    downsampler.flush()
    downsampler.fetched(total)

    counts = counting_device.counts
    filter_bytes = sum(f.start.nbytes + f.weight.nbytes for f in filters)
    assert counts.bytes_up == REFERENCE_BYTES + filter_bytes + raw.nbytes
    assert counts.bytes_down == (16 if keeps_small else 4 * SMALL) * frames + total.nbytes
    assert counts.kernels == (5 if keeps_small else 4) * frames
    assert counts.waits == (2 if keeps_small else frames + 1)
    assert counts.transforms == 0
    # The square of each frame, both sums, and stacking them at the end.
    assert counts.operations == 1 + frames + (3 * frames + 1) * keeps_small


@pytest.mark.parametrize(("frames", "dtype"), [(2, "u1"), (3, "u1"), (2, "i2")])
def test_the_second_pass_copies_each_frame_once_and_waits_for_results_only(
    counting_device, correction, frames, dtype
):
    raw, doses = raw_frames(frames, dtype), np.ones(frames)
    nodes = [resample.lattice_nodes(n, LATTICE_STEP_PX).size for n in SHAPE_PX]
    weights = ExponentialWeights(
        lambda ky, kx: -np.hypot(ky, kx), SHAPE_PX, np.cumsum(doses) - 1, doses
    )
    lattice = np.ones((2, *nodes), np.float32)
    lattice_bytes = resample.lattice_for_loops(lattice, SHAPE_PX).astype(np.float32).nbytes
    spectrum_px = SHAPE_PX[0] * (SHAPE_PX[1] // 2 + 1)

    sums = GpuAlignedSums(
        correction, SHAPE_PX, SHAPE_PX, counting_device, names=("all",), weights=weights
    )
    before = counting_device.counts.operations
    for k, frame in enumerate(raw):
        sums.add(frame, k, lattice, ("all",), time=k)
    per_frame = (counting_device.counts.operations - before) / frames
    sums.mean("all")
    sums.weighted_mean()

    counts = counting_device.counts
    assert counts.bytes_up == (
        REFERENCE_BYTES + 4 * spectrum_px + raw.nbytes + lattice_bytes * frames
    )
    assert counts.bytes_down == 2 * 4 * PX
    assert counts.kernels == 6 * frames
    assert counts.waits == 2
    assert counts.transforms == frames + 1
    assert per_frame == OPERATIONS


NEEDED_BYTES, FRAMES = 5000, 2


def bytes_up_and_mean(raw, correction, free, monkeypatch):
    """Bytes copied to a device with `free` memory for the frames in both passes, and their mean."""
    device = CountingDevice("cuda:0", is_simulated=True, free=free)
    nodes = [resample.lattice_nodes(n, LATTICE_STEP_PX).size for n in SHAPE_PX]
    lattice = np.full((2, *nodes), 0.4, np.float32)
    small = np.empty((FRAMES, *SMALL_PX), np.float32)
    with monkeypatch.context() as patch:
        device.patch(patch)
        resident = resident_frames(device, FRAMES, NEEDED_BYTES, raw.nbytes)
        first = GpuDownsampler(correction, SHAPE_PX, small, device, KEPT_SHARE, resident)
        second = GpuAlignedSums(
            correction, SHAPE_PX, SHAPE_PX, device, names=("all",), resident=resident
        )
        before = device.counts.bytes_up
        for k, frame in enumerate(raw):
            first.add(frame, k, k)
        first.flush()
        for k, frame in enumerate(raw):
            second.add(frame, k, lattice, ("all",))
        lattices = [resample.lattice_for_loops(lattice, SHAPE_PX).astype(np.float32)] * FRAMES
        up = device.counts.bytes_up - before - sum(one.nbytes for one in lattices)
        return up, second.mean("all")


def test_frames_that_fit_are_copied_once_for_both_passes_with_the_same_result(
    correction, monkeypatch
):
    raw = raw_frames(FRAMES, "u1")
    enough = NEEDED_BYTES + 2 * raw.nbytes

    once, resident_mean = bytes_up_and_mean(raw, correction, enough, monkeypatch)
    twice, mean = bytes_up_and_mean(raw, correction, enough - 1, monkeypatch)

    assert (once, twice) == (raw.nbytes, 2 * raw.nbytes)
    assert np.array_equal(resident_mean, mean)


TIMES, TILE_PX, TILES = 3, (8, 8), 2
GROUPS = [np.array([k]) for k in range(TIMES)]
PAIRS = Pairs(np.array([0, 0, 1]), np.array([1, 2, 2]), np.full(3, 3.0))
# For spectra: the power of the rings, which whitens them. Of each batch of pairs: products, and
# the highest values by row, peaks by row and peak of the surface.
WHITENING, PER_PAIRS = 2, 4


@pytest.fixture
def stack(counting_device):
    """Small frames on the device, whose batches take everything."""
    pixels = np.random.default_rng(2).normal(size=(TIMES, 16, 18)).astype(np.float32)
    return GpuFrameStack(on_device(pixels, counting_device.counts), counting_device)


def tiles():
    return Tiles(np.array([[0, 0], [8, 8]]), np.ones(TILE_PX, np.float32))


def response(shape_px):
    return np.ones((shape_px[0], 4), np.float32)


def packed_tiles(stack):
    """The packing of four rings, the packed spectra of all tiles, and their power."""
    radius = np.hypot(*fourier.frequencies(TILE_PX)) * TILE_PX[0]
    packing = likelihood.packing_of(np.where(radius < 4, radius, -1).astype(np.int32))
    offset, envelope = np.zeros((TILES, TIMES, 2), np.int64), np.ones((TIMES, 4), np.float32)
    return packing, *stack.packed_spectra(tiles(), offset, packing, envelope)


def test_of_pairs_of_frames_only_the_peaks_come_back(counting_device, stack):
    stack.group_peaks(GROUPS, response((16, 18)), PAIRS)

    assert counting_device.counts.bytes_down == 3 * 8 * len(PAIRS.first)
    assert counting_device.counts.kernels == 1 + WHITENING + PER_PAIRS
    assert counting_device.counts.transforms == 2
    assert counting_device.counts.waits == 1


def test_of_pairs_in_tiles_only_the_peaks_come_back(counting_device, stack):
    stack.tile_peaks(tiles(), GROUPS, np.zeros((TIMES, 2)), response(TILE_PX), PAIRS)

    assert counting_device.counts.bytes_down == 3 * 8 * len(PAIRS.first) * TILES
    assert counting_device.counts.kernels == 2 + WHITENING + PER_PAIRS
    assert counting_device.counts.transforms == 2
    assert counting_device.counts.waits == 1


def test_of_the_spectra_of_tiles_only_the_power_comes_back(counting_device, stack):
    packing, packed, power = packed_tiles(stack)

    assert counting_device.counts.bytes_down == power.nbytes == 8 * 4 * TILES
    assert packed.nbytes == 2 * 2 * TIMES * TILES * len(packing.ring_packed)
    assert counting_device.counts.kernels == 2 + 2
    assert counting_device.counts.transforms == 1
    assert counting_device.counts.waits == 1


def test_of_a_sweep_only_gradient_and_ring_powers_come_back(counting_device, stack):
    packing, packed, _ = packed_tiles(stack)
    sweeps = GpuSweeps(packed, packing, TILE_PX, counting_device, is_resident=True)
    before = replace(counting_device.counts)

    sweeps.sweep(np.ones((1, TILES, TIMES, 2)), np.ones((1, TILES, 4), np.float32), 4, 4)

    counts = counting_device.counts
    assert counts.bytes_down - before.bytes_down == 8 * 4 * TILES + 16 * TIMES * TILES
    # Displacements as complex numbers, weights, and the number of columns of each row.
    assert counts.bytes_up - before.bytes_up == (
        32 * TIMES * TILES + 4 * 4 * TILES + 8 * len(packing.wave)
    )
    assert counts.kernels - before.kernels == 3
    assert counts.waits - before.waits == 2
