"""Movies with known motion, for the demo, the tests and the benchmarks.

`settings` and `motions` define the movie.  `placing` places atoms, `specimen` images them,
`micrograph` uses a real image instead, `objects` adds gold, carbon and contamination, `layers`
gives each of these its motion; `detector` counts electrons, `movie` puts all together, `files`
writes it, `score` compares a motion with the true one.

For tilt series, `tilt_settings` has the settings, `slab` projects particles and gold at any angle,
`stage` has the motion, `tilt_series` makes the movies and `tilt_files` writes them with an mdoc.
"""

from flexalign.simulate.motions import TrueMotion
from flexalign.simulate.movie import SimulatedMovie, simulate_movie
from flexalign.simulate.score import MotionError, motion_error_px
from flexalign.simulate.settings import SimulationSettings
from flexalign.simulate.tilt_files import save_tilt_series
from flexalign.simulate.tilt_series import SimulatedTilt, simulate_tilt_series
from flexalign.simulate.tilt_settings import TiltSeriesSettings
from flexalign.simulated_choices import FAULTS, FORMATS, MOTIONS, OBJECTS, SPECIMENS

__all__ = [
    "FAULTS",
    "FORMATS",
    "MOTIONS",
    "OBJECTS",
    "SPECIMENS",
    "MotionError",
    "SimulatedMovie",
    "SimulatedTilt",
    "SimulationSettings",
    "TiltSeriesSettings",
    "TrueMotion",
    "motion_error_px",
    "save_tilt_series",
    "simulate_movie",
    "simulate_tilt_series",
]
