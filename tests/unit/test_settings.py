"""Parameters from a file."""

from __future__ import annotations

import json
import os

import pytest

from flexalign.errors import InputError, ParameterError
from flexalign.params import AlignParams, option_name, parameters
from flexalign.settings import field_name, load_settings


def test_toml_takes_the_names_of_the_options_and_of_the_fields(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        "pixel-size = 0.83\ndose_per_frame = 1\nmax_shift_A = 20.0\nlocal = false\n"
        'control-points = [6, 5, 8]\ngain = "gain.mrc"\n'
    )

    params = AlignParams.from_dict(load_settings(file))

    assert params == AlignParams(
        pixel_size_A=0.83, dose_per_frame_e_A2=1.0, max_shift_A=20.0, local=False,
        control_points=(6, 5, 8), gain="gain.mrc",
    )  # fmt: skip


def test_the_parameters_of_a_record_are_taken(tmp_path):
    params = AlignParams(pixel_size_A=1.1, patches=(5, 4))
    file = tmp_path / "movie_record.json"
    kept = {**params.to_dict(), "hash": params.hash()}
    file.write_text(json.dumps({"schema": 1, "parameters": kept, "version": "0.1.0"}))

    assert AlignParams.from_dict(load_settings(file)) == params


@pytest.mark.parametrize("name", list(parameters()))
def test_each_parameter_is_found_by_its_option(name):
    option = option_name(name).removeprefix("--")

    assert field_name(option, "file") == name
    assert field_name(option.replace("-", "_"), "file") == name


def test_a_misspelt_name_is_refused_with_the_nearest_one(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("pixel-sise = 1.0\n")

    with pytest.raises(ParameterError, match=r"run\.toml: .*-sise'; did you mean 'pixel_size'"):
        load_settings(file)


def test_one_parameter_in_two_spellings_is_refused(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("pixel-size = 1.0\npixel_size_A = 1.1\n")

    with pytest.raises(ParameterError, match="twice"):
        load_settings(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.toml", "pixel-size = \n"),
        ("run.json", "{"),
        ("run.json", "[1]"),
        ("run.json", '{"motion": {}}'),
    ],
)
def test_a_file_that_holds_no_settings_is_an_input_error_with_its_name(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)

    with pytest.raises(InputError, match=name):
        load_settings(file)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.toml"):
        load_settings(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_settings_of_windows_are_read(tmp_path, encoding):
    file = tmp_path / "run.toml"
    file.write_bytes("pixel-size = 0.83\r\nbinning = 2\r\n".encode(encoding))

    assert load_settings(file) == {"pixel_size_A": 0.83, "binning": 2}


@pytest.mark.parametrize(
    "content",
    [
        b"a = " + b"[" * 5000, b"a = " + b"9" * 5000, b"\xe9 = 1", b"a = \x00", b"[[[", b"a.a.a",
        b'{"parameters": ' + b"[" * 5000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["run.toml", "run.json"])
def test_nonsense_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=name):
        load_settings(tmp_path / name)


@pytest.mark.parametrize("name", ["run.toml", "run.json"])
def test_settings_that_are_no_file_are_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="a FIFO"):
        load_settings(tmp_path / name)
    with pytest.raises(InputError, match="a folder"):
        load_settings(tmp_path)
