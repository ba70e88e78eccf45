"""A GPU gives the numbers of the CPU, waits for nobody, and leaves its memory as it found it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexalign import align_movie
from flexalign.arrays import fourier
from flexalign.arrays.correlate import low_pass
from flexalign.arrays.detector import make_correction
from flexalign.arrays.frame_stack import CpuFrameStack, Pairs, Tiles
from flexalign.arrays.gpu.frame_stack import GpuFrameStack
from flexalign.arrays.gpu.passes import FrameUpload, GpuDownsampler, kernels
from flexalign.errors import DeviceError
from flexalign.simulate import motion_error_px

SHAPE_PX, SMALL_PX, FRAMES = (600, 720), (300, 360), 12
MOVIES = 50


@pytest.fixture(scope="module")
def results(device, movie):
    """The movie aligned on the CPU and on the GPU."""
    _, path, params = movie
    return [align_movie(path, replace(params, device=name)) for name in ("cpu", device.name)]


def test_known_motion_is_found(results, movie):
    assert motion_error_px(results[1].motion, movie[0]).rms_px < 0.5


def test_the_motion_is_that_of_the_cpu(results, movie):
    shape_px, frames = movie[0].settings.shape_px, movie[0].settings.frame_count
    frame, y, x = np.ix_(range(frames), *(np.linspace(0, n - 1, 5) for n in shape_px))
    cpu, gpu = (np.array(result.motion.displacement_px(frame, y, x)) for result in results)

    assert np.abs(gpu - cpu).max() < 1e-3


@pytest.mark.parametrize("name", ["plain", "dose_weighted", "odd", "even", "unaligned"])
def test_the_sums_are_those_of_the_cpu(results, name):
    cpu, gpu = (getattr(result.sums, name) for result in results)

    assert np.abs(gpu - cpu).max() < 1e-4 * np.abs(cpu).max()


def test_the_same_movie_gives_the_same_bits(results, device, movie):
    again = align_movie(movie[1], replace(movie[2], device=device.name))

    assert np.array_equal(again.sums.dose_weighted, results[1].sums.dose_weighted)


def test_the_record_names_the_gpu(results, device):
    assert results[1].record.decisions["device"].startswith(f"{device.name} (")


def raw_frames():
    rng = np.random.default_rng(1)
    return rng.poisson(3, (FRAMES, *SHAPE_PX)).astype(np.uint8)


def shrunk(device, raw):
    """Small frames (t, h, w) and the sum of the raw ones."""
    correction = make_correction(None, None, np.zeros(SHAPE_PX, bool))
    small = np.empty((len(raw), *SMALL_PX), np.float32)
    downsampler = GpuDownsampler(correction, SHAPE_PX, small, device, 0.93)
    total = downsampler.empty_sum(raw[0])
    for k, frame in enumerate(raw):
        downsampler.add(frame, k, k, [total])
    downsampler.flush()
    return small, downsampler.fetched(total)


def test_frames_sent_ahead_do_not_overtake_each_other(device):
    """Both buffers are used again and again while the computing lags behind."""
    raw, found = raw_frames(), []
    with device.active():
        upload = FrameUpload(device)
        for frame in np.concatenate([raw] * 5):
            found.append(upload.upload(frame).astype(np.float32))
            for _ in range(20):
                found[-1] = found[-1] + 0
            upload.done()
        found = [device.host(frame) for frame in found]

    assert all(np.array_equal(a, b) for a, b in zip(found, [*raw] * 5, strict=True))


def test_computing_in_a_stream_of_ones_own_gives_the_same(device):
    raw = raw_frames()
    with device.active():
        expected = shrunk(device, raw)
        with device.xp.cuda.Stream(non_blocking=True):
            found = shrunk(device, raw)

    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("small_px", [(300, 360), (301, 200), (600, 100), (100, 720)])
def test_cropped_spectra_are_those_of_the_host(device, small_px):
    image = np.random.default_rng(2).normal(size=SHAPE_PX).astype(np.float32)
    with device.active():
        found = device.host(fourier.rfft2_cropped(device.xp.array(image), small_px))

    expected = fourier.rfft2_cropped(image, small_px)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("has_dark", "has_gain"), [(False, False), (True, False), (False, True)])
def test_frames_are_corrected_by_what_there_is(device, has_dark, has_gain):
    raw = raw_frames()[0]
    dark, gain = (np.full(SHAPE_PX, value, np.float32) for value in (0.5, 2.0))
    with device.active():
        xp = device.xp
        out = xp.full(SHAPE_PX, np.nan, np.float32)
        references = (xp.array(dark) if has_dark else None, xp.array(gain) if has_gain else None)
        kernels.correct(xp.array(raw), *references, out)
        found = device.host(out)

    assert np.array_equal(found, (raw - 0.5 * has_dark) * (2.0 if has_gain else 1.0))


def small_frames(kind):
    """Frames of one specimen that moves, with noise."""
    rng, shape_px = np.random.default_rng(3), (300, 352)
    specimen = fourier.rfft2(rng.normal(size=shape_px).astype(np.float32))
    path_px = np.cumsum(rng.normal(0, 1, (FRAMES, 2)), axis=0)
    moved = fourier.irfft2(fourier.phase_shifted(specimen, shape_px, path_px), shape_px)
    return (moved + rng.normal(0, 1, moved.shape)).astype(kind)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("batch_bytes", [2**29, 2**22])
def test_pairs_of_frames_and_of_patches_are_those_of_the_cpu(device, kind, batch_bytes):
    pixels, half = small_frames(kind), (0.15, 0.15)
    groups = list(np.arange(FRAMES)[:, None])
    first, second = np.triu_indices(FRAMES, 1)
    pairs = Pairs(first, second, np.full(len(first), 20.0))
    corner = np.stack(np.meshgrid([0, 100, 200], [0, 176], indexing="ij"), -1).reshape(-1, 2)
    tiles = Tiles(corner, np.ones((100, 176), np.float32))
    whole, tiled = (
        np.ascontiguousarray(low_pass(shape_px, half)[:, : shape_px[1] // 3])
        for shape_px in ((300, 352), tiles.shape_px)
    )
    found = []
    with device.active():
        for stack in (
            CpuFrameStack(pixels),
            GpuFrameStack(device.upload(pixels), device, batch_bytes),
        ):
            peaks = stack.group_peaks(groups, whole, pairs)
            of_tiles = stack.tile_peaks(tiles, groups, np.zeros((FRAMES, 2)), tiled, pairs)
            found.append([peaks, *of_tiles])

    for cpu, gpu in zip(*found, strict=True):
        np.testing.assert_allclose(gpu.shift_px, cpu.shift_px, atol=1e-3)
        np.testing.assert_allclose(gpu.score, cpu.score, rtol=1e-3)


@pytest.mark.slow
def test_memory_does_not_grow_from_movie_to_movie(device, movie):
    used_bytes = []
    for _ in range(MOVIES):
        align_movie(movie[1], replace(movie[2], device=device.name, refine=False))
        with device.active():
            used_bytes.append(device.xp.get_default_memory_pool().total_bytes())

    assert used_bytes[-1] <= 1.05 * used_bytes[5]


def test_a_gpu_without_room_is_refused_and_works_again_afterwards(device, movie, results):
    with device.active():
        pool = device.xp.get_default_memory_pool()
        pool.free_all_blocks()
        pool.set_limit(size=8 * 2**20)
        try:
            with pytest.raises(DeviceError, match="`device` cpu"), device.active():
                device.xp.zeros(2**24, np.float32)
        finally:
            pool.set_limit(size=0)

    again = align_movie(movie[1], replace(movie[2], device=device.name))
    assert np.array_equal(again.sums.plain, results[1].sums.plain)
