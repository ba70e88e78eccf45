"""Every parameter is an option, and what is typed arrives."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from flexalign.cli import app
from flexalign.cli.options import collect_parameters
from flexalign.errors import InputError
from flexalign.params import REFERENCE_FILES, AlignParams, option_name, parameters

# Types of Python in the help of an option, and numbers of values.
TYPES = re.compile(r"<(bool|str|int|float|path|list)|\(\d+\)\]")

# For each parameter something other than its default, as it is typed and as it arrives.
TYPED = {
    "pixel_size_A": ("0.83", 0.83),
    "voltage_kV": ("200", 200.0),
    "dose_per_frame_e_A2": ("1.5", 1.5),
    "pre_exposure_e_A2": ("0.5", 0.5),
    "gain": ("gain.mrc", "gain.mrc"),
    "gain_rotate": ("90", 90),
    "gain_flip": ("left-right", "left-right"),
    "gain_sense": ("divide", "divide"),
    "gain_check": ("off", "off"),
    "dose_check": ("off", "off"),
    "dark": ("dark.mrc", "dark.mrc"),
    "defects": ("defects.txt", "defects.txt"),
    "tiff_rows": ("file", "file"),
    "eer_fractions": ("30", 30),
    "eer_dose_per_frame_e_A2": ("0.8", 0.8),
    "eer_total_dose_e_A2": ("40", 40.0),
    "eer_groups": ("groups.txt", "groups.txt"),
    "eer_upsampling": ("2", 2),
    "align_first": ("2", 2),
    "align_last": ("20", 20),
    "sum_first": ("3", 3),
    "sum_last": ("0", 0),
    "max_resolution_A": ("20", 20.0),
    "max_shift_A": ("30", 30.0),
    "reference_frame": ("middle", "middle"),
    "control_points": ("6 5 8", (6, 5, 8)),
    "patches": ("7 6", (7, 6)),
    "min_patch_A": ("400", 400.0),
    "group_frames": ("2", 2),
    "binning": ("1.5", 1.5),
    "write": ("relion,warp", "relion,warp"),
    "device": ("cuda:1", "cuda:1"),
    "threads": ("3", 3),
    "max_memory_GB": ("6", 6.0),
}


def _parsed(*words: str) -> AlignParams:
    """The parameters that a command line of `align` stands for."""
    command = typer.main.get_command(app).commands["align"]
    values = command.make_context("align", ["movie.tiff", "--out", "out", *words]).params
    return collect_parameters({name: values[name] for name in parameters()}, values["settings"])


@pytest.mark.parametrize("name", [name for name in parameters() if name in TYPED])
def test_what_is_typed_arrives(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed, expected = TYPED[name]
    if name in REFERENCE_FILES:
        Path(typed).touch()
    extra = ["--eer-total-dose", "40"] if name == "eer_dose_per_frame_e_A2" else []

    found = getattr(_parsed(option_name(name), *typed.split(), *extra), name)

    assert found == expected
    assert type(found) is type(expected)


def test_a_dose_for_each_frame_is_typed_or_stands_in_a_file(tmp_path):
    file = tmp_path / "doses.txt"
    file.write_text("1.2\n0.6\n")

    for typed in ("1.2,0.6", str(file)):
        assert _parsed("--dose-per-frame", typed).dose_per_frame_e_A2 == (1.2, 0.6)
    with pytest.raises(InputError, match=r"doses: expected numbers with commas .*no such file"):
        _parsed("--dose-per-frame", str(tmp_path / "doses"))


@pytest.mark.parametrize("name", [name for name in parameters() if name not in TYPED])
def test_switches_have_a_yes_and_a_no(name):
    option = option_name(name)

    assert getattr(_parsed(option), name) is True
    assert getattr(_parsed(option.replace("--", "--no-")), name) is False


def test_nothing_typed_means_the_defaults():
    assert _parsed() == AlignParams()


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("max-shift = 20\nlocal = false\nbinning = 2\n")

    params = _parsed("--settings", str(file), "--binning", "1", "--local")

    assert (params.max_shift_A, params.local, params.binning) == (20.0, True, 1.0)


@pytest.mark.parametrize("command", ["align", "plan"])
def test_help_of_every_option_has_its_default_and_is_in_its_group(run, command):
    text = run(command, "--help").out

    for name, parameter in parameters().items():
        assert option_name(name) in text
        assert parameter.group in text
    assert "Default: 30." in text
    assert not {"<bool>", "(30)"} & set(text.split())


@pytest.mark.parametrize("command", sorted(get_command(app).commands))
def test_help_at_80_columns_fills_its_lines_and_names_no_types_of_python(run, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")

    text = run(command, "--help").out

    assert not TYPES.search(text)
    lines = [line.strip() for line in text.split("\u256d")[0].splitlines()]
    for line, following in itertools.pairwise(lines[2:]):
        is_end = not line or not following or following.startswith("Exit code:")
        assert is_end or len(f"{line} {following.split()[0]}") > 77


@pytest.mark.parametrize("command", sorted(get_command(app).commands))
def test_help_at_80_columns_cuts_no_word(run, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")

    assert "\u2026" not in run(command, "--help").out


def test_the_help_of_the_program_names_no_types_of_python(run):
    text = run("--help").out

    assert "--version" in text
    assert not TYPES.search(text)
