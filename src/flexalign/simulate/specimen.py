"""Image formation: protein in ice or in negative stain.

Ice in the weak-phase approximation: a phase shift is an atom's scattering factor times the
wavelength, and the image is one plus twice that phase times the contrast transfer function.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flexalign.arrays import fourier
from flexalign.model import PixelArray
from flexalign.simulate import placing
from flexalign.simulate.settings import SimulationSettings

CS_MM = 2.7
AMPLITUDE_CONTRAST = 0.1
B_FACTOR_A2 = 60.0
# Water molecules diffuse under the beam, so the finest detail of ice does not last a frame.
ICE_B_FACTOR_A2 = 60.0

ELECTRON_REST_ENERGY_KEV = 510.99895
WATER_MOLECULES_PER_A3 = 0.0311
# Scattering of the displaced water as a fraction of an atom's.
_DISPLACED_SHARE = 0.55
_ATOM_VOLUME_A3 = 18.0
# Uranyl stain: contrast per A of stain displaced by protein, and the grain of the stain, which
# hides detail finer than about 20 A.
_STAIN_CONTRAST_PER_A = 0.0015
_STAIN_DETAIL_A = 25.0
_STAIN_GRAIN_CONTRAST = 0.03
# Inelastic mean free path in ice: only electrons without energy loss form the image.
_INELASTIC_PATH_A = 3000.0


def specimen_spectrum(
    settings: SimulationSettings,
    canvas_px: tuple[int, int],
    threads: int = 1,
    atoms_per_px: PixelArray | None = None,
) -> fourier.SpectrumArray:
    """Half-plane spectrum (h, w // 2 + 1) of the undamaged image of the specimen, minus one.

    The specimen is periodic on the canvas.  The mean is zero.

    Parameters
    ----------
    canvas_px : (height, width), larger than the frames by the margin that moves in at the edges
    atoms_per_px : (h, w) projected density of atoms, see `placing.deposited`; None = as the
        settings say
    """
    rng = np.random.default_rng([settings.seed, 2])
    frequency = frequency_per_A(canvas_px, settings.pixel_size_A)
    if atoms_per_px is None:
        atoms_per_px = placing.deposited_atoms(settings, canvas_px, rng)
    atoms = fourier.rfft2(atoms_per_px, threads)
    if settings.specimen != "filaments":  # which are drawn and not deposited
        atoms /= _bilinear_transfer(canvas_px)
    image = _stained if settings.specimen == "negative-stain" else _vitrified
    spectrum = image(atoms, canvas_px, settings, frequency, rng, threads)
    spectrum[0, 0] = 0
    return spectrum


def _vitrified(
    atoms: fourier.SpectrumArray,
    canvas_px: tuple[int, int],
    settings: SimulationSettings,
    frequency_per_A: npt.NDArray[np.float32],
    rng: np.random.Generator,
    threads: int,
) -> fourier.SpectrumArray:
    """Protein in ice, from the spectrum of its atoms per pixel."""
    phase = atoms * protein_scattering_A(frequency_per_A)
    thickness_A = settings.ice_thickness_A / math.cos(math.radians(settings.tilt_deg))
    if thickness_A > 0:
        molecules_per_px = WATER_MOLECULES_PER_A3 * thickness_A * settings.pixel_size_A**2
        ice = rng.standard_normal(canvas_px, dtype=np.float32)
        ice *= np.float32(np.sqrt(molecules_per_px))
        phase += fourier.rfft2(ice, threads) * ice_scattering_A(frequency_per_A)
    phase *= image_transfer(frequency_per_A, settings)
    left = math.exp((settings.ice_thickness_A - thickness_A) / _INELASTIC_PATH_A)
    phase *= np.float32(settings.contrast * left / settings.pixel_size_A**2)
    return phase


def _stained(
    atoms: fourier.SpectrumArray,
    canvas_px: tuple[int, int],
    settings: SimulationSettings,
    frequency_per_A: npt.NDArray[np.float32],
    rng: np.random.Generator,
    threads: int,
) -> fourier.SpectrumArray:
    """Protein, bright, in dark stain whose grains hide all fine detail."""
    envelope = np.exp(-((_STAIN_DETAIL_A * frequency_per_A) ** 2))
    displaced_A = np.float32(_ATOM_VOLUME_A3 / settings.pixel_size_A**2)
    grains = fourier.rfft2(texture(canvas_px, envelope, rng, threads), threads)
    grains *= np.float32(_STAIN_GRAIN_CONTRAST)
    protein = atoms * (envelope * displaced_A * np.float32(_STAIN_CONTRAST_PER_A))
    return np.asarray(np.float32(settings.contrast) * (protein + grains))


def texture(
    shape_px: tuple[int, int],
    transfer: npt.NDArray[np.float32],
    rng: np.random.Generator,
    threads: int = 1,
) -> npt.NDArray[np.float32]:
    """Noise (h, w) of standard deviation 1 whose amplitudes follow `transfer` (h, w // 2 + 1)."""
    noise = fourier.rfft2(rng.standard_normal(shape_px, dtype=np.float32), threads)
    image = fourier.irfft2(noise * transfer, shape_px, threads)
    return np.asarray(image / image.std())


def frequency_per_A(shape_px: tuple[int, int], pixel_size_A: float) -> npt.NDArray[np.float32]:
    """Spatial frequency (h, w // 2 + 1) of a half-plane spectrum, 1/A."""
    ky, kx = fourier.frequencies(shape_px)
    return np.asarray(np.hypot(ky, kx) / pixel_size_A, dtype=np.float32)


def image_transfer(
    frequency_per_A: npt.NDArray[np.float32], settings: SimulationSettings
) -> npt.NDArray[np.float32]:
    """Transfer function from a projected scattering factor (A) to image contrast, A2.

    Underfocus, protein dark; with an envelope of B-factor 60 A2.

    References
    ----------
    Reimer & Kohl, Transmission Electron Microscopy, 5th ed. (2008), chapter 6.
    """
    k2 = frequency_per_A**2
    wavelength_A, gamma = electron_wavelength_A(settings.voltage_kV)
    defocus = np.float32(np.pi * wavelength_A * settings.defocus_um * 1e4)
    aberration = np.float32(np.pi / 2 * CS_MM * 1e7 * wavelength_A**3)
    chi = defocus * k2 - aberration * k2**2 + np.float32(np.arcsin(AMPLITUDE_CONTRAST))
    envelope = np.exp(np.float32(-B_FACTOR_A2 / 4) * k2)
    return np.asarray(np.float32(-2 * wavelength_A * gamma) * np.sin(chi) * envelope)


def electron_wavelength_A(voltage_kV: float) -> tuple[float, float]:
    """Wavelength in A and relativistic mass relative to the rest mass.

    Examples
    --------
    >>> round(electron_wavelength_A(300.0)[0], 5)
    0.01969
    """
    gamma = 1 + voltage_kV / ELECTRON_REST_ENERGY_KEV
    momentum_keV = np.sqrt(voltage_kV * (voltage_kV + 2 * ELECTRON_REST_ENERGY_KEV))
    return 12.398420 / float(momentum_keV), gamma


def protein_scattering_A(frequency_per_A: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scattering factor of a protein's mean atom minus that of the water it displaces, A.

    References
    ----------
    Peng, Ren, Dudarev & Whelan, Acta Cryst. A52 (1996) 257 (carbon).
    Fraser, MacRae & Suzuki, J. Appl. Cryst. 11 (1978) 693 (displaced solvent).
    """
    k2 = frequency_per_A**2
    atom = _gaussians(
        k2, (0.0893, 0.2563, 0.7570, 1.0487, 0.3575), (0.2465, 1.7100, 6.4094, 18.6113, 50.2523)
    )
    displaced = np.exp(np.float32(-np.pi * _ATOM_VOLUME_A3 ** (2 / 3)) * k2)
    return np.asarray(atom - np.float32(_DISPLACED_SHARE * 2.5088) * displaced)


def ice_scattering_A(frequency_per_A: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Root of the scattered power of a water molecule in amorphous ice, A.

    The molecules avoid each other: little power below 0.15/A, a broad peak at 3.7 A.  The beam
    moves them, which blurs them by a B-factor of 60 A2.

    References
    ----------
    Peng, Ren, Dudarev & Whelan, Acta Cryst. A52 (1996) 257 (oxygen and hydrogen).
    """
    k, k2 = frequency_per_A, frequency_per_A**2
    oxygen = _gaussians(
        k2, (0.0974, 0.2921, 0.6910, 0.6990, 0.2039), (0.2067, 1.3815, 4.6943, 12.7105, 32.4726)
    )
    hydrogen = _gaussians(
        k2, (0.0349, 0.1201, 0.1970, 0.0573, 0.1195), (0.5347, 3.5867, 12.3471, 18.9525, 38.6269)
    )
    rise = 1 - np.exp(-((k / np.float32(0.24)) ** 4))
    peak = np.exp(-(((k - np.float32(0.27)) / np.float32(0.035)) ** 2))
    structure = np.float32(0.06) + np.float32(0.9) * rise + np.float32(0.8) * peak
    blur = np.exp(np.float32(-ICE_B_FACTOR_A2 / 4) * k2)
    return np.asarray((oxygen + 2 * hydrogen) * np.sqrt(structure) * blur)


def _gaussians(
    k2_per_A2: npt.NDArray[np.float32], heights: tuple[float, ...], widths: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    """A scattering factor as the sum of ``a exp(-b k^2 / 4)``."""
    total = np.zeros_like(k2_per_A2)
    for height, width in zip(heights, widths, strict=True):
        total += np.float32(height) * np.exp(np.float32(-width / 4) * k2_per_A2)
    return total


def _bilinear_transfer(shape_px: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Transfer function of bilinear deposition on the grid."""
    ky, kx = fourier.frequencies(shape_px)
    return np.asarray((np.sinc(ky) * np.sinc(kx)) ** 2, dtype=np.float32)
