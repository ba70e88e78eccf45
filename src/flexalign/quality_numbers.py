"""The quality numbers of one movie, as its record has them.

`flexalign.quality.table` defines each number, `flexalign.quality.flags` each flag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from flexalign.plain import EqualAsJson, JsonValue


@dataclass(frozen=True, slots=True)
class Flag(JsonValue):
    """A finding about a movie that the user should check.

    Attributes
    ----------
    name : as in the table of `flexalign.quality.flags`, which says what it means
    severity : "note", "warning" or "problem"
    message : what was found, in one sentence
    remedy : what to do about it
    value, limit : the number that raised it and its threshold; NaN when it is not numeric
    """

    name: str
    severity: str
    message: str = ""
    remedy: str = ""
    value: float = np.nan
    limit: float = np.nan


@dataclass(frozen=True, slots=True)
class SignalBand(JsonValue):
    """Signal in a range of resolutions, over the noise of the sum of all frames.

    Attributes
    ----------
    coarsest_A, finest_A : the range
    before, after : spectral signal-to-noise ratio without motion and along the motion that was
        kept, from the cross-spectra of pairs of frames; around zero without signal
    error : standard error of either, for noise alone
    """

    coarsest_A: float
    finest_A: float
    before: float
    after: float
    error: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Quality(EqualAsJson, JsonValue):
    """Quality numbers of one movie; motion in Angstrom, that of the whole frame.

    `flexalign.quality.table` defines each of them.  NaN, or None where the number is not a float,
    means not measured.
    """

    schema: ClassVar[int] = 2

    total_motion_A: float
    early_motion_A: float
    late_motion_A: float
    largest_step_A: float
    local_range_A: float
    candidate_scores: dict[str, float]
    chosen: str
    hot_pixel_count: int
    trajectory_error_A: float = np.nan
    field_error_A: float = np.nan
    flags: tuple[Flag, ...] = ()
    movement_A: float = np.nan
    roughness_A: float = np.nan
    track_residual_A: float = np.nan
    has_signal: bool | None = None
    fixed_pattern_pull: float = np.nan
    fixed_pattern_significance: float = np.nan
    fixed_pattern_removed: bool | None = None
    bad_frame_count: int | None = None
    drift_part: float = np.nan
    uneven_dose: float = np.nan
    hot_pixel_part: float = np.nan
    gain_residual_rows: float = np.nan
    gain_residual_columns: float = np.nan
    measured_dose_e_A2: float = np.nan
    declared_dose_e_A2: float = np.nan
    rings_to_A: float = np.nan
    rings_before_A: float = np.nan
    ring_score: float = np.nan
    signal_bands: tuple[SignalBand, ...] = ()
    motion_bound_A: float = np.nan
    searched_wider: bool | None = None
    lost_frames: tuple[int, ...] = ()
    halves_apart: float = np.nan
    only_direction_deg: float = np.nan
    other_error_A: float = np.nan

    def __repr__(self) -> str:
        """Motion, model and flags; `to_dict` has all numbers."""
        return f"<Quality: {self.summary}>"

    @property
    def summary(self) -> str:
        """Motion, model and flags in one line."""
        flags = f", flags: {' '.join(self.flag_names)}" if self.flags else ""
        return f"motion {self.total_motion_A:.1f} A, model: {self.model}{flags}"

    @property
    def model(self) -> str:
        """The model of the motion that was kept, in words.

        Examples
        --------
        >>> numbers = dict.fromkeys(("total_motion_A", "early_motion_A", "late_motion_A"), 1.0)
        >>> numbers |= {"largest_step_A": 1.0, "candidate_scores": {}, "hot_pixel_count": 0}
        >>> Quality(**numbers, local_range_A=2.0, chosen="refined").model
        'global + local (refined)'
        >>> Quality(**numbers, local_range_A=0.0, chosen="refined").model
        'global (refined)'
        """
        if self.chosen == "none":
            return "none (not corrected)"
        if self.chosen == "given":
            return "given"
        moved = "global + local" if self.local_range_A > 0 else "global"
        return f"{moved} (refined)" if self.chosen == "refined" else moved

    @property
    def flag_names(self) -> tuple[str, ...]:
        """Names of the flags, worst first."""
        return tuple(flag.name for flag in self.flags)

    @classmethod
    def upgraded(cls, plain: dict[str, Any]) -> dict[str, Any]:
        """Flags were names alone in schema 1."""
        flags = plain.get("flags", [])
        if not isinstance(flags, list):
            return plain
        flags = [
            {"name": flag, "severity": "warning"} if isinstance(flag, str) else flag
            for flag in flags
        ]
        return {**plain, "flags": flags}
