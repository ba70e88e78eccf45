"""Packed spectra: nothing is lost that is kept, and rings are found again."""

from __future__ import annotations

import numpy as np
import pytest

from flexalign.arrays.kernels import likelihood

TIMES, SHAPE_PX = 5, (12, 16)


@pytest.fixture
def ring():
    """Rings 2 to 5 of a half plane, without the axes."""
    ky, kx = np.fft.fftfreq(12)[:, None] * 12, np.fft.rfftfreq(16)[None, :] * 16
    ring = np.rint(np.hypot(ky, kx)).astype(np.int32)
    ring[(ring < 2) | (ring > 5)] = -1
    ring[0] = -1
    ring[:, 0] = -1
    return ring


def packed_by_twos(spectra, ring, envelope):
    """Packed spectra, handed over two frames at a time, and their power by ring."""
    packing = likelihood.packing_of(ring)
    packed = np.empty((2, TIMES * len(packing.ring_packed)), np.uint16)
    power = np.zeros(6)
    for first in range(0, TIMES, 2):
        likelihood.pack(
            spectra[first : first + 2], first, ring, packing.wave, packing.start, envelope, packed,
            power,
        )  # fmt: skip
    return packing, packed, power


def test_what_is_packed_comes_out_again_times_its_envelope(ring):
    rng = np.random.default_rng(1)
    spectra = rng.normal(size=(TIMES, 12, 9)) + 1j * rng.normal(size=(TIMES, 12, 9))
    envelope = rng.uniform(0.5, 1, (TIMES, 6)).astype(np.float32)

    packing, packed, power = packed_by_twos(spectra.astype(np.complex64), ring, envelope)

    expected = np.where(ring >= 0, spectra * envelope[:, ring], 0)
    found = likelihood.unpacked(packing, packed)
    np.testing.assert_allclose(found.real, expected.real, rtol=1 / 256)
    np.testing.assert_allclose(found.imag, expected.imag, rtol=1 / 256)
    assert np.abs((found - expected).mean()) < 1e-3  # rounded, not cut off
    expected = found  # the power is of what was kept
    by_hand = [(np.abs(expected[:, ring == r]) ** 2).sum() for r in range(6)]
    np.testing.assert_allclose(power, by_hand, rtol=1e-5)


@pytest.mark.parametrize("rings", [0, 3, 4, 6])
def test_the_columns_of_some_rings_are_the_first_of_each_row(ring, rings):
    packing = likelihood.packing_of(ring)

    columns = packing.columns_within(rings)

    last = np.where((ring >= 0) & (ring < rings), np.arange(9), 0).max(axis=1)
    assert columns.tolist() == last[packing.wave].tolist()
