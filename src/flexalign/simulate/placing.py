"""Atom positions: the built-in particle, scattered or in a crystal, and filament bundles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import permutations, product

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from flexalign.errors import ParameterError
from flexalign.model import FloatArray
from flexalign.parameter import quoted
from flexalign.simulate.settings import PARTICLE_DIAMETER_A, SimulationSettings

_PLACEMENT_ATTEMPTS = 200
_CELL_A, _LATTICE_TURN = 150.0, math.radians(20.0)
_FILAMENT_OUTER_A, _FILAMENT_INNER_A = 45.0, 20.0
_FILAMENT_COVERAGE = 0.35
_ATOMS_PER_A3 = 0.04
# Waves along y and x over the canvas: a direction between the axes that fits it.
_FILAMENT_WAVES = ((1, 2), (2, 1), (-1, 2), (2, -1))

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


def deposited_atoms(
    settings: SimulationSettings, canvas_px: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Atoms per pixel (h, w) of the specimen described by `settings`, periodic on the canvas."""
    if settings.specimen == "filaments":
        return _filaments(settings, canvas_px, rng)
    atoms_px = particle_atoms_A() / settings.pixel_size_A
    if settings.specimen == "crystal":
        atoms_px = Rotation.random(random_state=rng).apply(atoms_px)
        turned = (atoms_px[:, :2] + place for place in _lattice_px(settings, canvas_px))
    else:
        turned = (
            Rotation.random(random_state=rng).apply(atoms_px)[:, :2] + place
            for place in places_px(settings, canvas_px, rng)
        )
    return deposited(turned, canvas_px)


def deposited(
    particles_px: Iterable[FloatArray], canvas_px: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Atoms per pixel (h, w) of particles (atoms, 2) (y, x), each atom shared by four pixels."""
    height, width = canvas_px
    total = np.zeros(height * width)
    for place in particles_px:
        whole = np.floor(place).astype(np.int64)
        fraction = place - whole
        for dy, dx in product((0, 1), repeat=2):
            weight = np.abs(1 - dy - fraction[:, 0]) * np.abs(1 - dx - fraction[:, 1])
            pixel = (whole[:, 0] + dy) % height * width + (whole[:, 1] + dx) % width
            np.add.at(total, pixel, weight)
    return total.reshape(canvas_px).astype(np.float32)


def _lattice_px(settings: SimulationSettings, canvas_px: tuple[int, int]) -> FloatArray:
    """Places (n, 2) (y, x) of a turned lattice of cells of about 150 A that fits the canvas."""
    cells = settings.pixel_size_A * math.sqrt(canvas_px[0] * canvas_px[1]) / _CELL_A
    along = max(1, round(cells * math.cos(_LATTICE_TURN)))
    across = max(1, round(cells * math.sin(_LATTICE_TURN)))
    # Integer numbers of waves along both sides make the lattice periodic on the canvas.
    waves = np.array([[along, across], [-across, along]])
    count = np.arange(-along - across, 2 * (along + across))
    number = np.stack(np.meshgrid(count, count), axis=-1).reshape(-1, 2)
    fraction = (number @ np.linalg.inv(waves).T).round(9)
    return np.asarray(fraction[((fraction >= 0) & (fraction < 1)).all(axis=1)] * canvas_px)


def _filaments(
    settings: SimulationSettings, canvas_px: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Atoms per pixel (h, w) of hollow filaments that all lie one way and are smooth along it."""
    height, width = canvas_px
    waves = np.array(_FILAMENT_WAVES[rng.integers(len(_FILAMENT_WAVES))])
    period_A = settings.pixel_size_A / float(np.hypot(*(waves / canvas_px)))
    count = max(1, round(_FILAMENT_COVERAGE * period_A / (2 * _FILAMENT_OUTER_A)))
    y, x = np.arange(height)[:, None] * waves[0] / height, np.arange(width) * waves[1] / width
    total = np.zeros(canvas_px)
    for centre in (np.arange(count) + rng.uniform(-0.25, 0.25, count)) / count:
        from_axis_A = ((y + x - centre + 0.5) % 1 - 0.5) * period_A
        total += _chord_A(from_axis_A, _FILAMENT_OUTER_A) - _chord_A(from_axis_A, _FILAMENT_INNER_A)
    return (total * (_ATOMS_PER_A3 * settings.pixel_size_A**2)).astype(np.float32)


def _chord_A(from_axis_A: FloatArray, radius_A: float) -> FloatArray:
    """Path length of the beam through a cylinder, at a distance from its axis."""
    return 2 * np.sqrt(np.maximum(radius_A**2 - from_axis_A**2, 0))


def places_px(
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
                f"{quoted('particles')}: {count} of {PARTICLE_DIAMETER_A:g} A do not fit on "
                f"{canvas_px} pixels of {settings.pixel_size_A:g} A: ask for "
                "fewer, or for a larger field"
            )
        places[number] = place
    return places
