"""Amplitudes for CTF programs: where each frequency is, and what the pixel size says."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays.fourier import rfft2
from flexalign.arrays.power_spectrum import centred_amplitude, ctf_spectrum


@pytest.mark.parametrize("shape", [(64, 48), (65, 47)])
def test_amplitudes_are_those_of_the_whole_transform(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    found = centred_amplitude(rfft2(image), shape[1])

    expected = np.abs(np.fft.fftshift(np.fft.fft2(image)))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pixel_size_A", [0.7, 2.0])
@pytest.mark.parametrize("shape", [(256, 192), (192, 256)])
def test_a_wave_shows_at_its_frequency(shape, pixel_size_A):
    y, x = np.indices(shape)
    wave_per_A = (0.05, 0.10)  # (y, x)
    phase = 2 * np.pi * pixel_size_A * (wave_per_A[0] * y + wave_per_A[1] * x)
    image = np.cos(phase).astype(np.float32)

    found = ctf_spectrum(centred_amplitude(rfft2(image), shape[1]), pixel_size_A, 128)

    side = found.amplitude.shape[0]
    row, column = np.unravel_index(np.argmax(found.amplitude[:, side // 2 :]), (side, side // 2))
    unit_per_A = 1 / (side * found.pixel_size_A)
    assert (row - side // 2) * unit_per_A == pytest.approx(wave_per_A[0], abs=unit_per_A)
    assert column * unit_per_A == pytest.approx(wave_per_A[1], abs=unit_per_A)


def test_resolution_that_no_ctf_program_needs_is_cut_off():
    amplitude = np.ones((512, 512), np.float32)

    fine, coarse = ctf_spectrum(amplitude, 0.7), ctf_spectrum(amplitude, 2.0)

    assert fine.amplitude.shape == (256, 256)
    assert fine.pixel_size_A == pytest.approx(1.4)
    assert coarse.amplitude.shape == (512, 512)
    assert coarse.pixel_size_A == 2.0
