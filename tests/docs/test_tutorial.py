"""The commands of the tutorial run as they are, and give the numbers that it shows."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial" / "first-movie.md").read_text("utf-8")
# Columns of report.csv, by what the table of the tutorial calls them.
COLUMNS = {
    "Motion": ("total_motion_A", "early_motion_A"),
    "Uncertainty": ("trajectory_error_A",),
    "Residual": ("track_residual_A",),
    "Rings before, Rings to": ("rings_before_A", "rings_to_A"),
    "Signal before, Signal after": ("signal_before", "signal_after"),
    "Dose measured": ("measured_dose_e_A2",),
}
ROWS = {row[0]: row[1] for row in re.findall(r"^\| (\w[^|]+?) \| ([^|]+?) \|", TUTORIAL, re.M)}


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory) -> dict[str, str]:
    """What each command prints, by its name; the last has the key "folder"."""
    folder = tmp_path_factory.mktemp("tutorial")
    environment = os.environ | {"COLUMNS": "120"}
    printed = {"folder": str(folder)}
    for line in re.findall(r"^```sh\nflexalign (.+)$", TUTORIAL, re.M):
        arguments = shlex.split(line)
        done = subprocess.run(
            [sys.executable, "-m", "flexalign", *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        printed[arguments[0]] = done.stdout + done.stderr
    return printed


@pytest.fixture(scope="module")
def numbers(tutorial) -> dict[str, str]:
    """The row of the movie in report.csv."""
    path = Path(tutorial["folder"]) / "tutorial" / "aligned" / "report.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.DictReader(file))


def values_in(text: str) -> list[float]:
    """The numbers in a text, without those that are part of a word."""
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+\.?\d*(?![\w.]*\w)", text)]


def test_its_files_are_there(tutorial):
    folder = Path(tutorial["folder"])
    named = re.findall(r"`(simulated_\w+\.\w+|report\.html)`", TUTORIAL.split("## 5")[0])

    assert len(named) == 6
    assert all((folder / "tutorial" / "aligned" / name).exists() for name in named)
    assert (folder / "tutorial" / "simulated_comparison.png").exists()


@pytest.mark.parametrize("row", COLUMNS)
def test_the_table_has_the_numbers_of_the_report(numbers, row):
    shown = values_in(ROWS[row])
    measured = [float(numbers[name]) for name in COLUMNS[row]]

    assert len(shown) == len(measured)
    for one, other in zip(shown, measured, strict=True):
        assert one == pytest.approx(other, rel=0.02, abs=0.005)


def test_the_movie_has_no_flags(numbers):
    assert ROWS["Flags"] == "none"
    assert numbers["flags"] == ""


def test_the_error_is_that_of_the_comparison(tutorial):
    shown = values_in(re.search(r"Here it is (.*)\.\n", TUTORIAL)[1])
    row = next(line for line in tutorial["compare"].splitlines() if " simulated " in line)
    _, _, difference_px, _, _, motion_px, *_ = values_in(row)

    assert shown == pytest.approx([difference_px, motion_px], abs=0.01)
