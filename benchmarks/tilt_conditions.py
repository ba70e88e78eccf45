"""The tilt series of `tilt_series.py`: their names, and the settings of their simulation."""

from __future__ import annotations

from dataclasses import dataclass

from flexalign.simulate import SimulationSettings, TiltSeriesSettings


@dataclass(frozen=True, slots=True)
class Condition:
    """What is different from a series of six frames of 1.35 A/px in MRC, without fiducials."""

    frame_count: int = 6
    fiducials: bool = False
    pixel_size_A: float = 1.35
    file_format: str = "mrc"


SERIES = {
    f"frames-{frames}{'-gold' if gold else ''}": Condition(frames, gold)
    for frames in (2, 3, 6)
    for gold in (False, True)
}
SERIES |= {
    "pixel-1.0": Condition(pixel_size_A=1.0),
    "pixel-2.7": Condition(pixel_size_A=2.7),
    "pixel-2.7-gold": Condition(pixel_size_A=2.7, fiducials=True),
    "frames-6-eer": Condition(file_format="eer"),
    "frames-6-gold-eer": Condition(fiducials=True, file_format="eer"),
}


def settings_of(name: str, seed: int, shape_px: tuple[int, int], tilts: int) -> TiltSeriesSettings:
    """Settings of the simulation."""
    condition = SERIES[name]
    movie = SimulationSettings(
        shape_px=shape_px, frame_count=condition.frame_count,
        pixel_size_A=condition.pixel_size_A, defocus_um=3.0,
        global_motion_px=4.0, local_motion_px=1.0, seed=seed,
    )  # fmt: skip
    step_deg = 100.0 / max(tilts - 1, 1)
    return TiltSeriesSettings(
        movie=movie, tilt_count=tilts, tilt_step_deg=round(step_deg, 1),
        fiducials=condition.fiducials,
    )  # fmt: skip
