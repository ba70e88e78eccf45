"""The page on options of other programs names options that exist, here and in RELION."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from flexalign.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "options-of-other-programs.md"
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("|") and "---" not in line
][1:]


def options(column: int, pattern: str) -> set[str]:
    return {name for row in ROWS for name in re.findall(rf"`({pattern})[ `]", row[column])}


def test_ours_are_options_of_align():
    command = typer.main.get_command(app).commands["align"]
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    ours = options(3, r"--[\w-]+")

    assert len(ours) > 25
    assert ours - known == set()


@pytest.mark.skipif(not shutil.which("relion_run_motioncorr"), reason="without RELION")
def test_those_of_relion_are_options_of_relion():
    said = subprocess.run(
        ["relion_run_motioncorr", "--help"], capture_output=True, text=True, check=False
    )
    known = set(re.findall(r"--\w+", said.stdout + said.stderr))

    assert options(2, r"--\w+") - known == set()


def test_every_row_has_something_of_another_program_and_of_ours():
    for row in ROWS:
        assert len(row) == 4, row
        assert row[1] or row[2], row
        assert row[3], row
