"""What lies under the beam: copies of a built-in particle in ice, as the microscope images them.

All in the weak-phase approximation: a phase shift is an atom's scattering factor times the
wavelength, and the image is one plus twice that phase times the contrast transfer function.
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from flexalign.arrays import fourier
from flexalign.errors import ParameterError
from flexalign.model import FloatArray
from flexalign.simulate.settings import PARTICLE_DIAMETER_A, SimulationSettings

CS_MM = 2.7
AMPLITUDE_CONTRAST = 0.1
B_FACTOR_A2 = 60.0
# Water molecules diffuse under the beam, so the finest detail of ice does not last a frame.
ICE_B_FACTOR_A2 = 60.0

ELECTRON_REST_ENERGY_KEV = 510.99895
WATER_MOLECULES_PER_A3 = 0.0311
# Share of an atom's scattering that the water it displaces would have had.
_DISPLACED_SHARE = 0.55
_ATOM_VOLUME_A3 = 18.0
_PLACEMENT_ATTEMPTS = 200

# Atoms of an alpha helix: distance from its axis, angle in degrees and height along it, in A,
# relative to the alpha carbon; the last four stand for a side chain.
_HELIX_ATOMS = (
    (1.55, -27.7, -0.87), (2.29, 0.0, 0.0), (1.67, 26.5, 1.07), (2.03, 25.0, 2.27),
    (3.30, -20.0, -0.50), (4.30, -12.0, -1.2), (5.10, -20.0, -2.0), (5.70, -5.0, -2.4),
)  # fmt: skip
_HELIX_RISE_A, _HELIX_TURN_DEG = 1.5, 100.0
_RESIDUES_PER_HELIX = 32
# (across, outward) of the four helices of a subunit, A; they lie along the shell.
_BUNDLE_A = ((-5.0, 46.0), (5.0, 47.0), (-5.0, 56.0), (5.0, 55.0))
_SIDE_CHAIN_SCATTER_A = 0.7


def particle_atoms_A() -> FloatArray:
    """Atoms (n, 3) of the built-in particle: a hollow shell of 24 equal bundles of helices.

    About 24 000 atoms, 134 A across, with the symmetry of a cube's rotations; always the same.
    """
    rng = np.random.default_rng(24)
    residue = np.arange(_RESIDUES_PER_HELIX)[:, None]
    radius, angle_deg, height = np.array(_HELIX_ATOMS).T
    angle = np.radians(angle_deg + _HELIX_TURN_DEG * residue)
    along = height + _HELIX_RISE_A * (residue - _RESIDUES_PER_HELIX / 2)
    helix = np.stack(
        [along, radius * np.cos(angle), radius * np.sin(angle)], axis=-1
    )  # (residues, atoms, 3)
    subunit = []
    for number, (across, outward) in enumerate(_BUNDLE_A):
        turned = Rotation.from_euler("x", 75.0 * number, degrees=True).apply(helix.reshape(-1, 3))
        if number % 2:
            turned = turned * [-1.0, 1.0, -1.0]  # neighbours run the other way
        scatter = rng.normal(scale=_SIDE_CHAIN_SCATTER_A, size=helix.shape)
        scatter[:, :4] *= 0.2  # the backbone is regular
        subunit.append(turned + scatter.reshape(-1, 3) + [0.0, across, outward])
    # A general direction, so that no subunit lies on a symmetry axis.
    atoms = Rotation.from_euler("zyx", [20.0, 33.0, 17.0], degrees=True).apply(
        np.concatenate(subunit)
    )
    return np.concatenate([atoms @ turn.T for turn in _cube_rotations()])


def _cube_rotations() -> list[FloatArray]:
    """The 24 rotations that leave a cube as it is."""
    turns = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), order] = signs
            if np.linalg.det(turn) > 0:
                turns.append(turn)
    return turns


def specimen_spectrum(
    settings: SimulationSettings, canvas_px: tuple[int, int], threads: int = 1
) -> fourier.SpectrumArray:
    """Half-plane spectrum (h, w // 2 + 1) of the undamaged image of the specimen, minus one.

    The specimen is periodic on the canvas.  The mean is zero.

    Parameters
    ----------
    canvas_px : (height, width), larger than the frames by what moves in at the edges
    """
    rng = np.random.default_rng([settings.seed, 2])
    frequency = frequency_per_A(canvas_px, settings.pixel_size_A)
    phase = fourier.rfft2(_deposited_particles(settings, canvas_px, rng), threads)
    phase *= protein_scattering_A(frequency) / _bilinear_transfer(canvas_px)
    if settings.ice_thickness_A > 0:
        molecules_per_px = (
            WATER_MOLECULES_PER_A3 * settings.ice_thickness_A * settings.pixel_size_A**2
        )
        ice = rng.standard_normal(canvas_px, dtype=np.float32)
        ice *= np.float32(np.sqrt(molecules_per_px))
        phase += fourier.rfft2(ice, threads) * ice_scattering_A(frequency)
    phase *= image_transfer(frequency, settings)
    phase *= np.float32(settings.contrast / settings.pixel_size_A**2)
    phase[0, 0] = 0
    return phase


def frequency_per_A(shape_px: tuple[int, int], pixel_size_A: float) -> npt.NDArray[np.float32]:
    """Spatial frequency (h, w // 2 + 1) of a half-plane spectrum, 1/A."""
    ky, kx = fourier.frequencies(shape_px)
    return np.asarray(np.hypot(ky, kx) / pixel_size_A, dtype=np.float32)


def image_transfer(
    frequency_per_A: npt.NDArray[np.float32], settings: SimulationSettings
) -> npt.NDArray[np.float32]:
    """What the microscope makes of a projected scattering factor (A): image contrast, A2.

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
    """What bilinear deposition on the grid does to the amplitudes."""
    ky, kx = fourier.frequencies(shape_px)
    return np.asarray((np.sinc(ky) * np.sinc(kx)) ** 2, dtype=np.float32)


def _deposited_particles(
    settings: SimulationSettings, canvas_px: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Atoms per pixel (h, w) of randomly turned particles that do not overlap."""
    height, width = canvas_px
    atoms_px = particle_atoms_A() / settings.pixel_size_A
    total = np.zeros(height * width)
    for place in _places_px(settings, canvas_px, rng):
        turned = Rotation.random(random_state=rng).apply(atoms_px)[:, :2] + place
        whole = np.floor(turned).astype(np.int64)
        part = turned - whole
        for dy, dx in product((0, 1), repeat=2):
            weight = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            pixel = (whole[:, 0] + dy) % height * width + (whole[:, 1] + dx) % width
            np.add.at(total, pixel, weight)
    return total.reshape(canvas_px).astype(np.float32)


def _places_px(
    settings: SimulationSettings, canvas_px: tuple[int, int], rng: np.random.Generator
) -> FloatArray:
    """Centres (n, 2) (y, x) of particles that keep a diameter apart on the periodic canvas."""
    size = np.array(canvas_px, dtype=np.float64)
    count = round(settings.particle_density_per_px * canvas_px[0] * canvas_px[1])
    apart_px = PARTICLE_DIAMETER_A / settings.pixel_size_A
    places = np.empty((count, 2))
    for number in range(count):
        for _ in range(_PLACEMENT_ATTEMPTS):
            place = rng.uniform(0, size)
            away = np.abs(places[:number] - place)
            if not (np.hypot(*np.minimum(away, size - away).T) < apart_px).any():
                break
        else:
            raise ParameterError(
                f"particles: {count} of {PARTICLE_DIAMETER_A:g} A do not fit on {canvas_px} "
                f"pixels of {settings.pixel_size_A:g} A: ask for fewer, or for a larger field"
            )
        places[number] = place
    return places
