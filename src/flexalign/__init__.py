"""Correct beam-induced motion in cryo-EM movies.

The names below are loaded when first used, so that ``import flexalign`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "AlignParams": "params",
    "AlignedMovies": "batch.align_movies",
    "AlignmentResult": "alignment_result",
    "ArrayMovie": "io.movies.array_movie",
    "DeviceError": "errors",
    "FlexAlignError": "errors",
    "FrameRange": "model",
    "FrameSums": "model",
    "GainCheck": "gain.verdict",
    "GainEstimate": "gain.estimate",
    "InputError": "errors",
    "Motion": "motion",
    "MotionField": "motion",
    "MovieInfo": "model",
    "MovieReader": "io.movies.reader",
    "MovieRecord": "model",
    "OutputError": "errors",
    "ParameterError": "errors",
    "Quality": "quality_numbers",
    "RawFrame": "io.movies.reader",
    "References": "model",
    "SeekableMovie": "io.movies.reader",
    "SimulatedMovie": "simulate",
    "Trajectory": "motion",
    "align_movie": "align",
    "align_movies": "batch.align_movies",
    "check_gain": "gain.check",
    "estimate_gain": "gain.estimate",
    "load_references": "io.references",
    "open_movie": "io.movies.open_movie",
    "read_motion": "io.motion_formats.read_motion",
    "read_record": "io.record",
    "simulate_movie": "simulate",
}
__all__ = sorted([*_HOME, "__version__"])

if TYPE_CHECKING:
    from flexalign.align import align_movie as align_movie
    from flexalign.alignment_result import AlignmentResult as AlignmentResult
    from flexalign.batch.align_movies import AlignedMovies as AlignedMovies
    from flexalign.batch.align_movies import align_movies as align_movies
    from flexalign.errors import DeviceError as DeviceError
    from flexalign.errors import FlexAlignError as FlexAlignError
    from flexalign.errors import InputError as InputError
    from flexalign.errors import OutputError as OutputError
    from flexalign.errors import ParameterError as ParameterError
    from flexalign.gain.check import check_gain as check_gain
    from flexalign.gain.estimate import GainEstimate as GainEstimate
    from flexalign.gain.estimate import estimate_gain as estimate_gain
    from flexalign.gain.verdict import GainCheck as GainCheck
    from flexalign.io.motion_formats.read_motion import read_motion as read_motion
    from flexalign.io.movies.array_movie import ArrayMovie as ArrayMovie
    from flexalign.io.movies.open_movie import open_movie as open_movie
    from flexalign.io.movies.reader import MovieReader as MovieReader
    from flexalign.io.movies.reader import RawFrame as RawFrame
    from flexalign.io.movies.reader import SeekableMovie as SeekableMovie
    from flexalign.io.record import read_record as read_record
    from flexalign.io.references import load_references as load_references
    from flexalign.model import FrameRange as FrameRange
    from flexalign.model import FrameSums as FrameSums
    from flexalign.model import MovieInfo as MovieInfo
    from flexalign.model import MovieRecord as MovieRecord
    from flexalign.model import References as References
    from flexalign.motion import Motion as Motion
    from flexalign.motion import MotionField as MotionField
    from flexalign.motion import Trajectory as Trajectory
    from flexalign.params import AlignParams as AlignParams
    from flexalign.quality_numbers import Quality as Quality
    from flexalign.simulate import SimulatedMovie as SimulatedMovie
    from flexalign.simulate import simulate_movie as simulate_movie


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name not in _HOME:
        raise AttributeError(f"module 'flexalign' has no attribute '{name}'")
    return getattr(importlib.import_module(f"flexalign.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
