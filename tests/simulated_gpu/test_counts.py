"""Launches, bytes each way and waits of the two passes, as formulas of frames and sizes."""

from __future__ import annotations

import numpy as np
import pytest
from counting_gpu import CountingDevice

from flexalign.arrays import resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX
from flexalign.arrays.detector import make_correction
from flexalign.arrays.downsample import axis_filter
from flexalign.arrays.gpu.passes import GpuAlignedSums, GpuDownsampler
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.resident_frames import resident_frames

SHAPE_PX, SMALL_PX, KEPT_SHARE = (10, 16), (6, 9), 0.5
PX, SMALL, BAD = 10 * 16, 6 * 9, 2
# Per bad pixel: its index and those of its eight neighbours, in 64 bits.
REFERENCE_BYTES = 4 * PX + BAD * 8 * (1 + 8)
# The sum.
OPERATIONS = 1


@pytest.fixture
def device(monkeypatch):
    found = CountingDevice("cuda:0", is_simulated=True)
    found.patch(monkeypatch)
    return found


@pytest.fixture
def correction():
    bad = np.zeros(SHAPE_PX, np.bool_)
    bad[3, [4, 9]] = True
    return make_correction(np.ones(SHAPE_PX, np.float32), None, bad)


def raw_frames(frames, dtype):
    return np.random.default_rng(1).poisson(20, (frames, *SHAPE_PX)).astype(dtype)


@pytest.mark.parametrize(("frames", "dtype"), [(2, "u1"), (3, "u1"), (2, "i2")])
def test_the_first_pass_copies_each_frame_once_and_waits_once_for_it(
    device, correction, frames, dtype
):
    raw, small = raw_frames(frames, dtype), np.empty((frames, *SMALL_PX), np.float32)
    filters = [axis_filter(a, b, KEPT_SHARE) for a, b in zip(SHAPE_PX, SMALL_PX, strict=True)]

    downsampler = GpuDownsampler(correction, SHAPE_PX, small, device, KEPT_SHARE)
    total = downsampler.empty_sum(raw[0])
    for k, frame in enumerate(raw):
        downsampler.add(frame, k, k, [total])
    downsampler.flush()
    downsampler.fetched(total)

    counts = device.counts
    filter_bytes = sum(f.start.nbytes + f.weight.nbytes for f in filters)
    assert counts.bytes_up == REFERENCE_BYTES + filter_bytes + raw.nbytes
    assert counts.bytes_down == 4 * SMALL * frames + total.nbytes
    assert counts.kernels == 4 * frames
    assert counts.waits == frames + 1
    assert counts.transforms == 0
    assert counts.operations == 1 + OPERATIONS * frames


@pytest.mark.parametrize(("frames", "dtype"), [(2, "u1"), (3, "u1"), (2, "i2")])
def test_the_second_pass_copies_each_frame_once_and_waits_for_results_only(
    device, correction, frames, dtype
):
    raw, doses = raw_frames(frames, dtype), np.ones(frames)
    nodes = [resample.lattice_nodes(n, LATTICE_STEP_PX).size for n in SHAPE_PX]
    weights = ExponentialWeights(
        lambda ky, kx: -np.hypot(ky, kx), SHAPE_PX, np.cumsum(doses) - 1, doses
    )
    lattice = np.ones((2, *nodes), np.float32)
    lattice_bytes = resample.lattice_for_loops(lattice, SHAPE_PX).astype(np.float32).nbytes
    spectrum_px = SHAPE_PX[0] * (SHAPE_PX[1] // 2 + 1)

    sums = GpuAlignedSums(correction, SHAPE_PX, SHAPE_PX, device, names=("all",), weights=weights)
    before = device.counts.operations
    for k, frame in enumerate(raw):
        sums.add(frame, k, lattice, ("all",), time=k)
    per_frame = (device.counts.operations - before) / frames
    sums.mean("all")
    sums.weighted_mean()

    counts = device.counts
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
        resident = resident_frames(device, FRAMES, raw.nbytes, NEEDED_BYTES)
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
