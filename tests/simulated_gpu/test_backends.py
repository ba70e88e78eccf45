"""GPU implementations of the passes and of the likelihood sweeps agree with those of the CPU."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from flexalign.arrays import fourier, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX, AlignedSums
from flexalign.arrays.detector import make_correction
from flexalign.arrays.downsample import Downsampler
from flexalign.arrays.gpu.passes import GpuAlignedSums, GpuDownsampler
from flexalign.arrays.gpu.sweeps import GpuSweeps
from flexalign.arrays.kernels import likelihood
from flexalign.arrays.lowrank_weights import ExponentialWeights
from flexalign.arrays.threads import ThreadPool

FRAMES, SHAPE_PX, SMALL_PX = 3, (36, 48), (24, 30)


@pytest.fixture
def raw():
    return np.random.default_rng(1).poisson(20, (FRAMES, *SHAPE_PX)).astype(np.uint8)


@pytest.fixture
def correction():
    rng = np.random.default_rng(2)
    gain, dark = (rng.uniform(0.5, 1.5, SHAPE_PX).astype(np.float32) for _ in range(2))
    return make_correction(gain, dark, rng.random(SHAPE_PX) < 0.02)


@pytest.mark.parametrize("keeps_small", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 1e-4), (np.float16, 2e-3)])
def test_small_frames_and_sums_are_those_of_the_cpu(
    raw, correction, device, dtype, error, keeps_small
):
    results, on_gpu = [], partial(GpuDownsampler, keeps_small=keeps_small)
    with ThreadPool(1) as workers:
        for kind, where in ((Downsampler, workers), (on_gpu, device)):
            small = np.empty((FRAMES - 1, *SMALL_PX), dtype)
            downsampler = kind(correction, SHAPE_PX, small, where, 0.5)
            total, done = downsampler.empty_sum(raw[0]), []
            for k in range(FRAMES):
                done += downsampler.add(raw[k], k, max(0, k - 1), [total])
            done += downsampler.flush()
            results.append((downsampler.fetched(total), small, done))

    (total, small, done), (gpu_total, gpu_small, gpu_done) = results
    for one, other in zip(done, gpu_done, strict=True):
        assert one.frame_index == other.frame_index
        assert (one.mean, one.spread) == pytest.approx((other.mean, other.spread), rel=1e-4)
    assert np.array_equal(gpu_total, total)
    assert gpu_total.dtype == total.dtype
    np.testing.assert_allclose(gpu_small, small, atol=error)


@pytest.mark.parametrize("output_px", [SHAPE_PX, (24, 32)])
def test_sums_of_moved_frames_are_those_of_the_cpu(raw, correction, device, output_px):
    nodes = [resample.lattice_nodes(n, LATTICE_STEP_PX).size for n in SHAPE_PX]
    lattice = np.random.default_rng(3).normal(0, 3, (FRAMES, 2, *nodes)).astype(np.float32)
    doses = np.random.default_rng(4).uniform(0.3, 2, 2 * FRAMES)
    weights = ExponentialWeights(
        lambda ky, kx: -0.5 * np.hypot(ky, kx), output_px, np.cumsum(doses) - doses[0], doses
    )
    results = []
    with ThreadPool(1) as workers:
        for kind, where in ((AlignedSums, (workers, 2)), (GpuAlignedSums, (device,))):
            sums = kind(
                correction, SHAPE_PX, output_px, *where, names=("all", "odd"),
                weights=weights, image_count=FRAMES,
            )  # fmt: skip
            for k in range(FRAMES):
                sums.add(raw[k], k, lattice[k], ("all", "odd")[: 1 + k % 2], time=2 * k + 1)
            results.append(
                (
                    sums.mean("all"), sums.mean("odd"), sums.weighted_mean(), sums.images(),
                    sums.at_output_size(correction.gain),
                )
            )  # fmt: skip

    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("max_bytes", [None, 1])
@pytest.mark.parametrize("rings", [5, 9])
def test_a_sweep_gives_gradient_and_power_of_the_cpu_whole_or_in_pieces(device, max_bytes, rings):
    rng, sides, patches, times = np.random.default_rng(4), (14, 20), 2, 3
    radius = np.hypot(*fourier.frequencies(sides)) * 20
    ring = np.where((radius < 9) & (radius > 1), radius, -1).astype(np.int32)
    packing = likelihood.packing_of(ring)
    packed = rng.normal(size=(patches, 2, times * len(packing.ring_packed))).astype(np.float32)
    packed = (packed.view(np.uint32) >> 16).astype(np.uint16)
    rest, weight = rng.normal(size=(patches, times, 2)), rng.random((patches, 9))
    weight[:, 4:] = 0
    weight = weight.astype(np.float32)
    gradient, summed = np.empty((1, patches, times, 2)), np.empty((1, patches, 9))
    likelihood.likelihood_sweep(
        packed, rest[None], sides, packing.wave, packing.start, packing.ring_packed,
        packing.columns_within(rings), packing.columns_within(4), weight[None], gradient, summed,
        0, patches,
    )  # fmt: skip

    sweeps = GpuSweeps(packed, packing, sides, device, max_bytes=max_bytes)
    found = sweeps.sweep(rest[None], weight[None], rings, 4)

    np.testing.assert_allclose(found[0], gradient, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found[1], summed, rtol=1e-4)
