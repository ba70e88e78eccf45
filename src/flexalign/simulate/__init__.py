"""Movies with known motion, for the demo, the tests and the benchmarks.

`settings` and `motions` define the movie.  `placing` places atoms, `specimen` images them,
`micrograph` uses a real image instead, `objects` adds gold, carbon and contamination, `layers`
gives each of these its motion; `detector` counts electrons, `movie` puts all together, `files`
writes it, `score` compares a motion with the true one.
"""

from flexalign.simulate.files import SAVED_FORMATS
from flexalign.simulate.motions import TrueMotion
from flexalign.simulate.movie import SimulatedMovie, simulate_movie
from flexalign.simulate.score import MotionError, motion_error_px
from flexalign.simulate.settings import FAULTS, MOTIONS, OBJECTS, SPECIMENS, SimulationSettings

__all__ = [
    "FAULTS",
    "MOTIONS",
    "OBJECTS",
    "SAVED_FORMATS",
    "SPECIMENS",
    "MotionError",
    "SimulatedMovie",
    "SimulationSettings",
    "TrueMotion",
    "motion_error_px",
    "simulate_movie",
]
