"""Objects beside the specimen: gold, carbon, crystals, contamination and shadows.

Each is an image (h, w) of the relative change of intensity, between -1 (no electrons) and a few
per cent above zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flexalign.model import FloatArray, PixelArray
from flexalign.simulate.settings import SimulationSettings
from flexalign.simulate.specimen import frequency_per_A, image_transfer, texture

Shape = tuple[int, int]
Draw = Callable[[SimulationSettings, Shape, np.random.Generator], FloatArray]

_HOLE_RADIUS_A = 6000.0
_GOLD_TRANSMISSION, _GOLD_SCATTER, _GOLD_GRAIN_A = 0.35, 0.3, 40.0
BEAD_RADIUS_A, _BEAD_DEPTH, A_PER_BEAD = 50.0, 0.85, 450.0
_CRYSTAL_RADIUS_A, _CRYSTAL_DEPTH, _A_PER_CRYSTAL = (60.0, 250.0), (0.1, 0.35), 500.0
_CARBON_CONTRAST, _CARBON_DEPTH = 0.06, 0.1
_DIRT_SHARE, _DIRT_DEPTH, _DIRT_DETAIL_A = 0.15, 0.6, 60.0
_SHADOW_DEPTH, _SHADOW_EDGE_PX, _BEAM_EDGE_PX = 0.5, 12.0, 8.0


def _gold_foil(
    settings: SimulationSettings, shape_px: Shape, rng: np.random.Generator
) -> FloatArray:
    """A foil of gold grains outside a hole whose edge crosses the field."""
    grains = _grains(settings, shape_px, rng, _GOLD_GRAIN_A)
    transmission = np.clip(_GOLD_TRANSMISSION * (1 + _GOLD_SCATTER * grains), 0.02, 1)
    foil = _outside_circle(settings, shape_px, rng, 0.2, edge_px=5.0 / settings.pixel_size_A)
    return np.asarray(foil * (transmission - 1))


def _gold_beads(
    settings: SimulationSettings, shape_px: Shape, rng: np.random.Generator
) -> FloatArray:
    """Fiducials of 10 nm."""
    count = object_count(settings, shape_px, A_PER_BEAD)
    return beads_at(rng.uniform(0, shape_px, (count, 2)), settings, shape_px)


def beads_at(places_px: FloatArray, settings: SimulationSettings, shape_px: Shape) -> FloatArray:
    """Fiducials of 10 nm (h, w) with their middles at `places_px` (n, 2) (y, x)."""
    radius_A, depth = np.full((2, len(places_px)), [[BEAD_RADIUS_A], [_BEAD_DEPTH]])
    return -_balls(places_px, radius_A / settings.pixel_size_A, depth, shape_px)


def _ice_crystals(
    settings: SimulationSettings, shape_px: Shape, rng: np.random.Generator
) -> FloatArray:
    """Crystalline ice on the specimen."""
    count = object_count(settings, shape_px, _A_PER_CRYSTAL)
    radii_A, depths = rng.uniform(*_CRYSTAL_RADIUS_A, count), rng.uniform(*_CRYSTAL_DEPTH, count)
    places_px = rng.uniform(0, shape_px, (count, 2))
    return -_balls(places_px, radii_A / settings.pixel_size_A, depths, shape_px)


def _carbon(settings: SimulationSettings, shape_px: Shape, rng: np.random.Generator) -> FloatArray:
    """A film of amorphous carbon over half the field."""
    transfer = image_transfer(frequency_per_A(shape_px, settings.pixel_size_A), settings)
    transfer[0, 0] = 0
    film = _CARBON_CONTRAST * texture(shape_px, transfer, rng) - _CARBON_DEPTH
    half = _outside_circle(settings, shape_px, rng, 0.0, edge_px=10.0 / settings.pixel_size_A)
    return half * film


def _contaminant(
    settings: SimulationSettings, shape_px: Shape, rng: np.random.Generator
) -> FloatArray:
    """One large contaminant, 0.3 of the field across."""
    radius_px = _DIRT_SHARE * min(settings.shape_px)
    place_px = np.array(shape_px) / 2 + rng.uniform(-0.25, 0.25, 2) * settings.shape_px
    grains = _grains(settings, shape_px, rng, _DIRT_DETAIL_A)
    depth = _DIRT_DEPTH * np.clip(1 + 0.2 * grains, 0, 1.6)
    return np.asarray(-depth * _ball(shape_px, place_px, radius_px))


def _shadow(settings: SimulationSettings, shape_px: Shape, rng: np.random.Generator) -> FloatArray:
    """An obstacle in front of the detector that halves the beam at one side."""
    return -_SHADOW_DEPTH * _outside_circle(settings, shape_px, rng, 0.3, _SHADOW_EDGE_PX)


def _beam_edge(
    settings: SimulationSettings, shape_px: Shape, rng: np.random.Generator
) -> FloatArray:
    """The beam ends within the field."""
    return -_outside_circle(settings, shape_px, rng, 0.3, _BEAM_EDGE_PX)


# Function that draws each object, and what it moves with.
DRAWN: dict[str, tuple[Draw, str]] = {
    "gold-foil": (_gold_foil, "specimen"),
    "gold-beads": (_gold_beads, "specimen"),
    "ice-crystals": (_ice_crystals, "specimen"),
    "carbon": (_carbon, "specimen"),
    "still-carbon": (_carbon, "detector"),
    "contaminant": (_contaminant, "itself"),
    "shadow": (_shadow, "detector"),
    "beam-edge": (_beam_edge, "detector"),
}


def draw_object(name: str, settings: SimulationSettings, shape_px: Shape) -> PixelArray:
    """The image (h, w) of one of the `OBJECTS`, the same for the same seed."""
    rng = np.random.default_rng([settings.seed, 8, list(DRAWN).index(name)])
    return DRAWN[name][0](settings, shape_px, rng).astype(np.float32)


def object_count(settings: SimulationSettings, shape_px: Shape, apart_A: float) -> int:
    """Number of objects on the canvas, one per square of side `apart_A`."""
    return max(1, round(shape_px[0] * shape_px[1] * (settings.pixel_size_A / apart_A) ** 2))


def _grains(
    settings: SimulationSettings, shape_px: Shape, rng: np.random.Generator, detail_A: float
) -> PixelArray:
    """Smooth noise (h, w) of standard deviation 1."""
    frequency = frequency_per_A(shape_px, settings.pixel_size_A)
    return texture(shape_px, np.exp(-((detail_A * frequency) ** 2)), rng)


def _outside_circle(
    settings: SimulationSettings,
    shape_px: Shape,
    rng: np.random.Generator,
    from_middle: float,
    edge_px: float,
) -> FloatArray:
    """Mask (h, w): one outside a hole of 1.2 um, zero inside, with a soft edge.

    Parameters
    ----------
    from_middle : distance of the edge from the centre of the field, as a fraction of its shorter
        side
    """
    angle = rng.uniform(0, 2 * np.pi)
    radius_px = max(_HOLE_RADIUS_A / settings.pixel_size_A, max(shape_px))
    to_centre_px = radius_px - from_middle * min(settings.shape_px)
    y, x = (np.arange(size) - size / 2 for size in shape_px)
    distance_px = np.hypot(
        y[:, None] - to_centre_px * np.sin(angle), x - to_centre_px * np.cos(angle)
    )
    return np.asarray(0.5 + 0.5 * np.tanh((distance_px - radius_px) / edge_px))


def _balls(
    places_px: FloatArray, radii_px: FloatArray, depths: FloatArray, shape_px: Shape
) -> FloatArray:
    """Balls (h, w) centred at `places_px` (n, 2) (y, x), with the given depth at their centres."""
    total = np.zeros(shape_px)
    for place_px, radius_px, depth in zip(places_px, radii_px, depths, strict=True):
        np.maximum(total, depth * _ball(shape_px, place_px, radius_px), out=total)
    return total


def _ball(shape_px: Shape, place_px: FloatArray, radius_px: float) -> FloatArray:
    """The shade (h, w) of a ball, one at its centre."""
    y, x = (np.arange(size) - place for size, place in zip(shape_px, place_px, strict=True))
    return np.asarray(np.sqrt(np.maximum(1 - (y[:, None] ** 2 + x**2) / radius_px**2, 0)))
