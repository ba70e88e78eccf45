"""A thin slab of particles and gold, and its projection at any tilt.

Places are (u, v, z) in Angstrom from the middle of the slab: u along the tilt axis, v across it,
z along the beam of the untilted slab.  A tilt is a right-handed rotation about u.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from flexalign.model import FloatArray, PixelArray
from flexalign.simulate.objects import A_PER_BEAD, BEAD_RADIUS_A, beads_at, object_count
from flexalign.simulate.placing import deposited, particle_atoms_A, places_px
from flexalign.simulate.settings import PARTICLE_DIAMETER_A
from flexalign.simulate.tilt_settings import TiltSeriesSettings


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """The contents of the slab.

    Attributes
    ----------
    settings : of the series
    particles_A : (n, 3) middles of particles
    turns : orientation of each
    beads_A : (m, 3) middles of beads of gold
    """

    settings: TiltSeriesSettings
    particles_A: FloatArray
    turns: Rotation
    beads_A: FloatArray

    def atoms_per_px(self, tilt_deg: float, canvas_px: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Atoms per pixel (h, w) at a tilt; the slab's middle is the middle of the canvas."""
        pixel_A = self.settings.movie.pixel_size_A
        in_view = self._is_in_view(self.particles_A, tilt_deg, canvas_px, PARTICLE_DIAMETER_A / 2)
        atoms_A = particle_atoms_A()

        def projected() -> Iterator[FloatArray]:
            for k in np.flatnonzero(in_view):
                places_A = self.turns[k].apply(atoms_A) + self.particles_A[k]
                yield self._projected_A(places_A, tilt_deg) / pixel_A + np.array(canvas_px) / 2

        return deposited(projected(), canvas_px)

    def beads(self, tilt_deg: float, canvas_px: tuple[int, int]) -> PixelArray | None:
        """What the beads add to an intensity of one (h, w) at a tilt; None = there are none."""
        if not len(self.beads_A):
            return None
        movie = self.settings.movie
        in_view = self._is_in_view(self.beads_A, tilt_deg, canvas_px, BEAD_RADIUS_A)
        places_A = self._projected_A(self.beads_A[in_view], tilt_deg)
        centred_px = places_A / movie.pixel_size_A + np.array(canvas_px) / 2
        return beads_at(centred_px, movie, canvas_px).astype(np.float32)

    def _projected_A(self, places_A: FloatArray, tilt_deg: float) -> FloatArray:
        """Projected positions (n, 2) (y, x) of places (n, 3), from the middle of the image."""
        tilt, axis = math.radians(tilt_deg), math.radians(self.settings.tilt_axis_deg)
        along = places_A[:, 0]
        across = places_A[:, 1] * math.cos(tilt) + places_A[:, 2] * math.sin(tilt)
        y = along * math.cos(axis) + across * math.sin(axis)
        x = across * math.cos(axis) - along * math.sin(axis)
        return np.stack([y, x], axis=1)

    def _is_in_view(
        self, places_A: FloatArray, tilt_deg: float, canvas_px: tuple[int, int], radius_A: float
    ) -> npt.NDArray[np.bool_]:
        """Whether a ball around each place (n, 3) reaches into the canvas."""
        half_A = np.array(canvas_px) / 2 * self.settings.movie.pixel_size_A
        inside = np.abs(self._projected_A(places_A, tilt_deg)) < half_A + radius_A
        return np.asarray(inside.all(axis=1))


def make_slab(settings: TiltSeriesSettings, canvas_px: tuple[int, int]) -> Slab:
    """The slab described by `settings`, wide enough to fill the canvas at the steepest tilt.

    Particles lie at any height at which they are within the ice, beads on both faces.
    """
    movie = settings.movie
    rng = np.random.default_rng([movie.seed, 9])
    region_px = _region_px(settings, canvas_px)
    flat_A = (places_px(movie, region_px, rng) - np.array(region_px) / 2) * movie.pixel_size_A
    spread_A = max(movie.ice_thickness_A - PARTICLE_DIAMETER_A, 0.0) / 2
    height_A = rng.uniform(-spread_A, spread_A, len(flat_A))
    turns = Rotation.random(len(flat_A), random_state=rng)
    count = object_count(movie, region_px, A_PER_BEAD) if settings.fiducials else 0
    beads_A = rng.uniform(-0.5, 0.5, (count, 3))
    beads_A[:, :2] *= np.array(region_px) * movie.pixel_size_A
    beads_A[:, 2] = np.sign(beads_A[:, 2]) * movie.ice_thickness_A / 2
    return Slab(settings, np.column_stack([flat_A, height_A]), turns, beads_A)


def _region_px(settings: TiltSeriesSettings, canvas_px: tuple[int, int]) -> tuple[int, int]:
    """Size (u, v) of the slab that is seen at one tilt or another."""
    axis, steepest = (math.radians(d) for d in (settings.tilt_axis_deg, settings.steepest_deg))
    height, width = canvas_px
    along = abs(height * math.cos(axis)) + abs(width * math.sin(axis))
    across = abs(height * math.sin(axis)) + abs(width * math.cos(axis))
    thickness_px = settings.movie.ice_thickness_A / settings.movie.pixel_size_A
    margin_px = PARTICLE_DIAMETER_A / settings.movie.pixel_size_A
    across = (across + thickness_px * math.sin(steepest)) / math.cos(steepest)
    return math.ceil(along + margin_px), math.ceil(across + margin_px / math.cos(steepest))
