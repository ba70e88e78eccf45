"""Each launcher of `gpu.kernels` agrees with its CPU implementation."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays import resample
from flexalign.arrays.detector import correct, frame_seed, make_correction
from flexalign.arrays.downsample import axis_filter, downsampled_images
from flexalign.arrays.gpu import kernels

SHAPE_PX = (21, 43)
STEP_PX = 16


def image(seed=1, shape_px=SHAPE_PX):
    return np.random.default_rng(seed).normal(size=shape_px).astype(np.float32)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "f4"])
def test_frames_are_corrected_by_dark_and_gain(kind):
    raw = np.random.default_rng(2).poisson(20, SHAPE_PX).astype(kind)
    dark, gain, out = image(3), image(4), np.empty(SHAPE_PX, np.float32)

    kernels.correct(raw, dark, gain, out)
    np.testing.assert_allclose(out, (raw - dark) * gain, rtol=1e-6)
    kernels.correct(raw, None, None, out)
    np.testing.assert_array_equal(out, raw)


@pytest.mark.parametrize("frame_index", [0, 7, 2000])
def test_bad_pixels_take_the_values_that_they_have_on_the_cpu(frame_index):
    raw, bad = image(7), np.random.default_rng(8).random(SHAPE_PX) < 0.2
    correction = make_correction(None, None, bad)
    found = raw.copy()

    kernels.replace_bad(
        found, correction.bad_index, correction.neighbour_index, frame_seed(frame_index)
    )

    np.testing.assert_array_equal(found, correct(raw, correction, frame_index))


@pytest.mark.parametrize("shape_px", [(21, 43), (43, 9), (25, 22)])
def test_coefficients_are_those_of_the_cpu(shape_px):
    pixels = image(shape_px=shape_px)
    found = pixels.copy()

    kernels.prefilter(found, np.empty_like(found))

    np.testing.assert_allclose(found, resample.spline_coefficients(pixels), atol=2e-5)


@pytest.mark.parametrize("small_px", [(20, 100), (13, 61)])
def test_frames_are_shrunk_as_on_the_cpu(small_px):
    frame, small = image(shape_px=(30, 150)), np.empty(small_px, np.float32)
    down, across = (axis_filter(a, b, 0.4) for a, b in zip(frame.shape, small_px, strict=True))
    along_x = across.start, np.ascontiguousarray(across.weight.T)
    room = np.empty((small_px[0], frame.shape[1]), np.float32)

    kernels.downsample(frame, (down.start, down.weight), along_x, room, small)

    expected = downsampled_images(frame[None], small_px, 0.4)[0]
    np.testing.assert_allclose(small, expected, atol=1e-5)


@pytest.mark.parametrize("size_px", [0.0, 0.7, 5.0, 25.0])
def test_pixels_are_sampled_as_on_the_cpu_mirror_included(size_px):
    coefficients, found = image(), np.empty(SHAPE_PX, np.float32)
    nodes = [resample.lattice_nodes(n, STEP_PX).size for n in SHAPE_PX]
    lattice = size_px * np.random.default_rng(5).normal(size=(2, *nodes)).astype(np.float32)

    kernels.sample(coefficients, resample.lattice_for_loops(lattice, SHAPE_PX), STEP_PX, found)

    expected = resample.sample(coefficients, lattice, STEP_PX)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("time", [0.0, 1.0, 3.7])
def test_spectra_are_weighed(time):
    spectrum = (image(1) + 1j * image(2)).astype(np.complex64)
    rate = np.random.default_rng(6).uniform(-0.7, 0, SHAPE_PX).astype(np.float32)
    found = (image(3) + 0j).astype(np.complex64)
    expected = found + np.exp(rate * time) * spectrum

    kernels.add_weighted(spectrum, found, rate, time)

    np.testing.assert_allclose(found, expected, rtol=1e-5)
