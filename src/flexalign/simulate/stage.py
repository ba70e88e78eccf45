"""Motion of a stage over tilts: a common part that varies slowly with angle, and a random one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from flexalign.model import FloatArray
from flexalign.simulate.motions import TrueMotion, make_motion
from flexalign.simulate.tilt_settings import TiltSeriesSettings

# Standard deviations of the change in direction and size of the common part over 60 degrees.
_TURN_RAD, _GROWTH, _OVER_DEG = 0.6, 0.25, 60.0
_MIN_SIZE = 0.4


def make_tilt_motion(settings: TiltSeriesSettings, number: int) -> TrueMotion:
    """The motion of a tilt: ``s common(t) + sqrt(1 - s^2) own(t)``, with a field of its own.

    The common part has the same course in time in all tilts; its direction and size change
    linearly with the angle.  s is `common_share`.
    """
    own = make_motion(settings.of_tilt(number))
    part = settings.common_share
    path = part * _common_px(settings, number) + math.sqrt(1 - part**2) * own.path_px
    return TrueMotion(path, own.course_px, own.modes)


def _common_px(settings: TiltSeriesSettings, number: int) -> FloatArray:
    """Path (frames, steps, 2) (y, x) of the common part at a tilt."""
    movie = settings.movie
    smooth = "bumps" if movie.motion == "jump" else movie.motion
    path = make_motion(replace(movie, motion=smooth, local_motion_px=0.0)).path_px
    turn, growth = np.random.default_rng([movie.seed, 10]).normal(size=2)
    tilt = settings.angles_deg[number] / _OVER_DEG
    angle = _TURN_RAD * turn * tilt
    size = max(1 + _GROWTH * growth * tilt, _MIN_SIZE)
    rotation = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    return np.asarray(size * path @ np.array(rotation))
