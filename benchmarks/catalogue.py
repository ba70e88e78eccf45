"""The movies of benchmarks/conditions.py: conditions by name, and random ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from store import code_of

import flexalign
from flexalign.simulate import FAULTS, MOTIONS, OBJECTS, SPECIMENS, SimulationSettings

PLAIN: dict[str, Any] = {"shape_px": (1536, 1536), "frame_count": 24}
# Thick ice and far defocus, as in tomography: little is left of what is fine.
_TILTED: dict[str, Any] = {
    "tilt_deg": 60.0, "frame_count": 8, "electrons_per_px": 0.5, "pixel_size_A": 1.35,
    "ice_thickness_A": 800.0, "defocus_um": 4.0,
    "global_motion_px": 4.0, "local_motion_px": 2.0,
}  # fmt: skip
_FEW: dict[str, Any] = {"global_motion_px": 5.0, "local_motion_px": 2.5}
CONDITIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tilt-k3": {**_TILTED, "shape_px": (4092, 5760)},
    "tilt-8": {**_TILTED, "shape_px": (1920, 1920)},
    "tilt-8-brighter": {**_TILTED, "shape_px": (1920, 1920), "electrons_per_px": 0.8},
    "tilt-4": {**_TILTED, "frame_count": 4, "electrons_per_px": 1.0},
    "tilt-3": {**_TILTED, "frame_count": 3, "electrons_per_px": 1.2},
    "frames-2": {**_FEW, "frame_count": 2},
    "frames-3": {**_FEW, "frame_count": 3},
    "frames-4": {**_FEW, "frame_count": 4},
    "frames-8": {**_FEW, "frame_count": 8},
    "stain-1.2": {"specimen": "negative-stain", "pixel_size_A": 1.2},
    "stain-2.4": {"specimen": "negative-stain", "pixel_size_A": 2.4, "global_motion_px": 5.0,
                  "local_motion_px": 2.5},
    "coarse": {"finest_signal_A": 35.0},
    "weak": {"contrast": 0.4},
    "no-ice": {"ice_thickness_A": 0.0},
    "low-dose-100": {"frame_count": 100, "electrons_per_px": 0.1},
    "low-dose-400": {"frame_count": 400, "electrons_per_px": 0.02},
    "fast-start": {"motion": "fast-start"},
    "jump": {"motion": "jump", "shape_px": (1280, 1280)},
    "crystal": {"specimen": "crystal"},
    "crystal-jump": {"specimen": "crystal", "ice_thickness_A": 0.0, "motion": "jump"},
    "filaments": {"specimen": "filaments", "ice_thickness_A": 0.0},
    "gold-foil": {"objects": ("gold-foil",)},
    "gold-beads": {"objects": ("gold-beads",)},
    "ice-crystals": {"objects": ("ice-crystals",)},
    "carbon": {"objects": ("carbon",)},
    "still-carbon": {"objects": ("still-carbon",)},
    "contaminant": {"objects": ("contaminant",)},
    "shadow": {"objects": ("shadow",)},
    "beam-edge": {"objects": ("beam-edge",)},
    "stuck-blocks": {"faults": ("stuck-blocks",)},
    "bad-lines": {"faults": ("bad-lines",)},
    "dead-quadrant": {"faults": ("dead-quadrant",)},
    "duplicate-frame": {"faults": ("duplicate-frame",)},
    "gain-5": {"gain_error": 0.05},
    "gain-15": {"gain_error": 0.15},
    "still": {"motion": "none"},
    "still-gain-5": {"motion": "none", "gain_error": 0.05},
    "empty": {"particles": 0, "ice_thickness_A": 0.0},
}  # fmt: skip
MAX_PX, MAX_MOVIE_PX = 5760, 1_000_000_000
_RANDOM_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Condition:
    """Settings and name of a movie."""

    name: str
    settings: SimulationSettings

    @property
    def code(self) -> str:
        """Digest of the settings and of the code of the simulator."""
        return code_of(self.settings, _simulator())


def condition(name: str, seed: int, size_px: int | None = None) -> Condition:
    """One of the `CONDITIONS`; with `size_px`, its field is a square of that size."""
    changes = {**PLAIN, **CONDITIONS[name], "seed": seed}
    if size_px is not None:
        changes["shape_px"] = (size_px, size_px)
    return Condition(name, SimulationSettings(**changes))


def random_condition(seed: int, largest_px: int = MAX_PX) -> Condition:
    """A movie with random settings; the same for the same seed."""
    rng = np.random.default_rng([seed, 18])

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    def some(names: Sequence[str]) -> tuple[str, ...]:
        return (str(rng.choice(names)),) if rng.random() < _RANDOM_SHARE else ()

    frames = round(between(2, 400))
    max_px = min(largest_px, math.isqrt(MAX_MOVIE_PX // frames))
    # RELION aligns no movies with an odd number of rows or columns.
    height, width = (2 * round(between(512, max(512, max_px)) / 2) for _ in range(2))
    size_px, pixel_size_A = min(height, width), between(0.6, 2.5)
    motion = str(rng.choice(MOTIONS))
    return Condition(
        "random",
        SimulationSettings(
            shape_px=(height, width), frame_count=frames, pixel_size_A=pixel_size_A,
            electrons_per_px=between(0.02, 5), motion=motion, seed=seed,
            global_motion_px=between(1, 30), local_motion_px=between(0.3, size_px / 200),
            specimen=str(rng.choice(SPECIMENS)), objects=some(OBJECTS), faults=some(FAULTS),
            ice_thickness_A=float(rng.choice([0.0, 200.0, 500.0, 1000.0])),
            contrast=between(0.3, 0.9), tilt_deg=float(rng.choice([0.0, 0.0, 30.0, 60.0])),
            gain_error=float(rng.choice([0.0, 0.0, 0.03, 0.15])),
        ),
    )  # fmt: skip


@cache
def _simulator() -> str:
    """Digest of the code of the simulator."""
    files = sorted((Path(flexalign.__file__).parent / "simulate").glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
