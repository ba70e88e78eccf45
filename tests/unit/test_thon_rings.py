"""Thon rings are seen as far as they are there, and not in noise."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays.power_spectrum import power_spectrum
from flexalign.quality.thon_rings import electron_wavelength_A, find_thon_rings

SIDE_PX = 1024
CS_A = 2.7e7


def spectrum_with(
    end_A, defocus_A=12000.0, astigmatism_A=0.0, pixel_A=1.0, voltage_kV=300.0, phase=0.07,
    strength=1.0, seed=1, cs_A=CS_A,
):  # fmt: skip
    """Spectrum of noise with rings that end at a resolution, and what else spectra have."""
    ky = np.fft.fftfreq(SIDE_PX)[:, None] / pixel_A
    kx = np.fft.rfftfreq(SIDE_PX)[None] / pixel_A
    squared, angle = ky**2 + kx**2, np.arctan2(ky, kx)
    wave_A = electron_wavelength_A(voltage_kV)
    defocus = defocus_A + astigmatism_A * np.cos(2 * (angle - 0.6))
    chi = np.pi * wave_A * defocus * squared - np.pi / 2 * cs_A * wave_A**3 * squared**2
    seen = strength * np.exp(-30 * squared) / (1 + np.exp((np.sqrt(squared) - 1 / end_A) * 400))
    power = 1 + 0.3 * np.exp(-100 * squared) + 5 * np.exp(-3e3 * squared)
    power = power + seen * np.sin(chi + phase) ** 2
    noise = np.random.default_rng(seed).normal(size=(SIDE_PX, SIDE_PX))
    return power_spectrum(np.fft.irfft2(np.fft.rfft2(noise) * np.sqrt(power)), pixel_A)


def none(seed=0, pixel_A=1.0):
    return spectrum_with(1.0, strength=0.0, pixel_A=pixel_A, seed=seed)


@pytest.mark.parametrize("end_A", [10.0, 6.0, 4.0])
def test_rings_are_seen_to_where_they_end(end_A):
    found = find_thon_rings(none(), spectrum_with(end_A), 300.0)

    assert found.to_A == pytest.approx(end_A, rel=0.15)
    assert found.score > 0.7


@pytest.mark.parametrize(
    "changes",
    [
        {"astigmatism_A": 900.0},
        {"defocus_A": 5000.0},
        {"defocus_A": 22000.0},
        {"voltage_kV": 200.0},
        {"phase": 1.5},
        {"cs_A": 1e5},
        {"pixel_A": 0.8},
    ],
    ids=str,
)
def test_defocus_astigmatism_voltage_and_phase_may_be_any(changes):
    found = find_thon_rings(
        none(pixel_A=changes.get("pixel_A", 1.0)),
        spectrum_with(6.0, **changes),
        changes.get("voltage_kV", 300.0),
    )

    assert found.to_A == pytest.approx(6.0, rel=0.2)


def test_both_spectra_are_judged_on_their_own():
    found = find_thon_rings(spectrum_with(9.0, seed=2), spectrum_with(5.0), 300.0)

    assert found.before_A == pytest.approx(9.0, rel=0.15)
    assert found.to_A == pytest.approx(5.0, rel=0.15)


def test_none_before_is_none():
    assert np.isnan(find_thon_rings(none(3), spectrum_with(5.0), 300.0).before_A)


@pytest.mark.parametrize("seed", range(12))
def test_noise_has_none_and_was_looked_at(seed):
    found = find_thon_rings(
        *(none(s, [0.7, 1.0, 1.3][seed % 3]) for s in (seed, seed + 100)), 300.0
    )

    assert np.isnan(found.to_A)
    assert np.isnan(found.before_A)
    assert -1 <= found.score <= 1


def test_a_spectrum_of_few_rings_is_not_looked_at():
    noise = np.random.default_rng(0).normal(size=(128, 128))
    small, coarse = power_spectrum(noise, 1.0), power_spectrum(np.tile(noise, (4, 4)), 8.0)

    assert np.isnan(find_thon_rings(small, small, 300.0).score)
    assert np.isnan(find_thon_rings(coarse, coarse, 300.0).score)


def test_an_empty_spectrum_has_none():
    empty = power_spectrum(np.zeros((SIDE_PX, SIDE_PX)), 1.0)

    assert np.isnan(find_thon_rings(empty, empty, 300.0).to_A)


@pytest.mark.parametrize(("voltage_kV", "wave_A"), [(100, 0.0370), (200, 0.02508), (300, 0.01969)])
def test_the_wavelength_is_relativistic(voltage_kV, wave_A):
    assert electron_wavelength_A(voltage_kV) == pytest.approx(wave_A, rel=1e-3)
