"""Settings of a simulation, with unit, default and limits of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flexalign.errors import ParameterError
from flexalign.model import JsonValue
from flexalign.parameter import quoted
from flexalign.simulated_choices import FAULTS, MOTIONS, OBJECTS

PARTICLE_DIAMETER_A = 134.0
_DEFAULT_COVERAGE = 0.2
_PIXELS_PER_HOT_PIXEL = 20_000
_PIXELS_PER_DEAD_PIXEL = 40_000
_POSITIVE = (
    "pixel_size_A", "voltage_kV", "electrons_per_px", "defocus_um", "contrast", "in_frame_steps",
)  # fmt: skip
_NAMED = {"objects": OBJECTS, "faults": FAULTS}
STEEPEST_TILT_DEG = 80.0
_NOT_NEGATIVE = (
    "global_motion_px", "local_motion_px", "particles", "ice_thickness_A",
    "hot_pixels", "dead_pixels", "dose_per_frame_e_A2", "seed", "finest_signal_A", "gain_error",
    "pre_exposure_e_A2", "detector_seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimulationSettings(JsonValue):
    """Settings of a simulated movie: equal settings give equal movies.

    Attributes
    ----------
    shape_px : (height, width) of a frame
    frame_count : at least 2
    pixel_size_A : of the frames
    voltage_kV : of the microscope: contrast, CTF and radiation damage
    dose_per_frame_e_A2 : that damages the specimen; None = what reaches the detector
    electrons_per_px : mean counts of a pixel in one frame
    motion : "bumps" (smooth path, Gaussian bumps in space), "polynomial" (third order in time,
        second in space), "measured" (steps as in real movies, with jitter), "fast-start" (bumps,
        nearly all within the first frames), "jump" (bumps and one jump of 40 A) or "none"
    global_motion_px : largest distance of the trajectory from its start
    local_motion_px : largest deviation of any place from the trajectory; 0 = none
    particles : number of scattered built-in particles; None = a fifth of the area
    ice_thickness_A : of the ice whose molecules move with the specimen; 0 = no ice signal
    contrast : fraction of the weak-phase contrast that remains after all losses
    defocus_um : underfocus
    gain : whether the detector's pixels differ in sensitivity
    hot_pixels, dead_pixels : number; None = typical of good detectors
    seed : of every random number
    in_frame_steps : positions within one frame that are averaged to blur it
    specimen : one of `SPECIMENS`, or the path of a micrograph that is moved in its place
    objects : of `OBJECTS`, other objects in the field
    faults : of `FAULTS`, faults of the detector
    finest_signal_A : resolution limit of the specimen; 0 = no limit
    tilt_deg : of the stage: a longer path through the ice, which reduces contrast
    gain_error : standard deviation of the pixels' sensitivity that `gain` does not correct
    pre_exposure_e_A2 : dose that the specimen has had before the movie
    detector_seed : of the detector, so that movies of other seeds have the same; None = `seed`

    Raises
    ------
    ParameterError
        If a value is out of its limits.

    Examples
    --------
    >>> SimulationSettings(electrons_per_px=2.0, pixel_size_A=0.5).dose_e_A2
    8.0
    """

    shape_px: tuple[int, int] = (1024, 1024)
    frame_count: int = 30
    pixel_size_A: float = 1.0
    voltage_kV: float = 300.0
    dose_per_frame_e_A2: float | None = None
    electrons_per_px: float = 1.0
    motion: str = "bumps"
    global_motion_px: float = 10.0
    local_motion_px: float = 5.0
    particles: int | None = None
    ice_thickness_A: float = 500.0
    contrast: float = 0.9
    defocus_um: float = 1.5
    gain: bool = True
    hot_pixels: int | None = None
    dead_pixels: int | None = None
    seed: int = 0
    in_frame_steps: int = 2
    specimen: str = "protein"
    objects: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    finest_signal_A: float = 0.0
    tilt_deg: float = 0.0
    gain_error: float = 0.0
    pre_exposure_e_A2: float = 0.0
    detector_seed: int | None = None

    def __post_init__(self) -> None:
        if self.motion not in MOTIONS:
            raise ParameterError(
                f"{quoted('motion')}: expected one of {', '.join(MOTIONS)}, found {self.motion}"
            )
        if len(self.shape_px) != 2 or min(self.shape_px) < 64:
            raise ParameterError(
                f"{quoted('shape_px')}: expected at least 64 pixels in height and width, found "
                f"{self.shape_px}"
            )
        if self.frame_count < 2:
            raise ParameterError(
                f"{quoted('frame_count')}: expected at least 2, found {self.frame_count}"
            )
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ParameterError(
                    f"{quoted(name)}: expected more than 0, found {getattr(self, name)}"
                )
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ParameterError(f"{quoted(name)}: expected 0 or more, found {value}")
        for name, known in _NAMED.items():
            for value in getattr(self, name):
                if value not in known:
                    raise ParameterError(
                        f"{quoted(name)}: expected some of {', '.join(known)}, found {value}"
                    )
        if not abs(self.tilt_deg) <= STEEPEST_TILT_DEG:
            raise ParameterError(
                f"{quoted('tilt_deg')}: expected at most {STEEPEST_TILT_DEG:g} degrees, found "
                f"{self.tilt_deg:g}"
            )

    @property
    def pixel_count(self) -> int:
        """Pixels of one frame."""
        return self.shape_px[0] * self.shape_px[1]

    @property
    def dose_e_A2(self) -> float:
        """Dose of one frame."""
        if self.dose_per_frame_e_A2 is not None:
            return self.dose_per_frame_e_A2
        return self.electrons_per_px / self.pixel_size_A**2

    @property
    def duplicate_frame(self) -> int | None:
        """Index of the frame that is a copy of the one before it; None = there is none."""
        return self.frame_count // 2 if "duplicate-frame" in self.faults else None

    @property
    def particle_density_per_px(self) -> float:
        """Particles for each pixel of the field."""
        if self.particles is not None:
            return self.particles / self.pixel_count
        area_px = math.pi / 4 * (PARTICLE_DIAMETER_A / self.pixel_size_A) ** 2
        return _DEFAULT_COVERAGE / area_px

    @property
    def hot_pixel_count(self) -> int:
        """Number of hot pixels."""
        if self.hot_pixels is not None:
            return self.hot_pixels
        return self.pixel_count // _PIXELS_PER_HOT_PIXEL

    @property
    def dead_pixel_count(self) -> int:
        """Number of dead pixels."""
        if self.dead_pixels is not None:
            return self.dead_pixels
        return self.pixel_count // _PIXELS_PER_DEAD_PIXEL
