"""Flags: raised by their number, silent for what is usual or was not measured."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest

from flexalign.model import Quality
from flexalign.quality.flags import DEFINITIONS, SEVERITIES
from flexalign.quality.raise_flags import raised
from flexalign.quality_limits import LIMITS

NAN = float("nan")
USUAL = Quality(
    total_motion_A=30.0, early_motion_A=10.0, late_motion_A=20.0, largest_step_A=4.0,
    local_range_A=3.0, candidate_scores={}, chosen="refined", hot_pixel_count=10,
    trajectory_error_A=0.05, movement_A=25.0, roughness_A=1.0, has_signal=True,
    fixed_pattern_pull=0.01, fixed_pattern_significance=3.0, fixed_pattern_removed=False,
    bad_frame_count=0, hot_pixel_part=1e-5, gain_residual_rows=0.001, gain_residual_columns=0.001,
    measured_dose_e_A2=0.9, declared_dose_e_A2=1.0, rings_to_A=4.0, rings_before_A=6.0,
    ring_score=0.8,
)  # fmt: skip
BARELY = 1.001

RAISING = [
    ("no-signal", {"has_signal": False}),
    ("dose-mismatch", {"measured_dose_e_A2": LIMITS.dose_ratio_high * BARELY}),
    ("dose-mismatch", {"measured_dose_e_A2": LIMITS.dose_ratio_low / BARELY}),
    ("gain-residual", {"gain_residual_rows": LIMITS.gain_residual * BARELY}),
    ("gain-residual", {"gain_residual_columns": LIMITS.gain_residual * BARELY}),
    (
        "fixed-pattern",
        {
            "fixed_pattern_removed": True,
            "fixed_pattern_significance": LIMITS.fixed_pattern_significance * BARELY,
        },
    ),
    ("fixed-pattern", {"fixed_pattern_removed": True, "fixed_pattern_significance": NAN}),
    ("bad-frames", {"bad_frame_count": 1}),
    ("beyond-field", {"drift_part": LIMITS.drift_part * BARELY}),
    ("uneven-dose", {"uneven_dose": LIMITS.uneven_dose * BARELY}),
    ("jump", {"largest_step_A": LIMITS.largest_step_A * BARELY}),
    ("large-motion", {"total_motion_A": LIMITS.total_motion_A * BARELY}),
    ("rough-path", {"roughness_A": LIMITS.roughness_A * BARELY}),
    ("uncertain", {"trajectory_error_A": LIMITS.trajectory_error_A * BARELY}),
    ("hot-pixels", {"hot_pixel_part": LIMITS.hot_pixel_part * BARELY}),
    ("no-rings", {"rings_to_A": NAN}),
    ("poor-rings", {"rings_to_A": LIMITS.rings_to_A * BARELY}),
    ("still", {"movement_A": 0.05 * LIMITS.still_errors / BARELY}),
    ("still", {"chosen": "none", "motion_bound_A": LIMITS.motion_bound_A / BARELY}),
    ("uncorrected", {"chosen": "none", "motion_bound_A": LIMITS.motion_bound_A * BARELY}),
    ("uncorrected", {"chosen": "none", "motion_bound_A": NAN}),
    ("unsafe-motion", {"lost_frames": (3,)}),
    ("unsafe-motion", {"halves_apart": LIMITS.halves_apart * BARELY}),
    ("wide-search", {"searched_wider": True}),
    ("one-direction", {"only_direction_deg": 63.0}),
    ("lost-area", {"hot_pixel_part": LIMITS.lost_part * BARELY}),
]
SILENT = [
    {"fixed_pattern_removed": True},  # of three standard deviations
    {"fixed_pattern_significance": 2 * LIMITS.fixed_pattern_significance},
    {"measured_dose_e_A2": LIMITS.dose_ratio_high / BARELY},
    {"measured_dose_e_A2": LIMITS.dose_ratio_low * BARELY},
    {"gain_residual_rows": LIMITS.gain_residual / BARELY},
    {"drift_part": LIMITS.drift_part / BARELY},
    {"uneven_dose": LIMITS.uneven_dose / BARELY},
    {"largest_step_A": LIMITS.largest_step_A / BARELY},
    {"total_motion_A": LIMITS.total_motion_A / BARELY},
    {"roughness_A": LIMITS.roughness_A / BARELY},
    {"trajectory_error_A": LIMITS.trajectory_error_A / BARELY},
    {"hot_pixel_part": LIMITS.hot_pixel_part / BARELY},
    {"rings_to_A": LIMITS.rings_to_A / BARELY},
    {"movement_A": 0.05 * LIMITS.still_errors * BARELY},
]
UNMEASURED = [
    {"measured_dose_e_A2": NAN},
    {"declared_dose_e_A2": NAN},
    {"gain_residual_rows": NAN, "gain_residual_columns": NAN},
    {"trajectory_error_A": NAN},
    {"rings_to_A": NAN, "rings_before_A": NAN, "ring_score": NAN},
    {"has_signal": None, "fixed_pattern_removed": None, "bad_frame_count": None},
    {"movement_A": NAN},
    {"drift_part": NAN, "uneven_dose": NAN},
]


def test_a_usual_movie_raises_none():
    assert raised(USUAL) == ()


@pytest.mark.parametrize(("name", "changes"), RAISING, ids=str)
def test_what_is_beyond_its_limit_raises_its_flag_and_no_other(name, changes):
    assert [flag.name for flag in raised(replace(USUAL, **changes))] == [name]


@pytest.mark.parametrize("changes", SILENT + UNMEASURED, ids=str)
def test_what_is_within_or_was_not_measured_raises_none(changes):
    assert raised(replace(USUAL, **changes)) == ()


def test_every_flag_can_be_raised():
    assert {name for name, _ in RAISING} == set(DEFINITIONS)


def test_a_flag_says_what_was_found_and_what_to_do():
    (flag,) = raised(replace(USUAL, largest_step_A=41.3))

    assert (flag.value, flag.limit) == (41.3, LIMITS.largest_step_A)
    assert "41 A" in flag.message
    assert flag.remedy == DEFINITIONS["jump"].remedy


@pytest.mark.parametrize(("name", "changes"), RAISING, ids=str)
def test_no_message_shows_what_was_not_measured(name, changes):
    (flag,) = raised(replace(USUAL, **changes))

    assert "nan" not in flag.message
    assert "inf" not in flag.message
    assert "{" not in flag.message


def test_a_movie_without_signal_is_not_called_still():
    found = raised(replace(USUAL, has_signal=False, movement_A=0.0))

    assert [flag.name for flag in found] == ["no-signal"]


def test_the_worst_comes_first():
    found = raised(replace(USUAL, movement_A=0.0, largest_step_A=90.0, gain_residual_rows=0.1))

    assert [flag.severity for flag in found] == ["problem", "warning", "note"]


def test_other_limits_can_be_given():
    strict = replace(LIMITS, total_motion_A=20.0)

    assert [flag.name for flag in raised(USUAL, strict)] == ["large-motion"]


def test_every_definition_is_complete():
    quantities = {*Quality.__dataclass_fields__}
    for name, definition in DEFINITIONS.items():
        assert definition.name == name
        assert definition.severity in SEVERITIES
        assert definition.quantity in quantities
        assert definition.cause.endswith(".")
        assert definition.remedy.endswith(".")
        assert all(math.isfinite(value) for value, _ in definition.thresholds().values())


def test_the_table_needs_no_numerical_library():
    code = "import sys, flexalign.quality.flags; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "False"
