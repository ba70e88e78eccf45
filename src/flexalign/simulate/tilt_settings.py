"""Settings of a simulated tilt series, and those of each of its movies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from flexalign.errors import ParameterError
from flexalign.model import JsonValue
from flexalign.parameter import quoted
from flexalign.simulate.settings import STEEPEST_TILT_DEG, SimulationSettings

MAX_TILTS = 1000


def _default_movie() -> SimulationSettings:
    return SimulationSettings(frame_count=6, pixel_size_A=1.35)


@dataclass(frozen=True, slots=True)
class TiltSeriesSettings(JsonValue):
    """Settings of a simulated tilt series: equal settings give equal series.

    Attributes
    ----------
    movie : of each tilt: shape, frames per tilt, pixel size, motion and so on.  Its counts, dose,
        tilt and pre-exposure follow from the series; its specimen is a slab of "protein"
    tilt_count : one or more
    tilt_step_deg : between neighbouring angles
    dose_per_tilt_e_A2 : at the specimen, and on the detector
    tilt_axis_deg : of the axis in the image, from the rising y axis toward falling x
    fiducials : whether beads of gold of 10 nm lie on both faces of the slab
    common_share : part of the trajectory, from 0 to 1, that the stage repeats from tilt to tilt

    Raises
    ------
    ParameterError
        If a value is out of its limits.

    Examples
    --------
    >>> TiltSeriesSettings(tilt_count=6).angles_deg
    (0.0, 3.0, -3.0, -6.0, 6.0, 9.0)
    """

    movie: SimulationSettings = field(default_factory=_default_movie)
    tilt_count: int = 41
    tilt_step_deg: float = 3.0
    dose_per_tilt_e_A2: float = 3.0
    tilt_axis_deg: float = 85.0
    fiducials: bool = False
    common_share: float = 0.8

    def __post_init__(self) -> None:
        if not 1 <= self.tilt_count <= MAX_TILTS:
            raise ParameterError(
                f"{quoted('tilt_count')}: expected 1 to {MAX_TILTS}, found {self.tilt_count}"
            )
        for name in ("tilt_step_deg", "dose_per_tilt_e_A2"):
            if not getattr(self, name) > 0:
                raise ParameterError(
                    f"{quoted(name)}: expected more than 0, found {getattr(self, name)}"
                )
        if not 0 <= self.common_share <= 1:
            raise ParameterError(
                f"{quoted('common_share')}: expected 0 to 1, found {self.common_share}"
            )
        if not abs(self.tilt_axis_deg) <= 180:
            raise ParameterError(
                f"{quoted('tilt_axis_deg')}: expected -180 to 180, found {self.tilt_axis_deg}"
            )
        if not self.steepest_deg <= STEEPEST_TILT_DEG:
            raise ParameterError(
                f"{quoted('tilt_count')}, {quoted('tilt_step_deg')}: expected angles of at most "
                f"{STEEPEST_TILT_DEG:g} degrees, "
                f"found {self.steepest_deg:g}: ask for fewer tilts, or for smaller steps"
            )
        if self.movie.specimen != "protein" or self.movie.objects:
            raise ParameterError(
                f"{quoted('specimen')}, {quoted('objects')}: expected protein and no object in a "
                f"tilt series, found {', '.join([self.movie.specimen, *self.movie.objects])}; gold "
                f"beads are drawn with {quoted('fiducials')}"
            )

    @property
    def angles_deg(self) -> tuple[float, ...]:
        """Angles in order of time, dose-symmetric: 0, +1, -1, -2, +2, +3, ... steps.

        References
        ----------
        Hagen, Wan & Briggs, J. Struct. Biol. 197 (2017) 191.
        """
        steps = [(k + 1) // 2 * (1 if k % 4 in (1, 0) else -1) for k in range(self.tilt_count)]
        return tuple(step * self.tilt_step_deg for step in steps)

    @property
    def steepest_deg(self) -> float:
        """Largest tilt to either side."""
        return self.tilt_count // 2 * self.tilt_step_deg

    def of_tilt(self, number: int) -> SimulationSettings:
        """Settings of the movie of a tilt, counted from 0 in order of time."""
        dose_e_A2 = self.dose_per_tilt_e_A2 / self.movie.frame_count
        return replace(
            self.movie,
            seed=(self.movie.seed + 1) * MAX_TILTS + number,
            electrons_per_px=dose_e_A2 * self.movie.pixel_size_A**2,
            dose_per_frame_e_A2=dose_e_A2,
            pre_exposure_e_A2=number * self.dose_per_tilt_e_A2,
            tilt_deg=self.angles_deg[number],
        )
