"""Known motions, in families outside the fitted model.

Each is ``path(t) + sum over modes of mode(y, x) * course(t)``, so it can be evaluated anywhere.
Sign: ``corrected(p) = frame(p + displacement)``; everything is zero at the first frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flexalign.array_value import ShortRepr
from flexalign.model import FloatArray
from flexalign.simulate.settings import SimulationSettings

JUMP_A = 40.0
TRUTH_NODES = 17

_BUMPS = 7
_FINE_TIMES = 1024
# Real movies start slowly, are fastest in the second step and then slow down.
_MEASURED_TIME = (0.0, 0.045, 0.3, 0.6, 1.0)
_MEASURED_SPEED = (0.62, 0.95, 0.8, 0.58, 0.42)
_MEASURED_JITTER = (0.009, 0.015)

_OTHER_SEED = 1_000_000

Modes = Callable[[FloatArray, FloatArray], FloatArray]


class _SpeedProfile(NamedTuple):
    """Decay of the speed: from 1 to the final speed, within a fraction of the movie."""

    decay_time: tuple[float, float]
    last_speed: float


_STANDARD, _FAST = _SpeedProfile((0.12, 0.25), 0.25), _SpeedProfile((0.03, 0.06), 0.02)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrueMotion(ShortRepr):
    """The true motion of the specimen.

    Attributes
    ----------
    path_px : (frames, steps, 2) (y, x) of the whole field at each step within each frame
    course_px : (frames, steps, modes, 2) (y, x) factors of the modes
    modes : values (..., modes) at places y, x; their mean over the field is zero
    """

    path_px: FloatArray
    course_px: FloatArray
    modes: Modes = field(repr=False)

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.path_px)

    def displacement_px(
        self, frame: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Mean displacement (dy, dx) during `frame` at (y, x); the arguments broadcast."""
        frame, y, x = np.broadcast_arrays(np.asarray(frame, dtype=np.int64), y, x)
        course = self.course_px.mean(axis=1)[frame]
        total = self.path_px.mean(axis=1)[frame] + np.einsum(
            "...m,...mc->...c", self.modes(y, x), course
        )
        return total[..., 0], total[..., 1]

    def step_displacement_px(
        self, frame: int, step: int, y: npt.ArrayLike, x: npt.ArrayLike
    ) -> FloatArray:
        """Displacement (2, ...) at one step within one frame."""
        field = self.modes(np.asarray(y), np.asarray(x)) @ self.course_px[frame, step]
        return np.moveaxis(field + self.path_px[frame, step], -1, 0)

    def on_lattice(self, y: npt.ArrayLike, x: npt.ArrayLike) -> FloatArray:
        """Mean displacement (frames, len(y), len(x), 2) of every frame on rows `y`, columns `x`."""
        frames = np.arange(self.frame_count)[:, None, None]
        dy_dx = self.displacement_px(frames, np.asarray(y)[:, None], np.asarray(x)[None, :])
        return np.stack(dy_dx, axis=-1)


def truth_lattice(shape_px: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Rows and columns (17,) of the lattice on which the truth is saved, edges included."""
    height, width = shape_px
    return np.linspace(0, height - 1, TRUTH_NODES), np.linspace(0, width - 1, TRUTH_NODES)


def make_motion(settings: SimulationSettings) -> TrueMotion:
    """The motion described by `settings`; the same for the same seed."""
    motion = _make_motion(settings, np.random.default_rng([settings.seed, 1]))
    if settings.duplicate_frame is not None:
        motion = _repeated(motion, settings.duplicate_frame)
    return motion


def make_other_motion(settings: SimulationSettings) -> TrueMotion:
    """A motion independent of the specimen's, of the same size."""
    moving = "bumps" if settings.motion == "none" else settings.motion
    return make_motion(
        replace(settings, motion=moving, local_motion_px=0.0, seed=settings.seed + _OTHER_SEED)
    )


def still_motion(settings: SimulationSettings) -> TrueMotion:
    """No motion, for what is fixed to the detector."""
    return make_motion(replace(settings, motion="none"))


def _repeated(motion: TrueMotion, frame: int) -> TrueMotion:
    """`motion` with `frame` a copy of the one before it."""
    source = np.arange(motion.frame_count)
    source[frame] -= 1
    return TrueMotion(motion.path_px[source], motion.course_px[source], motion.modes)


def _make_motion(settings: SimulationSettings, rng: np.random.Generator) -> TrueMotion:
    """The motion without a duplicate frame."""
    last = settings.frame_count - 1
    within = (np.arange(settings.in_frame_steps) + 0.5) / settings.in_frame_steps - 0.5
    time = (np.arange(settings.frame_count)[:, None] + within) / last  # (frames, steps)

    if settings.motion == "none":
        return TrueMotion(np.zeros((*time.shape, 2)), np.zeros((*time.shape, 0, 2)), _no_modes)
    if settings.motion == "polynomial":
        path, modes = _cubic(rng, time, 2), _polynomial_modes(settings.shape_px)
        course = _cubic(rng, time, 2 * 6).reshape(*time.shape, 6, 2)
    else:
        profile = _FAST if settings.motion == "fast-start" else _STANDARD
        measured = settings.motion == "measured"
        path = _measured_path(rng, time) if measured else _smooth(rng, time, 2, profile)
        modes = _bump_modes(settings.shape_px, rng)
        course = _smooth(rng, time, 2 * _BUMPS, profile).reshape(*time.shape, _BUMPS, 2)
    path = settings.global_motion_px * _unit_size(path)
    if settings.motion == "jump":
        path = path + _jump_px(rng, settings)[:, None]

    y, x = truth_lattice(settings.shape_px)
    field = TrueMotion(np.zeros_like(path), course - course[0].mean(axis=0), modes)
    size_px = np.linalg.norm(field.on_lattice(y, x), axis=-1).max()
    return TrueMotion(path, field.course_px * (settings.local_motion_px / size_px), modes)


def _unit_size(path: FloatArray) -> FloatArray:
    """`path` (frames, steps, 2), zero at the first frame, scaled to a maximum distance of 1."""
    from_start = path - path[0].mean(axis=0)
    return np.asarray(from_start / np.linalg.norm(from_start.mean(axis=1), axis=-1).max())


def _smooth(
    rng: np.random.Generator, time: FloatArray, count: int, profile: _SpeedProfile = _STANDARD
) -> FloatArray:
    """Random smooth functions (..., count) of time in [0, 1], that slow down."""
    fine = np.linspace(-0.5, 1.5, _FINE_TIMES)
    decay_time = rng.uniform(*profile.decay_time, (count, 1))
    decay = profile.last_speed + np.exp(-np.clip(fine, 0, None) / decay_time)
    waves = rng.normal(size=(count, 4)) / [1.0, 1.0, 1.5, 2.0]
    speed = decay * (waves @ np.cos(np.pi * np.arange(4)[:, None] * fine))
    return _integrated(fine, speed, time)


def _integrated(fine: FloatArray, speed: FloatArray, time: FloatArray) -> FloatArray:
    """The paths (..., count) of `speed` (count, fine times), at `time`."""
    paths = np.cumsum(speed, axis=1) * (fine[1] - fine[0])
    return np.stack([np.interp(time, fine, path) for path in paths], axis=-1)


def _cubic(rng: np.random.Generator, time: FloatArray, count: int) -> FloatArray:
    """Random third-order polynomials (..., count) of time, zero at zero, that slow down."""
    first, second, third = rng.normal(size=(3, count))
    coefficients = np.stack([first, 0.4 * second - first, 0.2 * third + first / 3])
    return np.asarray(np.stack([time, time**2, time**3], axis=-1) @ coefficients)


def _measured_path(rng: np.random.Generator, time: FloatArray) -> FloatArray:
    """A path that drifts and slowly turns, with the steps and the jitter of real movies."""
    fine = np.linspace(-0.5, 1.5, _FINE_TIMES)
    speed = np.interp(fine, _MEASURED_TIME, _MEASURED_SPEED)
    heading = rng.uniform(0, 2 * np.pi) + 0.5 * _smooth(rng, fine, 1)[:, 0]
    path = _unit_size(_integrated(fine, speed * np.stack([np.sin(heading), np.cos(heading)]), time))
    jitter = rng.normal(size=(len(time), 1, 2)) * rng.uniform(*_MEASURED_JITTER)
    return np.asarray(path + jitter)


def _jump_px(rng: np.random.Generator, settings: SimulationSettings) -> FloatArray:
    """Displacement (frames, 2): zero, then 40 A in some direction from a middle frame on."""
    first = int(rng.integers(settings.frame_count // 3, 2 * settings.frame_count // 3 + 1))
    angle = rng.uniform(0, 2 * np.pi)
    jump = JUMP_A / settings.pixel_size_A * np.array([np.sin(angle), np.cos(angle)])
    return (np.arange(settings.frame_count) >= max(first, 1))[:, None] * jump


def _no_modes(y: FloatArray, x: FloatArray) -> FloatArray:
    return np.zeros((*np.broadcast(y, x).shape, 0))


def _bump_modes(shape_px: tuple[int, int], rng: np.random.Generator) -> Modes:
    """Gaussian bumps at random places, a fifth to two fifths of the frame wide."""
    height, width = shape_px
    center = rng.uniform(-0.1, 1.1, (_BUMPS, 2))
    spread = rng.uniform(0.18, 0.4, _BUMPS)

    def bumps(y: FloatArray, x: FloatArray) -> FloatArray:
        v, u = np.asarray(y)[..., None] / height, np.asarray(x)[..., None] / width
        return np.exp(-((v - center[:, 0]) ** 2 + (u - center[:, 1]) ** 2) / (2 * spread**2))

    return _centred(bumps, shape_px)


def _polynomial_modes(shape_px: tuple[int, int]) -> Modes:
    """The six terms 1, x, x2, y, y2, xy about the centre of the frame."""
    height, width = shape_px

    def terms(y: FloatArray, x: FloatArray) -> FloatArray:
        v, u = np.broadcast_arrays(np.asarray(y) / height - 0.5, np.asarray(x) / width - 0.5)
        return np.stack([np.ones_like(u), u, u**2, v, v**2, u * v], axis=-1)

    return _centred(terms, shape_px)


def _centred(modes: Modes, shape_px: tuple[int, int]) -> Modes:
    """`modes` minus their means over the frame, so that the path is the mean motion."""
    y, x = truth_lattice(shape_px)
    mean = modes(y[:, None], x[None, :]).mean(axis=(0, 1))
    return lambda y, x: modes(y, x) - mean
