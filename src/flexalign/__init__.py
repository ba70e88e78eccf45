"""Correct beam-induced motion in cryo-EM movies.

The names below are loaded when first used, so that ``import flexalign`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "AlignParams": "params",
    "AlignmentResult": "model",
    "FlexAlignError": "errors",
    "Motion": "motion",
    "align_movie": "align",
    "check_gain": "gain.check",
    "estimate_gain": "gain.estimate",
    "load_references": "io.references",
    "open_movie": "io.movies.open_movie",
    "read_motion": "io.motion_formats.read_motion",
    "simulate_movie": "simulate",
}
__all__ = sorted([*_HOME, "__version__"])

if TYPE_CHECKING:
    from flexalign.align import align_movie as align_movie
    from flexalign.errors import FlexAlignError as FlexAlignError
    from flexalign.gain.check import check_gain as check_gain
    from flexalign.gain.estimate import estimate_gain as estimate_gain
    from flexalign.io.motion_formats.read_motion import read_motion as read_motion
    from flexalign.io.movies.open_movie import open_movie as open_movie
    from flexalign.io.references import load_references as load_references
    from flexalign.model import AlignmentResult as AlignmentResult
    from flexalign.motion import Motion as Motion
    from flexalign.params import AlignParams as AlignParams
    from flexalign.simulate import simulate_movie as simulate_movie


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name not in _HOME:
        raise AttributeError(f"module 'flexalign' has no attribute '{name}'")
    return getattr(importlib.import_module(f"flexalign.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
