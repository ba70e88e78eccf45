"""The table of parameters: limits, types, hash, and what Scipion's users expect of it."""

from __future__ import annotations

import dataclasses
import re
import typing

import pytest

from flexalign.errors import ParameterError
from flexalign.params import AlignParams, option_name, parameters, quoted

NUMBERS_WITH_LIMITS = [
    (name, parameter) for name, parameter in parameters().items() if parameter.minimum is not None
]


def _as_typed(name: str, number: float) -> object:
    """`number` in the shape that parameter `name` has."""
    if name == "control_points":
        return (number,) * 3
    return (number,) * 2 if name == "patches" else number


@pytest.mark.parametrize(("name", "parameter"), NUMBERS_WITH_LIMITS)
def test_below_the_minimum_is_refused_with_the_option_and_the_number(name, parameter):
    wrong = parameter.minimum - 1
    with pytest.raises(ParameterError, match=f"{quoted(name)}: expected .*found .*{wrong}"):
        AlignParams(**{name: _as_typed(name, wrong)})


@pytest.mark.parametrize(("name", "parameter"), NUMBERS_WITH_LIMITS)
def test_minimum_and_maximum_themselves_are_allowed(name, parameter):
    for number in (parameter.minimum, parameter.maximum):
        value = {name: _as_typed(name, number)}
        if name == "eer_dose_per_frame_e_A2":
            value["eer_total_dose_e_A2"] = 40.0
        assert getattr(AlignParams(**value), name) == value[name]


@pytest.mark.parametrize(("name", "parameter"), NUMBERS_WITH_LIMITS)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e308, 10**300])
def test_numbers_beyond_reason_are_refused_in_one_short_line(name, parameter, number):
    with pytest.raises(ParameterError, match=f"{quoted(name)}: expected .*found") as caught:
        AlignParams(**{name: _as_typed(name, number)})

    assert len(str(caught.value)) < 200


def test_every_number_has_a_minimum_and_a_maximum():
    hints = typing.get_type_hints(AlignParams)
    numbers = [n for n, hint in hints.items() if re.search(r"\b(int|float)\b", str(hint))]

    limited = [n for n in numbers if n in dict(NUMBERS_WITH_LIMITS)]
    assert limited == [n for n in numbers if not parameters()[n].choices]
    assert all(parameter.maximum is not None for _, parameter in NUMBERS_WITH_LIMITS)


def test_the_maximum_is_a_limit_too():
    assert AlignParams(voltage_kV=1000.0).voltage_kV == 1000.0
    with pytest.raises(ParameterError, match="at most 1000 kV"):
        AlignParams(voltage_kV=1001.0)


def test_a_word_outside_the_choices_is_refused_with_the_choices():
    with pytest.raises(ParameterError, match="none, upside-down, left-right; found sideways"):
        AlignParams(gain_flip="sideways")


@pytest.mark.parametrize("frame", ["auto", "first", "middle", "1", "40"])
def test_reference_frames_that_are_allowed(frame):
    assert AlignParams(reference_frame=frame).reference_frame == frame


@pytest.mark.parametrize("frame", ["0", "-1", "last", "", "1.5", "\u00b2", "9" * 5000])
def test_reference_frames_that_are_refused(frame):
    with pytest.raises(ParameterError, match="`reference_frame`"):
        AlignParams(reference_frame=frame)


def test_eer_dose_per_frame_needs_the_total_dose():
    with pytest.raises(ParameterError, match="`eer_total_dose_e_A2`"):
        AlignParams(eer_dose_per_frame_e_A2=1.0)


def test_values_come_back_from_a_dict():
    params = AlignParams(pixel_size_A=0.83, control_points=(6, 5, 8), local=False)

    assert AlignParams.from_dict(params.to_dict()) == params


def test_a_dict_holds_every_parameter_with_its_default_filled_in():
    assert list(AlignParams().to_dict()) == [f.name for f in dataclasses.fields(AlignParams)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"binning": 2}, ("binning", 2.0)),
        ({"control_points": [6, 5, 8]}, ("control_points", (6, 5, 8))),
        ({"reference_frame": 7}, ("reference_frame", "7")),
        ({"pixel_size_A": None}, ("pixel_size_A", None)),
        ({"dose_per_frame_e_A2": 2}, ("dose_per_frame_e_A2", 2.0)),
        ({"dose_per_frame_e_A2": [1, 0.5]}, ("dose_per_frame_e_A2", (1.0, 0.5))),
        ({"dose_per_frame_e_A2": "1, 0.5"}, ("dose_per_frame_e_A2", (1.0, 0.5))),
    ],
)
def test_values_take_the_type_of_the_parameter(given, expected):
    name, value = expected

    found = getattr(AlignParams(**given), name)

    assert found == value
    assert type(found) is type(value)
    assert AlignParams.from_dict(given) == AlignParams(**{name: value})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"binning": "2"}, "a number, found '2'"),
        ({"binning": True}, "a number, found True"),
        ({"align_first": 1.5}, "a whole number, found 1.5"),
        ({"align_first": True}, "a whole number, found True"),
        ({"local": 1}, "true or false, found 1"),
        ({"gain": 3}, "a text, found 3"),
        ({"control_points": [6, 5]}, "3 whole numbers, found"),
        ({"patches": [7.0, 7]}, "a whole number, found 7.0"),
        ({"binning": 10**400}, "a number, found 1000.*[.]{3}"),
        ({"binning": 10**5000}, "a number of thousands of digits"),
        ({"align_first": 10**5000}, "a number of thousands of digits"),
        ({"reference_frame": 10**5000}, "a number of thousands of digits"),
        ({"dose_per_frame_e_A2": [1, "2"]}, "a number, found '2'"),
        ({"dose_per_frame_e_A2": []}, "at least one number"),
        ({"dose_per_frame_e_A2": [1, float("nan")]}, "finite"),
        ({"dose_per_frame_e_A2": [1, 1e-40]}, "at least 0.0001 e/A2, found 1e-40"),
        ({"dose_per_frame_e_A2": "1;2"}, "numbers with commas"),
    ],
)
def test_values_of_the_wrong_type_are_refused_in_a_users_words(given, words):
    with pytest.raises(ParameterError, match=words):
        AlignParams.from_dict(given)


def test_an_unknown_name_is_refused():
    with pytest.raises(ParameterError, match="unknown parameter binfactor"):
        AlignParams.from_dict({"binfactor": 2})


def test_the_hash_tells_parameters_apart_that_change_the_result_and_only_those():
    plain = AlignParams()

    assert plain.hash() == AlignParams().hash()
    assert plain.hash() == AlignParams(threads=3).hash()
    assert plain.hash() != AlignParams(max_shift_A=20.0).hash()


def test_options_are_distinct_and_bear_no_unit():
    options = [option_name(name) for name in parameters()]

    assert len(set(options)) == len(options)
    assert option_name("voltage_kV") == "--voltage"
    assert option_name("eer_total_dose_e_A2") == "--eer-total-dose"


def test_every_parameter_has_help_in_sentences_and_a_group():
    for name, parameter in parameters().items():
        assert parameter.help.endswith("."), name
        assert parameter.help[0].isupper(), name
        assert parameter.group, name


def test_every_number_with_a_unit_in_its_name_has_it_in_the_table_too():
    ending = {"_e_A2": "e/A2", "_kV": "kV", "_A": "A"}
    for name, parameter in parameters().items():
        expected = next((unit for end, unit in ending.items() if name.endswith(end)), None)
        if expected:
            assert parameter.unit == expected, name


def test_defaults_are_those_of_the_scipion_protocol():
    # As its form shows them (scipion-em-xmipp 29); a tuple is a switch with the values behind it,
    # and the switch is on, which None means here.
    form = {
        "alignFrame0": 1, "alignFrameN": 0, "binFactor": 1.0, "doSaveMovie": False, "nFrames": 40,
        "doLocalAlignment": True, "minLocalRes": 500.0, "groupNFrames": 3,
        "maxResForCorrelation": 30.0, "doComputePSD": True, "maxShift": 50,
        "gainRot": 0, "gainFlip": "none",
        ("useAlignToSum", "sumFrame0"): None, ("useAlignToSum", "sumFrameN"): None,
        ("autoControlPoints", "controlPointX", "controlPointY", "controlPointT"): None,
        ("autoPatches", "patchesX", "patchesY"): None,
    }  # fmt: skip
    ours = {
        parameter.scipion: getattr(AlignParams(), name)
        for name, parameter in parameters().items()
        if parameter.scipion is not None
    }

    assert ours == form
