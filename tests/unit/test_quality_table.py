"""The table of quality numbers is whole, and pages and tables follow from it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from flexalign.batch import tables
from flexalign.model import Quality
from flexalign.quality.table import GROUPS, NUMBERS, csv_names
from flexalign.quality_limits import QualityLimits
from flexalign.report.columns import COLUMNS


def test_the_table_has_every_number_of_a_movie_and_no_other():
    assert set(NUMBERS) == {field.name for field in dataclasses.fields(Quality)}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=lambda number: number.name)
def test_every_number_has_its_group_its_definition_and_the_unit_of_its_name(number):
    units = [
        unit
        for suffix, unit in (("_e_A2", "e/A2"), ("_A", "A"), ("_deg", "degrees"))
        if suffix in number.name
    ]

    assert number.group in GROUPS
    assert number.definition
    assert number.unit == "".join(units[:1])


def test_units_of_limits_are_those_of_their_numbers():
    for field in dataclasses.fields(QualityLimits):
        if field.name in NUMBERS:
            assert field.metadata["parameter"].unit == NUMBERS[field.name].unit, field.name


def test_the_report_has_a_column_for_each_number_that_it_shows():
    shown = {name: number.report for name, number in NUMBERS.items() if number.report is not None}
    columns = {column.name: column for column in COLUMNS if column.name in NUMBERS}

    # The names of flags and of the chosen motion are no numbers.
    assert columns.keys() - {"flags", "chosen"} == shown.keys()
    for name, facts in shown.items():
        assert (columns[name].title, columns[name].about) == (facts.title, facts.about)


def test_other_programs_find_the_columns_of_the_csv_in_their_order():
    assert tables.COLUMNS == (
        "micrograph", "dose_weighted", "movie", "movie_pixel_size_A", "micrograph_pixel_size_A",
        "voltage_kV", "total_motion_A", "early_motion_A", "late_motion_A", "largest_step_A",
        "roughness_A", "local_range_A", "trajectory_error_A", "field_error_A",
        "fixed_pattern_pull", "gain_residual_rows", "gain_residual_columns", "bad_frame_count",
        "hot_pixel_count", "measured_dose_e_A2", "declared_dose_e_A2", "rings_before_A",
        "rings_to_A", "chosen", "signal_before_10_7_A", "signal_after_10_7_A", "flags", "warnings",
        "seconds", "record",
    )  # fmt: skip
    assert set(csv_names()) < set(tables.COLUMNS)


def test_the_table_needs_no_numerical_library():
    code = "import sys, flexalign.quality.table; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "False"
