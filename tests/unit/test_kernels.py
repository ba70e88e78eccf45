"""The compiled loops give what slow and obvious implementations give."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from flexalign.arrays import detector, resample
from flexalign.arrays.aligned_sum import LATTICE_STEP_PX, AlignedSums
from flexalign.arrays.downsample import axis_filter, downsampled_images
from flexalign.arrays.kernels import likelihood, peaks, tiles
from flexalign.arrays.kernels.elementwise import reflected_index
from flexalign.arrays.kernels.float16 import stored
from flexalign.arrays.likelihood_sweeps import CpuSweeps
from flexalign.arrays.threads import ThreadPool

SHAPE_PX = (21, 34)


def random(shape_px=SHAPE_PX, seed=1):
    return np.random.default_rng(seed).normal(size=shape_px).astype(np.float32)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_reflection(size):
    index = np.arange(-20, 21)

    expected = [naive.reflected(i, size) if size > 1 else 0 for i in index]

    assert reflected_index(index, size).tolist() == expected


def test_frames_corrected_warped_and_summed():
    rng = np.random.default_rng(2)
    gain, dark = (rng.uniform(0.5, 1.5, SHAPE_PX).astype(np.float32) for _ in range(2))
    raws = rng.poisson(9.0, (3, *SHAPE_PX)).astype(np.uint8)
    correction = detector.make_correction(gain, dark, np.zeros(SHAPE_PX, np.bool_))
    nodes = [resample.lattice_nodes(n, LATTICE_STEP_PX) for n in SHAPE_PX]
    slope_y, slope_x = 0.03, -0.02

    with ThreadPool(1) as threads:
        sums = AlignedSums(correction, SHAPE_PX, SHAPE_PX, threads, 2, names=("all",))
        for t, raw in enumerate(raws):
            y, x = np.meshgrid(*nodes, indexing="ij")
            lattice = np.stack([t - 1.3 + slope_y * x, 0.4 * t + slope_x * y]).astype(np.float32)
            sums.add(raw, t, lattice, ("all",))
        found = sums.mean("all")

    y, x = np.mgrid[: SHAPE_PX[0], : SHAPE_PX[1]]
    moved = [
        naive.warped(
            naive.corrected(raw, gain, dark),
            np.stack([t - 1.3 + slope_y * x, 0.4 * t + slope_x * y]),
        )
        for t, raw in enumerate(raws)
    ]
    np.testing.assert_allclose(found, np.mean(moved, axis=0), atol=1e-3)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_downsampling(kind):
    image, small_px = random().astype(kind), (9, 16)

    found = downsampled_images(image[None], small_px, 0.8)[0]

    along_y, along_x = (axis_filter(a, b, 0.8) for a, b in zip(SHAPE_PX, small_px, strict=True))
    expected = naive.downsampled(
        image.astype(float), along_y.weight, along_y.start, along_x.weight, along_x.start
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("top", "left"), [(3, 5), (-4, 20), (15, -7)])
@pytest.mark.parametrize("is_standard", [False, True])
def test_tapered_tiles(top, left, is_standard):
    image, window = random(), np.outer(np.hanning(10), np.hanning(14)).astype(np.float32)
    found = np.empty(window.shape, np.float32)

    (tiles.standard_tile if is_standard else tiles.taper_tile)(
        stored(image), top, left, window, found
    )

    expected = naive.tapered(image.astype(float), top, left, window, is_standard)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("width", [14, 15])
def test_cross_spectra_of_pairs(width):
    spectra = np.fft.rfft2(random((3, 12, width))).astype(np.complex64)
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    product, power = np.empty_like(spectra), np.empty(3)

    peaks.pair_products(spectra, first, second, width, product, power)

    for k in range(3):
        a, b = (spectra[which[k]].astype(complex) for which in (first, second))
        expected, total = naive.cross_spectrum(a, b, width)
        np.testing.assert_allclose(product[k], expected, atol=1e-3)
        assert power[k] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("top_px", [(0.3, -0.4), (-5.75, 7.2), (9.5, 3.0)])
def test_sub_pixel_maximum(top_px):
    ky, kx = np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(72)[None, :]
    band = np.exp(-((np.hypot(ky, kx) / 0.12) ** 2))
    shift = np.exp(-2j * np.pi * (ky * top_px[0] + kx * top_px[1]))
    surface = np.fft.irfft2(band * shift, (64, 72)).astype(np.float32)
    found_px, height = np.empty((1, 2)), np.empty(1, np.float32)

    peaks.highest_near(surface[None], np.array([16.0]), found_px, height)

    expected_px, expected = naive.highest_near(surface, 16.0)
    np.testing.assert_allclose(found_px[0], expected_px, atol=0.02)
    assert height[0] == pytest.approx(expected, rel=3e-3)  # of a windowed sinc


@pytest.mark.parametrize("threads", [1, 2])
def test_likelihood_sweep(threads):
    rng, side_px, patches, times = np.random.default_rng(4), (12, 16), 3, 4
    ky, kx = np.fft.fftfreq(12)[:, None] * 12, np.fft.rfftfreq(16)[None, :] * 16
    ring = np.rint(np.hypot(ky, kx)).astype(np.int32)
    ring[(ring < 1) | (ring > 5)] = -1
    ring[0], ring[:, 0] = -1, -1
    spectra = rng.normal(size=(patches, times, 12, 9)) + 1j * rng.normal(
        size=(patches, times, 12, 9)
    )
    packing = likelihood.packing_of(ring)
    packed = np.empty((patches, 2, times * len(packing.ring_packed)), np.uint16)
    for p in range(patches):
        likelihood.pack(
            spectra[p].astype(np.complex64), 0, ring, packing.wave, packing.start,
            np.ones((times, 6), np.float32), packed[p], np.zeros(6),
        )  # fmt: skip
    residual_px = rng.normal(size=(2, patches, times, 2))
    weight = rng.random((2, patches, 6)).astype(np.float32)

    gradient, power = CpuSweeps(packed, packing, side_px).sweep(residual_px, weight, 6, 6, threads)

    kept = likelihood.unpacked(packing, packed)
    for m in range(2):
        for p in range(patches):
            pull, summed = naive.likelihood_sweep(kept[p], ring, residual_px[m, p], weight[m, p])
            np.testing.assert_allclose(gradient[m, p], pull, rtol=1e-3, atol=1e-2)
            np.testing.assert_allclose(power[m, p], summed, rtol=1e-4)
